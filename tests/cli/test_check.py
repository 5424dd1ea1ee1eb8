"""`check` for programs, and again and again; `schema --for`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.conftest import Done
from tests.cli.test_inspection import TEN_MISTAKES
from tests.config.projects import HANDLERS
from xml_pipeline.cli.check import watch
from xml_pipeline.cli.parser import build_parser
from xml_pipeline.cli.problems import allowed, problem
from xml_pipeline.errors import Problem, did_you_mean, listing

GOOD = "organism: {name: x}\nlisteners: [{name: greeter, handler: 'handlers:greet'}]\n"


def told(done: Done) -> dict[str, Any]:
    (row,) = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(row)
    return found


def test_mistakes_are_told_to_programs(tmp_path: Path, xp: Callable[..., Done]) -> None:
    file = tmp_path / "organism.yaml"
    file.write_text(TEN_MISTAKES)
    done = xp("check", "--json", str(file))
    found = told(done)
    assert (done.returncode, done.stderr, found["ok"], found["file"]) == (1, "", False, str(file))
    by_path = {each["path"]: each for each in found["problems"]}
    peer = by_path["listeners[0].peers[0]"]
    assert (peer["line"], peer["column"], peer["file"]) == (8, 13, str(file))
    assert "there is no listener 'shoutr'" in peer["message"]
    assert {"greeter", "slow", "thinker"} <= set(peer["allowed"])
    assert by_path["organism.nam"]["did_you_mean"] == "name"
    assert "journal" in by_path["organism.nam"]["allowed"]
    assert by_path["organism.thread_scheduling"]["allowed"] == ["breadth-first", "depth-first"]
    provider = next(each for path, each in by_path.items() if path.endswith("provider"))
    assert provider["did_you_mean"] == "openai"
    assert "ollama" in provider["allowed"]
    assert {"line", "column", "message"} <= found["problems"][0].keys()


def test_a_file_without_mistakes_is_told_too(tmp_path: Path, xp: Callable[..., Done]) -> None:
    (tmp_path / "organism.yaml").write_text(GOOD + "payloads: {Unused: {fields: {}}}\n")
    (tmp_path / "handlers.py").write_text(HANDLERS + "\nprint('imported')\n")
    done = xp("check", "--json", str(tmp_path))
    found = told(done)
    assert (done.returncode, found["ok"], found["problems"]) == (0, True, [])
    assert "1 listener" in found["summary"]
    assert any("Unused" in note for note in found["notes"])
    assert "imported" in done.stderr


def test_no_file_is_a_mistake_with_no_place(tmp_path: Path, xp: Callable[..., Done]) -> None:
    done = xp("check", "--json", str(tmp_path / "nothing.yaml"))
    assert (done.returncode, told(done)["problems"][0]["line"]) == (1, 0)


@pytest.mark.parametrize("other", ["--json", "--watch"])
def test_open_work_is_another_question(other: str, tmp_path: Path, xp: Callable[..., Done]) -> None:
    (tmp_path / "organism.yaml").write_text(GOOD)
    assert xp("check", "--journal", "j.db", other, "-f", str(tmp_path)).returncode == 1


_NAMES = st.text(alphabet="abcXYZ019_-.", min_size=1, max_size=12)


@given(st.sets(_NAMES, min_size=1, max_size=15), _NAMES)
def test_what_a_message_lists_is_found_in_it(names: set[str], word: str) -> None:
    near = did_you_mean(word, names)
    for text in (
        f"there is no listener '{word}'{near}; listeners are: {listing(names)}",
        f"no x '{word}'; there are {listing(names)}{near}",
        f"`{word}` is no key here{near}; keys are: {listing(names)}",
    ):
        found = problem(Problem(text))
        assert found["allowed"] == sorted(names)
        assert found.get("did_you_mean", "") in (names if near else {""})


@pytest.mark.parametrize(
    "text",
    [
        "is empty; name a class, or leave the key out",
        "there is no type `x`; types are text, integer, a class of `payloads`, a list of words",
        "must be a whole number, not 'x'",
        "there are 3 of them, and that is too many",
    ],
)
def test_a_message_that_lists_nothing_has_nothing(text: str) -> None:
    assert allowed(text) == []


# --- again and again ---


class Stop(KeyboardInterrupt):
    """What ends a watch in a test, as Ctrl-C does."""


def rounds(*steps: Callable[[], object]) -> Callable[[float], None]:
    """A wait that takes a step in every third round, and Ctrl-C after the last: a change takes two looks."""

    def each() -> Iterator[None]:
        for step in steps:
            yield
            step()
            yield
            yield
            yield
        raise Stop

    left = each()
    return lambda seconds: next(left)


def arguments_of(*words: str) -> argparse.Namespace:
    return build_parser().parse_args(["check", *words])


def watched(*words: str, steps: list[Callable[[], object]], capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(KeyboardInterrupt):
        watch(arguments_of("--watch", *words), wait=rounds(*steps))
    return capsys.readouterr().out.splitlines()


def test_a_watch_tells_what_becomes_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, handlers = tmp_path / "organism.yaml", tmp_path / "handlers.py"
    file.write_text(GOOD)
    handlers.write_text(HANDLERS)
    rows = watched(
        str(file),
        capsys=capsys,
        steps=[
            lambda: file.write_text(GOOD.replace("greeter", "gree ter")),
            lambda: file.write_text(GOOD),
            lambda: handlers.write_text(HANDLERS.replace("async def greet", "async def great")),
            lambda: handlers.write_text(HANDLERS),
            lambda: (tmp_path / "notes.txt").write_text("x"),
            file.unlink,
        ],
    )
    ok = f"{file}: ok: x, 1 listener, 1 tool"
    assert rows[0] == rows[2] == rows[4] == ok, rows
    assert "gree ter" in rows[1]
    assert "did you mean 'great'" in rows[3]
    assert "there is no" in rows[5]
    assert len(rows) == 6


def test_a_watch_for_programs_is_a_document_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "organism.yaml"
    file.write_text(GOOD)
    (tmp_path / "handlers.py").write_text(HANDLERS)
    rows = watched("--json", str(file), capsys=capsys, steps=[lambda: file.write_text("organism: 3\n")])
    assert [json.loads(row)["ok"] for row in rows] == [True, False]


def test_ctrl_c_ends_a_watch_with_its_code(
    tmp_path: Path, xp: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "organism.yaml").write_text("organism: {name: x}\n")

    def interrupt(arguments: argparse.Namespace) -> int:
        return watch(arguments, wait=rounds())

    monkeypatch.setattr("xml_pipeline.cli.check.watch", interrupt)
    assert xp("check", "--watch", str(tmp_path)).returncode == 130


# --- schema --for ---


def test_the_schema_of_a_file_is_put_beside_it(tmp_path: Path, xp: Callable[..., Done]) -> None:
    file = tmp_path / "organism.yaml"
    text = "# mine\norganism: {name: x}  # here\nlisteners: [{name: boss, human: true}]\n"
    file.write_text(text)
    done = xp("schema", "--for", str(file), "--write")
    assert done.returncode == 0, done.stderr
    first = "# yaml-language-server: $schema=./.organism.schema.json\n"
    assert file.read_text() == first + text
    schema = json.loads((tmp_path / ".organism.schema.json").read_text())
    assert schema == json.loads(xp("schema", "--for", str(tmp_path)).stdout)
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(file.read_text()))
    before = sorted(tmp_path.iterdir())
    assert xp("schema", "--for", str(file), "--write").returncode == 0
    assert (file.read_text(), sorted(tmp_path.iterdir())) == (first + text, before)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a: 1\r\nb: 2\r\n", "{}\r\na: 1\r\nb: 2\r\n"),
        ("\ufeffa: 1\n", "\ufeff{}\na: 1\n"),
        ("", "{}\n"),
        ("# about\n# yaml-language-server: $schema=https://x/y.json\na: 1\n", "# about\n{}\na: 1\n"),
        ("#yaml-language-server:$schema=x\r\na: 1\r\n", "{}\r\na: 1\r\n"),
        ("%YAML 1.2\n---\na: 1\n", "{}\n%YAML 1.2\n---\na: 1\n"),
    ],
)
def test_the_first_line_names_the_schema_once(before: str, after: str) -> None:
    from xml_pipeline.cli.schema import with_modeline

    wanted = after.format("# yaml-language-server: $schema=./.s.json")
    assert with_modeline(before, ".s.json") == wanted
    assert with_modeline(wanted, ".s.json") == wanted


@pytest.mark.parametrize("text", ["listeners: [\n", "3\n", ""])
def test_what_cannot_be_read_has_no_schema_and_none_is_written(
    text: str, tmp_path: Path, xp: Callable[..., Done]
) -> None:
    (tmp_path / "organism.yaml").write_text(text)
    assert xp("schema", "--for", str(tmp_path), "--write").returncode == 1
    assert [each.name for each in tmp_path.iterdir()] == ["organism.yaml"]
    assert (tmp_path / "organism.yaml").read_text() == text


def test_write_goes_with_a_file(xp: Callable[..., Done]) -> None:
    assert xp("schema", "--write").returncode == 1


# --- skill ---


def test_the_skill_is_printed_or_put_where_skills_are(tmp_path: Path, xp: Callable[..., Done]) -> None:
    printed = xp("skill").stdout
    assert printed.startswith("---\nname: organism-yaml\n")
    for _ in range(2):  # again, it is brought up to date
        assert xp("skill", "--into", str(tmp_path / "skills")).returncode == 0
    assert (tmp_path / "skills" / "organism-yaml" / "SKILL.md").read_text() == printed
    (tmp_path / "file").write_text("")
    assert xp("skill", "--into", str(tmp_path / "file")).returncode == 1
