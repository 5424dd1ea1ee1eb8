"""`crash-test`: a user's organism is killed at every place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Done

HANDLERS = '''
import os
from dataclasses import dataclass
from pathlib import Path
from xml_pipeline import HandlerResponse, xmlify

@xmlify
@dataclass
class Word:
    text: str

async def echo(payload: Word, metadata):
    return HandlerResponse.respond(payload)

async def front(payload: Word, metadata):
    if metadata.from_id == "echo":
        return HandlerResponse.respond(payload)
    return HandlerResponse(payload, to="echo")

async def counts(payload: Word, metadata):
    """Its answer depends on what it did before: a second call gives another one."""
    file = Path(os.environ["COUNTED"], metadata.message_id)
    lives = file.read_text() if file.exists() else ""
    file.write_text(lives + "x")
    return HandlerResponse.respond(Word(lives or "first"))
'''
ORGANISM = """
organism: {name: demo, journal: state.db}
listeners:
  - {name: echo, handler: crash_handlers:echo, effects: once}
  - {name: front, handler: crash_handlers:front, peers: [echo]}
  - {name: counts, handler: crash_handlers:counts}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "crash_handlers.py").write_text(HANDLERS)
    (tmp_path / "organism.yaml").write_text(ORGANISM)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "counted").mkdir()
    monkeypatch.setenv("COUNTED", str(tmp_path / "counted"))
    return tmp_path


def test_the_same_answer_whenever_it_dies(folder: Path, xp: Callable[..., Done]) -> None:
    done = xp("crash-test", "front", "hello", "--deaths", "6")
    assert "another one after" in done.stdout  # echo is never called again: its caller is told
    assert "interrupted" in done.stdout
    assert "front was called again" in done.stdout
    assert "echo was called again" not in done.stdout
    assert done.returncode == 1
    assert not (folder / "state.db").exists()


def test_a_handler_that_does_not_bear_a_second_call_is_found(folder: Path, xp: Callable[..., Done]) -> None:
    done = xp("crash-test", "counts", "hello", "--deaths", "3")
    assert done.returncode == 1
    assert "counts was called again" in done.stdout
    assert "killed at append 2: Word" in done.stdout or "killed at append 2: <Word>" in done.stdout


def test_what_cannot_be_tested_is_said(folder: Path, xp: Callable[..., Done]) -> None:
    assert "did you mean 'front'" in xp("crash-test", "frnt", "x").stderr
    (folder / "organism.yaml").write_text("organism: {nam: x}")
    assert "organism.nam" in xp("crash-test", "front", "x").stderr
