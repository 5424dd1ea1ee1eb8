"""`replay`, `check --journal`: what a change would do to what is recorded, and to what is open."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Done
from tests.cli.folders import inside
from tests.journal.test_recovery import came_to

HANDLERS = """
from dataclasses import dataclass
from xml_pipeline import HandlerResponse, xmlify

@xmlify
@dataclass
class Word:
    text: str

@xmlify
@dataclass
class Number:
    n: int

called = []

async def front(payload: Word, metadata):
    called.append(payload.text)
    if metadata.from_id == "outside":
        return HandlerResponse(payload, to="unknown" if payload.text == "wrong" else "back")
    return HandlerResponse.respond(payload)

async def back(payload: Word, metadata):
    called.append(payload.text)
    return HandlerResponse.respond(payload)

async def numbers(payload: Number, metadata): ...
"""
ORGANISM = """
organism: {name: demo, journal: state.db}
listeners:
  - {name: front, handler: cli_deploy_handlers:front, peers: [back, anna]}
  - {name: back, handler: cli_deploy_handlers:back}
  - {name: anna, human: true, accepts: cli_deploy_handlers:Word}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return inside(tmp_path, monkeypatch, {"cli_deploy_handlers.py": HANDLERS, "organism.yaml": ORGANISM})


def calls() -> list[str]:
    import cli_deploy_handlers  # type: ignore[import-not-found]

    return list(cli_deploy_handlers.called)


def newest(xp: Callable[..., Done]) -> str:
    return str(json.loads(xp("log", "--json").stdout)[-1]["id"])


def rows(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def files_in(folder: Path) -> list[str]:
    """But for what SQLite itself keeps beside a file that is read."""
    return sorted(path.name for path in folder.iterdir() if path.suffix not in (".db-wal", ".db-shm"))


def test_a_replay_without_a_difference(folder: Path, xp: Callable[..., Done]) -> None:
    assert xp("ask", "front", "hello").stdout == "hello\n"
    before, said = rows(folder / "state.db"), calls()
    files = files_in(folder)
    name = newest(xp)
    assert xp("replay", name[:8]) == Done(0, "4 steps: no difference\n", "")
    found = json.loads(xp("replay", name, "--json").stdout)
    assert found == {"steps": 4, "compared": 4, "gaps": [], "difference": None}
    assert calls() == said
    assert files_in(folder) == files
    assert rows(folder / "state.db") == before


def test_a_replay_names_the_first_difference(folder: Path, xp: Callable[..., Done]) -> None:
    xp("ask", "front", "hello")
    name = newest(xp)
    (folder / "new.yaml").write_text(ORGANISM.replace("handlers:back}", "handlers:numbers}"))
    told = xp("replay", name, "-f", "new.yaml")
    assert told.returncode == 1
    first, was, now = told.stdout.splitlines()
    assert first.startswith("step 2 (")
    assert first.endswith("'front': event")
    assert was == "  was: Word of 'front' is sent to 'back'"
    assert now == "  is:  a message of 'front' to 'back' is refused (huh): Word is not valid"
    as_json = xp("replay", name, "-f", "new.yaml", "--json")
    assert as_json.returncode == 1
    assert json.loads(as_json.stdout)["difference"]["listener"] == "front"


def test_a_replay_says_where_it_is_not_exact(folder: Path, xp: Callable[..., Done]) -> None:
    xp("ask", "front", "wrong")
    told = xp("replay", newest(xp))
    assert told.returncode == 0
    first, last = told.stdout.splitlines()
    assert "'front': not exact: a message of it was refused" in first
    assert last.endswith("no difference, 1 not exact")


def test_a_replay_of_nothing(folder: Path, xp: Callable[..., Done]) -> None:
    assert "there is no journal" in xp("replay", "x").stderr
    xp("ask", "front", "hello")
    assert "no conversation begins with 'x'" in xp("replay", "x").stderr


def test_what_becomes_of_open_work(folder: Path, xp: Callable[..., Done]) -> None:
    assert "there is no journal" in xp("check", "--journal").stderr
    xp("send", "front", "hello")
    xp("ask", "anna", "sign", "--timeout", "0.2", "--key", "k")
    xp("ask", "front", "hello")
    told = xp("check", "--journal")
    assert told.returncode == 0
    assert told.stdout.splitlines()[1:] == ["0 open conversations; unchanged: nothing"]


def test_what_would_be_lost_is_an_exit_code(folder: Path, xp: Callable[..., Done]) -> None:
    import asyncio

    from xml_pipeline import Organism

    async def left_open() -> None:
        async with Organism.from_file("organism.yaml") as organism:
            import cli_deploy_handlers

            for text in "abc":
                await organism.send("anna", cli_deploy_handlers.Word(text))
            await came_to(lambda: len(organism.questions()) == 3)

    asyncio.run(left_open())
    before = rows(folder / "state.db")
    told = xp("check", "--journal")
    assert told.returncode == 0
    assert told.stdout.splitlines()[1] == "3 open conversations; unchanged: 3 questions"
    (folder / "new.yaml").write_text(
        ORGANISM.replace("accepts: cli_deploy_handlers:Word", "accepts: cli_deploy_handlers:Number")
    )
    told = xp("check", "-f", "new.yaml", "--journal", "state.db")
    assert told.returncode == 1
    lines = told.stdout.splitlines()
    assert lines[0].startswith("new.yaml: ok")
    assert lines[1] == "3 open conversations; unchanged: nothing"
    assert len(lines) == 6
    assert all(
        line.startswith("lost: question Word of 'anna' in ")
        and line.endswith("'anna' does not take Word any more")
        for line in lines[2:5]
    )
    assert lines[5] == "3 would be lost"
    assert rows(folder / "state.db") == before
    assert xp("check", "-f", "new.yaml").returncode == 0
    assert xp("check", "--no-import", "--journal").returncode == 2
