"""The ledger: each try at a model is a row before it is sent, and says afterwards what it came to."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from tests.journal.test_recovery import came_to
from tests.pump.scenes import Answer, Question, respond
from xml_pipeline import HandlerMetadata, Organism
from xml_pipeline.errors import BudgetExceededError, JournalError, OverloadedError
from xml_pipeline.journal.file import read_only
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.llm import Budget, Budgets, LLMRequest, LLMResponse, Price, Router, complete, stream
from xml_pipeline.llm.accounting.periods import Per
from xml_pipeline.llm.completion import Clock
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.pump import listener

DAY = 86_400.0
NOON = 1_790_000_000.0 // DAY * DAY + DAY / 2


class Model(Backend):
    """Looks into the ledger while it is asked."""

    def __init__(self, path: Path, name: str = "model", *, priority: int = 1, fails: int = 0) -> None:
        super().__init__(provider="counting", name=name, supported_models=["m"], priority=priority)
        self.path = path
        self.fails = fails
        self.asked = 0
        self.seen: list[Any] = []
        self.held: asyncio.Event | None = None

    async def _do_completion(self, client: Any, request: LLMRequest) -> LLMResponse:
        self.asked += 1
        self.seen.append(rows(self.path)[-1])
        if self.held is not None:
            await self.held.wait()
        if self.fails:
            self.fails -= 1
            raise OverloadedError("too busy")
        return LLMResponse(
            f"answer {self.asked}",
            "m",
            {"prompt_tokens": 900, "completion_tokens": 100, "cached_tokens": 20, "reasoning_tokens": 10},
            finish_reason="stop",
        )


def rows(path: Path) -> list[dict[str, Any]]:
    with closing(read_only(path)) as journal:
        journal.row_factory = sqlite3.Row
        return [dict(row) for row in journal.execute("SELECT * FROM calls ORDER BY number")]


class World:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = Model(path)
        self.text = "the same"
        self.calls = 1
        self.streams = False
        self.now = NOON
        self.budgets = Budgets()
        self.others: list[Model] = []
        self.stuck: asyncio.Event | None = None

    async def worker(self, payload: Question, metadata: HandlerMetadata) -> Any:
        for _ in range(self.calls):
            if self.streams:
                async for _ in stream("m", self.text, max_tokens=100):
                    pass
            else:
                await complete("m", self.text, max_tokens=100)
        if self.stuck is not None:
            self.stuck.set()
            await asyncio.Event().wait()
        return respond(Answer("done"))

    @asynccontextmanager
    async def life(self, **options: Any) -> AsyncIterator[Organism]:
        router = Router(
            [self.model, *self.others],
            retries=1,
            retry_base_delay=0.001,
            budgets=self.budgets,
            prices={"m": Price(10, 20)},
            clock=Clock(wall=lambda: self.now),
        )
        organism = Organism(
            "world",
            [listener("worker", self.worker, **options)],
            journal=SqliteJournal(self.path, clock=lambda: self.now),
            router=router,
            shutdown_seconds=0,
        )
        async with organism:
            yield organism

    def dies(self) -> None:
        """What is durable now is all that the next life finds: a copy of the files, as a death leaves them."""
        later = self.path.parent / f"{self.path.stem}+.db"
        for ending in ("", "-wal"):
            shutil.copy(f"{self.path}{ending}", f"{later}{ending}")
        self.path = self.model.path = later


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state.db")


@pytest.mark.parametrize("streams", [False, True])
async def test_a_try_is_a_row_before_it_is_sent_and_says_afterwards_what_it_came_to(
    world: World, streams: bool
) -> None:
    world.streams = streams
    async with world.life() as organism:
        await organism.ask("worker", Question("x"))
    (before,) = world.model.seen
    assert (before["backend"], before["model"], before["priced"]) == ("model", "m", "m")
    assert (before["agent"], before["outcome"], before["ended"]) == ("worker", "", None)
    assert before["prompt"] > 0
    assert before["micro_usd"] == before["prompt"] * 10 + before["output"] * 20
    (after,) = rows(world.path)
    counted = (
        "outcome",
        "prompt",
        "output",
        "cached",
        "reasoning",
        "estimated",
        "confirmed",
        "micro_usd",
        "stop",
    )
    assert [after[name] for name in counted] == ["answered", 900, 100, 20, 10, 0, 1, 11_000, "stop"]
    assert after["conversation"]
    assert after["threads"].split()


async def test_each_try_has_its_row_and_what_failed_says_why(world: World) -> None:
    world.model.fails = 1
    world.others = [Model(world.path, "second", priority=2)]
    async with world.life() as organism:
        await organism.ask("worker", Question("x"))
    assert [(row["backend"], row["outcome"], row["error"], row["prompt"]) for row in rows(world.path)] == [
        ("model", "failed", "OverloadedError", 0),
        ("second", "answered", "", 900),
    ]


async def test_calls_outside_of_handlers_are_rows_too(world: World) -> None:
    async with world.life() as organism:
        await organism.router.complete("m", "hello", agent_id="me", max_tokens=5)
    (row,) = rows(world.path)
    assert (row["agent"], row["conversation"], row["message"], row["prompt"]) == ("me", "", "", 900)


async def test_what_was_begun_and_never_ended_is_unknown_and_counts_as_what_was_reserved(
    world: World,
) -> None:
    world.budgets = Budgets(organism=[Budget(tokens=2000, per="day")])
    world.model.held = asyncio.Event()
    async with world.life() as organism:
        await organism.send("worker", Question("x"), key="k")
        await came_to(lambda: world.model.asked)
        world.dies()
        world.model.held.set()
        world.model.held = None
    async with world.life() as organism:
        await organism.ask("worker", Question("x"), key="k")
        unknown, answered = rows(world.path)
        assert (unknown["outcome"], unknown["estimated"], unknown["confirmed"]) == ("unknown", 1, 0)
        assert unknown["output"] == 100
        assert (answered["outcome"], answered["prompt"]) == ("answered", 900)
        spent = unknown["prompt"] + unknown["output"] + 1000
        with pytest.raises(BudgetExceededError) as caught:
            await organism.router.complete("m", "x", max_tokens=2000 - spent)
        assert caught.value.spent == spent


@pytest.mark.parametrize("scope", ["organism", "agents", "globs"])
@pytest.mark.parametrize("per", ["day", "month"])
@pytest.mark.parametrize("unit", ["tokens", "usd"])
async def test_a_period_goes_on_in_the_next_life(world: World, scope: str, per: Any, unit: str) -> None:
    limit = Budget(tokens=2200, per=per) if unit == "tokens" else Budget(usd=0.025, per=per)
    names = {"agents": "worker", "globs": "w*"}
    world.budgets = (
        Budgets(organism=[limit]) if scope == "organism" else Budgets(agents={names[scope]: [limit]})
    )
    async with world.life() as organism:
        await organism.ask("worker", Question("x"))
    async with world.life() as organism:
        await organism.ask("worker", Question("x"))
        with pytest.raises(Exception, match="budget"):
            await organism.ask("worker", Question("x"))
    assert world.model.asked == 2
    world.now += {"day": DAY, "month": 31 * DAY}[per]
    async with world.life() as organism:
        await organism.ask("worker", Question("x"))


async def test_a_run_goes_on_after_a_death_and_ends_with_a_proper_stop(world: World) -> None:
    world.budgets = Budgets(organism=[Budget(tokens=1200)])
    async with world.life() as organism:
        await organism.ask("worker", Question("x"))
        await came_to(lambda: rows(world.path)[0]["ended"])
        world.dies()
    async with world.life() as organism:
        with pytest.raises(Exception, match="budget"):
            await organism.ask("worker", Question("x"))
    async with world.life() as organism:
        await organism.ask("worker", Question("x"))
    assert world.model.asked == 2


@pytest.mark.parametrize("scope", ["thread", "conversation", "call", "talk"])
async def test_a_conversation_has_its_budget_once(world: World, scope: str) -> None:
    limits = [Budget(tokens=2200)]
    own: dict[str, Per] = {"call": "call", "talk": "conversation"}
    world.budgets = (
        Budgets(agents={"worker": [Budget(tokens=2200, per=own[scope])]})
        if scope in own
        else Budgets(**{scope: limits})
    )
    world.stuck = asyncio.Event()
    async with world.life() as organism:
        await organism.send("worker", Question("x"), key="k")
        await world.stuck.wait()
    world.stuck, world.calls = None, 3
    async with world.life() as organism:
        with pytest.raises(Exception, match="budget"):
            await organism.ask("worker", Question("x"), key="k")
    assert world.model.asked == 2  # the first answer was kept, the third has no room


async def test_a_prompt_that_changed_is_told_with_what_differs(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.stuck = asyncio.Event()
    async with world.life() as organism:
        await organism.send("worker", Question("x"), key="k")
        await world.stuck.wait()
    world.stuck, world.text = None, "it is five past nine"
    with caplog.at_level(logging.WARNING, "xml_pipeline.llm"):
        async with world.life() as organism:
            await organism.ask("worker", Question("x"), key="k")
    assert "worker asks a model for something else than before it was interrupted: messages[0] differs" in (
        caplog.text
    )
    assert world.model.asked == 2


async def test_where_nothing_can_be_written_down_nobody_is_asked(world: World) -> None:
    async with world.life() as organism:
        ledger = organism._pump._durable.ledger  # type: ignore[union-attr]
        router = Router([Model(world.path)])
        await router.take_up(ledger)
    with pytest.raises(JournalError, match="closed"):
        await router.complete("m", "hello", max_tokens=5)
    with pytest.raises(JournalError, match="closed"):
        async for _ in router.stream("m", "hello", max_tokens=5):
            pass
    assert not rows(world.path)
    await router.aclose()
