"""Conversations share nothing; calls, threads and sessions are what design §5 says."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
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
from xml_pipeline import AskTimeout, Gathered, HandlerMetadata, NoReply, Organism
from xml_pipeline.events import ConversationEnded, ConversationStarted, SessionEnded
from xml_pipeline.pump.deadlines import Deadlines
from xml_pipeline.testing import Recorder
from xml_pipeline.threads import Conversation, Gather, Thread


def left_over() -> dict[str, int]:
    """How many of the engine's own objects are still alive."""
    gc.collect()
    kinds = (Thread, Conversation, Gather)
    return {
        kind.__name__: sum(type(each) is kind for each in gc.get_objects())
        for kind in kinds
        if any(type(each) is kind for each in gc.get_objects())
    }


@virtual
async def test_conversations_over_the_same_listeners_share_nothing() -> None:
    organism = Organism.build()
    state: dict[str, list[str]] = {}
    rng = random.Random(7)

    @organism.listener(name="desk.front", peers=["desk.back"])
    async def front(payload: Question | Answer, metadata: HandlerMetadata) -> Any:
        state.setdefault(metadata.thread_id, []).append(payload.text)
        await asyncio.sleep(rng.random())
        if isinstance(payload, Question):
            return call(payload, to="desk.back")
        question, answer = state.pop(metadata.thread_id)
        assert answer == question[::-1]
        return respond(Answer(f"{question} {answer}"))

    @organism.listener(name="desk.back")
    async def back(payload: Question, metadata: HandlerMetadata) -> Any:
        await asyncio.sleep(rng.random())
        return respond(Answer(payload.text[::-1]))

    async with organism:
        texts = [f"q{n}" for n in range(100)]
        answers = await asyncio.gather(*(organism.ask("desk.front", Question(text)) for text in texts))
        assert answers == [Answer(f"{text} {text[::-1]}") for text in texts]
        assert not state
        assert at_rest(organism)


@virtual
async def test_names_with_dots_are_ordinary_names() -> None:
    organism = Organism.build()

    @organism.listener(name="calculator")
    async def wrong(payload: Question | Answer, metadata: HandlerMetadata) -> Any:
        raise AssertionError("a dotted name was taken apart")

    @organism.listener(name="calculator.add.fast")
    async def right(payload: Question, metadata: HandlerMetadata) -> Any:
        return respond(Answer(metadata.from_id))

    @organism.listener(name="calculator.add", peers=["calculator.add.fast"])
    async def middle(payload: Question | Answer, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Answer):
            assert metadata.from_id == "calculator.add.fast"
            return respond(payload)
        return call(payload, to="calculator.add.fast")

    async with organism:
        assert await organism.ask("calculator.add", Question("x")) == Answer("calculator.add")


@virtual
async def test_a_session_is_what_one_callers_thread_asks_of_one_listener() -> None:
    organism = Organism.build()
    seen: dict[str, list[HandlerMetadata]] = {}

    @organism.listener(peers=["a", "b"])
    async def caller(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Go):
            return [call(Question("1"), to="a"), call(Question("1"), to="b")]
        if metadata.from_id == "a" and payload.text < "3":
            return call(Question(str(int(payload.text) + 1)), to="a")
        return respond(Note("done")) if payload.text == "3" else None

    async def remember(payload: Question, metadata: HandlerMetadata) -> Any:
        seen.setdefault(payload.text, []).append(metadata)
        return respond(Answer(payload.text))

    names: list[tuple[str, str, str]] = []
    for name in ("a", "b"):

        async def listen(payload: Question, metadata: HandlerMetadata, name: str = name) -> Any:
            names.append((name, metadata.session_id, metadata.thread_id))
            return await remember(payload, metadata)

        organism.listener(listen, name=name)
    recorder = Recorder(organism)
    async with organism:
        await organism.ask("caller", Go())
        await organism.ask("caller", Go())
        await settled(organism)
    sessions_of_a = [session for name, session, _ in names if name == "a"]
    assert len(sessions_of_a) == 6
    assert len(set(sessions_of_a[:3])) == len(set(sessions_of_a[3:])) == 1  # one caller's thread: one session
    assert sessions_of_a[0] != sessions_of_a[3]  # another caller's thread: another one
    assert not set(sessions_of_a) & {session for name, session, _ in names if name == "b"}
    assert len({thread for *_, thread in names}) == len(names)
    # and each ends, once, with its caller's thread
    ended = [fact.session_id for fact in recorder.of(SessionEnded)]
    assert len(ended) == len(set(ended))
    assert {session for _, session, _ in names} <= set(ended)


@virtual
async def test_an_outside_session_lasts_over_several_asks() -> None:
    organism = Organism.build()
    seen: list[str] = []

    @organism.listener
    async def memory(payload: Question, metadata: HandlerMetadata) -> Any:
        seen.append(metadata.session_id)
        return respond(Answer(payload.text))

    recorder = Recorder(organism)
    async with organism:
        async with organism.session() as session:
            for _ in range(3):
                await session.ask("memory", Question("x"))
            await session.send("memory", Question("x"))
            await settled(organism)
            assert not recorder.of(SessionEnded)
        assert [fact.session_id for fact in recorder.of(SessionEnded)] == [seen[0]]
        await organism.ask("memory", Question("x"))
        await organism.ask("memory", Question("x"))
    assert len(set(seen[:4])) == 1
    assert len(set(seen)) == 3


