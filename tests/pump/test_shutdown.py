"""Stopping: take nothing new, drain until a deadline, cancel, never hang."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from tests.pump.scenes import Answer, Go, Note, Question, at_rest, call, echo, gather, respond, until, virtual
from xml_pipeline import AnswerError, Gathered, HandlerMetadata, Organism
from xml_pipeline.errors import ConfigError, OrganismClosed
from xml_pipeline.pump import listener
from xml_pipeline.pump.facts import Injected
from xml_pipeline.pump.loop import Pump


def sleepers(seconds: float = 5, shutdown_seconds: float = 10, **options: Any) -> Organism:
    organism = Organism.build(shutdown_seconds=shutdown_seconds, **options)

    @organism.listener(peers=["inner"])
    async def outer(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Answer):
            return respond(Note(payload.text))
        await asyncio.sleep(seconds)
        return call(Question("x"), to="inner")

    @organism.listener
    async def inner(payload: Question, metadata: HandlerMetadata) -> Any:
        await asyncio.sleep(seconds)
        return respond(Answer("drained"))

    return organism


@virtual
async def test_a_stop_lets_what_was_accepted_finish() -> None:
    organism = sleepers(5, 60, max_concurrent_handlers=2)
    async with organism:
        asks = [asyncio.ensure_future(organism.ask("outer", Go())) for _ in range(5)]
        await asyncio.sleep(1)
    assert [task.result() for task in asks] == [Note("drained")] * 5
    assert at_rest(organism)


@virtual
async def test_a_stop_takes_nothing_new() -> None:
    organism = sleepers(5, 60, max_in_flight=1)
    await organism.start()
    accepted = asyncio.ensure_future(organism.ask("outer", Go()))
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(organism.ask("outer", Go()))
    await asyncio.sleep(1)
    stopping = asyncio.ensure_future(organism.stop())
    await asyncio.sleep(1)
    assert waiting.done()  # it is told at once, not when there is room
    with pytest.raises(OrganismClosed):
        await waiting
    for door in (organism.ask, organism.send):
        with pytest.raises(OrganismClosed):
            await door("outer", Go())
    await stopping
    assert accepted.result() == Note("drained")


@virtual
async def test_a_pump_that_was_not_started_takes_nothing() -> None:
    pump = Pump({"echo": listener("echo", echo)})
    with pytest.raises(OrganismClosed, match="async with organism"):
        pump.inject(Injected("c", "me", "echo", Question("x")), None)
    with pytest.raises(OrganismClosed, match="async with organism"):
        await pump.inject_in_turn(Injected("c", "me", "echo", Question("x")), None, lambda: None)
    assert not pump.state.conversations


@virtual
async def test_a_stop_cancels_what_is_not_done_at_its_deadline() -> None:
    organism = sleepers(1e6, 10)
    loop = asyncio.get_running_loop()
    async with organism:
        asking = asyncio.ensure_future(organism.ask("outer", Go()))
        await asyncio.sleep(1)
        started = loop.time()
    assert loop.time() - started == 10
    with pytest.raises(OrganismClosed):
        await asking
    assert at_rest(organism)


async def deaf(payload: Go, metadata: HandlerMetadata) -> Any:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue


@virtual
async def test_a_stop_ends_though_handlers_are_deaf_to_their_cancellation() -> None:
    organism = Organism.build(shutdown_seconds=10)
    organism.listener(deaf)
    loop = asyncio.get_running_loop()
    async with organism:
        asks = [asyncio.ensure_future(organism.ask("deaf", Go())) for _ in range(3)]
        await asyncio.sleep(1)
        started = loop.time()
    assert loop.time() - started <= 13
    assert {type(error) for error in await asyncio.gather(*asks, return_exceptions=True)} == {OrganismClosed}
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual
async def test_a_handler_that_heeds_the_cancel_may_clean_up() -> None:
    organism = Organism.build(shutdown_seconds=1)
    cleaned: list[str] = []

    @organism.listener
    async def tidy(payload: Go, metadata: HandlerMetadata) -> Any:
        try:
            await asyncio.sleep(1e6)
        finally:
            await asyncio.sleep(0.5)
            cleaned.append("up")

    async with organism:
        await organism.send("tidy", Go())
        await asyncio.sleep(0)
    assert cleaned == ["up"]


@virtual
async def test_no_handler_starts_after_the_deadline() -> None:
    organism = Organism.build(shutdown_seconds=1, max_concurrent_handlers=1)
    started: list[int] = []

    @organism.listener
    async def slow(payload: Go, metadata: HandlerMetadata) -> Any:
        started.append(payload.n)
        await asyncio.sleep(100)

    async with organism:
        for n in range(5):
            await organism.send("slow", Go(n))
        await asyncio.sleep(0)
        asking = asyncio.ensure_future(organism.ask("slow", Go(5)))
        await asyncio.sleep(0)
    await asyncio.sleep(1000)
    assert started == [0]
    assert at_rest(organism)
    assert [letter.payload for letter in organism.dead_letters()] == [Go(n) for n in range(6)]
    with pytest.raises(OrganismClosed):
        await asking


@pytest.mark.parametrize("before", [0, 1])
@virtual
async def test_a_stop_that_is_cancelled_stops_at_once(before: float) -> None:
    """As a second Ctrl-C does; also before it has begun to wait."""
    organism = sleepers(1e6, 1e5)
    await organism.start()
    asking = asyncio.ensure_future(organism.ask("outer", Go()))
    await asyncio.sleep(1)
    stopping = asyncio.ensure_future(organism.stop())
    await asyncio.sleep(before)
    stopping.cancel()
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    with pytest.raises(OrganismClosed):
        await asking
    await organism.stop()
    assert loop.time() - started < 10
    assert at_rest(organism)


@virtual
async def test_two_stops_at_once_both_wait_for_the_end() -> None:
    organism = sleepers(5, 60)
    await organism.start()
    asking = asyncio.ensure_future(organism.ask("outer", Go()))
    await asyncio.sleep(1)
    one = asyncio.ensure_future(organism.stop())
    await asyncio.sleep(0)
    await organism.stop()
    assert asking.result() == Note("drained")
    await one


@virtual
async def test_a_handler_may_stop_its_organism() -> None:
    organism = Organism.build(shutdown_seconds=5)

    @organism.listener
    async def off(payload: Go, metadata: HandlerMetadata) -> Any:
        await organism.stop()

    async with organism:
        with pytest.raises((OrganismClosed, AnswerError)):
            await organism.ask("off", Go())
    await asyncio.sleep(0)
    assert at_rest(organism)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual
async def test_a_stop_does_not_wait_for_gathers_of_nothing() -> None:
    organism = Organism.build(shutdown_seconds=1000)

    @organism.listener(peers=["anna"])
    async def asker(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
        return gather([call(Question("?"), to="anna")], timeout=500)

    organism.human("anna", accepts=[Question], answers=[Answer])
    loop = asyncio.get_running_loop()
    async with organism:
        await organism.send("asker", Go())
        await until(lambda: organism.questions())
        started = loop.time()
    assert loop.time() == started
    await asyncio.sleep(1000)
    assert at_rest(organism)


@virtual
async def test_an_organism_starts_once() -> None:
    organism = Organism.build()
    organism.listener(echo)
    with pytest.raises(OrganismClosed, match="async with"):
        await organism.ask("echo", Question("x"))
    await organism.stop()  # of one that never ran: nothing
    async with organism:
        with pytest.raises(ConfigError):
            await organism.start()
        with pytest.raises(ConfigError, match="too late"):
            organism.listener(echo, name="another")
    with pytest.raises(OrganismClosed):
        await organism.ask("echo", Question("x"))
    with pytest.raises(ConfigError):
        await organism.start()


# --- real processes ---

PROGRAM = """
import asyncio, sys, threading, time
from dataclasses import dataclass
from xml_pipeline import Organism, xmlify

