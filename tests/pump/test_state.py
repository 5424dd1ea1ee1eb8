"""What a handler keeps from one message of a thread to the next."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.pump import cpu
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
    virtual,
)
from xml_pipeline import AnswerError, Gathered, HandlerMetadata, Huh, Keep, Organism, SystemError, xmlify
from xml_pipeline.errors import ConfigError
from xml_pipeline.events import StateChanged
from xml_pipeline.testing import Recorder


@xmlify
@dataclass
class Tally:
    """What is counted."""

    n: int = 0
    names: list[str] = field(default_factory=list)


def counting(organism: Organism, seen: list[int | None] | None = None) -> None:
    """`counter` calls itself down to zero, and counts how often."""

    @organism.listener
    async def counter(payload: Go, metadata: HandlerMetadata, state: Tally | None) -> Any:
        if seen is not None:
            seen.append(None if state is None else state.n)
        state = state or Tally()
        state.n += 1
        return Keep(state, call(Go(payload.n - 1), to="counter") if payload.n else respond(Go(state.n)))


@virtual
async def test_each_message_of_a_thread_reads_what_the_one_before_wrote() -> None:
    organism, seen = Organism.build(), list[int | None]()
    counting(organism, seen)
    recorder = Recorder(organism)
    async with organism:
        assert await organism.ask("counter", Go(3)) == Go(4)
        assert at_rest(organism)
    assert seen == [None, 1, 2, 3]
    told = recorder.of(StateChanged)
    assert [each.payload_name for each in told] == ["Tally"] * 4
    assert len({each.digest for each in told}) == 4
    assert all(
        each.size == len(f"<Tally><n>{n}</n><names></names></Tally>") for n, each in enumerate(told, 1)
    )


@virtual
async def test_two_threads_have_two_states_and_a_state_goes_with_its_thread() -> None:
    organism, seen = Organism.build(), list[int | None]()
    counting(organism, seen)

    @organism.listener(peers=["counter"])
    async def both(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Go):
            return gather([call(Go(5), to="counter"), call(Go(7), to="counter")])
        return respond(Note(str([each.n for each in payload.answers])))

    async with organism:
        assert await organism.ask("both", Go()) == Note("[6, 8]")
        assert await organism.ask("counter", Go(0)) == Go(1)
    assert seen.count(None) == 3


@virtual
async def test_a_state_lasts_over_answers_errors_and_gathers() -> None:
    organism = Organism.build()
    organism.listener(echo)

    @organism.listener(peers=["echo"])
    async def asker(
        payload: Go | Answer | Gathered | Huh | SystemError, metadata: HandlerMetadata, state: Tally | None
    ) -> Any:
        state = state or Tally()
        state.names.append(type(payload).__name__)
        following: dict[type, Any] = {
            Go: call(Question("x"), to="echo"),
            Answer: call(Note(), to="echo"),
            Huh: call(Note(), to="nobody"),
            SystemError: gather([call(Question("y"), to="echo")]),
            Gathered: respond(Note(" ".join(state.names))),
        }
        return Keep(state, following[type(payload)])

    async with organism:
        assert await organism.ask("asker", Go()) == Note("Go Answer Huh SystemError Gathered")


@virtual
async def test_what_a_handler_does_to_the_object_before_it_fails_changes_nothing() -> None:
    """Nor what it does afterwards: what was kept are bytes."""
    organism, held, seen = Organism.build(), list[Tally](), list[list[str]]()
    organism.listener(echo)

    @organism.listener(peers=["echo"])
    async def careless(payload: Go | Answer, metadata: HandlerMetadata, state: Tally | None) -> Any:
        if state is None:
            held.append(Tally(1, ["kept"]))
            return Keep(held[0], call(Question("x"), to="echo"))
        held[0].names.append("from afar")
        seen.append([*state.names])
        state.names.append("not kept")
        if len(seen) < 3:
            return call(Question("x"), to="echo")
        raise ValueError("crash")

    async with organism:
        with pytest.raises(AnswerError, match="handler"):
            await organism.ask("careless", Go())
    assert seen == [["kept"]] * 3


@virtual
async def test_state_and_messages_are_accepted_together_or_not_at_all() -> None:
    organism, seen = Organism.build(), list[int | None]()

    @organism.listener
    async def caller(payload: Go | Huh, metadata: HandlerMetadata, state: Tally | None) -> Any:
        seen.append(None if state is None else state.n)
        if isinstance(payload, Huh):
            return respond(Note("told"))
        return Keep(Tally(1), call(Note(), to="caller"))  # a class that it does not take: refused, and kept

    async with organism:
        assert await organism.ask("caller", Go()) == Note("told")
    assert seen == [None, 1]


@pytest.mark.parametrize(
    "returned",
    [
        Keep(Go(), respond(Note())),
        Keep(Tally("x"), respond(Note())),  # type: ignore[arg-type]
        Keep(Tally(1, ["\x00"]), respond(Note())),
        Keep(Tally(), Keep(Tally(), respond(Note()))),  # type: ignore[arg-type]
        Keep(Tally, respond(Note())),
        Keep(Tally(), 5),  # type: ignore[arg-type]
    ],
)
@virtual
async def test_a_state_that_is_none_is_a_handler_error(returned: Any) -> None:
    organism = Organism.build()

    @organism.listener
    async def odd(payload: Go, metadata: HandlerMetadata, state: Tally | None) -> Any:
        return returned

    recorder = Recorder(organism)
    async with organism:
        with pytest.raises(AnswerError) as caught:
            await organism.ask("odd", Go())
        assert caught.value.code == "handler"
        assert at_rest(organism)
    assert recorder.of(StateChanged) == []


@virtual
async def test_a_handler_without_a_state_cannot_keep_one() -> None:
    organism = Organism.build()

    @organism.listener
    async def plain(payload: Go, metadata: HandlerMetadata) -> Any:
        return Keep(Tally(), respond(Note()))

    recorder = Recorder(organism)
    async with organism:
        with pytest.raises(AnswerError, match="handler"):
            await organism.ask("plain", Go())
    (failure,) = [each for each in recorder.events if type(each).__name__ == "HandlerFailed"]
    assert "third parameter" in failure.error  # type: ignore[attr-defined]


@virtual
async def test_no_keep_leaves_a_state_and_none_drops_it() -> None:
    organism, seen = Organism.build(), list[Tally | None]()

    @organism.listener
    async def steps(payload: Go, metadata: HandlerMetadata, state: Tally | None) -> Any:
        seen.append(state)
        again = call(Go(payload.n + 1), to="steps")
        return [Keep(Tally(1), again), again, Keep(None, again), respond(Note())][payload.n]

    async with organism:
        await organism.ask("steps", Go())
    assert seen == [None, Tally(1), Tally(1), None]


@virtual
async def test_a_thread_keeps_messages_and_its_state_names_them() -> None:
    organism = Organism.build()
    organism.listener(echo)

    @organism.listener(peers=["echo"])
    async def asker(payload: Go | Answer, metadata: HandlerMetadata, state: Tally | None) -> Any:
        assert all(name in metadata.kept for name in (state.names if state else ()))
        state = state or Tally()
        if len(state.names) == 3:
            return respond(Note(" ".join(str(metadata.kept[name]) for name in state.names)))
        odd = isinstance(payload, Answer) and payload.text == "1"
        if not odd:
            state.names.append(metadata.message_id)
        state.n += 1
        return Keep(state, call(Question(str(state.n)), to="echo"), message=not odd)

    async with organism:
        said = await organism.ask("asker", Go(7))
        assert at_rest(organism)
    assert said == Note("Go(n=7) Answer(text='2') Answer(text='3')")


@virtual
async def test_whoever_hands_over_does_not_hand_its_state_over() -> None:
    organism, seen = Organism.build(), list[int | None]()
    counting(organism, seen)

    @organism.listener(hands_over_to=["counter"])
    async def first(payload: Go, metadata: HandlerMetadata, state: Tally | None) -> Any:
        return Keep(Tally(100), delegate(Go(1), "counter"))

    async with organism:
        assert await organism.ask("first", Go()) == Go(2)
    assert seen == [None, 1]


class Counter:
    """A handler that is an object."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, payload: Go, metadata: HandlerMetadata, state: Tally | None) -> Any:
        return self.count(payload, metadata, state)

    def count(self, payload: Go, metadata: HandlerMetadata, state: Tally | None) -> Any:
        self.calls += 1
        n = 1 + (0 if state is None else state.n)
        return Keep(Tally(n), call(Go(payload.n - 1), to="it") if payload.n else respond(Go(n)))

    async def counted(self, payload: Go, metadata: HandlerMetadata, state: Tally | None) -> Any:
        return self.count(payload, metadata, state)


