"""State by events alone: `apply` runs nobody's code and meets no listener."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from tests.journal.lagging import Lagging, journaled
from tests.pump.scenes import Answer, Go, Note, Question, call, gather, respond, virtual
from tests.pump.steps import packed
from xml_pipeline import AnswerError, Gathered, HandlerMetadata, Keep, xmlify
from xml_pipeline.envelope import Heading, Message
from xml_pipeline.errors import PayloadError
from xml_pipeline.journal import Step
from xml_pipeline.payload import codec_of
from xml_pipeline.pump import listener
from xml_pipeline.threads import State
from xml_pipeline.threads.record import Began, Closed, DeadLetter, Event, Over

THREAD = "2f1c0000-0000-4000-8000-000000000000"

FOLD = """
import sys
for module in ("xml_pipeline.pump", "xml_pipeline.pump.listener", "xml_pipeline.organism", "tests"):
    sys.modules[module] = None  # whoever imports it fails
import msgspec
from xml_pipeline.threads.record import Event
from xml_pipeline.threads import State
steps = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=list[tuple[str, Event]])
state, states = State(), []
for conversation_id, event in steps:
    state.apply(conversation_id, event)
    states.append(msgspec.msgpack.encode(state))
sys.stdout.buffer.write(msgspec.msgpack.encode(states))
"""


async def top(payload: Go | Answer | Gathered, metadata: HandlerMetadata, state: Note | None) -> Any:
    if isinstance(payload, Go):
        calls = [call(Question(str(n)), to="helper") for n in range(payload.n)]
        return Keep(
            Note("asked"), gather(calls, timeout=9) if payload.n % 2 else [*calls, call(Go(), to="nobody")]
        )
    return respond(Note("done"), remember=Note("an entry"))


async def helper(payload: Question, metadata: HandlerMetadata) -> Any:
    return None if payload.text == "1" else respond(Answer(payload.text), remember=Note(payload.text))


async def recorded() -> list[Step]:
    journal = Lagging()
    organism = journaled(journal, listener("top", top, peers=["helper"]), listener("helper", helper))
    async with organism, organism.session(id="s") as session:
        for n in range(1, 5):
            await session.send("top", Go(n))
            with suppress(AnswerError):
                await organism.ask("top", Go(n))
    return journal.steps


@virtual
async def test_events_are_folded_where_no_listener_and_no_payload_class_exist() -> None:
    steps = [(step.conversation_id, packed(event)) for step in await recorded() for event in step.events]
    assert len({type(event) for _, event in steps}) >= 8
    done = subprocess.run(  # noqa: ASYNC221 - nothing else runs here
        [sys.executable, "-c", FOLD],
        input=msgspec.msgpack.encode(steps),
        stdout=subprocess.PIPE,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    there: list[bytes] = msgspec.msgpack.decode(done.stdout)
    state = State()
    for (conversation_id, event), seen in zip(steps, there, strict=True):
        state.apply(conversation_id, event)
        assert msgspec.msgpack.decode(seen, type=State) == state


class Untouchable:
    """A payload that may not be looked at."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"somebody looked at {name}")

    def __eq__(self, other: object) -> bool:
        raise AssertionError("somebody compared it")

    def __hash__(self) -> int:
        raise AssertionError("somebody hashed it")

    def __bool__(self) -> bool:
        raise AssertionError("somebody asked whether it is there")


def untouchable(event: Event) -> Event:
    message = getattr(event, "message", None)
    return event if message is None else replace(event, message=replace(message, payload=Untouchable()))


@virtual
async def test_nothing_looks_at_a_payload_while_events_are_folded() -> None:
    state, untouched = State(), State()
    for step in await recorded():
        for event in step.events:
            state.apply(step.conversation_id, event)
            untouched.apply(step.conversation_id, untouchable(event))
            assert untouched == state  # nor while states are compared
    assert not untouched.conversations


@virtual
async def test_events_pickle_copy_and_compare() -> None:
    for step in await recorded():
        for event in step.events:
            again = pickle.loads(pickle.dumps(event))
            assert again == event == copy.deepcopy(event) == packed(event)
            assert type(again) is type(event)
            with pytest.raises(AttributeError):
                event.seq = 1  # type: ignore[union-attr]


@virtual
async def test_events_after_the_end_change_nothing() -> None:
    steps = await recorded()
    state = State()
    for step in steps:
        for event in step.events:
            state.apply(step.conversation_id, event)
    before = copy.deepcopy(state)
    for step in steps:
        if step.seq:
            for event in step.events:
                state.apply(step.conversation_id, event)
    assert state == before


def test_a_message_is_equal_to_its_bytes_whatever_its_payload_is() -> None:
    heading = Heading("a", "b", THREAD, "id", conversation_id="c", at=1.0)
    codec = codec_of(Note)
    message = Message.sealed(heading, Note("x"), codec, codec)
    assert message.payload == Note("x")
    assert message == replace(message, payload=None)
    assert hash(message) == hash(pickle.loads(pickle.dumps(message)))
    assert message != replace(message, attempt=2)
    assert message != replace(message, conversation_id="d")
    assert message != message.data
    with pytest.raises(AttributeError):
        message.to = "c"  # type: ignore[misc]


@xmlify
@dataclass
class Refusing:
    """Fails when it is read."""

    text: str

    def __post_init__(self) -> None:
        if self.text == "read":
            raise RuntimeError("not me")


def test_a_message_whose_class_fails_at_its_reading_is_not_sealed() -> None:
    codec, payload = codec_of(Refusing), Refusing("fine")
    payload.text = "read"
    with pytest.raises(PayloadError, match="not me"):
        Message.sealed(Heading("a", "b", THREAD, "id"), payload, codec, codec)


def test_a_dead_letter_is_named_as_its_message_is() -> None:
    heading = Heading("top", "helper", THREAD, "m", conversation_id="c")
    message = Message.sealed(heading, Question("?"), codec_of(Question))
    letter = DeadLetter(message, "why")
    assert not letter.pending
    for name in ("conversation_id", "thread_id", "message_id", "from_id", "to", "payload"):
        assert getattr(letter, name) == getattr(message, name) is not None


def test_a_conversation_counts_from_its_beginning() -> None:
    state = State()
    state.apply("c", Began("me", "top", "s", False, True))
    begun = state.conversations["c"]
    assert (begun.messages, begun.seq, begun.root, begun.memory, begun.threads) == (0, 1, "", None, {})
    assert (begun.caller, begun.session, begun.lasting, begun.awaited) == ("me", "s", False, True)
    state.apply("unknown", Over())
    state.apply("unknown", Closed())
    assert set(state.conversations) == {"c"}
    assert not state.sessions


def test_a_session_that_is_closed_while_it_is_used_ends_with_its_last_conversation() -> None:
    state = State()
    for conversation in ("c", "d"):
        state.apply(conversation, Began("me", "top", "s", True, True))
    state.apply("s", Closed())
    assert state.sessions["s"].ending
    state.apply("c", Over((), "s"))
    assert state.sessions["s"].running == 1
    state.apply("d", Over((), "s"))
    assert state == State()


def test_a_session_that_is_closed_while_it_rests_is_gone_at_once() -> None:
    state = State()
    state.apply("c", Began("me", "top", "s", True, True))
    state.apply("c", Over((), "s"))
    assert not state.sessions["s"].ending
    state.apply("s", Closed())
    assert state == State()
