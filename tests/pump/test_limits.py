"""Runaway graphs end: by messages, by depth, by wall time. Whoever waits outside is told."""

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
    virtual,
)
from xml_pipeline import AnswerError, Gathered, HandlerMetadata, Huh, Organism, SystemError
from xml_pipeline.pump import ConversationLimits


def limited(**limits: Any) -> Organism:
    return Organism.build(limits=ConversationLimits(**limits), timeout_seconds=1e6)


async def loops(payload: Go, metadata: HandlerMetadata) -> Any:
    return call(Go(payload.n + 1), to="loops")


async def ping_pong(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
    return call(Question("again"), to="echo")


async def refused(payload: Go | SystemError, metadata: HandlerMetadata) -> Any:
    return call(Go(), to="nobody")


async def never_learns(payload: Go | Huh, metadata: HandlerMetadata) -> Any:
    return respond(Note(5))  # type: ignore[arg-type]


async def floods(payload: Go, metadata: HandlerMetadata) -> Any:
    return [call(Question("x"), to="echo") for _ in range(100_000)]


async def gathers(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
    return gather([call(Question("x"), to="echo") for _ in range(100_000)])


@pytest.mark.parametrize("runaway", [loops, ping_pong, refused, never_learns, floods, gathers])
@virtual
async def test_a_conversation_of_too_many_messages_ends(runaway: Any) -> None:
    organism = limited(messages=200)
    organism.listener(runaway, name=runaway.__name__, peers=["echo"])
    organism.listener(echo)
    async with organism:
        with pytest.raises(AnswerError) as error:
            await organism.ask(runaway.__name__, Go(), timeout=100)
        assert error.value.code == "limit"
        assert "200 messages" in str(error.value)
        await settled(organism)
        assert at_rest(organism)
        assert organism.status().handled <= 202
        assert await organism.ask("echo", Question("x")) == Answer("x")


@virtual
async def test_a_conversation_within_its_limits_is_left_alone() -> None:
    organism = limited(messages=7, depth=3)

    @organism.listener(peers=["middle"])
    async def top(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        return call(Question("x"), to="middle") if isinstance(payload, Go) else respond(payload)

    @organism.listener(peers=["echo"])
    async def middle(payload: Question | Answer, metadata: HandlerMetadata) -> Any:
        return call(payload, to="echo") if isinstance(payload, Question) else respond(payload)

    organism.listener(echo)
    async with organism:
        assert await organism.ask("top", Go()) == Answer("x")


@virtual
async def test_calls_nested_too_deep_are_refused_and_the_thread_lives_on() -> None:
    organism = limited(depth=2)

    @organism.listener(peers=["middle"])
    async def top(payload: Go | Note, metadata: HandlerMetadata) -> Any:
        return call(Question("x"), to="middle") if isinstance(payload, Go) else respond(payload)

    @organism.listener(peers=["echo"])
    async def middle(payload: Question | SystemError, metadata: HandlerMetadata) -> Any:
        return respond(Note(payload.code)) if isinstance(payload, SystemError) else call(payload, to="echo")

    organism.listener(echo)
    async with organism:
        assert await organism.ask("top", Go()) == Note("limit")


@virtual
async def test_a_chain_of_calls_ends_at_the_depth() -> None:
    organism = limited(depth=5)
    deepest = 0

    async def down(payload: Go, metadata: HandlerMetadata) -> Any:
        nonlocal deepest
        deepest = max(deepest, *(info.depth for info in organism.threads()))
        return call(Go(payload.n + 1), to=f"level{payload.n + 1}")

    for level in range(10):
        organism.listener(down, name=f"level{level}", peers=[f"level{level + 1}"] if level < 9 else [])
    async with organism:
        with pytest.raises(AnswerError) as error:
            await organism.ask("level0", Go())
        assert error.value.code == "limit"
        assert "5" in str(error.value)
        assert deepest == 5
        assert at_rest(organism)


@virtual
async def test_a_conversation_that_takes_too_long_ends_with_its_handlers() -> None:
    organism = limited(seconds=60)
    loop = asyncio.get_running_loop()
    cancelled: list[float] = []

    @organism.listener(peers=["slow"])
    async def top(payload: Go, metadata: HandlerMetadata) -> Any:
        return [call(Question("x"), to="slow") for _ in range(3)]

    @organism.listener(max_concurrent=2)
    async def slow(payload: Question, metadata: HandlerMetadata) -> Any:
        try:
            await asyncio.sleep(1e9)
        finally:
            cancelled.append(loop.time())

    async with organism:
        started = loop.time()
        with pytest.raises(AnswerError) as error:
            await organism.ask("top", Go())
        assert error.value.code == "limit"
        assert loop.time() - started == 60
        await settled(organism)
        assert [time - started for time in cancelled] == [60, 60]
        assert at_rest(organism)


@virtual
async def test_work_below_an_answered_call_is_cancelled() -> None:
    organism = limited(seconds=60)
    loop = asyncio.get_running_loop()

    @organism.listener(peers=["slow"])
    async def top(payload: Go | Note, metadata: HandlerMetadata) -> Any:
        return (
            [call(Question("x"), to="slow"), call(Note(), to="top")]
            if isinstance(payload, Go)
            else respond(payload)
        )

    @organism.listener
    async def slow(payload: Question, metadata: HandlerMetadata) -> Any:
        await asyncio.sleep(1e9)

    async with organism:
        assert await organism.ask("top", Go()) == Note()
        await settled(organism)
        assert at_rest(organism)
        assert loop.time() < 1
        (letter,) = organism.dead_letters()
        assert letter.reason == "its thread has ended"
