"""Budgets of doors and of who comes through them: for what comes in there, durable, and begun anew as others are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Done, xp  # noqa: F401 - a fixture
from tests.cli.folders import inside
from xml_pipeline import Organism
from xml_pipeline.errors import AnswerError

Xp = Callable[..., Done]

ORGANISM = """
organism: {name: demo%s, doors: {front: {budget: [{tokens: 5000}, {tokens: 2500, per: conversation}]}, side: {}}}
listeners:
  - {name: front, agent: true, model: small, prompt: "Pass it on.", peers: [writer], max_tokens: 100}
  - {name: side, agent: true, model: small, prompt: "Write.", max_tokens: 100}
  - {name: writer, agent: true, model: small, prompt: "Write.", max_tokens: 100}
triggers:
  - {name: nightly, every: 12h, to: front, send: write, budget: {tokens: 2500, per: run}}
  - {name: aside, every: 12h, to: side, send: write, budget: {tokens: 100000}}
llm:
  %s
  backends:
    - provider: scripted
      supported_models: [small]
      rules: [{reply: "Done.", usage: {prompt_tokens: 900, completion_tokens: 100}}]
"""


@pytest.fixture(params=["journal", "ledger"])
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    keys = (", journal: state.db", "") if request.param == "journal" else ("", "ledger: state.db")
    return inside(tmp_path, monkeypatch, {"organism.yaml": ORGANISM % keys})


def caps(xp: Xp) -> dict[tuple[str, str], Any]:  # noqa: F811
    """What is spent, by scope and period."""
    rows = json.loads(xp("llm", "caps", "list", "--json").stdout)
    return {(each["scope"], each["per"]): each["spent"] for each in rows}


async def came(organism: Organism, door: str, caller: str) -> str:
    """What becomes of a task that somebody brings through a door: its answer, or the code of the error."""
    try:
        return str((await organism.doors.visitor(door, caller).ask({"Task": {"text": "x"}})).text)
    except AnswerError as error:
        return error.code


async def test_what_comes_in_is_charged_to_the_door_and_to_who_brings_it(folder: Path, xp: Xp) -> None:  # noqa: F811
    async with Organism.from_file("organism.yaml") as organism:
        assert await came(organism, "front", "trigger:nightly") == "Done."
        assert await came(organism, "side", "trigger:aside") == "Done."
        await organism.ask("front", {"Task": {"text": "x"}})  # Python comes through no door
        told = await asyncio.to_thread(caps, xp)
    scopes = ("door front", "caller trigger:nightly", "caller trigger:aside")
    assert [told[scope, "run"] for scope in scopes] == [1000] * 3
    assert ("door front", "conversation") in told
    for by, names in (("caller", {"trigger:nightly", "trigger:aside", ""}), ("door", {"front", "side", ""})):
        rows = json.loads(xp("llm", "cost", "--by", by, "--json").stdout)["rows"]
        assert {each[by]: each["input_tokens"] for each in rows} == dict.fromkeys(names, 900)


async def test_it_refuses_what_comes_in_there_and_nothing_else(folder: Path) -> None:
    async with Organism.from_file("organism.yaml") as organism:
        said = [await came(organism, "front", "gateway:key") for _ in range(6)]
        done = said.count("Done.")
        assert said == ["Done."] * done + said[done:]
        assert 2 <= done <= 5
        assert said[done:] == ["budget"] * (6 - done)
        assert await came(organism, "side", "gateway:key") == "Done."
        assert (await organism.ask("front", {"Task": {"text": "x"}})).text == "Done."


async def test_who_brings_it_has_a_budget_of_its_own(folder: Path) -> None:
    async with Organism.from_file("organism.yaml") as organism:
        said = [await came(organism, "front", "trigger:nightly") for _ in range(4)]
        assert said[-1] == "budget"
        assert await came(organism, "front", "trigger:aside") == "Done."


async def test_it_is_begun_anew_in_the_organism_that_runs(folder: Path, xp: Xp) -> None:  # noqa: F811
    async with Organism.from_file("organism.yaml") as organism:
        while (said := await came(organism, "front", "trigger:nightly")) == "Done.":
            pass
        assert said == "budget"
        spent = (await asyncio.to_thread(caps, xp))["caller trigger:nightly", "run"]
        assert spent >= 1000
        assert (await asyncio.to_thread(caps, xp))["door front", "run"] == spent
        done = await asyncio.to_thread(xp, "llm", "caps", "reset", "caller", "trigger:nightly")
        assert done.returncode == 0, done.stderr
        told = await asyncio.to_thread(caps, xp)
        assert (told["caller trigger:nightly", "run"], told["door front", "run"]) == (0, spent)
        assert await came(organism, "front", "trigger:nightly") == "Done."
        amended = await asyncio.to_thread(xp, "llm", "amend", "1", "--tokens", "100,0")
        assert amended.returncode == 0, amended.stderr
        assert (await asyncio.to_thread(caps, xp))["door front", "run"] == spent + 1000 - 900


async def test_the_next_life_goes_on_with_it(folder: Path) -> None:
    text = (folder / "organism.yaml").read_text().replace("{tokens: 5000}", "{tokens: 5000, per: month}")
    (folder / "organism.yaml").write_text(text)
    done = 0
    for _ in range(3):
        async with Organism.from_file("organism.yaml") as organism:
            said = [await came(organism, "front", "gateway:key") for _ in range(2)]
            done += said.count("Done.")
    assert 2 <= done <= 5
    assert said[-1] == "budget"


def test_a_door_without_a_budget_has_none(folder: Path, xp: Xp) -> None:  # noqa: F811
    refused = xp("llm", "caps", "reset", "door", "side")
    assert refused.returncode == 1
    assert "there is no budget of 'door side'" in refused.stderr
