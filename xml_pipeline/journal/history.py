"""What a journal tells: conversations, what was said in each, dead letters. For readers, while an organism runs too.

All of it is read in short pages: a reader that holds on keeps the log from being folded.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from msgspec import Struct

from xml_pipeline.errors import JournalError
from xml_pipeline.journal.file import steps_of
from xml_pipeline.threads.record import (
    Accepted,
    Asked,
    DeadLetter,
    Handled,
    Over,
    Redelivered,
    Refused,
)


class Summary(Struct, frozen=True):
    """One conversation.

    Attributes:
        id: names it.
        caller: the outside name that listeners see.
        listener: whom it called.
        began: when, in seconds of Unix time.
        ended: when; None while it is open.
    """

    id: str
    caller: str
    listener: str
    began: float
    ended: float | None


class Happening(Struct, frozen=True):
    """One thing that happened in a conversation.

    Attributes:
        at: when, in seconds of Unix time.
        what: `sent`, `answered`, `refused`, `failed`, `again`, `asked`, `dead` or `over`.
        from_id: who did it.
        to: whom it concerned.
        name: of the payload; "" for none.
        content: of the payload, as XML; or a reason, in words.
    """

    at: float
    what: str
    from_id: str
    to: str
    name: str = ""
    content: str = ""


def conversations(
    connection: sqlite3.Connection, *, most: int, listener: str = "", open_only: bool = False
) -> list[Summary]:
    """The newest conversations, oldest of them first."""
    rows = connection.execute(
        "SELECT id, caller, listener, began, ended FROM conversations"
        " WHERE (? = '' OR listener = ?) AND (NOT ? OR ended IS NULL) ORDER BY number DESC LIMIT ?",
        (listener, listener, open_only, most),
    ).fetchall()
    return [Summary(*row) for row in reversed(rows)]


def conversation_named(connection: sqlite3.Connection, start: str) -> str:
    """The id of the one conversation whose id begins so. Raises JournalError."""
    rows = connection.execute(
        "SELECT id FROM conversations WHERE substr(id, 1, ?) = ? LIMIT 2", (len(start), start)
    ).fetchall()
    if len(rows) != 1:
        problem = "several conversations begin" if rows else "no conversation begins"
        raise JournalError(f"{problem} with '{start}'; `xml-pipeline log` lists them")
    return str(rows[0][0])


def happenings(connection: sqlite3.Connection, conversation_id: str) -> Iterator[Happening]:
    """What happened in a conversation, in order. Raises JournalError."""
    bodies: dict[str, str] = {}
    for step in steps_of(connection, conversation_id):
        for event in step.events:
            match event:
                case Accepted(message=message):
                    body = bodies[message.message_id] = _content(message.data)
                    what = "answered" if event.ends and event.opens is None else "sent"
                    yield Happening(step.at, what, message.from_id, message.to, message.root, body)
                case Refused():
                    yield Happening(step.at, "refused", event.listener, event.to, event.code, event.reason)
                case Handled(how="failed"):
                    yield Happening(step.at, "failed", event.listener, "", event.code, event.detail)
                case Redelivered(message=message):
                    why = event.detail or "its handler was interrupted"
                    yield Happening(step.at, "again", message.from_id, message.to, message.root, why)
                case Asked(message=message):
                    body = bodies.get(message.message_id, "")
                    yield Happening(step.at, "asked", message.from_id, message.to, message.root, body)
                case DeadLetter(message=message):
                    yield Happening(step.at, "dead", message.from_id, message.to, message.root, event.reason)
                case Over():
                    yield Happening(step.at, "over", "", "", "", "nobody answered")


def dead_letters(connection: sqlite3.Connection, *, most: int) -> list[tuple[str, Happening]]:
    """The newest dead letters, oldest of them first, each with its conversation."""
    rows = connection.execute(
        "SELECT id, at, sender, receiver, root, reason FROM letters JOIN conversations USING (number)"
        " ORDER BY letters.rowid DESC LIMIT ?",
        (most,),
    ).fetchall()
    return [(name, Happening(at, "dead", *rest)) for name, at, *rest in reversed(rows)]


def faults(connection: sqlite3.Connection) -> Iterator[str]:
    """What is wrong with a journal: the file, or what stands in it."""
    for (told,) in connection.execute("PRAGMA integrity_check"):
        if told != "ok":
            yield f"the file is damaged: {told}"
    position = 0
    while rows := connection.execute(
        "SELECT number, id FROM conversations WHERE number > ? ORDER BY number LIMIT 1000", (position,)
    ).fetchall():
        for position, name in rows:  # noqa: B007 - the last one is where the next page begins
            try:
                steps_of(connection, name)
            except JournalError as error:
                yield str(error)


def _content(data: bytes) -> str:
    """The payload in a message's canonical bytes."""
    return data.partition(b"</meta>")[2].removesuffix(b"</message>").decode().replace(' xmlns=""', "", 1)
