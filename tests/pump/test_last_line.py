"""The last line of defence: whatever fails that the engine calls, the asking end, and nothing is left behind.

A scene uses all that the engine can do. It is run once to count the calls that leave the engine (for payload classes,
codecs, envelopes, handlers, observers, the journal, whoever keeps something for each thread, the log), and once more
for each of them, which then raises.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import xml_pipeline
from tests.journal.lagging import Lagging
from tests.pump.scenes import (
    Answer,
    Go,
    Note,
    Question,
    at_rest,
    call,
    delegate,
    echo,
    gather,
    respond,
    until,
)
from xml_pipeline import Gathered, HandlerMetadata, HandlerResponse, Keep, Organism, SystemError, xmlify
from xml_pipeline.envelope import Heading, Message
from xml_pipeline.events import Event
from xml_pipeline.payload import codec_of
from xml_pipeline.pump import listener
from xml_pipeline.pump.handler_call import HandlerCall
from xml_pipeline.pump.runners import Runners
from xml_pipeline.pump.settings import PumpSettings
from xml_pipeline.pump.tenant import PerThread
from xml_pipeline.testing import run_in_virtual_time

PACKAGE = str(Path(xml_pipeline.__file__).parent)
ENGINE = tuple(
    str(Path(PACKAGE, each)) for each in ("pump", "threads", "journal", "session.py", "organism.py")
)
LOG = str(Path(PACKAGE, "pump", "log.py"))
CLOCK = str(Path(PACKAGE, "testing.py"))  # the event loop's own: without it nothing runs at all
FOREIGN = (PACKAGE, str(Path(__file__).parents[1]), "<string>", logging.__file__)


class Fault(Exception):
    """What goes wrong."""


class Worse(BaseException):
    """What goes wrong, and is no Exception."""


class Saboteur:
    """Counts calls out of the engine, and makes one of them raise."""

    def __init__(self, at: int = -1, error: type[BaseException] = Fault) -> None:
        self.at = at
        self.error = error
        self.calls: list[str] = []
        self.where = ""

    def __enter__(self) -> None:
        sys.setprofile(self._see)

    def __exit__(self, *exc: object) -> None:
        sys.setprofile(None)

    def _see(self, frame: FrameType, event: str, argument: Any) -> None:
        caller = frame.f_back
        if event != "call" or caller is None or threading.current_thread() is not threading.main_thread():
            return
        file, code = frame.f_code.co_filename, caller.f_code
        if not code.co_filename.startswith(ENGINE) or file.startswith(ENGINE) or not file.startswith(FOREIGN):
            return
        if file == CLOCK or (file == logging.__file__ and code.co_filename != LOG):
            return
        where = f"{Path(code.co_filename).stem}.{code.co_name} → {Path(file).stem}.{frame.f_code.co_name}"
        self.calls.append(where)
        if len(self.calls) - 1 == self.at:
            self.where = where
            raise self.error(where)


@xmlify
@dataclass
class Tally:
    """What a thread knows."""

    seen: int = 0


class Tenant(PerThread):
    """Keeps something for each thread."""

    def forget_thread(self, thread_id: str) -> None: ...
    def forget_conversation(self, conversation_id: str) -> None: ...


async def top(
    payload: Go | Gathered | Answer | SystemError, metadata: HandlerMetadata, state: Tally | None
) -> Any:
    state = Tally(1 if state is None else state.seen + 1)
    if isinstance(payload, Go):
        return Keep(state, gather([call(Question(str(n)), to=to) for n, to in enumerate(PEERS)], timeout=5))
    if isinstance(payload, Gathered):
        metadata.recall(Note)
        return Keep(state, [call(Question("once more"), to="echo"), call(Note("nobody takes it"), to="echo")])
    return respond(Answer(str(state.seen)), remember=Note("told"))


async def hands_over(payload: Question, metadata: HandlerMetadata) -> Any:
    return delegate(payload, to="echo")


async def itself(payload: Question, metadata: HandlerMetadata) -> Any:
    return respond(Answer("x")) if metadata.is_self_call else call(payload, to="itself")


async def writes(payload: Question, metadata: HandlerMetadata) -> str:
    return "Well: <Answer><text>from words</text></Answer>"


async def raises(payload: Question, metadata: HandlerMetadata) -> Any:
    raise RuntimeError("as it happens")


async def sleeps(payload: Question, metadata: HandlerMetadata) -> Any:
    await asyncio.sleep(100)


async def waits(payload: Question, metadata: HandlerMetadata) -> Any:
    await asyncio.sleep(1)
    return respond(Note("no class that anybody awaits"))


async def nonsense(payload: Question, metadata: HandlerMetadata) -> Any:
    return 5


def sync(payload: Question, metadata: HandlerMetadata) -> HandlerResponse:
    return respond(Answer("from a thread"))


PEERS = (
    "echo",
    "hands_over",
    "itself",
    "writes",
    "raises",
    "sleeps",
    "waits",
    "nonsense",
    "person",
    "stranger",
)


async def scene(saboteur: Saboteur, journaled: bool) -> None:
    """One conversation that does everything; then nothing may be left of it."""
    organism = Organism("scene", journal=Lagging() if journaled else None)
    organism.listener(top, peers=list(PEERS), remembers="session")
    organism.listener(hands_over, hands_over_to=["echo"])
    organism.listener(itself, timeout_seconds=50)
    for each in (echo, writes, raises, waits, nonsense):
        organism.listener(each)
    organism.listener(sleeps, timeout_seconds=3)
    organism.listener(echo, name="stranger", broadcast=True)
    organism.human("person", accepts=[Question], answers=[Answer])
    seen: list[Event] = []
    async with organism:
        organism._pump.ends.tenant = Tenant()
        with saboteur:
            organism.add_hook(lambda event: seen.append(event))
            async with organism.session() as session:
                for n in range(2):
                    asking = asyncio.ensure_future(session.ask("top", Go(n), timeout=200))
                    asking.add_done_callback(lambda task: task.cancelled() or task.exception())
                    for _ in range(200):
                        await asyncio.sleep(0.01)
                        if organism.questions() and n:
                            organism.answer(organism.questions()[0].thread_id, Answer("said"))
                            break
                    await asyncio.wait([asking], timeout=300)
                    assert asking.done(), f"an ask hangs after a fault in {saboteur.where}"
            cancelled = await organism.send("sleeps", Question("x"))
            organism.cancel(cancelled)
            await organism.send("raises", Question("x"))
            for _ in range(20):
                await asyncio.sleep(0.1)
        for question in organism.questions():  # the fault was in the test's own answer
            organism.cancel(question.conversation_id)
        await asyncio.sleep(10)
        assert at_rest(organism), f"{organism.status()} after a fault in {saboteur.where}"
        assert await organism.ask("echo", Question("still"), timeout=5) == Answer("still")


def attempt(at: int, error: type[BaseException], journaled: bool) -> Saboteur:
    saboteur = Saboteur(at, error)
    with suppress(error):  # it came up where the test itself called: whoever calls is told
        run_in_virtual_time(scene(saboteur, journaled))
    return saboteur


def first_and_last(calls: list[str]) -> list[int]:
    """Of each place where the engine calls out, the first and the last time that it does."""
    first, last = {where: at for at, where in reversed(list(enumerate(calls)))}, {}
    for at, where in enumerate(calls):
        last[where] = at
    return sorted({*first.values(), *last.values()})


@pytest.mark.parametrize("journaled", [False, True], ids=["without a journal", "with a journal"])
def test_whatever_the_engine_calls_may_raise(journaled: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1, "xml_pipeline")  # it would be a long read
    calls = attempt(-1, Fault, journaled).calls
    assert len(set(calls)) > 40
    for at in first_and_last(calls):
        assert attempt(at, Fault, journaled).where == calls[at], "the scene does not repeat"
        caplog.clear()


def test_code_of_users_may_raise_what_is_no_exception(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1, "xml_pipeline")
    calls = attempt(-1, Worse, True).calls
    users = [at for at in first_and_last(calls) if "→ test_last_line." in calls[at]]
    assert len({calls[at] for at in users}) > 10
    for at in users:
        assert attempt(at, Worse, True).where == calls[at], "the scene does not repeat"
        caplog.clear()


def test_a_turn_that_cannot_even_begin_is_told_and_holds_no_slot() -> None:
    class Broken:
        """Fails before each handler."""

        def __init__(self) -> None:
            self.told: list[tuple[Message, BaseException]] = []

        def begin(self, message: Message) -> HandlerCall | None:
            raise Worse(message.message_id)

        def raised(self, message: Message, error: BaseException) -> None:
            self.told.append((message, error))

        def returned(self, message: Message, value: Any) -> None:
            raise AssertionError("nothing was called")

        def late(self, message: Message, seconds: float) -> None:
            raise AssertionError("nothing was called")

    async def scene() -> None:
        work = Broken()
        runners = Runners(PumpSettings(max_concurrent_handlers=1), {"echo": listener("echo", echo)}, work)
        runners.start(asyncio.get_running_loop())
        for n in range(3):
            heading = Heading("me", "echo", f"t{n}", f"m{n}", conversation_id="c")
            runners.scheduler.add(Message.sealed(heading, Question("x"), codec_of(Question)), f"m{n}")
        await until(lambda: len(work.told) == 3)
        assert [(message.message_id, str(error)) for message, error in work.told] == [
            (f"m{n}", f"m{n}") for n in range(3)
        ]
        assert not runners.scheduler.running
        await runners.stop()

    run_in_virtual_time(scene())
