"""What objects may do when they are looked at: one conversation ends for it, at most, and never an organism."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
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
from xml_pipeline import (
    AnswerError,
    Gathered,
    HandlerMetadata,
    HandlerResponse,
    Huh,
    NoReply,
    Organism,
    xmlify,
)
from xml_pipeline.envelope import decode
from xml_pipeline.errors import ConfigError
from xml_pipeline.events import Event, MessageDelivered, QuestionAsked, ThreadOpened
from xml_pipeline.pump import ConversationLimits, GatherResponse
from xml_pipeline.testing import Recorder


@xmlify
@dataclass
class Bomb:
    """Fails when it is made with the number of an exception; a field that is set later tells nobody."""

    n: int = 0

    def __post_init__(self) -> None:
        if self.n:
            raise FAILURES[self.n]()


FAILURES: dict[
    int, Callable[[], BaseException]
] = {  # made anew: an exception keeps alive whom it went through
    1: ValueError,
    2: asyncio.CancelledError,
    3: GeneratorExit,
    4: lambda: BaseExceptionGroup("no", [asyncio.CancelledError()]),
    5: RecursionError,
}


def bomb(n: int) -> Bomb:
    payload = Bomb()
    payload.n = n
    return payload


class Unlisted(list[Any]):
    """A list that cannot be read."""

    def __init__(self, error: Callable[[], BaseException]) -> None:
        super().__init__([1])
        self.error = error

    def __iter__(self) -> Any:
        raise self.error()


class Unshown(Exception):
    """An exception that cannot be shown."""

    def __str__(self) -> str:
        raise self.args[0]

    __repr__ = __str__


class Unseen(HandlerResponse):
    """A response whose every attribute raises."""

    def __getattribute__(self, name: str) -> Any:
        raise ValueError(name)


class Unlike:
    """Neither equal to anything nor true."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")

    def __hash__(self) -> int:
        raise RuntimeError("not hashable")

    def __bool__(self) -> bool:
        raise RuntimeError("not true")


class Fading(HandlerResponse):
    """Good when it is checked, gone when it is sent."""

    looks: int = 0

    def __getattribute__(self, name: str) -> Any:
        if name == "kind":
            self.looks += 1
            if self.looks > 1:
                raise ValueError("gone")
        return super().__getattribute__(name)


def raising(error: BaseException) -> Any:
    raise error


def survivors(make: Callable[[Organism, HandlerMetadata], Any]) -> Organism:
    organism = Organism.build()
    organism.listener(echo)

    @organism.listener(peers=["echo"])
    async def hostile(payload: Go | Gathered | Answer | Huh, metadata: HandlerMetadata) -> Any:
        return make(organism, metadata) if isinstance(payload, Go) else respond(Note(type(payload).__name__))

    return organism


async def survives(organism: Organism) -> None:
    """One ask of the hostile one ends, soon; then nothing is left, and others are served."""
    with suppress(AnswerError, NoReply):
        await asyncio.wait_for(organism.ask("hostile", Go()), 50)
    await settled(organism)
    assert at_rest(organism)
    assert not organism._pump.scheduler.threads
    assert not organism._pump._asks
    assert not organism._pump._deadlines._seconds
    assert await asyncio.wait_for(organism.ask("echo", Question("z")), 5) == Answer("z")


def one_call(timeout: float | None = None) -> Any:
    return gather([call(Question("x"), to="echo")], timeout)


