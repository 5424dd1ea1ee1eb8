"""A limit that a handler sets for its thread holds in every life, with what was spent below it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.journal.lives import killed
from tests.journal.test_recovery import came_to, finished
from tests.pump.scenes import Answer, Question, call, respond
from xml_pipeline import HandlerMetadata, Organism
from xml_pipeline.errors import BudgetExceededError
from xml_pipeline.journal.file import looked_at
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.llm import Budget, Budgets, Router, complete, get_router
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.pump import listener

USAGE = {"prompt_tokens": 400, "completion_tokens": 100}


class Firm:
    """A clerk that limits its thread, asks a model and a helper, and asks the model again when that has answered."""

    def __init__(self, path: Path, *, again: bool) -> None:
        self.path = path
        self.again = again
        self.model = ScriptedBackend(rules=(Rule(reply="x", usage=USAGE),))
        self.open = False
        self.helped = False  # then all that led to it is durable
        self.told: list[str] = []

    def limit(self, metadata: HandlerMetadata) -> None:
        get_router().set_thread_budget(metadata.thread_id, Budget(tokens=590), Budget(usd=1, per="day"))

    async def clerk(self, payload: Question | Answer, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Question):
            await self.asked("before the limit")
            self.limit(metadata)
            await self.asked("first")
            return call(Question("?"), to="helper")
        if self.again:
            self.limit(metadata)
        await self.asked("second")
        return respond(Answer("done"))

    async def helper(self, payload: Question, metadata: HandlerMetadata) -> Any:
        self.helped = True
        await came_to(lambda: self.open)
        return respond(Answer("!"))

    async def asked(self, text: str) -> None:
        try:
            await complete("m", text, max_tokens=100)
        except BudgetExceededError as error:
            self.told.append(f"{text}: {error.scope.split()[0]} {error.limit:g} {error.spent:g}")
        else:
            self.told.append(text)

    def organism(self, budgets: Budgets | None = None) -> Organism:
        both = [listener("clerk", self.clerk, peers=["helper"]), listener("helper", self.helper)]
        router = Router([self.model], budgets=budgets)
        return Organism("firm", both, journal=SqliteJournal(self.path), router=router, shutdown_seconds=0)

    def limits(self) -> list[tuple[Any, ...]]:
        with closing(looked_at(self.path)) as journal:
            return journal.execute("SELECT * FROM limits").fetchall()


@pytest.mark.parametrize("dies", [True, False], ids=["killed", "stopped"])
@pytest.mark.parametrize("again", [True, False], ids=["set again", "not set again"])
@pytest.mark.parametrize("budgets", [None, Budgets(thread=[Budget(tokens=10_000)])], ids=["alone", "beside"])
async def test_it_holds_in_the_next_life(
    tmp_path: Path, dies: bool, again: bool, budgets: Budgets | None
) -> None:
    firm = Firm(tmp_path / "state.db", again=again)
    async with firm.organism(budgets) as organism:
        await organism.send("clerk", Question("x"))
        await came_to(lambda: firm.helped)
        if dies:
            firm.path = killed(firm.path)
    assert len(firm.limits()) == 1
    firm.open = True
    async with firm.organism(budgets) as organism:
        await finished(organism)
    assert firm.told == ["before the limit", "first", "second: thread 590 500"]
    assert len(firm.model.requests) == 2
    assert firm.limits() == []


async def test_of_a_conversation_that_is_over_none_is_left(tmp_path: Path) -> None:
    firm = Firm(tmp_path / "state.db", again=False)
    async with firm.organism() as organism:
        name = await organism.send("clerk", Question("x"))
        await came_to(lambda: firm.helped)
        assert len(firm.limits()) == 1
        await organism.cancel(name)
        await came_to(lambda: not firm.limits())
