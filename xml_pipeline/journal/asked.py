"""Which questions wait for a person, as the journal tells it: while the organism runs, and while nobody does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from msgspec import Struct

from xml_pipeline.errors import JournalError
from xml_pipeline.journal.file import steps_of
from xml_pipeline.threads.record import Accepted, Approved, Asked, DeadLetter, Ended, Handled


class Waiting(Struct, frozen=True):
    """A message that waits for a person.

    Attributes:
        thread: names it for whoever answers.
        conversation: what it is part of.
        at: when it came, in seconds of Unix time.
        listener: the person; or, of what is to be approved, the listener that would handle it.
        caller: who asked: a listener, or the outside name.
        name: of the payload.
        content: of the payload, as XML.
        approver: the person who is to approve it; "" where the person answers.
    """

    thread: str
    conversation: str
    at: float
    listener: str
    caller: str
    name: str
    content: str
    approver: str = ""


def waiting(connection: sqlite3.Connection) -> Iterator[Waiting]:
    """All that wait, the oldest conversation first. Raises JournalError."""
    for name in _open(connection):
        yield from _waiting_in(connection, name)


def waiting_named(connection: sqlite3.Connection, start: str) -> Waiting:
    """The one whose thread begins so. Raises JournalError."""
    rows = connection.execute(
        "SELECT DISTINCT id FROM questions JOIN conversations ON conversations.number = conversation"
        " WHERE substr(thread, 1, ?) = ?",
        (len(start), start),
    ).fetchall()
    # journals of formats 1 and 2 had no rows of questions, and what waited then has none still
    names = [name for (name,) in rows] or _open(connection)
    asked = (each for name in names for each in _waiting_in(connection, name))
    found = [each for each in asked if each.thread.startswith(start)]
    if len(found) != 1:
        problem = "several questions begin" if found else "no question begins"
        raise JournalError(f"{problem} with '{start}'; `xml-pipeline questions` lists them")
    return found[0]


def _open(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT id FROM open JOIN conversations USING (number) ORDER BY number")
    return [name for (name,) in rows.fetchall()]


def _waiting_in(connection: sqlite3.Connection, conversation: str) -> Iterator[Waiting]:
    found: dict[str, Waiting] = {}  # by thread: it has one person, who is asked one thing at a time
    opened: dict[str, Accepted] = {}
    bodies: dict[str, str] = {}
    for step in steps_of(connection, conversation):
        for event in step.events:
            match event:
                case Accepted(message=message):
                    bodies[message.message_id] = message.content
                    if event.opens is not None:
                        opened[message.thread_id] = event
                    found.pop(event.ends, None)
                case Asked(message=message):
                    begin = opened[message.thread_id]
                    assert begin.opens is not None
                    found[message.thread_id] = Waiting(
                        message.thread_id,
                        conversation,
                        step.at,
                        message.to,
                        begin.opens.caller,
                        message.root,
                        bodies[message.message_id],
                        event.by,
                    )
                case Approved(message=message):
                    found.pop(message.thread_id, None)
                case Handled() | Ended() | DeadLetter(pending=True):
                    found.pop(event.thread_id, None)
    yield from found.values()
