"""`ask --key`, `log`, `show`, `dead list`, `journal check`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Done
from tests.cli.folders import inside

HANDLERS = """
from dataclasses import dataclass
from xml_pipeline import HandlerResponse, xmlify

@xmlify
@dataclass
class Word:
    text: str

async def echo(payload: Word, metadata):
    if payload.text == "fail":
        raise ValueError("as asked")
    return HandlerResponse.respond(payload)
"""
ORGANISM = """
organism: {name: demo, journal: state.db}
listeners:
  - {name: echo, handler: cli_history_handlers:echo}
  - {name: anna, human: true, accepts: cli_history_handlers:Word}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return inside(tmp_path, monkeypatch, {"cli_history_handlers.py": HANDLERS, "organism.yaml": ORGANISM})


def test_an_answer_is_printed_and_known_again_by_its_key(folder: Path, xp: Callable[..., Done]) -> None:
    for _ in range(2):
        assert xp("ask", "echo", "hello", "--key", "k") == Done(0, "hello\n", "")
    again = xp("ask", "echo", "other", "--key", "k")
    assert again.returncode == 1
    assert "a key names one request for ever" in again.stderr
    (conversation,) = json.loads(xp("log", "--json").stdout)
    assert conversation["listener"] == "echo"
    assert conversation["ended"] is not None


def test_an_error_is_an_exit_code_and_its_text(folder: Path, xp: Callable[..., Done]) -> None:
    failed = xp("ask", "echo", "fail")
    assert failed.returncode == 1
    assert "error (handler): the handler failed with ValueError" in failed.stderr
    assert failed.stdout == ""
    unknown = xp("ask", "ecko", "x")
    assert "no listener 'ecko'" in unknown.stderr
    assert "did you mean 'echo'" in unknown.stderr


def test_what_was_said_is_shown(folder: Path, xp: Callable[..., Done]) -> None:
    xp("ask", "echo", "hello")
    xp("ask", "echo", "fail")
    xp("ask", "anna", "sign this", "--timeout", "0.2")
    log = xp("log").stdout.splitlines()
    assert len(log) == 3
    assert "outside → echo" in log[0]
    assert len(xp("log", "--listener", "anna").stdout.splitlines()) == 1
    assert len(xp("log", "-n", "2").stdout.splitlines()) == 2
    first, second, third = (each["id"] for each in json.loads(xp("log", "--json").stdout))
    assert "<Word><text>hello</text></Word>" in xp("show", first).stdout
    assert "ValueError: as asked" in xp("show", second[:8]).stdout
    assert "asked" in xp("show", third).stdout
    assert [each["what"] for each in json.loads(xp("show", first, "--json").stdout)] == ["sent", "answered"]
    dead = xp("dead", "list").stdout
    assert "its thread has ended" in dead
    (letter,) = json.loads(xp("dead", "list", "--json").stdout)
    assert (letter["number"], letter["to"]) == (1, "anna")
    assert dead.startswith("   1  ")
    assert xp("journal", "check").stdout == "3 conversations, 7 steps: ok\n"


def test_what_cannot_be_shown_is_said(folder: Path, xp: Callable[..., Done]) -> None:
    assert "there is no journal" in xp("log").stderr
    xp("ask", "echo", "hello")
    assert "no conversation begins with 'zzz'" in xp("show", "zzz").stderr
    xp("ask", "echo", "hello")
    assert "several conversations begin with ''" in xp("show", "").stderr
    assert "is no journal that this version reads" in xp("log", "--journal", "other.db").stderr or (
        "there is no journal" in xp("log", "--journal", "other.db").stderr
    )
    (folder / "organism.yaml").write_text(ORGANISM.replace(", journal: state.db", ""))
    assert "names no journal" in xp("log").stderr
    assert "3 conversations" not in xp("log", "--journal", "state.db").stdout
    assert xp("log", "--journal", "state.db").returncode == 0
    assert "a key= needs a journal" in xp("ask", "echo", "x", "--key", "k").stderr


def test_a_damaged_journal_is_told(folder: Path, xp: Callable[..., Done]) -> None:
    xp("ask", "echo", "hello")
    vandal = sqlite3.connect("state.db")
    vandal.execute("UPDATE steps SET events = x'00' WHERE seq > 0")
    vandal.commit()
    vandal.close()
    checked = xp("journal", "check")
    assert checked.returncode == 1
    assert "is changed: event 2 is not what was written" in checked.stdout
    assert "1 fault" in checked.stdout


def test_what_was_said_is_shown_with_what_it_cost(folder: Path, xp: Callable[..., Done]) -> None:
    (folder / "organism.yaml").write_text(
        "organism: {name: demo, journal: state.db}\n"
        "llm:\n"
        "  models: {smart: m}\n"
        "  prices: {m: {input: 10, output: 20}}\n"
        "  backends:\n"
        "    - {provider: scripted, supported_models: [m], rules: [{reply: hello}]}\n"
        "listeners:\n"
        "  - {name: agent, agent: true, model: smart, prompt: You answer.}\n"
    )
    assert xp("ask", "agent", "good day").returncode == 0
    (conversation,) = json.loads(xp("log", "--json").stdout)
    shown = xp("show", conversation["id"][:8]).stdout
    assert "model     agent → scripted  m  " in shown
    (model,) = [
        each
        for each in json.loads(xp("show", conversation["id"], "--json").stdout)
        if each["what"] == "model"
    ]
    assert "tokens, 0.00" in model["content"]
    assert model["content"].endswith("USD")
