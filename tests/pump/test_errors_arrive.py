"""Errors always arrive: at the sender, at the caller, or as a dead letter. Nothing breaks beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, Field, field_validator

from tests.pump.scenes import (
    Answer,
    Go,
    Never,
    Note,
    Question,
    at_rest,
    call,
    delegate,
    echo,
    gather,
    respond,
    settled,
    virtual,
)
from xml_pipeline import (
    AnswerError,
    AskTimeout,
    Gathered,
    HandlerMetadata,
    Huh,
    NoReply,
    Organism,
    SystemError,
    xmlify,
)
from xml_pipeline.errors import BudgetExceededError, TaskFailed
from xml_pipeline.events import DeadLettered, HandlerFailed, MessageRefused
from xml_pipeline.pump import GatherResponse
from xml_pipeline.testing import Recorder


@xmlify
class Order(BaseModel):
    """What somebody wants to buy."""

    item: str
    count: int = Field(ge=1, le=5)


@xmlify
@dataclass
class Touchy:
    """A class whose own code fails."""

    kind: str

    def __post_init__(self) -> None:
        match self.kind:
            case "runtime":
                raise RuntimeError("boom")
            case "os":
                raise OSError("boom")
            case "unspeakable":
                raise ValueError("a \x00 and \ud800 in the reason")
            case "endless":
                raise ValueError("x" * 30_000_000)
            case "base":
                raise KeyError


@xmlify
class Strange(BaseModel):
    """A model whose validator fails in a way that pydantic does not expect."""

    n: int

    @field_validator("n")
    @classmethod
    def _fail(cls, n: int) -> int:
        if n < 0:
            raise RuntimeError("not a ValueError")
        return n


def made(cls: type, **fields: Any) -> Any:
    """An instance that its own checks never saw."""
    instance = cls.__new__(cls)
    instance.__dict__.update(fields)
    return instance


async def organism_still_works(organism: Organism) -> None:
    await settled(organism)
    assert at_rest(organism)
    assert await organism.ask("echo", Question("still there?"), timeout=5) == Answer("still there?")
    assert at_rest(organism)


# --- validation ---


@virtual
async def test_each_handler_has_its_own_time_however_many_are_late_before_it() -> None:
    organism, loop = Organism.build(), asyncio.get_running_loop()

    async def hangs(payload: Go, metadata: HandlerMetadata) -> Any:
        await asyncio.Event().wait()

    async def quick(payload: Go, metadata: HandlerMetadata) -> Any:
        return respond(payload)

    organism.listener(quick, name="quick", timeout_seconds=1)
    for length in (3, 6, 9, 20):
        organism.listener(hangs, name=f"hangs{length}", timeout_seconds=length)

    async def told(length: int) -> float:
        with pytest.raises(AnswerError, match="timeout"):
            await organism.ask(f"hangs{length}", Go(), timeout=100)
        return loop.time()

    async with organism:
        asks = [asyncio.ensure_future(told(length)) for length in (9, 3, 3, 6, 20)]
        assert await organism.ask("quick", Go()) == Go()
        assert await asyncio.gather(*asks) == [9, 3, 3, 6, 20]
        began = loop.time()
        assert await told(3) == began + 3  # nor is an earlier alarm in its way
        assert at_rest(organism)


@virtual
async def test_an_invalid_payload_comes_back_as_a_huh_that_says_everything() -> None:
    organism = Organism.build()
    seen: list[Huh] = []

    @organism.listener(peers=["shop"])
    async def buyer(payload: Go | Huh, metadata: Any) -> Any:
        if isinstance(payload, Huh):
            seen.append(payload)
            return respond(Note("understood"))
        return call(Order.model_construct(item="tea", count=9), to="shop")

    @organism.listener
    async def shop(payload: Order, metadata: Any) -> Any:
        raise AssertionError("an invalid payload reached a handler")

    async with organism:
        assert await organism.ask("buyer", Go()) == Note("understood")
    (huh,) = seen
    (rule,) = huh.rules
    assert rule.field == "Order.count"
    assert rule.value == "9"
    assert "5" in rule.rule + rule.allowed
    assert "<Order>" in huh.example
    assert "<count>" in huh.example


@virtual
async def test_a_long_value_is_cut_in_the_huh() -> None:
    organism = Organism.build()

    @organism.listener(peers=["shop"])
    async def buyer(payload: Go, metadata: Any) -> Any:
        return call(Order.model_construct(item="tea", count="9" * 50_000), to="shop")

    organism.listener(lambda payload, metadata: None, name="shop", accepts=[Order])
    async with organism:
        with pytest.raises(AnswerError) as error:
            await organism.ask("buyer", Go())
    assert isinstance(error.value.answer, Huh)
    assert len(str(error.value.answer)) < 2_000


@virtual
async def test_a_class_that_the_peer_does_not_take_comes_back_with_what_it_takes() -> None:
    organism = Organism.build()

    @organism.listener(peers=["echo"])
    async def asker(payload: Go, metadata: Any) -> Any:
        return call(Note("x"), to="echo")

    organism.listener(echo)
    async with organism:
        with pytest.raises(AnswerError) as error:
            await organism.ask("asker", Go())
    answer = error.value.answer
    assert isinstance(answer, Huh)
    assert answer.rules[0].allowed == "Question"
    assert "<Question>" in answer.example


@virtual
async def test_an_answer_that_is_invalid_comes_back_to_the_one_who_gave_it() -> None:
    organism = Organism.build()
    huhs: list[Huh] = []

    @organism.listener
    async def shop(payload: Go | Huh, metadata: Any) -> Any:
        if isinstance(payload, Huh):
            huhs.append(payload)
            return respond(Order(item="tea", count=1))
        return respond(Order.model_construct(item="tea", count=77))

    async with organism:
        assert await organism.ask("shop", Go()) == Order(item="tea", count=1)
    assert len(huhs) == 1


@pytest.mark.parametrize("kind", ["runtime", "os", "unspeakable", "endless", "base"])
@virtual
async def test_a_payload_class_whose_own_code_fails_is_told_and_harms_nobody(kind: str) -> None:
    organism = Organism.build()

    @organism.listener(peers=["taker"])
    async def sender(payload: Go, metadata: Any) -> Any:
        return call(made(Touchy, kind=kind), to="taker")

    organism.listener(lambda payload, metadata: None, name="taker", accepts=[Touchy])
    organism.listener(echo)
    async with organism:
        with pytest.raises(AnswerError) as error:
            await organism.ask("sender", Go(), timeout=10)
        assert error.value.code in ("validation", "limit")
        await organism_still_works(organism)


@virtual
async def test_a_model_whose_validator_raises_the_unexpected_is_told_and_harms_nobody() -> None:
    organism = Organism.build()

    @organism.listener(peers=["taker"])
    async def sender(payload: Go, metadata: Any) -> Any:
        return call(Strange.model_construct(n=-1), to="taker")

    organism.listener(lambda payload, metadata: None, name="taker", accepts=[Strange])
    organism.listener(echo)
    async with organism:
        with pytest.raises(AnswerError, match="Strange"):
            await organism.ask("sender", Go(), timeout=10)
        await organism_still_works(organism)


@virtual
async def test_answers_that_are_too_large_together_are_a_limit_error() -> None:
    organism = Organism.build()

    @organism.listener(peers=["big"])
    async def sender(payload: Go | Gathered, metadata: Any) -> Any:
        return gather([call(Question("x"), to="big") for _ in range(3)])

    @organism.listener
    async def big(payload: Question, metadata: Any) -> Any:
        return respond(Note("x" * 5_000_000))

    organism.listener(echo)
    async with organism:
        with pytest.raises(AnswerError) as error:
            await organism.ask("sender", Go(), timeout=10)
        assert error.value.code == "limit"
        await organism_still_works(organism)


@virtual
async def test_an_error_message_arrives_whatever_the_limit_of_a_message() -> None:
    from xml_pipeline.hardened import Limits
    from xml_pipeline.pump import listener

    async def failing(payload: Go, metadata: Any) -> Any:
        raise RuntimeError

    async def large(payload: Question, metadata: Any) -> Any:
        return respond(Note("x" * 400))

    organism = Organism(
        "small",
        [listener("failing", failing, accepts=[Go]), listener("large", large, accepts=[Question])],
        wire_limits=Limits(max_bytes=400),
    )
    async with organism:
        with pytest.raises(AnswerError, match="handler"):
            await organism.ask("failing", Go(), timeout=10)
        with pytest.raises(AnswerError, match="limit"):
            await organism.ask("large", Question("x"), timeout=10)
        assert at_rest(organism)


# --- handlers that fail ---


class Unusual(BaseException):
    """No Exception, as test frameworks and trio raise them."""


async def raises(payload: Go, metadata: Any) -> Any:
    raise ValueError("secret detail")


async def raises_base(payload: Go, metadata: Any) -> Any:
    raise Unusual


async def raises_exit(payload: Go, metadata: Any) -> Any:
    raise SystemExit(3)


async def raises_cancelled(payload: Go, metadata: Any) -> Any:
    raise asyncio.CancelledError


async def raises_group(payload: Go, metadata: Any) -> Any:
    async with asyncio.TaskGroup() as group:
        group.create_task(raises(payload, metadata))


async def raises_stop(payload: Go, metadata: Any) -> Any:
    raise StopIteration


@pytest.mark.parametrize(
    "handler", [raises, raises_base, raises_exit, raises_cancelled, raises_group, raises_stop]
)
@virtual
async def test_a_crash_comes_to_the_caller_as_a_handler_error(handler: Any) -> None:
    organism = Organism.build()
    organism.listener(handler, name="failing")
    organism.listener(echo)
    recorder = Recorder(organism)
    async with organism:
        with pytest.raises(AnswerError) as error:
            await organism.ask("failing", Go(), timeout=10)
        assert error.value.code == "handler"
        assert "secret" not in str(error.value)  # the trace is for the log
        assert [(fact.listener, fact.code) for fact in recorder.of(HandlerFailed)] == [("failing", "handler")]
        await organism_still_works(organism)


def raises_sync(payload: Go, metadata: Any) -> Any:
    raise ValueError


def raises_base_sync(payload: Go, metadata: Any) -> Any:
    raise Unusual


def raises_stop_sync(payload: Go, metadata: Any) -> Any:
    raise StopIteration


def raises_exit_sync(payload: Go, metadata: Any) -> Any:
    raise SystemExit


@pytest.mark.parametrize("handler", [raises_sync, raises_base_sync, raises_stop_sync, raises_exit_sync])
async def test_a_crash_of_a_sync_handler_comes_to_the_caller_too(handler: Any) -> None:
    organism = Organism.build(timeout_seconds=10)
    organism.listener(handler, name="failing")
    organism.listener(echo)
    async with organism:
        with pytest.raises(AnswerError) as error:
            await organism.ask("failing", Go())
        assert error.value.code == "handler"
        await organism_still_works(organism)


@virtual
async def test_a_spent_budget_comes_to_the_caller_as_a_budget_error() -> None:
    organism = Organism.build()

    @organism.listener
    async def spender(payload: Go, metadata: Any) -> Any:
        raise BudgetExceededError("agent spender", limit=1, spent=1, requested=1, unit="usd")

    async with organism:
        with pytest.raises(AnswerError) as error:
            await organism.ask("spender", Go())
    assert error.value.code == "budget"


@virtual
async def test_a_peers_crash_comes_to_a_caller_that_accepts_system_errors() -> None:
    organism = Organism.build()

    @organism.listener(peers=["failing"])
    async def caller(payload: Go | SystemError, metadata: Any) -> Any:
        if isinstance(payload, SystemError):
            return respond(Note(f"rescued from {payload.code} of {metadata.from_id}"))
        return call(Go(), to="failing")

    organism.listener(raises, name="failing")
    async with organism:
        assert await organism.ask("caller", Go()) == Note("rescued from handler of failing")


# --- handlers that take too long ---


async def sleeps(payload: Go, metadata: Any) -> Any:
    await asyncio.sleep(1e6)


async def swallows_the_cancel(payload: Go, metadata: Any) -> Any:
    while True:
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            continue
        return respond(Note("much too late"))


@pytest.mark.parametrize("handler", [sleeps, swallows_the_cancel])
@virtual
async def test_a_handler_that_takes_too_long_is_a_timeout_for_its_caller(handler: Any) -> None:
    organism = Organism.build(max_concurrent_handlers=1)
    organism.listener(handler, name="slow", timeout_seconds=7, max_concurrent=1)
    organism.listener(echo)
    started = asyncio.get_running_loop().time()
    async with organism:
        with pytest.raises(AnswerError) as error:
            await organism.ask("slow", Go())
        assert error.value.code == "timeout"
        assert asyncio.get_running_loop().time() - started == 7  # virtual seconds: exact
        await organism_still_works(organism)  # its slots are free, whatever it does with the cancel


@virtual
async def test_what_a_handler_returns_after_it_was_given_up_is_a_dead_letter() -> None:
    organism = Organism.build(timeout_seconds=7)
    organism.listener(swallows_the_cancel, name="slow")
    async with organism:
        with pytest.raises(AnswerError):
            await organism.ask("slow", Go())
        await asyncio.sleep(60)
        (letter,) = organism.dead_letters()
        assert letter.to == "slow"
        assert "given up" in letter.reason


# --- handlers that return nonsense ---


async def _async_generator(payload: Go, metadata: Any) -> Any:
    yield respond(Note())


NONSENSE: dict[str, Callable[[], Any]] = {
    "number": lambda: 42,
    "dict": lambda: {"payload": Note()},
    "bare payload": Note,
    "class": lambda: Note,
    "no payload": lambda: respond("text"),
    "none as payload": lambda: respond(None),
    "list of payloads": lambda: [Note()],
    "list with none": lambda: [call(Note(), to="echo"), None],
    "list in a list": lambda: [[call(Question("x"), to="echo")]],
    "generator": lambda: (each for each in ()),
    "receiver is a list": lambda: call(Question("x"), to=["echo"]),  # type: ignore[arg-type]
    "receiver is a number": lambda: call(Question("x"), to=5),  # type: ignore[arg-type]
    "delegate to nobody": lambda: delegate(Question("x"), to=None),  # type: ignore[arg-type]
    "no such kind": lambda: call(Question("x"), to="echo", kind="Respond"),  # type: ignore[arg-type]
    "kind is a list": lambda: call(Question("x"), to="echo", kind=[]),  # type: ignore[arg-type]
    "repairs are numbers": lambda: call(Question("x"), to="echo", repairs=(1,)),  # type: ignore[arg-type]
    "repairs are one text": lambda: call(Question("x"), to="echo", repairs="ab"),  # type: ignore[arg-type]
    "repairs hold what XML cannot": lambda: call(Question("x"), to="echo", repairs=("\x00",)),
    "repairs hold half a character": lambda: call(Question("x"), to="echo", repairs=("\ud800",)),
    "gather not accepted": lambda: gather([call(Question("x"), to="echo")]),
    "set": lambda: {1, 2},
    "exception": lambda: ValueError("returned, not raised"),
}


@pytest.mark.parametrize("what", NONSENSE)
@virtual
async def test_nonsense_is_a_handler_error_and_nothing_of_it_is_sent(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    organism = Organism.build()

    @organism.listener(peers=["echo"])
    async def odd(payload: Go, metadata: Any) -> Any:
        return NONSENSE[what]()

    organism.listener(echo)
    recorder = Recorder(organism)
    async with organism:
        with pytest.raises(AnswerError) as error:
            await organism.ask("odd", Go(), timeout=10)
        assert error.value.code == "handler"
        assert len(recorder.of(HandlerFailed)) == 1
        assert [each.message for each in caplog.records if "the handler of 'odd' returned" in each.message]
        assert organism.status().handled == 1  # the peer never saw half of a list
        await organism_still_works(organism)


BAD_GATHERS: dict[str, Callable[[], Any]] = {
    "answers": lambda: gather([respond(Note())]),
    "delegations": lambda: gather([delegate(Question("x"), to="echo")]),
    "payloads": lambda: gather([Question("x")]),  # type: ignore[list-item]
    "gathers": lambda: gather([gather([])]),  # type: ignore[list-item]
    "gather of a text": lambda: gather([call("words", to="echo")]),
    "gather of a class": lambda: gather([call(Question("x"), to="echo"), call(Question, to="echo")]),
    "gather to a number": lambda: gather([call(Question("x"), to=5)]),  # type: ignore[arg-type]
    "timeout is a text": lambda: gather([call(Question("x"), to="echo")], timeout="soon"),  # type: ignore[arg-type]
    "timeout is no number": lambda: gather([call(Question("x"), to="echo")], timeout=float("nan")),
    "timeout is negative": lambda: gather([call(Question("x"), to="echo")], timeout=-1),
    "not iterable inside": lambda: GatherResponse(5),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", BAD_GATHERS)
@virtual
async def test_a_gather_of_nonsense_is_a_handler_error(what: str) -> None:
    organism = Organism.build()

    @organism.listener(peers=["echo"])
    async def odd(payload: Go | Gathered, metadata: Any) -> Any:
        return BAD_GATHERS[what]() if isinstance(payload, Go) else respond(Note("gathered"))

    organism.listener(echo)
    async with organism:
        with pytest.raises(AnswerError) as error:
            await organism.ask("odd", Go(), timeout=10)
        assert error.value.code == "handler"
        await organism_still_works(organism)


async def test_a_generator_function_as_handler_is_a_handler_error() -> None:
    organism = Organism.build(timeout_seconds=10)
    organism.listener(_async_generator, name="odd", accepts=[Go])
    async with organism:
        with pytest.raises(AnswerError) as error:
            await organism.ask("odd", Go())
        assert error.value.code == "handler"


# --- nobody left to tell ---


@virtual
async def test_an_error_that_nobody_waits_for_is_a_dead_letter_with_its_reason() -> None:
    organism = Organism.build()
    organism.listener(raises, name="failing")
    recorder = Recorder(organism)
    async with organism:
        conversation = await organism.send("failing", Go())
        await settled(organism)
        (letter,) = organism.dead_letters()
    assert letter.conversation_id == conversation
    assert isinstance(letter.payload, SystemError)
    assert letter.payload.code == "handler"
    assert letter.reason
    assert [fact.reason for fact in recorder.of(DeadLettered)] == [letter.reason]


@virtual
async def test_a_message_of_a_thread_that_has_ended_is_a_dead_letter() -> None:
    organism = Organism.build()
    released = asyncio.Event()

    @organism.listener(peers=["fast", "late"])
    async def racer(payload: Go | Answer, metadata: Any) -> Any:
        if isinstance(payload, Go):
            return [call(Question("a"), to="fast"), call(Question("b"), to="late")]
        return respond(payload)

    organism.listener(echo, name="fast")

    @organism.listener
    async def late(payload: Question, metadata: Any) -> Any:
        await released.wait()
        return respond(Answer("nobody hears this"))

    async with organism:
        assert await organism.ask("racer", Go()) == Answer("a")
        released.set()
        await settled(organism)
        (letter,) = organism.dead_letters()
        assert letter.to == "late"
        assert "ended" in letter.reason
        assert at_rest(organism)


@virtual
async def test_only_the_newest_dead_letters_are_kept() -> None:
    organism = Organism.build()
    organism.listener(raises, name="failing")
    async with organism:
        for n in range(1_005):
            await organism.send("failing", Go(n))
        await settled(organism, 10_000)
        assert len(organism.dead_letters()) == 1_000


# --- from outside ---


@virtual
async def test_a_call_that_ends_without_an_answer_raises_no_reply_outside() -> None:
    organism = Organism.build()

    @organism.listener
    async def quiet(payload: Go, metadata: Any) -> None:
        return None

    async with organism:
        with pytest.raises(NoReply, match="quiet"):
            await organism.ask("quiet", Go())
        assert at_rest(organism)


@virtual
async def test_an_ask_that_is_given_up_cancels_its_conversation() -> None:
    organism = Organism.build()
    cancelled = asyncio.Event()

    @organism.listener
    async def slow(payload: Go, metadata: Any) -> Any:
        try:
            await asyncio.sleep(1e6)
        finally:
            cancelled.set()

    async with organism:
        with pytest.raises(AskTimeout) as error:
            await organism.ask("slow", Go(), timeout=3)
        assert isinstance(error.value, TimeoutError)
        await cancelled.wait()
        assert at_rest(organism)


@virtual
async def test_a_refusal_is_a_fact() -> None:
    organism = Organism.build()

    @organism.listener
    async def odd(payload: Go, metadata: Any) -> Any:
        return call(Never(), to="nobody")

    recorder = Recorder(organism)
    async with organism:
        with pytest.raises(AnswerError):
            await organism.ask("odd", Go())
    (fact,) = recorder.of(MessageRefused)
    assert (fact.from_id, fact.to, fact.code) == ("odd", "nobody", "routing")


class Exit:
    """What ends a program when it is raised where nobody looks."""

    raises = False


@xmlify
@dataclass
class Trap:
    """Leaves the program when it is made for the second time."""

    n: int = 0

    def __post_init__(self) -> None:
        if Exit.raises:
            raise SystemExit(3)


@virtual
async def test_whatever_a_payload_class_raises_is_told_to_the_sender() -> None:
    organism = Organism.build()

    @organism.listener
    async def setter(payload: Go, metadata: Any) -> Any:
        trap = Trap()
        Exit.raises = True
        return respond(trap)

    async with organism:
        with pytest.raises(AnswerError, match="SystemExit"):
            await organism.ask("setter", Go())
        Exit.raises = False
        assert at_rest(organism)


@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError, GeneratorExit])
@virtual
async def test_whatever_an_observer_raises_the_work_goes_on(error: type[BaseException]) -> None:
    organism = Organism.build()
    organism.listener(echo)

    def hook(event: object) -> None:
        raise error

    organism.add_hook(hook)
    async with organism:
        assert await organism.ask("echo", Question("x")) == Answer("x")
        assert at_rest(organism)


@virtual
async def test_a_handler_may_give_its_task_up_with_a_code_and_words() -> None:
    organism = Organism.build()
    recorder = Recorder(organism)

    @organism.listener
    async def clerk(payload: Go, metadata: Any) -> Any:
        raise TaskFailed("limit", "the shop is closed") if payload.n else TaskFailed("holiday", "gone")

    async with organism:
        with pytest.raises(AnswerError, match="limit: the shop is closed"):
            await organism.ask("clerk", Go(1))
        with pytest.raises(AnswerError, match="handler: the handler failed with TaskFailed"):
            await organism.ask("clerk", Go(0))
    first, _ = recorder.of(HandlerFailed)
    assert (first.code, first.error) == ("limit", "the shop is closed")
    assert first.seq


@virtual
async def test_a_dead_letter_is_logged_without_what_it_says(caplog: pytest.LogCaptureFixture) -> None:
    scene = Organism.build()

    @scene.listener(peers=["echo"])
    async def both(payload: Go, metadata: HandlerMetadata) -> Any:
        return [respond(Note("answered")), call(Question("too late, and private"), to="echo")]

    scene.listener(echo)
    with caplog.at_level("INFO", logger="xml_pipeline.pump"):
        async with scene:
            assert await scene.ask("both", Go()) == Note("answered")
    (line,) = [each.getMessage() for each in caplog.records if "dead letter" in each.getMessage()]
    assert line.startswith("dead letter from both to echo: ")
    assert "private" not in line
