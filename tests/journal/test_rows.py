"""A step as bytes, and back."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from tests.pump.scenes import Go, Question
from xml_pipeline.envelope import Heading, Message
from xml_pipeline.journal.rows import packed, unpacked
from xml_pipeline.payload import codec_of
from xml_pipeline.threads.record import (
    Accepted,
    Approved,
    Asked,
    Began,
    DeadLetter,
    Entry,
    Event,
    Handled,
    Opening,
    Remembered,
)

ID = "2f1c0000-0000-4000-8000-0123456789ab"


def message(text: str = "x") -> Message:
    return Message.sealed(
        Heading("a", "b", ID, ID, conversation_id=ID, at=1.5), Question(text), codec_of(Question)
    )


def test_what_is_read_is_what_was_written_but_for_instances() -> None:
    sent = message()
    events: list[Event] = [
        Began("outside", "b", ID, True, True),
        Accepted(sent, Opening("", "outside", ID, 1, ID, ID, seen=(3, 2)), sessions=(ID,), fills=(ID, 4)),
        Handled(ID, ID, "b", "failed", "handler", "why"),
        Remembered(ID, Entry("Note", b"<Note/>"), 5, True, 7),
    ]
    expected = [
        replace(event, message=replace(event.message, payload=None)) if isinstance(event, Accepted) else event
        for event in events
    ]
    assert unpacked(packed(events)) == expected
    read = unpacked(packed(events))[1]
    assert isinstance(read, Accepted)
    assert (read.message.data, read.message.payload) == (sent.data, None)


@pytest.mark.parametrize(
    "event", [Asked(message()), Approved(message(), b"digest", "boss"), DeadLetter(message(), "why", True)]
)
def test_the_bytes_of_a_message_that_its_thread_holds_are_not_written_again(event: Event) -> None:
    (read,) = unpacked(packed([event]))
    assert isinstance(read, Asked | Approved | DeadLetter)
    assert read.message.message_id == ID
    assert read.message.data == b""


def test_those_of_a_message_that_nothing_holds_are() -> None:
    (read,) = unpacked(packed([DeadLetter(message(), "it came too late")]))
    assert isinstance(read, DeadLetter)
    assert b"<text>x</text>" in read.message.data


def test_a_payload_never_reaches_the_bytes() -> None:
    class Unpackable:
        __slots__ = ()

    odd = replace(message(), payload=Unpackable())
    assert unpacked(packed([Accepted(odd)]))
    assert codec_of(Go)  # classes are found again by name


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"nonsense", msgspec.msgpack.encode([{"type": "accepted/9"}])]
)
def test_what_is_no_step_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        unpacked(data)