RETURNED: dict[str, Callable[[Organism, HandlerMetadata], Any]] = {
    "a list that cannot be read": lambda o, m: Unlisted(ValueError),
    "a list that recurses": lambda o, m: Unlisted(RecursionError),
    "an exception that cannot be shown": lambda o, m: raising(Unshown(ValueError())),
    "a response that cannot be seen": lambda o, m: Unseen(Note()),
    "an object that cannot be compared": lambda o, m: Unlike(),
    "a payload that cannot be compared": lambda o, m: respond(Unlike()),
    "a payload that fails at its reading": lambda o, m: respond(bomb(1)),
    "a payload that recurses at its reading": lambda o, m: respond(bomb(5)),
    "an exception": lambda o, m: ValueError(),
    "a class": lambda o, m: respond(Note),
    "a timeout of nan": lambda o, m: one_call(float("nan")),
    "a timeout of ever": lambda o, m: one_call(float("inf")),
    "a timeout of ages": lambda o, m: one_call(1e308),
    "a timeout of nothing": lambda o, m: one_call(0),
    "a gather of an iterator": lambda o, m: GatherResponse(iter([call(Question("x"))])),  # type: ignore[arg-type]
    "a gather that cannot be read": lambda o, m: GatherResponse(Unlisted(ValueError)),  # type: ignore[arg-type]
    "a receiver of markup": lambda o, m: call(Note(), to="</to><x>"),
    "a receiver of markup, too late": lambda o, m: [respond(Note()), call(Note(), to="</to><x>")],
    "half a character, too late": lambda o, m: [respond(Note()), call(Note(), to="\ud800")],
    "an odd kind": lambda o, m: HandlerResponse(Note(), kind="odd"),  # type: ignore[arg-type]
    "odd repairs": lambda o, m: HandlerResponse(Question("x"), "echo", repairs=5),  # type: ignore[arg-type]
    "half a character": lambda o, m: "\ud800",
    "open elements without end": lambda o, m: "<Go>" * 100_000,
    "bytes of another encoding": lambda o, m: "<Go/>".encode("utf-16"),
    "the end of its own conversation": lambda o, m: o.cancel(m.conversation_id) and respond(Note()),
    "the end of an iteration": lambda o, m: raising(StopAsyncIteration()),
}

STALL = (
    "what is no Exception goes through the machine into the runner, which leaves the queue attended by nobody"
)
LETHAL: dict[str, Callable[[Organism, HandlerMetadata], Any]] = {
    "a payload that cancels at its reading": lambda o, m: respond(bomb(2)),
    "a payload that exits at its reading": lambda o, m: respond(bomb(3)),
    "a payload that fails as a group": lambda o, m: respond(bomb(4)),
    "a list that cancels": lambda o, m: Unlisted(asyncio.CancelledError),
    "an exception that cancels when shown": lambda o, m: raising(Unshown(asyncio.CancelledError())),
    "a timeout without end": lambda o, m: one_call(10**400),
}


@pytest.mark.parametrize("what", RETURNED)
@virtual
async def test_whatever_a_handler_returns_or_raises_harms_nobody_else(what: str) -> None:
    organism = survivors(RETURNED[what])
    async with organism:
        await survives(organism)


@pytest.mark.parametrize("what", LETHAL)
@virtual
async def test_whatever_is_no_exception_and_no_number_harms_nobody_else(what: str) -> None:
    organism = survivors(LETHAL[what])
    async with organism:
        await survives(organism)


@virtual
async def test_a_rule_that_fails_leaves_nothing_of_its_conversation() -> None:
    organism = survivors(lambda o, m: [call(Question("x"), to="echo"), Fading(Question("y"), "echo")])
    async with organism:
        await survives(organism)


@virtual
async def test_a_rule_that_fails_ends_the_ask_and_no_other() -> None:
    organism = survivors(lambda o, m: [call(Question("x"), to="echo"), Fading(Question("y"), "echo")])
    async with organism:
        with pytest.raises(AnswerError, match="the engine failed"):
            await organism.ask("hostile", Go())
        assert at_rest(organism)
        assert await organism.ask("echo", Question("z"), timeout=5) == Answer("z")


@xmlify
@dataclass
class Lazy:
    """Its field fails when it is read."""

    text: str = ""


class Later(Lazy):
    @property
    def text(self) -> str:  # type: ignore[override]
        raise ValueError("not now")

    @text.setter
    def text(self, value: str) -> None: ...


@virtual
async def test_an_entry_that_cannot_be_written_is_told_as_an_answer_that_cannot() -> None:
    xmlify(Later)
    said = []
    for make in (lambda: respond(Later()), lambda: respond(Note(), remember=Later())):
        organism = survivors(lambda o, m, make=make: make())
        async with organism:
            said.append(await organism.ask("hostile", Go()))
    assert said == [Note("Huh")] * 2


