"""What observers are told of each event of record."""

from __future__ import annotations

from dataclasses import asdict
from hashlib import sha256

import pytest
from msgspec.structs import replace

from tests.pump.scenes import Question
from xml_pipeline import events
from xml_pipeline.envelope import Heading, Message
from xml_pipeline.payload import codec_of
from xml_pipeline.pump.projection import delivered, observed
from xml_pipeline.threads.record import (
    Accepted,
    Approved,
    Asked,
    Began,
    Closed,
    DeadLetter,
    Ended,
    Entry,
    Event,
    Gathering,
    Handled,
    Opening,
    Over,
    Redelivered,
    Refused,
    Remembered,
    Resting,
    StateKept,
)


def message(repairs: tuple[str, ...] = ()) -> Message:
    heading = Heading("me", "you", "t", "m", repairs=repairs, conversation_id="c")
    return Message.sealed(heading, Question("?"), codec_of(Question))


SENT, MENDED = message(), message(("mended",))
OPENS = Opening("above", "me", "m", 2, "s", "s")
ENTRY = Entry("Question", b"<Question/>")
DIGEST = sha256(ENTRY.data).hexdigest()
DELIVERED = events.MessageDelivered("c", "t", "m", "me", "you", Question("?"), 1)
BY_NAME = (
    "it named 'you', its caller, so this is the answer; to call that peer anew, put the call in a gather"
)
PRUNED = "what had called it ended first, or waited for it no longer"

TOLD: list[tuple[Event, list[events.Event]]] = [
    (Began("me", "you", "s", False, True), [events.ConversationStarted("c", "you")]),
    (Accepted(SENT), []),
    (Accepted(SENT, fills=("g", 0)), []),
    (Accepted(SENT, OPENS), [events.ThreadOpened("c", "t", "you", "me", "s")]),
    (Accepted(MENDED), [events.PayloadRepaired("c", "t", "me", ("mended",))]),
    (
        Accepted(MENDED, OPENS),
        [
            events.PayloadRepaired("c", "above", "me", ("mended",)),
            events.ThreadOpened("c", "t", "you", "me", "s"),
        ],
    ),
    (
        Accepted(MENDED, ends="e", sessions=("s1", "s2"), by_name=True),
        [
            events.PayloadRepaired("c", "e", "me", ("mended",)),
            events.SessionEnded("s1"),
            events.SessionEnded("s2"),
            events.ThreadEnded("c", "e", "me", "answered", BY_NAME),
        ],
    ),
    (
        Accepted(SENT, OPENS, ends="e"),
        [
            events.ThreadOpened("c", "t", "you", "me", "s"),
            events.ThreadEnded("c", "e", "me", "delegated"),
        ],
    ),
    (
        Accepted(SENT, ends="e", sessions=("s1",), leaves=True),
        [
            events.SessionEnded("s1"),
            events.ThreadEnded("c", "e", "me", "answered"),
            DELIVERED,
            events.ConversationEnded("c", True),
        ],
    ),
    (
        Accepted(SENT, sessions=("s1",), leaves=True),
        [events.SessionEnded("s1"), DELIVERED, events.ConversationEnded("c", True)],
    ),
    (Handled("t", "m", "you"), []),
    (
        Handled("t", "m", "you", "failed", "handler", "why"),
        [events.HandlerFailed("c", "t", "you", "handler", "why")],
    ),
    (
        Handled("t", "m", "you", "passed on", detail="Answer"),
        [events.AnswerPassedOn("c", "t", "you", "Answer")],
    ),
    (Refused("t", "me", "you", "huh", "why"), [events.MessageRefused("c", "t", "me", "you", "huh", "why")]),
    (
        Ended("t", "you", "pruned", ("s1",)),
        [events.SessionEnded("s1"), events.ThreadEnded("c", "t", "you", "pruned", PRUNED)],
    ),
    (Ended("t", "you", "unanswered"), [events.ThreadEnded("c", "t", "you", "unanswered")]),
    (DeadLetter(SENT, "why"), [events.DeadLettered("c", "m", "me", "you", "why")]),
    (Asked(SENT), [DELIVERED, events.QuestionAsked("c", "t", "m")]),
    (Approved(SENT, b"digest", "boss"), [events.CallApproved("c", "t", "m", "boss")]),
    (StateKept("t", ENTRY), [events.StateChanged("c", "t", "Question", 11, DIGEST)]),
    (StateKept("t", None), []),
    (Remembered("s", ENTRY, 3), [events.EntryRemembered("c", "s", "Question", 11, DIGEST)]),
    (Over(("s1",)), [events.SessionEnded("s1"), events.ConversationEnded("c", False)]),
    (Redelivered(SENT), []),
    (Gathering("t", "g", 1, None, "m"), []),
    (Closed(), []),
    (Resting(5.0), []),
]  # fmt: skip


@pytest.mark.parametrize(("event", "told"), TOLD, ids=lambda each: type(each).__name__)
def test_observers_are_told(event: Event, told: list[events.Event]) -> None:
    seen = list(observed("c", event, 7))
    assert seen == told
    facts = [each for each in seen if isinstance(each, events.Fact)]
    # a delivery may happen again without an event of its own: it has no number
    assert {asdict(each)["seq"] for each in facts if not isinstance(each, events.MessageDelivered)} <= {7}


def test_a_delivery_says_which_attempt_it_is() -> None:
    again = delivered(replace(SENT, attempt=2))
    assert isinstance(again, events.MessageDelivered)
    assert (again.message_id, again.attempt) == ("m", 2)
