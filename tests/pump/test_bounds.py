"""What a flood may cost: tasks, turns of others, places in flight. Counted, never timed."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from tests.pump.scenes import Answer, Go, Note, Question, at_rest, call, echo, respond, settled, virtual
from xml_pipeline import Gathered, HandlerMetadata, NoReply, Organism
from xml_pipeline.pump import ConversationLimits


def runners() -> int:
    return sum(task.get_name() == "xml-pipeline-runner" for task in asyncio.all_tasks())


@pytest.mark.parametrize("scheduling", ["breadth-first", "depth-first"])
@virtual
async def test_a_flood_of_self_calls_needs_no_more_runners_the_longer_it_lasts(scheduling: str) -> None:
    organism = Organism.build(
        thread_scheduling=scheduling, limits=ConversationLimits(messages=1_000_000), max_concurrent_handlers=8
    )
    tasks: list[int] = []

    @organism.listener
    async def flood(payload: Go, metadata: HandlerMetadata) -> Any:
        if not payload.n % 3:
            await asyncio.sleep(0)
        if not payload.n % 100:
            tasks.append(runners())
        return call(Go(payload.n - 1), to="flood") if payload.n else respond(Note("dry"))

    async with organism:
        floods = [organism.ask("flood", Go(2_000)) for _ in range(3)]
        assert await asyncio.gather(*floods) == [Note("dry")] * 3
        assert at_rest(organism)
    assert max(tasks) <= 3 + 2  # handlers that wait, and two
    assert max(tasks[-15:]) <= max(tasks[:15])


@virtual
async def test_a_quiet_conversation_is_served_within_a_handful_of_a_floods_messages() -> None:
    organism = Organism.build(limits=ConversationLimits(messages=1_000_000))
    flooded = 0
    between: list[int] = []

    @organism.listener
    async def flood(payload: Go, metadata: HandlerMetadata) -> Any:
        nonlocal flooded
        flooded += 1
        return [call(Go(), to="flood"), call(Go(), to="flood")] if flooded < 3_000 else None

    @organism.listener
    async def quiet(payload: Note, metadata: HandlerMetadata) -> Any:
        between.append(flooded)
        return call(Note(payload.text[1:]), to="quiet") if payload.text else respond(Note())

    async with organism:
        await organism.send("flood", Go())
        await asyncio.sleep(0)
        await organism.ask("quiet", Note("x" * 30))
        assert flooded < 3_000
        await settled(organism, 100_000)
    assert max(later - earlier for earlier, later in pairwise(between)) <= 4


@pytest.mark.parametrize("queued", [1, 300, 2_000])
@virtual
async def test_places_in_flight_of_an_ended_conversation_are_free_at_once(queued: int) -> None:
    organism = Organism.build(limits=ConversationLimits(messages=1_000_000), max_concurrent_handlers=2)
    never = asyncio.Event()

    @organism.listener(peers=["worker"])
    async def top(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
        return [call(Question(str(n)), to="worker") for n in range(queued)]

    @organism.listener
    async def worker(payload: Question, metadata: HandlerMetadata) -> Any:
        await never.wait()

    organism.listener(echo)
    async with organism:
        conversation = await organism.send("top", Go())
        await asyncio.sleep(1)
        assert organism.status().in_flight == queued
        assert organism.cancel(conversation)
        assert organism.status().in_flight == organism.status().running == 0
        assert at_rest(organism)
        assert len(organism.dead_letters()) == min(queued, 1_000)
        # what was queued lies in no queue for long, and holds nobody up
        assert await organism.ask("echo", Question("next"), timeout=5) == Answer("next")
        assert len(organism._pump.scheduler) <= 2 * 256 + 1
        assert not organism._pump.scheduler.threads


@virtual
async def test_threads_that_end_while_their_handlers_are_deaf_hold_no_slot() -> None:
    organism = Organism.build(max_concurrent_handlers=4, max_in_flight=4)
    free = asyncio.Event()

    @organism.listener
    async def deaf(payload: Go, metadata: HandlerMetadata) -> Any:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue
        return respond(Note("late"))

    organism.listener(echo)
    async with organism:
        for _ in range(50):
            conversations = [await organism.send("deaf", Go()) for _ in range(4)]
            await asyncio.sleep(0)
            assert all(organism.cancel(each) for each in conversations)
            assert at_rest(organism)
        assert await organism.ask("echo", Question("x"), timeout=5) == Answer("x")
        free.set()
        await asyncio.sleep(1)
        assert runners() <= 2
        assert at_rest(organism)


@virtual
async def test_ten_thousand_conversations_at_once_leave_nothing() -> None:
    organism = Organism.build(max_in_flight=20_000)
    organism.listener(echo)

    @organism.listener(peers=["echo"])
    async def top(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Answer):
            return respond(payload) if payload.text != "7" else None
        return call(Question(str(payload.n % 10)), to="echo")

    async with organism:
        asks = [asyncio.ensure_future(organism.ask("top", Go(n))) for n in range(10_000)]
        results = await asyncio.gather(*asks, return_exceptions=True)
        assert at_rest(organism)
        assert not organism._pump.scheduler.threads
        assert not organism._pump._asks
        assert not organism._pump._deadlines._seconds
    assert sum(isinstance(each, NoReply) for each in results) == 1_000
    assert all(each == Answer(str(n % 10)) for n, each in enumerate(results) if n % 10 != 7)
