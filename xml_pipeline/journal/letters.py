"""Dead letters are sent again, or dropped.

To send one again is to let a conversation begin in the journal, as `send` would have. Whoever runs the organism then
goes on with it: at once, or with the next start.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from msgspec import Struct

from xml_pipeline.envelope import SYSTEM, GatheredCodec, Heading, Message
from xml_pipeline.errors import EnvelopeError, JournalError
from xml_pipeline.journal.file import steps_of
from xml_pipeline.journal.protocol import Step
from xml_pipeline.threads.ids import DerivedIds
from xml_pipeline.threads.record import Accepted, Began, DeadLetter, Event, Opening


class Unsendable(Exception):
    """A dead letter that cannot be sent again; the text says why."""


class Again(Struct, frozen=True):
    """A dead letter that is sent again.

    Attributes:
        step: the first of the new conversation.
        message_id: of the message that the letter is about.
        taken: the statement that takes all letters about it off the list; it holds together with the step.
    """

    step: Step
    message_id: str
    taken: tuple[str, tuple[int, str]]


class _Letter(Struct, frozen=True):
    """A dead letter, and the conversation that it is part of."""

    number: int
    conversation: int
    message_id: str
    conversation_id: str
    caller: str


def numbers(connection: sqlite3.Connection) -> list[int]:
    """Of all dead letters, the oldest first."""
    return [number for (number,) in connection.execute("SELECT number FROM letters ORDER BY number")]


def drop(connection: sqlite3.Connection, number: int) -> str:
    """Take a dead letter off the list; the id of its message. Raises JournalError: there is none of this number."""
    letter = _found(connection, number)
    connection.execute("DELETE FROM letters WHERE number = ?", (number,))
    return letter.message_id


def again(connection: sqlite3.Connection, number: int, now: float, new_id: Callable[[], str]) -> Again:
    """What sends the payload of a dead letter to the same listener, in a new conversation. Writes nothing.

    Args:
        now: in seconds of Unix time.
        new_id: where ids come from.

    Raises:
        JournalError: there is none of this number.
        Unsendable: nobody takes it as a request.
    """
    letter = _found(connection, number)
    message, call = _message(steps_of(connection, letter.conversation_id), letter.message_id)
    why_not = _why_not(message, letter.caller)
    if why_not:
        raise Unsendable(why_not)
    conversation_id = new_id()
    ids = DerivedIds(f"{conversation_id}/Injected")  # the same that a rule would have given (`pump.machine`)
    message_id, thread_id, session_id = ids.new_id(), ids.new_id(), ids.new_id()
    caller, to = letter.caller, message.to
    heading = Heading(caller, to, thread_id, message_id, conversation_id=conversation_id, at=now)
    try:
        sent = message.under(heading)
    except EnvelopeError as error:
        raise Unsendable(f"it is no message any more: {error}") from error
    by_conversation = call is not None and call.memory == f"{letter.conversation_id}/{to}"
    memory = f"{conversation_id}/{to}" if by_conversation else session_id
    events: list[Event] = [
        Began(caller, to, conversation_id, lasting=False, awaited=False),
        Accepted(sent, Opening("", caller, message_id, 1, session_id, memory, posted=True)),
    ]
    statement = "DELETE FROM letters WHERE conversation = ? AND message = ?"
    taken = (statement, (letter.conversation, letter.message_id))
    return Again(Step(conversation_id, 0, now, events), letter.message_id, taken)


def _found(connection: sqlite3.Connection, number: int) -> _Letter:
    row = connection.execute(
        "SELECT letters.number, conversation, message, id, caller FROM letters"
        " JOIN conversations ON conversations.number = conversation WHERE letters.number = ?",
        (number,),
    ).fetchone()
    if row is None:
        raise JournalError(f"there is no dead letter {number}; `xml-pipeline dead list` lists them")
    return _Letter(*row)


def _message(steps: list[Step], message_id: str) -> tuple[Message, Opening | None]:
    """A message that became a dead letter, with its bytes where they are still there, and what opened its thread."""
    found: Message | None = None
    openings: dict[str, Opening] = {}
    for step in steps:
        for event in step.events:
            if isinstance(event, Accepted) and event.opens is not None:
                openings[event.message.thread_id] = event.opens
            if not isinstance(event, Accepted | DeadLetter) or event.message.message_id != message_id:
                continue
            if found is None or event.message.data:
                found = event.message
    if found is None:
        raise JournalError(
            f"the journal does not hold message {message_id}; `xml-pipeline journal check` says more"
        )
    return found, openings.get(found.thread_id)


def _why_not(message: Message, outside: str) -> str:
    if not message.data:
        return "it was erased"
    if message.from_id == SYSTEM or message.root == GatheredCodec.root:
        return "it told its receiver something about a call that is over"
    if message.in_reply_to or message.to in ("", outside):
        return "it is an answer, and nobody waits for it any more"
    return ""