async def bound(step: int, payload: Go, metadata: HandlerMetadata, state: Tally | None) -> Any:
    n = step + (0 if state is None else state.n)
    return Keep(Tally(n), call(Go(payload.n - 1), to="it") if payload.n else respond(Go(n)))


def sync(payload: Go, metadata: HandlerMetadata, state: Tally | None) -> Any:
    return Counter().count(payload, metadata, state)


def wrapped(handler: Any) -> Any:
    @functools.wraps(handler)
    async def call_it(*arguments: Any) -> Any:
        return await handler(*arguments)

    return call_it


@pytest.mark.parametrize(
    "handler",
    [
        Counter(),
        Counter().counted,
        Counter().count,
        functools.partial(bound, 1),
        functools.partial(Counter()),
        sync,
        wrapped(Counter().counted),
    ],
    ids=["object", "method", "sync method", "partial", "partial of an object", "sync", "wrapped"],
)
async def test_whatever_can_be_called_may_keep_a_state(handler: Any) -> None:
    organism = Organism.build()
    organism.listener(handler, name="it")
    async with organism:
        assert await organism.ask("it", Go(3), timeout=10) == Go(4)
        assert at_rest(organism)


async def test_a_handler_in_a_process_may_keep_a_state() -> None:
    organism = Organism.build()
    organism.listener(cpu.counting, name="it", cpu_bound=True)
    async with organism:
        assert await organism.ask("it", Go(2), timeout=30) == Go(3)


