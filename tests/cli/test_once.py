"""`run --once`: unattended, in processes of its own; the exit code says what became of it, as that of `ask`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import XP
from tests.cli.test_talk import ENVELOPE
from tests.console.processes import ROOT, run

ORGANISM = """
organism: {name: night, journal: state.db, default: writer, shutdown_seconds: 0}
listeners:
  - {name: writer, agent: true, model: small, prompt: "Write.", max_tokens: 100}
  - {name: failing, agent: true, model: broken, prompt: "Write.", max_tokens: 100}
llm:
  retries: 0
  backends:
    - provider: scripted
      supported_models: [small]
      rules: [{reply: "Done.", usage: {prompt_tokens: 900, completion_tokens: 100}}]
    - {provider: scripted, supported_models: [broken], rules: [{error: ServerError}]}
  budgets: {organism: {tokens: 2050, per: month}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "organism.yaml").write_text(ORGANISM)
    return tmp_path


def xp(folder: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return run(*XP, *arguments, state=folder, cwd=folder, env={"PYTHONPATH": str(ROOT)}, text=text)


def test_a_job_runs_each_night_until_the_month_has_no_more(folder: Path) -> None:
    ends = [xp(folder, "run", "--once", "Tidy up", "--key", f"night {night}") for night in range(3)]
    assert [(each.returncode, each.stdout) for each in ends] == [(0, "Done.\n"), (0, "Done.\n"), (3, "")]
    assert "budget" in ends[2].stderr
    again = xp(folder, "run", "--once", "Tidy up", "--key", "night 1")
    assert (again.returncode, again.stdout) == (0, "Done.\n"), "what was answered costs nothing again"


def test_an_error_is_another_code_and_ask_and_send_have_the_same_ones(folder: Path) -> None:
    assert xp(folder, "run", "--once", "x", "--to", "failing").returncode == 1
    assert xp(folder, "ask", "failing", "x").returncode == 1
    assert xp(folder, "llm", "ask", "small", "x", "--max-tokens", "2600").returncode == 3
    assert xp(folder, "ask", "writer", "x").returncode == 0
    assert xp(folder, "ask", "writer", "y").returncode == 0
    assert xp(folder, "ask", "writer", "z").returncode == 3
    envelope = ENVELOPE.format(to="<to>writer</to>", payload='<Task xmlns=""><text>z</text></Task>')
    assert xp(folder, "send", "-", text=envelope).returncode == 3


def test_whom_to_ask_is_said_or_the_default(folder: Path) -> None:
    (folder / "organism.yaml").write_text(ORGANISM.replace("default: writer, ", ""))
    done = xp(folder, "run", "--once", "x")
    assert (done.returncode, done.stdout) == (1, "")
    assert "say --to LISTENER" in done.stderr
    assert xp(folder, "run", "--once", "x", "--to", "writer").stdout == "Done.\n"
    assert "no listener 'nobody'" in xp(folder, "run", "--once", "x", "--to", "nobody").stderr
    assert "--to goes with --once TASK" in xp(folder, "run", "--to", "writer").stderr
