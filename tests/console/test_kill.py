"""`/kill` in a terminal: the process dies in the middle of an answer, and the conversation goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.console.processes import ROOT, run
from tests.console.real_terminal import CTRL_D, ENTER, RealTerminal

ORGANISM = """
organism: {name: library, default: reader%s}
listeners:
  - {name: shelf, handler: handlers:shelf, description: Looks a subject up.}
  - {name: reader, agent: true, model: offline, description: Reads., prompt: Read., peers: [shelf]}
llm:
  models: {}
  backends:
    - provider: scripted
      name: offline
      supported_models: [offline]
      rules:
        - {on: tool, match: 'tides: .*', reply: 'They say \\g<0>'}
        - {tool: shelf, arguments: {subject: tides}}
"""
HANDLERS = """
from asyncio import sleep
from dataclasses import dataclass

from xml_pipeline import HandlerMetadata, HandlerResponse, xmlify


@xmlify
@dataclass
class Search:
    \"\"\"A subject to look up.\"\"\"

    subject: str


async def shelf(payload: Search, metadata: HandlerMetadata) -> HandlerResponse:
    if metadata.attempt < 3:
        await sleep(1000)
    return HandlerResponse.respond(Search(f"{payload.subject}: asked {metadata.attempt} times"))
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "handlers.py").write_text(HANDLERS)
    (folder / "organism.yaml").write_text(ORGANISM % ", journal: state.db")
    (folder / "forgetful.yaml").write_text(ORGANISM % "")
    return folder


def talking(library: Path, file: str = "organism.yaml") -> RealTerminal:
    arguments = ("-m", "xml_pipeline.cli", "run", str(library / file))
    return RealTerminal(library, *arguments, PYTHONPATH=str(ROOT))


def test_the_question_is_answered_nothing_is_asked_anew_and_nothing_paid_twice(library: Path) -> None:
    with talking(library) as terminal:
        process = terminal.process.pid
        terminal.until("in flight")
        terminal.type("What is known of tides?" + ENTER)
        terminal.until("reader → shelf")
        for death in range(2):
            terminal.type("/kill" + ENTER)
            terminal.until("killed; starting again")
            terminal.until("reader #1 goes on: What is known of tides?")
            terminal.until("reader → shelf" if not death else "They say tides: asked 3 times")
        terminal.until("> ")
        terminal.type("/usage" + ENTER)
        terminal.until("1 call,")  # the second turn; the first was answered in an earlier life
        terminal.until("> ")
        terminal.type(CTRL_D)
        assert terminal.end() == 0
        assert terminal.process.pid == process
    done = run("-m", "xml_pipeline.cli", "log", "--journal", str(library / "state.db"), state=library)
    assert len(done.stdout.splitlines()) == 1
    assert "open" not in done.stdout


def test_it_works_without_prompt_toolkit_too(library: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "prompt_toolkit"
    blocked.mkdir()
    (blocked / "__init__.py").write_text("raise ImportError('not installed')")
    arguments = ("-m", "xml_pipeline.cli", "run", str(library / "organism.yaml"))
    with RealTerminal(library, *arguments, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}") as terminal:
        terminal.until("> ")
        terminal.type("/kill\n")
        terminal.until("killed; starting again")
        terminal.until("> ")
        terminal.type("/status\n")
        terminal.until("0 conversations")
        terminal.until("> ")
        terminal.type(CTRL_D)
        assert terminal.end() == 0


def test_without_a_journal_it_says_what_it_would_lose_and_which_line_keeps_it(library: Path) -> None:
    with talking(library, "forgetful.yaml") as terminal:
        terminal.until("in flight")
        terminal.type("What is known of tides?" + ENTER)
        terminal.until("reader → shelf")
        terminal.type("/kill" + ENTER)
        terminal.until("/kill would lose 1 open conversation for good")
        terminal.until("journal: state.db")
        terminal.until("1 in flight")


def test_a_script_is_not_killed(library: Path) -> None:
    done = run(
        *("-m", "xml_pipeline.cli", "run", str(library / "organism.yaml")),
        state=library,
        text="/kill\n/status\n",
        env={"PYTHONPATH": str(ROOT)},
    )
    assert "/kill is for a person at a terminal" in done.stderr
    assert "library" in done.stdout
    assert done.returncode == 1
