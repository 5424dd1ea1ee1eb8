"""What fires by itself, from the command line: it is told, armed by `run`, left alone, and fired by hand."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from tests.cli.conftest import Done
from tests.cli.folders import inside
from tests.journal.test_recovery import came_to
from xml_pipeline import Organism
from xml_pipeline.arming.armed import Armed
from xml_pipeline.console import plain
from xml_pipeline.console.renewal import Renewal
from xml_pipeline.console.stdin import LineReader

Xp = Callable[..., Done]

ORGANISM = """\
organism: {name: demo, journal: state.db, default: desk, doors: [desk], webhooks: {port: 0}}
listeners:
  - {name: desk, agent: true, model: m, peers: [vault]}
  - {name: vault, agent: true, model: m}
triggers:
  - name: morning
    cron: 0 7 * * MON-FRI
    zone: Europe/Zurich
    to: desk
    send: What is new
    budget: {usd: 1, per: day}
  - {name: often, every: 12h, to: desk, send: {Task: {text: "fail"}}, budget: {usd: 1, per: day}}
  - {name: hook, webhook: {path: /hooks/a, secret_env: HOOK_SECRET}, to: desk, budget: {usd: 1, per: day}}
llm:
  backends:
    - provider: scripted
      rules: [{reply: "Nothing is new."}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOOK_SECRET", "s" * 24)

    return inside(tmp_path, monkeypatch, {"organism.yaml": ORGANISM})


@pytest.fixture
def typed(folder: Path, xp: Xp, monkeypatch: pytest.MonkeyPatch) -> Xp:
    """A command whose input is a file of what is typed."""

    def call(*arguments: str, text: str = "") -> Done:
        (folder / "typed").write_text(text)
        with (folder / "typed").open() as lines:
            monkeypatch.setattr("sys.stdin", lines)
            return xp(*arguments)

    return call


def test_run_says_what_is_armed_and_quits_when_told(typed: Xp) -> None:
    done = typed("run", text="@desk hi\n/quit\n")
    assert done.returncode == 0
    assert "Nothing is new." in done.stdout
    armed = [each for each in done.stderr.splitlines() if each.startswith("armed: ")]
    assert len(armed) == 3
    assert armed[0].startswith("armed: morning → desk, ")
    assert armed[0].endswith(" 07:00 Europe/Zurich")
    assert armed[1].endswith(":00 UTC")
    assert armed[2].startswith("armed: hook → desk, POST http://127.0.0.1:")
    assert armed[2].endswith("/hooks/a")


def test_no_triggers_arms_none(typed: Xp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK_SECRET")
    done = typed("run", "--no-triggers", text="@desk hi\n")
    assert done.returncode == 0
    assert "armed" not in done.stderr
    refused = typed("run", text="@desk hi\n")
    assert refused.returncode == 1
    assert "the webhook 'hook' has no secret: set the environment variable HOOK_SECRET" in refused.stderr


def test_once_arms_none(folder: Path, xp: Xp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK_SECRET")
    assert xp("run", "--once", "hi").stdout == "Nothing is new.\n"


async def test_without_a_person_it_stays_when_its_input_ends(folder: Path) -> None:
    organism, out, err = Organism.from_file("organism.yaml"), StringIO(), StringIO()
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        async with organism, Armed(organism, port=0) as armed:
            running = asyncio.create_task(plain.run(organism, LineReader(nothing), out, err, armed=armed))
            await came_to(lambda: plain.STAYS in err.getvalue())
            assert not running.done()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert await plain.run(organism, LineReader(nothing), out, err) == 0  # nothing is armed
            renewal, again = Renewal(lambda: False, lambda: organism), StringIO()
            renewal.times = 1  # it took another one's place: of what a person knows nothing is told again
            running = asyncio.create_task(
                plain.run(organism, LineReader(nothing), out, again, armed=armed, renewal=renewal)
            )
            await came_to(lambda: plain.STAYS in again.getvalue())
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert "armed: morning" in again.getvalue()
            assert "/help" not in again.getvalue()
    finally:
        os.close(nothing)


def test_list(folder: Path, xp: Xp) -> None:
    rows = xp("triggers", "list").stdout.splitlines()
    assert rows[0].split() == ["TRIGGER", "DOOR", "NEXT"]
    assert [row.split()[:2] for row in rows[1:]] == [["morning", "desk"], ["often", "desk"], ["hook", "desk"]]
    told = json.loads(xp("triggers", "list", "--json").stdout)
    assert told[2] == {"trigger": "hook", "door": "desk", "next": "POST /hooks/a"}
    (folder / "organism.yaml").write_text("organism: {name: demo}\n")
    assert xp("triggers", "list").stdout == "no triggers: add some under `triggers:` in organism.yaml\n"


def test_fire_alone_prints_the_answer(folder: Path, xp: Xp) -> None:
    done = xp("triggers", "fire", "morning")
    assert (done.returncode, done.stdout) == (0, "Nothing is new.\n")
    log = xp("log").stdout
    assert "trigger:morning" in log


def test_fire_what_cannot(folder: Path, xp: Xp) -> None:
    for name, said in (("mornin", "did you mean 'morning'?"), ("hook", "comes with its deliveries")):
        done = xp("triggers", "fire", name)
        assert done.returncode == 1
        assert said in done.stderr


def test_a_budget_that_is_used_up_ends_it(folder: Path, xp: Xp) -> None:
    text = (folder / "organism.yaml").read_text().replace("send: What is new\n    budget: {usd: 1, per: day}",
                                                          "send: What is new\n    budget: {tokens: 1}")  # fmt: skip
    (folder / "organism.yaml").write_text(text)
    done = xp("triggers", "fire", "morning")
    assert done.returncode == 3
    assert done.stdout == ""


async def test_fire_through_the_organism_that_runs(folder: Path, xp: Xp) -> None:
    async with Organism.from_file("organism.yaml") as organism:
        done = await asyncio.to_thread(xp, "triggers", "fire", "morning")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("trigger morning has fired: conversation ")
        conversation_id = done.stdout.split()[-1]
        assert (await organism.join(conversation_id)).text == "Nothing is new."


def test_what_is_told_of_doors(typed: Xp, xp: Xp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK_SECRET")
    checked = xp("check").stdout
    assert "  doors: desk\n" in checked
    assert "  trigger morning → desk: " in checked
    assert "note: the webhook 'hook' has no secret yet: set HOOK_SECRET\n" in checked
    assert "door: triggers may reach it" in xp("describe", "desk").stdout
    assert "door: " not in xp("describe", "vault").stdout
    drawn = xp("graph").stdout
    assert drawn.count("door") == 1
    shown = typed("run", "--no-triggers", text="/status\n/listeners\n").stdout
    assert "doors         desk" in shown
    assert "agent (default, door)" in shown
