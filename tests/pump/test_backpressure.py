"""The organism is bounded: the outside waits while it is full, and nothing inside ever does."""

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
from xml_pipeline import AskTimeout, Gathered, HandlerMetadata, Organism, PayloadError
from xml_pipeline.errors import ConfigError, RoutingError


def gated(max_in_flight: int) -> tuple[Organism, asyncio.Semaphore, list[int]]:
    """An organism whose only listener lets messages go one by one, and the order in which it saw them."""
    organism = Organism.build(max_in_flight=max_in_flight)
    gate = asyncio.Semaphore(0)
    seen: list[int] = []

    @organism.listener
    async def door(payload: Go, metadata: HandlerMetadata) -> Any:
        seen.append(payload.n)
        await gate.acquire()
        return respond(Note(str(payload.n)))

    return organism, gate, seen


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@virtual
async def test_ask_and_send_wait_while_the_organism_is_full_in_the_order_of_asking() -> None:
    organism, gate, seen = gated(3)
    async with organism:
        asks = []
        for n in range(12):
            door = organism.ask if n % 2 else organism.send
            asks.append(asyncio.ensure_future(door("door", Go(n))))
            await asyncio.sleep(0)
        await turns()
        assert seen == [0, 1, 2]
        assert organism.status().in_flight == 3
        for released in range(1, 10):
            gate.release()
            await turns()
            assert seen == list(range(3 + released))
            assert organism.status().in_flight == 3
        for _ in range(3):
            gate.release()
        await asyncio.gather(*asks)
        assert at_rest(organism)


@virtual
async def test_ten_times_more_than_the_limit_never_overfills_it() -> None:
    organism = Organism.build(max_in_flight=20)
    most = 0

    @organism.listener
    async def work(payload: Go, metadata: HandlerMetadata) -> Any:
        nonlocal most
        most = max(most, organism.status().in_flight)
        await asyncio.sleep(1)
        return respond(Go(payload.n))

    async with organism:
        answers = await asyncio.gather(*(organism.ask("work", Go(n)) for n in range(200)))
        assert answers == [Go(n) for n in range(200)]
        assert most == 20
        assert at_rest(organism)


@pytest.mark.parametrize("when", ["waiting", "just let in"])
@virtual
async def test_a_sender_that_gives_up_while_it_waits_costs_no_place(when: str) -> None:
    organism, gate, seen = gated(1)
    async with organism:
        first = asyncio.ensure_future(organism.ask("door", Go(0)))
        await turns()
        waiting = [asyncio.ensure_future(organism.ask("door", Go(n))) for n in (1, 2, 3)]
        await turns()
        if when == "waiting":
            waiting[0].cancel()
            await turns()
            gate.release()
            await first
        else:
            gate.release()
            await until(lambda: first.done())
            waiting[0].cancel()
        await turns()
        for _ in range(3):
            gate.release()
        assert await asyncio.gather(*waiting[1:]) == [Note("2"), Note("3")]
        await turns()
        assert at_rest(organism)
        assert seen[-2:] == [2, 3]


@virtual
async def test_all_who_wait_may_give_up_and_the_next_is_let_in() -> None:
    organism, gate, _ = gated(1)
    async with organism:
        first = asyncio.ensure_future(organism.ask("door", Go(0)))
        await turns()
        for n in range(5):
            with pytest.raises(AskTimeout):
                await organism.ask("door", Go(n), timeout=1)
        gate.release()
        gate.release()
        assert await first == Note("0")
        assert await organism.ask("door", Go(9), timeout=5) == Note("9")
        assert at_rest(organism)


@virtual
async def test_a_message_that_is_refused_gives_its_place_on() -> None:
    organism, gate, _ = gated(1)
    async with organism:
        first = asyncio.ensure_future(organism.ask("door", Go(0)))
        await turns()
        refused = [
            asyncio.ensure_future(organism.ask("nowhere", Go(1))),
            asyncio.ensure_future(organism.ask("door", Go("x"))),  # type: ignore[arg-type]
        ]
        last = asyncio.ensure_future(organism.ask("door", Go(2)))
        await turns()
        gate.release()
        gate.release()
        errors = await asyncio.gather(*refused, return_exceptions=True)
        assert [type(error) for error in errors] == [RoutingError, PayloadError]
        assert (await first, await last) == (Note("0"), Note("2"))
        assert at_rest(organism)


@pytest.mark.parametrize("scheduling", ["breadth-first", "depth-first"])
@virtual
async def test_messages_between_listeners_never_wait_for_room(scheduling: str) -> None:
    organism = Organism.build(
        max_in_flight=1, max_concurrent_handlers=1, max_concurrent_per_agent=1, thread_scheduling=scheduling
    )

    @organism.listener(peers=["tree"])
    async def tree(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Gathered):
            return respond(Go(sum(answer.n for answer in payload.answers)))
        return gather([call(Go(payload.n - 1), to="tree")] * 4) if payload.n else respond(Go(1))

    async with organism:
        answers = await asyncio.gather(*(organism.ask("tree", Go(3), timeout=60) for _ in range(3)))
        assert answers == [Go(64)] * 3
        assert at_rest(organism)


@virtual
async def test_a_handler_may_ask_its_own_organism() -> None:
    organism = Organism.build()

    @organism.listener
    async def outer(payload: Go, metadata: HandlerMetadata) -> Any:
        return respond(await organism.ask("echo", Question("inside")))

    organism.listener(echo)
    async with organism:
        assert await organism.ask("outer", Go()) == Answer("inside")
        await settled(organism)
        assert at_rest(organism)


@pytest.mark.parametrize(
    "option",
    ["max_in_flight", "max_concurrent_handlers", "max_concurrent_per_agent", "timeout_seconds"],
)
def test_a_bound_of_zero_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        Organism.build(**{option: 0})


@pytest.mark.parametrize("option", ["max_in_flight", "max_concurrent_handlers", "max_concurrent_per_agent"])
def test_a_number_of_things_is_whole(option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option} is 1.5; it must be a whole number"):
        Organism.build(**{option: 1.5})  # type: ignore[arg-type]