@xmlify
@dataclass
class Go:
    n: int = 0

organism = Organism.build(shutdown_seconds=0.1)

@organism.listener
async def deaf(payload: Go, metadata):
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue

@organism.listener
def stuck(payload: Go, metadata):
    threading.Event().wait()

@organism.listener
async def slow(payload: Go, metadata):
    await asyncio.sleep(3600)

async def main():
    async with organism:
        for n in range(3):
            await organism.send(sys.argv[1], Go(n))
        while organism.status().running < 3:
            await asyncio.sleep(0)
    print("stopped")

asyncio.run(main())
print("ended")
"""


@pytest.mark.parametrize("listener", ["deaf", "stuck", "slow"])
def test_the_process_ends_whatever_its_handlers_do(listener: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), listener], capture_output=True, text=True, timeout=30
    )
    assert done.stdout.split() == ["stopped", "ended"], done.stderr
    assert done.returncode == 0


def test_a_loop_that_is_closed_under_a_handler_is_no_failure_of_it(caplog: pytest.LogCaptureFixture) -> None:
    organism = Organism.build()

    @organism.listener
    async def waiting(payload: Go, metadata: HandlerMetadata) -> None:
        await asyncio.Event().wait()

    async def begin() -> None:
        await organism.start()
        await organism.send("waiting", Go())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert organism.status().running == 1

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    tasks = asyncio.all_tasks(loop)
    loop.close()
    for task in tasks:
        coroutine = task.get_coro()
        assert coroutine is not None
        coroutine.close()
    assert [each for each in caplog.records if each.name.startswith("xml_pipeline")] == []
