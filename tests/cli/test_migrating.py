"""`migrate`: what it shows, what it writes, and what it says is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Done
from tests.config.projects import HANDLERS, write
from tests.config.test_migrating import FORMER, TODAY

Xp = Callable[..., Done]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write(tmp_path, {"organism.yaml": FORMER, "handlers.py": HANDLERS, "bot.md": "Be brief."})


def test_it_shows_the_difference_and_writes_when_it_is_told_to(file: Path, xp: Xp) -> None:
    shown = xp("migrate")
    assert shown.returncode == 0
    assert "-    payload_class: handlers.Greeting" in shown.stdout
    assert "+    accepts: handlers:Greeting" in shown.stdout
    assert file.read_text() == FORMER
    file.chmod(0o640)
    assert xp("migrate", "--write", "organism.yaml") == shown
    assert file.read_text() == TODAY
    assert file.stat().st_mode & 0o777 == 0o640
    again = xp("migrate", "--write")
    assert again == Done(0, "organism.yaml: nothing to change\n", "")
    assert xp("check").returncode == 0
    assert [each.name for each in file.parent.glob(".organism*")] == []


def test_files_of_a_directory_of_listeners_are_brought_along(file: Path, xp: Xp) -> None:
    main = "organism: {name: x}\nlisteners: parts\n"
    write(file.parent, {"organism.yaml": main, "parts/a.yaml": "name: a\nhandler: handlers.greet  # it\n"})
    assert "+handler: handlers:greet  # it" in xp("migrate").stdout
    assert xp("migrate", "--write").returncode == 0
    assert (file.parent / "parts" / "a.yaml").read_text() == "name: a\nhandler: handlers:greet  # it\n"
    assert xp("check").returncode == 0


def test_mistakes_that_are_left_are_told(file: Path, xp: Xp) -> None:
    file.write_text("organism: {name: x}\nlisteners: [{name: a, handler: handlers.greet, pears: [b]}]\n")
    done = xp("migrate", "--write")
    assert done.returncode == 1
    assert "still wrong: organism.yaml:2:" in done.stdout
    assert "did you mean 'peers'?" in done.stdout
    assert "handlers:greet" in file.read_text()


def test_a_file_that_is_no_yaml_stays(file: Path, xp: Xp) -> None:
    file.write_text("organism: [\n")
    done = xp("migrate", "--write")
    assert done.returncode == 1
    assert "cannot be changed by a command: it is no YAML" in done.stderr
    assert file.read_text() == "organism: [\n"