@pytest.mark.parametrize("annotation", [int, "Tally | Go", "int | None", "dict", "Nowhere", "Any"])
def test_a_third_parameter_that_is_no_state_is_refused(annotation: Any) -> None:
    async def handler(payload: Go, metadata: HandlerMetadata, state: Any) -> Any: ...

    handler.__annotations__["state"] = annotation
    with pytest.raises(ConfigError, match=r"state|resolved"):
        Organism.build().listener(handler)


@virtual
async def test_a_state_may_have_none_as_its_default() -> None:
    organism = Organism.build()

    @organism.listener
    async def counter(payload: Go, metadata: HandlerMetadata, state: Tally | None = None) -> Any:
        return Keep(Tally(), respond(Note("kept")))

    async with organism:
        assert await organism.ask("counter", Go()) == Note("kept")


@virtual
async def test_thousands_of_threads_keep_their_own() -> None:
    organism = Organism.build(max_in_flight=10_000)

    @organism.listener
    async def holder(payload: Go, metadata: HandlerMetadata, state: Tally | None) -> Any:
        if state is None:
            return Keep(Tally(payload.n), call(Go(), to="holder"))
        return respond(Go(state.n))

    async with organism:
        answers = await asyncio.gather(*(organism.ask("holder", Go(n)) for n in range(2_000)))
        assert answers == [Go(n) for n in range(2_000)]
        assert at_rest(organism)


@virtual
async def test_a_state_that_does_not_fit_its_class_any_more_is_an_error_for_the_caller() -> None:
    strict = False

    @xmlify
    @dataclass
    class Moody:
        n: int

        def __post_init__(self) -> None:
            if strict:
                raise ValueError("not today")

    organism, handled = Organism.build(), list[Any]()

    @organism.listener
    async def changing(payload: Question, metadata: HandlerMetadata) -> Any:
        nonlocal strict
        strict = True
        return respond(Answer("changed"))

    @organism.listener(peers=["changing"])
    async def keeper(payload: Go | Answer, metadata: HandlerMetadata, state: Moody | None) -> Any:
        handled.append(payload)
        return Keep(Moody(1), call(Question("x"), to="changing"))

    async with organism:
        with pytest.raises(AnswerError, match=r"state does not fit Moody any more: .*not today"):
            await organism.ask("keeper", Go())
        assert handled == [Go()]
        assert at_rest(organism)
