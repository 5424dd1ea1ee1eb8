"""What an organism is made of is looked at, and a change of any of it is seen once, when it is whole."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.config.projects import HANDLERS, write
from xml_pipeline.config import load, resolve
from xml_pipeline.config.imports import anew
from xml_pipeline.config.watching import MOST_ENTRIES, Watch

FILE = """
organism: {name: x}
listeners: parts
"""
PARTS = {
    "parts/a.yaml": "{name: a, agent: true, model: m, prompt: [{file: ../a.md}, {file: later.md}]}\n",
    "parts/b.yaml": "{name: b, handler: 'handlers:greet'}\n",
    "parts/c.yml": "{name: c, agent: true, skills: [../skills/notes]}\n",
    "parts/d.yaml": "{name: d, use: ../inner}\n",
    "parts/e.yaml": "{name: e, use: ../organism.yaml}\n",
    "skills/notes/SKILL.md": "---\nname: notes\ndescription: Takes notes.\n---\nBe brief.\n",
    "inner/organism.yaml": "organism: {name: y}\nlisteners: [{name: z, agent: true, prompt: {file: z.md}}]\n",
    "inner/z.md": "Be brief.",
    "a.md": "Be kind.",
    "handlers.py": HANDLERS,
    "lib/inner/deep.py": "x = 1\n",
}


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(write(tmp_path, {"organism.yaml": FILE, **PARTS}), environ={})


def news(watch: Watch) -> bool:
    """Whether there is something new, once it is whole; and it is told once."""
    watch.changed()
    found = watch.changed()
    assert not watch.changed()
    return found


@pytest.mark.parametrize(
    "path",
    [
        "organism.yaml",
        "a.md",
        "parts/a.yaml",
        "parts/c.yaml",
        "parts/later.md",
        "handlers.py",
        "lib/inner/deep.py",
        "lib/new.py",
        "skills/notes/SKILL.md",
        "inner/organism.yaml",
        "inner/z.md",
        "inner/.env",
        ".env",
    ],
)
def test_a_change_is_seen_once(watch: Watch, path: str, tmp_path: Path) -> None:
    assert not news(watch)
    write(tmp_path, {path: "{name: other}\n"})
    assert news(watch)


@pytest.mark.parametrize(
    "path", ["notes.txt", "parts/.a.yaml.swp", "venv/lib/x.py", ".hidden/x.py", "lib/__pycache__/x.py"]
)
def test_what_is_no_part_of_it_is_not_looked_at(watch: Watch, path: str, tmp_path: Path) -> None:
    write(tmp_path, {"venv/pyvenv.cfg": ""})
    write(tmp_path, {path: "x"})
    assert not news(watch)


def test_what_is_taken_away_is_a_change(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "a.md").unlink()
    assert news(watch)


def test_what_is_named_since_is_looked_at(watch: Watch, tmp_path: Path) -> None:
    write(tmp_path, {"parts/a.yaml": "{name: a, agent: true, model: m, prompt: {file: other.md}}\n"})
    assert news(watch)
    write(tmp_path, {"parts/other.md": "Be brief."})
    assert news(watch)
    write(tmp_path, {"a.md": "Nobody reads me any more."})
    assert not news(watch)


def test_who_writes_in_pieces_is_let_finish(watch: Watch, tmp_path: Path) -> None:
    for text in ("", "organism:", "organism: {name: y}\n"):
        write(tmp_path, {"organism.yaml": text})
        assert not watch.changed()
    assert watch.changed()


def test_a_file_that_cannot_be_read_is_looked_at(tmp_path: Path) -> None:
    file = write(tmp_path, {"organism.yaml": "listeners: [\n"})
    watch = Watch(file, environ={})
    file.unlink()
    assert news(watch)
    write(tmp_path, {"organism.yaml": FILE})
    assert news(watch)


def test_a_look_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xml_pipeline.config.watching.MOST_ENTRIES", 3)
    assert MOST_ENTRIES > 3
    file = write(tmp_path, {"organism.yaml": FILE, **{f"z/{n}.py": "" for n in range(9)}})
    watch = Watch(file, environ={})
    write(tmp_path, {f"z/{n}.py": "x" for n in range(9)} | {"z/sub/a.py": ""})
    watch.changed()
    assert isinstance(watch.changed(), bool)


ORGANISM = "organism: {name: x}\nlisteners: [{name: a, handler: 'handlers:value'}]\n"


def test_modules_beside_the_file_are_imported_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    write(tmp_path, {"inner.py": "value = 1\n", "outer.py": "from inner import value\n"})
    with anew(tmp_path):
        assert resolve("outer:value", base=tmp_path) == 1
    stamp = (tmp_path / "inner.py").stat()
    write(tmp_path, {"inner.py": "value = 2\n"})  # as long, and as old: a cache of it would be taken for good
    os.utime(tmp_path / "inner.py", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert resolve("outer:value", base=tmp_path) == 1
    with anew(tmp_path):
        assert resolve("outer:value", base=tmp_path) == 2
    assert not sys.dont_write_bytecode


def test_when_that_fails_the_former_ones_are_back(tmp_path: Path) -> None:
    file = write(tmp_path, {"organism.yaml": ORGANISM, "handlers.py": HANDLERS.replace("greet(", "value(")})
    former = load(file).resolved["handlers:value"]
    write(tmp_path, {"handlers.py": "raise ValueError\n"})
    with pytest.raises(Exception, match="handlers"), anew(tmp_path):
        load(file)
    assert resolve("handlers:value", base=tmp_path) is former
