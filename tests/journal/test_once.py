"""Parts of handlers that are done once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.journal.test_recovery import came_to
from tests.pump.scenes import Answer, Question, respond
from xml_pipeline import AnswerError, HandlerMetadata, Organism, once
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import listener


class Bank:
    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.charges: list[str] = []
        self.stuck = ""
        self.fails = 0
        self.value: Any = {"receipt": 1}

    async def charge(self) -> Any:
        self.charges.append("charge")
        if self.stuck == "in the charge":
            await asyncio.Event().wait()
        if self.fails:
            self.fails -= 1
            raise ConnectionError("the bank is away")
        return self.value

    async def till(self, payload: Question, metadata: HandlerMetadata) -> Any:
        first = await once("charge", self.charge)
        if self.stuck == "after the charge":
            self.charges.append("waits")
            await asyncio.Event().wait()
        return respond(Answer(str(first)))

    def organism(self, retries: int = 0) -> Organism:
        journal = None if self.path is None else SqliteJournal(self.path)
        one = listener("till", self.till, retries=retries)
        return Organism("bank", [one], journal=journal, shutdown_seconds=0)


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path / "state.db")


async def test_what_was_done_is_not_done_again(bank: Bank) -> None:
    bank.stuck = "after the charge"
    async with bank.organism() as organism:
        await organism.send("till", Question("x"), key="k")
        await came_to(lambda: "waits" in bank.charges)
    bank.stuck = ""
    async with bank.organism() as organism:
        assert await organism.ask("till", Question("x"), key="k") == Answer("{'receipt': 1}")
        assert await organism.ask("till", Question("x"), key="another") == Answer("{'receipt': 1}")
    assert bank.charges == ["charge", "waits", "charge"]


async def test_what_had_begun_is_told_and_not_done_again(bank: Bank) -> None:
    bank.stuck = "in the charge"
    async with bank.organism() as organism:
        await organism.send("till", Question("x"), key="k")
        await came_to(lambda: bank.charges)
    bank.stuck = ""
    async with bank.organism() as organism:
        with pytest.raises(AnswerError, match="whether it was done is not known") as error:
            await organism.ask("till", Question("x"), key="k")
        assert error.value.code == "interrupted"
    assert bank.charges == ["charge"]


async def test_what_failed_may_be_tried_again(bank: Bank) -> None:
    bank.fails = 1
    async with bank.organism(retries=1) as organism:
        assert await organism.ask("till", Question("x")) == Answer("{'receipt': 1}")
    assert bank.charges == ["charge", "charge"]


async def test_what_cannot_be_kept_is_said(bank: Bank) -> None:
    bank.value = object()
    async with bank.organism() as organism:
        with pytest.raises(AnswerError, match="TypeError"):
            await organism.ask("till", Question("x"))


async def test_without_a_journal_it_is_done(bank: Bank) -> None:
    bank.path = None
    async with bank.organism() as organism:
        assert await organism.ask("till", Question("x")) == Answer("{'receipt': 1}")


async def test_the_same_part_twice_at_once_is_done_once(bank: Bank) -> None:
    async def twice(payload: Question, metadata: HandlerMetadata) -> Any:
        both = await asyncio.gather(once("charge", bank.charge), once("charge", bank.charge))
        return respond(Answer(str(both)))

    assert bank.path is not None
    async with Organism("bank", [listener("till", twice)], journal=SqliteJournal(bank.path)) as organism:
        for _ in range(20):
            answer = await organism.ask("till", Question("x"))
            assert answer == Answer("[{'receipt': 1}, {'receipt': 1}]")
    assert len(bank.charges) == 20


@pytest.mark.parametrize(
    "key", ["", "a\nb", "\ud800", 5, ["a"], None], ids=["empty", "lines", "half", "number", "list", "none"]
)
@pytest.mark.parametrize("journal", [True, False])
async def test_a_part_has_a_name(bank: Bank, key: Any, journal: bool) -> None:
    async def till(payload: Question, metadata: HandlerMetadata) -> Any:
        return respond(Answer(await once(key, bank.charge)))

    found = SqliteJournal(bank.path) if journal and bank.path else None
    async with Organism("bank", [listener("till", till)], journal=found) as organism:
        with pytest.raises(AnswerError, match="failed with ValueError"):
            await organism.ask("till", Question("x"))
    assert bank.charges == []


async def test_a_unit_test_may_call_a_handler_with_parts(bank: Bank) -> None:
    assert await once("charge", bank.charge) == {"receipt": 1}
    assert await once("charge", bank.charge) == {"receipt": 1}
    assert bank.charges == ["charge", "charge"]
