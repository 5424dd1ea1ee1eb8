"""`run --once`: unattended; the exit code says what became of it, as that of `ask`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import XP, Done
from tests.cli.folders import inside
from tests.cli.test_talk import ENVELOPE
from tests.console.processes import ROOT, run

Xp = Callable[..., Done]

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
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return inside(tmp_path, monkeypatch, {"organism.yaml": ORGANISM})


def test_a_job_runs_each_night_until_the_month_has_no_more(folder: Path, xp: Xp) -> None:
    ends = [xp("run", "--once", "Tidy up", "--key", f"night {night}") for night in range(3)]
    assert [(each.returncode, each.stdout) for each in ends] == [(0, "Done.\n"), (0, "Done.\n"), (3, "")]
    assert "budget" in ends[2].stderr
    again = ("run", "--once", "Tidy up", "--key", "night 2")
    assert run(*XP, *again, state=folder, cwd=folder, env={"PYTHONPATH": str(ROOT)}).returncode == 3
    again = xp("run", "--once", "Tidy up", "--key", "night 1")
    assert (again.returncode, again.stdout) == (0, "Done.\n"), "what was answered costs nothing again"


def test_an_error_is_another_code_and_ask_and_send_have_the_same_ones(folder: Path, xp: Xp) -> None:
    assert xp("run", "--once", "x", "--to", "failing").returncode == 1
    assert xp("ask", "failing", "x").returncode == 1
    assert xp("llm", "ask", "small", "x", "--max-tokens", "2600").returncode == 3
    assert xp("ask", "writer", "x").returncode == 0
    assert xp("ask", "writer", "y").returncode == 0
    assert xp("ask", "writer", "z").returncode == 3
    envelope = ENVELOPE.format(to="<to>writer</to>", payload='<Task xmlns=""><text>z</text></Task>')
    assert xp("send", "-", text=envelope).returncode == 3


def test_whom_to_ask_is_said_or_the_default(folder: Path, xp: Xp) -> None:
    (folder / "organism.yaml").write_text(ORGANISM.replace("default: writer, ", ""))
    done = xp("run", "--once", "x")
    assert (done.returncode, done.stdout) == (1, "")
    assert "say --to LISTENER" in done.stderr
    assert xp("run", "--once", "x", "--to", "writer").stdout == "Done.\n"
    assert "no listener 'nobody'" in xp("run", "--once", "x", "--to", "nobody").stderr
    assert "--to goes with --once TASK" in xp("run", "--to", "writer").stderr
