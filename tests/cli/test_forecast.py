"""`--dry-run`: what it would cost, and nobody is asked."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Done
from tests.cli.folders import inside
from tests.console.processes import ROOT, environment

ORGANISM = """
organism: {name: demo, default: bot, journal: state.db}
llm:
  models: {smart: {chain: m, max_output_tokens: 100}}
  prices: {m: {input: 10, output: 20}}
  backends: [{provider: scripted, supported_models: [m], rules: [{reply: It is high water.}]}]
listeners:
  - {name: bot, agent: true, model: smart, prompt: You answer.}
  - {name: anna, human: true}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return inside(tmp_path, monkeypatch, {"organism.yaml": ORGANISM})


@pytest.mark.parametrize("command", [("ask", "bot", "When?"), ("run", "--once", "When?")])
def test_it_says_what_it_would_cost_and_asks_nobody(
    folder: Path, xp: Callable[..., Done], command: tuple[str, ...]
) -> None:
    done = xp(*command, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "m at scripted, priced as m" in done.stdout
    assert "at most 100 tokens, in at most 1 turn" in done.stdout
    assert "with a usual one" in done.stdout
    assert "high water" not in done.stdout
    assert not (folder / "state.db").exists()


def test_what_cannot_be_known_is_an_error(folder: Path, xp: Callable[..., Done]) -> None:
    done = xp("ask", "anna", "When?", "--dry-run")
    assert done.returncode == 1
    assert "cannot be known before" in done.stderr
    alone = xp("run", "--dry-run")
    assert alone.returncode == 1
    assert "--dry-run goes with --once TASK" in alone.stderr


def test_the_price_that_nobody_knows_is_no_number(folder: Path, xp: Callable[..., Done]) -> None:
    text = ORGANISM.replace("  prices: {m: {input: 10, output: 20}}\n", "").replace(
        "{provider: scripted,", "{provider: openai-compatible, base_url: 'http://127.0.0.1:9/v1',"
    )
    (folder / "organism.yaml").write_text(text.replace(", rules: [{reply: It is high water.}]", ""))
    done = xp("ask", "bot", "When?", "--dry-run")
    assert "at an unknown price" in done.stdout
    assert "$" not in done.stdout


@pytest.mark.parametrize(("said", "answered"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_in_a_terminal_it_goes_on_when_told_so(folder: Path, said: str, answered: bool) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "xml_pipeline.cli", "ask", "bot", "When?", "--dry-run"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env=environment(folder, PYTHONPATH=str(ROOT)),
    )
    os.close(theirs)
    os.write(ours, said.encode())
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait(30) == 0
    assert b"Proceed? [y/N]" in shown
    assert (b"It is high water." in shown) == answered