# --- numbers that no clock knows ---


@pytest.mark.parametrize("where", ["ask", "listener", "build", "limits", "session"])
@virtual
async def test_a_time_that_no_clock_knows_is_refused_where_it_is_given(where: str) -> None:
    ages = 10**400

    async def live() -> None:
        organism = Organism.build(
            timeout_seconds=ages if where == "build" else 5,
            limits=ConversationLimits(seconds=ages if where == "limits" else 50),
        )
        organism.listener(echo, timeout_seconds=ages if where == "listener" else 5)
        async with organism:
            session = organism.session(id="x", ttl=ages if where == "session" else 5)
            await session.ask("echo", Question("x"), timeout=ages if where == "ask" else 100)

    with pytest.raises((TypeError, ValueError, ConfigError)):
        await asyncio.wait_for(live(), 200)


# --- observers ---


@pytest.mark.parametrize("error", [ValueError, lambda: Unshown(ValueError()), RecursionError])
@virtual
async def test_an_observer_that_raises_changes_nothing(error: Callable[[], Exception]) -> None:
    organism = survivors(lambda o, m: one_call(9))
    organism.add_hook(lambda event: raising(error()))
    recorder = Recorder(organism)
    async with organism:
        await survives(organism)
    assert recorder.events


@virtual
async def test_an_observer_that_raises_what_is_no_exception_changes_nothing() -> None:
    organism = survivors(lambda o, m: one_call(9))
    organism.add_hook(lambda event: raising(asyncio.CancelledError()))
    async with organism:
        await survives(organism)


async def moments(act: Callable[[Organism, Event], None], **options: Any) -> int:
    """Let an observer act at the first event, then at the second, …: each time all ends well."""
    nth = 0
    while True:
        organism = survivors(lambda o, m: [one_call(9), call(Go(5), to="hostile")])
        seen = 0

        def hook(event: Event, organism: Organism = organism, nth: int = nth) -> None:
            nonlocal seen
            seen += 1
            if seen == nth + 1:
                act(organism, event)

        organism.add_hook(hook)
        async with organism:
            with suppress(NoReply, AnswerError):
                await asyncio.wait_for(organism.ask("hostile", Go()), 20_000)
            counted, seen = seen, 1_000
            await settled(organism)
            assert at_rest(organism), nth
            assert not organism._pump.scheduler.threads
            assert not organism._pump._deadlines._seconds
            assert await organism.ask("echo", Question("z"), timeout=5) == Answer("z")
        if counted <= nth:
            return nth
        nth += 1
        if nth > 60:
            return nth


@virtual
async def test_an_observer_may_cancel_the_conversation_at_every_moment() -> None:
    def cancel(organism: Organism, event: Event) -> None:
        organism.cancel(getattr(event, "conversation_id", ""))

    assert await moments(cancel) > 10


@virtual
async def test_an_observer_may_ask_at_every_moment() -> None:
    tasks = set()

    def ask(organism: Organism, event: Event) -> None:
        tasks.add(asyncio.ensure_future(organism.ask("echo", Question("from an observer"))))

    assert await moments(ask) > 10
    assert {answer.text for answer in await asyncio.gather(*tasks)} == {"from an observer"}


@virtual
async def test_an_observer_may_answer_for_a_person() -> None:
    organism = Organism.build()
    organism.human("anna", accepts=[Question], answers=[Answer])

    def answer(event: Event) -> None:
        if isinstance(event, QuestionAsked):
            organism.answer(event.thread_id, Answer("now"))

    organism.add_hook(answer)
    async with organism:
        for _ in range(100):
            assert await organism.ask("anna", Question("?"), timeout=5) == Answer("now")
        assert at_rest(organism)


