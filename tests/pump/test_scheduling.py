"""Whose turn it is: order, fairness, slots. Counted in hops, never in seconds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.pump.scenes import (
    Answer,
    Go,
    Note,
    Question,
    at_rest,
    call,
    echo,
    gather,
    respond,
    settled,
    until,
    virtual,
)
from xml_pipeline import Gathered, HandlerMetadata, HandlerResponse, Organism
from xml_pipeline.errors import ConfigError

SCHEDULINGS = ["breadth-first", "depth-first"]


@pytest.mark.parametrize("scheduling", SCHEDULINGS)
@pytest.mark.parametrize("slots", [1, 2, 256])
@virtual
async def test_messages_of_one_thread_to_one_listener_start_in_the_order_sent(
    scheduling: str, slots: int
) -> None:
    organism = Organism.build(thread_scheduling=scheduling, max_concurrent_handlers=slots)
    started: list[int] = []
    own: list[int] = []

    @organism.listener(peers=["worker", "other"])
    async def sender(payload: Go | Gathered | Note, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Gathered):
            return respond(Note("done"))
        if isinstance(payload, Note):
            own.append(int(payload.text))
            return None
        calls = [call(Go(n), to="worker") for n in range(50)]
        return [*(call(Note(str(n)), to="sender") for n in range(20)), gather(calls)]

    @organism.listener(max_concurrent=3)
    async def worker(payload: Go, metadata: HandlerMetadata) -> Any:
        started.append(payload.n)
        for _ in range(payload.n % 4):
            await asyncio.sleep(0)
        return respond(Go(payload.n))

    organism.listener(echo, name="other")
    async with organism:
        assert await organism.ask("sender", Go()) == Note("done")
    assert started == list(range(50))
    assert own == list(range(20))


@pytest.mark.parametrize("scheduling", SCHEDULINGS)
@virtual
async def test_the_order_holds_over_several_returns_of_one_thread(scheduling: str) -> None:
    organism = Organism.build(thread_scheduling=scheduling, max_concurrent_handlers=1)
    started: list[int] = []

    @organism.listener(peers=["worker"])
    async def sender(payload: Go, metadata: HandlerMetadata) -> Any:
        calls = [call(Note(str(payload.n + n)), to="worker") for n in range(3)]
        return [call(Go(payload.n + 3), to="sender"), *calls] if payload.n < 9 else calls

    @organism.listener
    async def worker(payload: Note, metadata: HandlerMetadata) -> None:
        started.append(int(payload.text))

    async with organism:
        await organism.send("sender", Go(0))
        await settled(organism)
    assert started == list(range(12))


@virtual
async def test_messages_of_one_thread_are_handled_one_after_the_other() -> None:
    organism = Organism.build()
    inside = 0

    @organism.listener(peers=["echo"])
    async def caller(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        nonlocal inside
        if isinstance(payload, Go):
            return [call(Question(str(n)), to="echo") for n in range(10)]
        inside += 1
        assert inside == 1, "a handler raced itself over the state of one thread"
        await asyncio.sleep(1)
        inside -= 1
        return respond(Note("done")) if payload.text == "9" else None

    organism.listener(echo)
    async with organism:
        assert await organism.ask("caller", Go()) == Note("done")


@pytest.mark.parametrize("flooded", ["own listener", "the same listener"])
@virtual
async def test_a_flood_in_one_conversation_delays_another_by_a_handful_of_hops(flooded: str) -> None:
    from xml_pipeline.pump import ConversationLimits

    organism = Organism.build(
        max_concurrent_handlers=1, max_in_flight=100_000, limits=ConversationLimits(messages=100_000)
    )
    handled = 0

    @organism.listener(peers=["sink"])
    async def flood(payload: Go, metadata: HandlerMetadata) -> Any:
        return [call(Go(n), to="sink") for n in range(10_000)]

    @organism.listener(max_concurrent=1)
    async def sink(payload: Go, metadata: HandlerMetadata) -> Any:
        nonlocal handled
        handled += 1
        if payload.n % 16 == 0:
            await asyncio.sleep(0)
        return respond(Note()) if payload.n < 0 else None

    @organism.listener
    async def beside(payload: Go, metadata: HandlerMetadata) -> Any:
        return respond(Note())

    async with organism:
        await organism.send("flood", Go())
        await until(lambda: handled >= 100)
        before = handled
        for _ in range(5):
            await organism.ask("beside" if flooded == "own listener" else "sink", Go(-1))
        assert organism.status().in_flight > 5_000, "the flood was over before"
        delay = (handled - before) / 5
        assert delay <= 70  # a runner's turn is 32 messages: the asker itself waits for the loop
        assert organism.cancel(organism.threads()[0].conversation_id)


@virtual
async def test_conversations_take_turns() -> None:
    organism = Organism.build(max_concurrent_handlers=1)
    order: list[str] = []

    @organism.listener(peers=["step"])
    async def start(payload: Question, metadata: HandlerMetadata) -> Any:
        return [call(payload, to="step") for _ in range(4)]

    @organism.listener
    async def step(payload: Question, metadata: HandlerMetadata) -> None:
        order.append(payload.text)

    async with organism:
        for name in "abc":
            await organism.send("start", Question(name))
        await settled(organism)
    assert order == list("abc" * 4)


@virtual
async def test_depth_first_finishes_the_newest_first() -> None:
    organism = Organism.build(max_concurrent_handlers=1, thread_scheduling="depth-first")
    order: list[str] = []

    @organism.listener(peers=["start", "step"])
    async def start(payload: Question, metadata: HandlerMetadata) -> Any:
        order.append(payload.text)
        return call(Note(payload.text.lower()), to="step")

    @organism.listener
    async def step(payload: Note, metadata: HandlerMetadata) -> None:
        order.append(payload.text)

    async with organism:
        for name in "ABC":
            await organism.send("start", Question(name))
        await settled(organism)
    assert "".join(order) == "CcBbAa"


def test_a_misspelt_scheduling_is_refused() -> None:
    with pytest.raises(ConfigError, match="breadth-first, depth-first"):
        Organism.build(thread_scheduling="breadth")


# --- slots ---


@pytest.mark.parametrize("scheduling", SCHEDULINGS)
@virtual
async def test_the_limits_on_concurrent_handlers_are_held_and_used(scheduling: str) -> None:
    organism = Organism.build(
        max_concurrent_handlers=7, max_concurrent_per_agent=4, thread_scheduling=scheduling
    )
    inside: dict[str, int] = {}
    most: dict[str, int] = {}

    def busy(name: str) -> Any:
        async def work(payload: Go, metadata: HandlerMetadata) -> Any:
            for each in (name, "all"):
                inside[each] = inside.get(each, 0) + 1
                most[each] = max(most.get(each, 0), inside[each])
            await asyncio.sleep(1 + payload.n % 3)
            for each in (name, "all"):
                inside[each] -= 1
            return respond(payload)

        return work

    for name, own in (("a", None), ("b", 2), ("c", 6)):
        organism.listener(busy(name), name=name, accepts=[Go], max_concurrent=own)
    async with organism:
        await asyncio.gather(*(organism.ask("abc"[n % 3], Go(n)) for n in range(90)))
        assert most["all"] == 7
        for name, limit in (("a", 4), ("b", 2), ("c", 6)):
            assert most.get(name, 0) <= limit
            most.clear()
            await asyncio.gather(*(organism.ask(name, Go(n)) for n in range(20)))
            assert most[name] == limit
        assert at_rest(organism)


@virtual
async def test_one_slow_agent_never_holds_the_slots_of_the_others() -> None:
    organism = Organism.build(max_concurrent_handlers=4, max_concurrent_per_agent=2)

    @organism.listener
    async def slow(payload: Question, metadata: HandlerMetadata) -> Any:
        await asyncio.sleep(100)
        return respond(Answer(payload.text))

    organism.listener(echo)
    loop = asyncio.get_running_loop()
    async with organism:
        waiting = [asyncio.ensure_future(organism.ask("slow", Question("x"))) for _ in range(50)]
        await asyncio.sleep(1)
        before = loop.time()
        answers = await asyncio.gather(*(organism.ask("echo", Question(str(n))) for n in range(200)))
        assert len(answers) == 200
        assert loop.time() == before  # virtual seconds: not one slow handler had to end first
        await asyncio.gather(*waiting)


@virtual
async def test_slots_come_back_however_a_handler_ends() -> None:
    organism = Organism.build(max_concurrent_handlers=2, max_concurrent_per_agent=1, timeout_seconds=5)

    @organism.listener
    async def odd(payload: Go, metadata: HandlerMetadata) -> Any:
        match payload.n % 6:
            case 0:
                raise RuntimeError
            case 1:
                raise asyncio.CancelledError
            case 2:
                await asyncio.sleep(10)
            case 3:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            case 4:
                return "nonsense"
        return respond(Note("fine"))

    async with organism:
        for start in range(0, 60, 6):
            asks = (organism.ask("odd", Go(n), timeout=60) for n in range(start, start + 6))
            *_, last = await asyncio.gather(*asks, return_exceptions=True)
            assert last == Note("fine")
        await asyncio.sleep(10)
        assert at_rest(organism)
        assert organism.status().running == 0


@virtual
async def test_a_slow_listener_leaves_a_slot_to_the_others_even_without_a_limit_of_its_own() -> None:
    organism = Organism.build(max_concurrent_handlers=3)
    stuck = asyncio.Event()

    @organism.listener
    async def slow(payload: Go, metadata: HandlerMetadata) -> HandlerResponse:
        await stuck.wait()
        return HandlerResponse.respond(payload)

    @organism.listener
    async def quick(payload: Go, metadata: HandlerMetadata) -> HandlerResponse:
        return HandlerResponse.respond(payload)

    async with organism:
        for _ in range(10):
            await organism.send("slow", Go())
        assert await organism.ask("quick", Go(), timeout=1) == Go()
        stuck.set()
