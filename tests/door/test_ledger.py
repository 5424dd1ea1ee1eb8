"""An organism with a ledger file and no journal takes requests as one with a journal does."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Done, xp  # noqa: F401 - a fixture
from tests.cli.folders import inside
from tests.cli.test_talk import ENVELOPE
from tests.door.test_processes import asking, hosted
from tests.journal.test_recovery import came_to
from xml_pipeline import Organism
from xml_pipeline.door import reaching
from xml_pipeline.journal.file import looked_at

Xp = Callable[..., Done]

ORGANISM = """
organism: {name: demo, default: writer, shutdown_seconds: 0}
listeners:
  - {name: writer, agent: true, model: small, prompt: "Write.", max_tokens: 100}
  - {name: slow, agent: true, model: sleepy, prompt: "Write.", max_tokens: 100}
llm:
  ledger: usage.db
  backends:
    - {provider: scripted, name: quick, supported_models: [small], rules: [{reply: "Done."}]}
    - {provider: scripted, name: slow, supported_models: [sleepy], rules: [{reply: "Late.", latency: 1000}]}
  budgets: {organism: {tokens: 100000, per: day}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return inside(tmp_path, monkeypatch, {"organism.yaml": ORGANISM})


async def test_who_asks_joins_the_organism_that_has_the_ledger(folder: Path, xp: Xp) -> None:  # noqa: F811
    async with Organism.from_file("organism.yaml") as organism:
        assert await asyncio.to_thread(xp, "ask", "writer", "x") == Done(0, "Done.\n", "")
        assert await asyncio.to_thread(xp, "run", "--once", "x") == Done(0, "Done.\n", "")
        envelope = ENVELOPE.format(to="<to>writer</to>", payload='<Task xmlns=""><text>z</text></Task>')
        (folder / "envelope.xml").write_text(envelope)
        assert "Done." in (await asyncio.to_thread(xp, "send", "envelope.xml")).stdout
        assert organism.router.get_agent_usage("writer").request_count == 3
        assert (await asyncio.to_thread(xp, "llm", "calls")).stdout.count("writer") == 3
    assert (await asyncio.to_thread(xp, "ask", "writer", "x")).stdout == "Done.\n"
    assert (await asyncio.to_thread(xp, "llm", "calls")).stdout.count("writer") == 4
    assert not (folder / "usage.db.run").exists()


@pytest.mark.parametrize("running", [True, False], ids=["running", "alone"])
async def test_a_key_needs_a_journal_and_is_told_so(folder: Path, xp: Xp, running: bool) -> None:  # noqa: F811
    organism = Organism.from_file("organism.yaml")
    if running:
        await organism.start()
    done = await asyncio.to_thread(xp, "ask", "writer", "x", "--key", "k")
    await organism.stop()
    assert (done.returncode, done.stdout) == (1, "")
    assert "a key= needs a journal" in done.stderr


def test_a_death_in_the_middle_is_told_and_counts_as_what_it_may_have_cost(
    folder: Path,
    xp: Xp,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reaching, "RESTART", 0.0)
    with hosted(folder) as host, asking(xp, "ask", "slow", "x") as asked:
        with closing(looked_at(folder / "usage.db")) as ledger:
            while ledger.execute("SELECT count(*) FROM calls").fetchone() == (0,):
                pass
        host.send_signal(signal.SIGKILL)
        done = asked.result(50)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"process {host.pid}, which had the file, went away" in done.stderr
    assert "what models were asked for it may be billed. Look first: `xml-pipeline llm calls`" in done.stderr
    assert xp("ask", "writer", "x").stdout == "Done.\n"
    assert "unknown" in xp("llm", "calls").stdout


async def test_a_stop_is_told_to_who_waits(folder: Path, xp: Xp) -> None:  # noqa: F811
    async with Organism.from_file("organism.yaml") as organism:
        asked = asyncio.ensure_future(asyncio.to_thread(xp, "ask", "slow", "x"))
        await came_to(lambda: organism.status().in_flight)
    done = await asked
    assert (done.returncode, done.stdout) == (1, "")
    assert "stopped" in done.stderr