@virtual
async def test_an_observer_may_add_another_and_read_everything() -> None:
    organism = survivors(lambda o, m: one_call(9))

    def look(event: Event) -> None:
        assert organism.status().in_flight >= 0
        organism.threads(), organism.questions(), organism.dead_letters(), repr(event)  # type: ignore[unused-ignore]
        if isinstance(event, ThreadOpened):
            organism.add_hook(lambda event: None)
        if isinstance(event, MessageDelivered) and isinstance(event.payload, Go):
            event.payload.n = 99  # it is the handler's, too

    organism.add_hook(look)
    async with organism:
        await survives(organism)


# --- cancel from outside, at every turn of the loop ---


@pytest.mark.parametrize("way", ["cancel", "give up"])
@virtual
async def test_a_conversation_may_be_ended_at_every_turn_of_the_loop(way: str) -> None:
    for turns in range(25):
        organism = survivors(lambda o, m: [one_call(9), call(Go(5), to="hostile")])
        organism._listeners.pop("echo")

        @organism.listener(name="echo")
        async def slow(payload: Question, metadata: HandlerMetadata) -> Any:
            for _ in range(3):
                await asyncio.sleep(0)
            return respond(Answer(payload.text))

        async with organism:
            asking = asyncio.ensure_future(organism.ask("hostile", Go()))
            for _ in range(turns):
                await asyncio.sleep(0)
            if way == "give up":
                asking.cancel()
            else:
                for each in {thread.conversation_id for thread in organism.threads()}:
                    organism.cancel(each)
            await asyncio.wait([asking], timeout=100)
            assert asking.done()
            if not asking.cancelled():
                asking.exception()
            await settled(organism)
            assert at_rest(organism), turns
            assert not organism._pump.scheduler.threads
            assert await organism.ask("echo", Question("z"), timeout=5) == Answer("z")


