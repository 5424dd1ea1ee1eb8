"""`llm caps` and `llm amend`: the budgets of an organism that runs follow at once, and those of the next life."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Done, xp  # noqa: F401 - a fixture
from tests.cli.folders import inside
from tests.door.test_processes import hosted
from xml_pipeline import Organism
from xml_pipeline.errors import AnswerError

Xp = Callable[..., Done]

ORGANISM = """
organism: {name: demo, shutdown_seconds: 0%s}
listeners:
  - {name: writer, agent: true, model: small, prompt: "Write.", max_tokens: 100}
llm:
  %s
  backends:
    - provider: scripted
      supported_models: [small]
      rules: [{reply: "Done.", usage: {prompt_tokens: 900, completion_tokens: 100}}]
  prices: {small: {input: 1000, output: 1000}}
  budgets:
    organism: {tokens: 100000, per: month}
    agents: {"w*": [{tokens: 3000, per: day}, {tokens: 50000}]}
"""


@pytest.fixture(params=["journal", "ledger"])
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    keys = (", journal: state.db", "") if request.param == "journal" else ("", "ledger: state.db")
    (tmp_path / "organism.yaml").write_text(ORGANISM % keys)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return inside(tmp_path, monkeypatch, {"organism.yaml": ORGANISM % keys})


def spent(xp: Xp, scope: str, per: str) -> Any:  # noqa: F811
    """Of tokens, as `llm caps list` tells it."""
    rows = json.loads(xp("llm", "caps", "list", "--json").stdout)
    (found,) = [each["spent"] for each in rows if (each["scope"], each["per"]) == (scope, per)]
    return found


async def asked(organism: Organism) -> str:
    task = organism.listeners["writer"].requests["Task"].cls
    try:
        return str((await organism.ask("writer", task("x"))).text)
    except AnswerError as error:
        return error.code


async def test_a_running_organism_goes_on_when_its_budget_is_begun_anew(
    folder: Path,
    xp: Xp,  # noqa: F811
) -> None:
    async with Organism.from_file("organism.yaml") as organism:
        said = [await asked(organism) for _ in range(3)]
        while "budget" not in said:
            said.append(await asked(organism))
        calls = said.index("budget")
        assert await asyncio.to_thread(spent, xp, "agent writer", "day") == 1000 * calls
        done = await asyncio.to_thread(xp, "llm", "caps", "reset", "agent", "writer", "--per", "day")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(
            f"agent writer, this day: {900 * calls:,} input and {100 * calls:,} output"
        )
        assert await asked(organism) == "Done."
        assert await asyncio.to_thread(spent, xp, "agent writer", "day") == 1000
        assert await asyncio.to_thread(spent, xp, "agent writer", "run") == 1000 * (calls + 1)
        assert await asyncio.to_thread(spent, xp, "organism", "month") == 1000 * (calls + 1)
    assert await asyncio.to_thread(spent, xp, "agent writer", "day") == 1000
    assert await asyncio.to_thread(spent, xp, "agent writer", "run") == 0
    async with Organism.from_file("organism.yaml") as organism:
        assert await asked(organism) == "Done."


async def test_a_call_that_is_put_right_counts_so_at_once_and_in_the_next_life(
    folder: Path,
    xp: Xp,  # noqa: F811
) -> None:
    async with Organism.from_file("organism.yaml") as organism:
        assert await asked(organism) == "Done."
        done = await asyncio.to_thread(xp, "llm", "amend", "1", "--tokens", "2950,50", "--usd", "0.25")
        assert done.stdout == (
            "call 1: 2,950 input and 50 output tokens, $0.2500; it was 900 input and 100 output tokens, $1.00\n"
        )
        assert await asked(organism) == "budget"
    async with Organism.from_file("organism.yaml") as organism:
        assert await asked(organism) == "budget"
        assert (await asyncio.to_thread(xp, "llm", "amend", "1", "--tokens", "0,0")).returncode == 0
        assert await asked(organism) == "Done."
    shown = await asyncio.to_thread(xp, "llm", "calls")
    assert "amended" in shown.stdout


def test_a_death_takes_nothing_back(folder: Path, xp: Xp) -> None:  # noqa: F811
    with hosted(folder) as host:
        assert xp("ask", "writer", "x").returncode == 0
        assert xp("llm", "caps", "reset", "agent", "writer").returncode == 0
        assert xp("ask", "writer", "x").returncode == 0
        host.send_signal(signal.SIGKILL)
        host.wait()
        for _ in range(2):
            assert spent(xp, "agent writer", "day") == spent(xp, "agent writer", "run") == 1000
            assert xp("llm", "amend", "1", "--usd", "0").returncode == 0
    with hosted(folder):
        assert spent(xp, "agent writer", "run") == 1000


async def test_nobody_runs_and_it_is_the_same(folder: Path, xp: Xp) -> None:  # noqa: F811
    async with Organism.from_file("organism.yaml") as organism:
        assert await asked(organism) == "Done."
    done = await asyncio.to_thread(xp, "llm", "caps", "reset", "organism")
    assert done.stdout.startswith("organism, this month: 900 input")
    assert await asyncio.to_thread(spent, xp, "organism", "month") == 0
    assert await asyncio.to_thread(spent, xp, "agent writer", "day") == 1000


def test_what_is_no_budget_is_refused_before_anything_is_written(folder: Path, xp: Xp) -> None:  # noqa: F811
    assert "there is no budget of 'agent nobody'" in xp("llm", "caps", "reset", "agent", "nobody").stderr
    wrong = xp("llm", "caps", "reset", "organism", "--per", "day").stderr
    assert "there is no budget of 'organism' per day; those that it has are per month" in wrong
    assert "say what is right" in xp("llm", "amend", "1").stderr
    assert xp("llm", "amend", "1", "--usd", "-1").returncode == 2
    assert xp("llm", "amend", "1", "--tokens", "5").returncode == 2
    assert "there is no journal" in xp("llm", "amend", "1", "--usd", "1").stderr
    assert not (folder / "state.db").exists()


def test_before_anything_was_spent_all_is_left(folder: Path, xp: Xp) -> None:  # noqa: F811
    head, first, *globs = xp("llm", "caps", "list").stdout.splitlines()
    assert head.split()[:2] == ["SCOPE", "PER"]
    assert first.split()[:6] == ["organism", "month", "100,000", "tokens", "0", "100,000"]
    assert [row.split()[:3] for row in globs] == [["each", "agent", "w*"]] * 2