@virtual
async def test_a_conversation_ends_when_nothing_of_it_is_in_flight() -> None:
    organism = Organism.build()
    gate = asyncio.Event()

    @organism.listener(peers=["slow"])
    async def hasty(payload: Go, metadata: HandlerMetadata) -> Any:
        return [call(Question("x"), to="slow"), call(Go(), to="hasty")] if not payload.n else respond(Note())

    @organism.listener(peers=["slow"])
    async def starter(payload: Go | Note, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Go):
            return [call(Question("x"), to="slow"), call(Note("answer now"), to="starter")]
        return respond(Note("answered"))

    @organism.listener
    async def slow(payload: Question, metadata: HandlerMetadata) -> Any:
        await gate.wait()
        return respond(Answer("x"))

    recorder = Recorder(organism)
    async with organism:
        assert await organism.ask("starter", Go()) == Note("answered")
        await settled(organism)  # the pruned handler is cancelled
        assert organism.threads() == []
        assert at_rest(organism)
        assert len(recorder.of(ConversationStarted)) == 1
        (ended,) = recorder.of(ConversationEnded)
        assert ended.answered


@virtual
async def test_nothing_is_left_of_thousands_of_conversations(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "xml_pipeline.pump")  # a log keeps what it is told of errors
    organism = Organism.build(timeout_seconds=5)

    @organism.listener(peers=["echo", "quiet", "failing", "late"])
    async def caller(payload: Go | Answer | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Gathered):
            return respond(Note("gathered"))
        if isinstance(payload, Answer):
            return respond(payload)
        match payload.n % 7:
            case 0:
                return call(Question("x"), to="echo")
            case 1:
                return call(Question("x"), to="quiet")
            case 2:
                return call(Question("x"), to="failing")
            case 3:
                return gather([call(Question("x"), to="echo"), call(Question("x"), to="late")], timeout=2)
            case 4:
                return gather([call(Question("x"), to="late")], timeout=1e9)
            case 5:
                return call(Question("x"), to="nobody")
        return [call(Question("x"), to="echo"), call(Question("y"), to="late")]

    organism.listener(echo)
    organism.listener(lambda p, m: None, name="unused", accepts=[Question])

    @organism.listener
    async def quiet(payload: Question, metadata: HandlerMetadata) -> None:
        return None

    @organism.listener
    async def failing(payload: Question, metadata: HandlerMetadata) -> Any:
        raise RuntimeError

    @organism.listener
    async def late(payload: Question, metadata: HandlerMetadata) -> Any:
        await asyncio.sleep(3)

    async with organism:
        for start in range(0, 2_100, 70):
            asks = (organism.ask("caller", Go(n), timeout=1) for n in range(start, start + 70))
            await asyncio.gather(*asks, return_exceptions=True)
        await asyncio.sleep(10)
        assert at_rest(organism)
        organism.dead_letters()
        assert left_over() == {}
        deadlines = [each for each in gc.get_objects() if type(each) is Deadlines]
        assert not any(each._seconds or any(each._by_seconds.values()) for each in deadlines)


@pytest.mark.parametrize("end", ["timeout", "cancel", "answer"])
@virtual
async def test_a_gather_that_nobody_waits_for_any_more_is_freed_before_its_time(end: str) -> None:
    organism = Organism.build()

    @organism.listener(peers=["slow"])
    async def caller(payload: Go | Gathered | Note, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Note):
            await asyncio.sleep(1)
            return respond(payload)
        slow_calls = gather([call(Question("x"), to="slow")], timeout=1e9)
        return [slow_calls, call(Note("now"), to="caller")] if end == "answer" else slow_calls

    @organism.listener
    async def slow(payload: Question, metadata: HandlerMetadata) -> Any:
        await asyncio.sleep(5)

    async with organism:
        if end == "answer":
            assert await organism.ask("caller", Go()) == Note("now")
        elif end == "timeout":
            with pytest.raises(AskTimeout):
                await organism.ask("caller", Go(), timeout=1)
        else:
            asking = asyncio.ensure_future(organism.ask("caller", Go()))
            await asyncio.sleep(1)
            (thread, *_) = organism.threads()
            assert organism.cancel(thread.conversation_id)
            with pytest.raises(NoReply):
                await asking
            del asking
        await asyncio.sleep(10)
        assert at_rest(organism)
        assert left_over() == {}


@virtual
async def test_threads_are_listed_callers_before_callees() -> None:
    organism = Organism.build()
    gate = asyncio.Event()

    @organism.listener(peers=["middle"])
    async def top(payload: Go, metadata: HandlerMetadata) -> Any:
        return call(Question("x"), to="middle")

    @organism.listener(peers=["bottom"])
    async def middle(payload: Question, metadata: HandlerMetadata) -> Any:
        return [call(payload, to="bottom"), call(payload, to="bottom")]

    @organism.listener
    async def bottom(payload: Question, metadata: HandlerMetadata) -> Any:
        await gate.wait()
        return respond(Answer("x"))

    async with organism:
        asking = asyncio.ensure_future(organism.ask("top", Go(), sender="console"))
        await until(lambda: organism.status().running >= 2)
        listed = [(info.listener, info.caller, info.depth, info.waiting) for info in organism.threads()]
        assert listed == [
            ("top", "console", 1, 0),
            ("middle", "top", 2, 0),
            ("bottom", "middle", 3, 1),
            ("bottom", "middle", 3, 1),
        ]
        gate.set()
        assert await asking == Answer("x")