@virtual
async def test_a_stop_at_every_turn_ends_whoever_asks() -> None:
    for turns in range(20):
        organism = survivors(lambda o, m: one_call(9))
        await organism.start()
        asking = [asyncio.ensure_future(organism.ask("hostile", Go())) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        await organism.stop()
        await asyncio.wait(asking, timeout=10)
        assert all(each.done() for each in asking)
        for each in asking:
            each.exception()
    gc.collect()


# --- redelivery ---


def test_another_attempt_sees_the_payload_as_it_was_sent() -> None:
    from tests.pump.steps import Scene
    from xml_pipeline.pump import listener

    async def handler(payload: Go, metadata: HandlerMetadata) -> Any: ...

    scene = Scene(listener("a", handler))
    scene.inject("a", Go(1))
    scene.pending("a")[0].payload.n = 2  # what a handler did before it was interrupted
    scene.interrupt("a")
    assert scene.pending("a")[0].payload == Go(1)


# --- garbage ---

CYCLES = """
import gc, logging, sys
from tests.pump.scenes import Note
from tests.pump.test_hostile import Unlisted
from xml_pipeline import AnswerError, HandlerMetadata, Organism
from xml_pipeline.testing import run_in_virtual_time

logging.disable()

async def keeping(payload: Note, metadata: HandlerMetadata):
    error = ValueError("kept where it happened")
    if sys.argv[1] == "returned":
        return Unlisted(lambda: error)
    payload.error = error
    raise error

async def live():
    organism = Organism.build()
    organism.listener(keeping)
    async with organism:
        for _ in range(20):
            try:
                await organism.ask("keeping", Note())
            except AnswerError:
                pass

run_in_virtual_time(live())
gc.collect()
print(sum(type(each).__name__ == "HandlerCall" for each in gc.get_objects()))
"""


@pytest.mark.parametrize("way", ["payload", "returned"])
def test_what_refers_to_its_own_failure_is_collected(way: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CYCLES, way],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert int(done.stdout) < 5


# --- found by an attack from the docs alone ---


@virtual
async def test_a_gathered_call_to_nobody_by_name_that_several_could_take_is_refused_in_its_place() -> None:
    organism = Organism.build(max_in_flight=1)
    organism.listener(echo, name="one", broadcast=True)
    organism.listener(echo, name="two", broadcast=True)

    @organism.listener(peers=["one", "two"])
    async def asker(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Gathered):
            return respond(Note(" ".join(type(answer).__name__ for answer in payload.answers)))
        return gather([call(Question("a"), to="one"), HandlerResponse(Question("b"))])

    async with organism:
        for _ in range(3):
            assert await organism.ask("asker", Go(), timeout=5) == Note("Answer SystemError")
            assert at_rest(organism)


@virtual
async def test_a_defect_in_the_programs_logging_stops_no_work(caplog: pytest.LogCaptureFixture) -> None:
    class Redact(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise TypeError("a bug in a filter")

    log = logging.getLogger("xml_pipeline.pump")
    bug = Redact()
    log.addFilter(bug)
    organism = survivors(lambda o, m: raising(ValueError("boom")))
    try:
        async with organism:
            with pytest.raises(AnswerError, match="ValueError"):
                await organism.ask("hostile", Go(), timeout=5)
            await survives(organism)
    finally:
        log.removeFilter(bug)


@virtual
async def test_an_exception_whose_class_hides_its_name_arrives_too() -> None:
    class Hiding(type):
        @property
        def __name__(cls) -> str:
            raise ValueError

    class Nameless(Exception, metaclass=Hiding):
        pass

    organism = survivors(lambda o, m: raising(Nameless()))
    async with organism:
        with pytest.raises(AnswerError, match="Nameless"):
            await organism.ask("hostile", Go(), timeout=5)
        await survives(organism)


@xmlify
@dataclass
class Leaving:
    """Ends the program when its field is read."""

    x: int = 1

    def __getattribute__(self, name: str) -> Any:
        if name == "x":
            raise GeneratorExit
        return object.__getattribute__(self, name)


@xmlify
@dataclass
class AtMostFive:
    """A number with a rule of its own."""

    n: int

    def __post_init__(self) -> None:
        if self.n > 5:
            raise ValueError("at most 5")


def too_much() -> AtMostFive:
    number = AtMostFive(5)
    number.n = 6
    return number


@pytest.mark.parametrize("entry", [Leaving, too_much])
@virtual
async def test_what_cannot_be_kept_is_refused_when_it_is_given(entry: Callable[[], Any]) -> None:
    organism = survivors(lambda o, m: respond(Note(str(len(m.recall(AtMostFive)))), remember=entry()))
    async with organism:
        alice = organism.session(id="alice")
        for _ in range(2):
            assert await alice.ask("hostile", Go(), timeout=5) == Note("Huh")
        await survives(organism)


@virtual
async def test_a_class_whose_annotations_name_nothing_fails_for_its_sender() -> None:
    @xmlify
    @dataclass
    class Forward:
        """Names a class that there is not."""

        x: Nowhere  # type: ignore[name-defined]  # noqa: F821

    organism = survivors(lambda o, m: respond(Forward(1)))
    async with organism:
        with pytest.raises(AnswerError, match="cannot be sent"):
            await organism.ask("hostile", Go(), timeout=5)
        await survives(organism)


@pytest.mark.parametrize("bad", [float("nan"), -1, 10**400, "3", None])
def test_a_patience_that_is_none_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigError, match="shutdown_seconds"):
        Organism.build(shutdown_seconds=bad)


@pytest.mark.parametrize("to", ["\ud800", "\x00", "</to><to>", "a<!-- -->", "nobody", "x" * 1000])
@virtual
async def test_a_receiver_of_any_text_harms_no_answer_that_went_before_it(to: str) -> None:
    organism = Organism.build()

    @organism.listener(peers=["hostile"])
    async def front(payload: Go, metadata: HandlerMetadata) -> HandlerResponse:
        return call(Note(), to="hostile")

    @organism.listener
    async def hostile(payload: Note, metadata: HandlerMetadata) -> list[HandlerResponse]:
        return [respond(Answer("first")), call(Question("unsent"), to=to)]

    async with organism:
        assert await organism.ask("front", Go()) == Answer("first")
        (letter,) = organism.dead_letters()
        assert "before it was sent" in letter.reason
        assert ("which is no name" in letter.reason) == (to != "nobody")
        assert letter.message.payload == Question("unsent")
        assert decode(letter.message.data).to == letter.to == ("nobody" if to == "nobody" else "front")
        assert at_rest(organism)
