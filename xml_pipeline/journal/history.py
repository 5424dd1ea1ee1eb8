"""What a journal tells: conversations, what was said in each, dead letters. For readers, while an organism runs too.

All of it is read in short pages: a reader that holds on keeps the log from being folded.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from heapq import merge
from operator import attrgetter

import msgspec
from msgspec import Struct

from xml_pipeline.errors import JournalError
from xml_pipeline.journal import digest
from xml_pipeline.journal.file import steps_of
from xml_pipeline.journal.rows import unpacked
from xml_pipeline.threads.record import (
    Accepted,
    Approved,
    Asked,
    DeadLetter,
    Handled,
    Over,
    Redelivered,
    Refused,
    ends_conversation,
)

ERASED = "(erased)"
"""What stands where something was said that was taken out."""


class Wanted(Struct, frozen=True):
    """Which conversations somebody wants to see.

    Attributes:
        listener: those that called it; "" for any.
        open_only: those that are not over.
        since: those that began then or later, in seconds of Unix time.
        until: those that began earlier.
        caller: those that it began; "" for any.
    """

    listener: str = ""
    open_only: bool = False
    since: float = float("-inf")
    until: float = float("inf")
    caller: str = ""


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
        what: `sent`, `answered`, `refused`, `failed`, `again`, `asked`, `model` (a try at one), `dead` or `over`.
        from_id: who did it.
        to: whom it concerned.
        name: of the payload; "" for none.
        content: of the payload, as XML; or a reason, in words; or what a model cost.
    """

    at: float
    what: str
    from_id: str
    to: str
    name: str = ""
    content: str = ""


def conversations(
    connection: sqlite3.Connection, wanted: Wanted, *, most: int | None = None, after: int = 0
) -> dict[int, Summary]:
    """The newest of those that are wanted, by their number in the file, the oldest of them first.

    Args:
        most: how many; None for all.
        after: only those with a greater number.
    """
    rows = connection.execute(
        "SELECT number, id, caller, listener, began, ended FROM conversations"
        " WHERE number > ? AND (? = '' OR listener = ?) AND (NOT ? OR ended IS NULL) AND began >= ? AND began < ?"
        " AND (? = '' OR caller = ?) ORDER BY number DESC LIMIT ?",
        (
            after,
            wanted.listener,
            wanted.listener,
            wanted.open_only,
            wanted.since,
            wanted.until,
            wanted.caller,
            wanted.caller,
            -1 if most is None else most,
        ),
    ).fetchall()
    return {number: Summary(*fields) for number, *fields in reversed(rows)}


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
    """What happened in a conversation, in order, the models that were asked with it. Raises JournalError."""
    tries = _tries(connection, conversation_id)
    yield from merge(_said(connection, conversation_id), tries, key=attrgetter("at"))


def _said(connection: sqlite3.Connection, conversation_id: str) -> Iterator[Happening]:
    bodies: dict[str, str] = {}
    for step in steps_of(connection, conversation_id):
        for event in step.events:
            match event:
                case Accepted(message=message):
                    body = bodies[message.message_id] = message.content if message.data else ERASED
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
                case Approved(message=message):
                    yield Happening(step.at, "approved", event.by, message.to, message.root, "")
                case DeadLetter(message=message):
                    yield Happening(step.at, "dead", message.from_id, message.to, message.root, event.reason)
                case Over():
                    yield Happening(step.at, "over", "", "", "", "nobody answered")


def _tries(connection: sqlite3.Connection, conversation_id: str) -> Iterator[Happening]:
    for began, agent, backend, model, outcome, error, prompt, output, sure, cost in connection.execute(
        "SELECT began, agent, backend, model, outcome, error, prompt, output, confirmed AND NOT estimated, micro_usd"
        " FROM calls WHERE conversation = ? ORDER BY number",
        (conversation_id,),
    ).fetchall():
        tokens = f"{'' if sure else 'about '}{prompt} + {output} tokens"
        price = "price unknown" if cost is None else f"{cost / 1_000_000:.6f} USD"
        what = {"answered": "", "": "not over", "failed": error}.get(outcome, outcome)
        content = ", ".join(part for part in (what, tokens, price) if part)
        yield Happening(began, "model", agent, backend, model, content)


class Letter(Struct, frozen=True):
    """A dead letter.

    Attributes:
        number: its own in this journal.
        conversation: whose it was.
        what: became of its message.
    """

    number: int
    conversation: str
    what: Happening


def dead_letters(connection: sqlite3.Connection, *, most: int) -> list[Letter]:
    """The newest dead letters, oldest of them first."""
    rows = connection.execute(
        "SELECT letters.number, id, at, sender, receiver, root, reason FROM letters"
        " JOIN conversations ON conversations.number = conversation ORDER BY letters.number DESC LIMIT ?",
        (most,),
    ).fetchall()
    return [Letter(number, name, Happening(at, "dead", *rest)) for number, name, at, *rest in reversed(rows)]


def dead_letter(connection: sqlite3.Connection, number: int) -> tuple[Letter, str]:
    """A dead letter, and its message's payload as XML. Raises JournalError: there is none of this number."""
    row = connection.execute(
        "SELECT id, at, sender, receiver, root, reason, message FROM letters"
        " JOIN conversations ON conversations.number = conversation WHERE letters.number = ?",
        (number,),
    ).fetchone()
    if row is None:
        raise JournalError(f"there is no dead letter {number}; `xml-pipeline dead list` lists them")
    name, at, *rest, message_id = row
    body = ""
    for step in steps_of(connection, name):
        for event in step.events:
            if isinstance(event, Accepted | DeadLetter) and event.message.message_id == message_id:
                body = event.message.content if event.message.data else body
    return Letter(number, name, Happening(at, "dead", *rest)), body or ERASED


def faults(connection: sqlite3.Connection) -> Iterator[str]:
    """What is wrong with a journal: the file, or what stands in it."""
    try:
        yield from _faults(connection)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        yield f"the file is damaged: {error}"


def _faults(connection: sqlite3.Connection) -> Iterator[str]:
    for (told,) in connection.execute("PRAGMA integrity_check"):
        if told != "ok":
            yield f"the file is damaged: {told}"
    for number, name in numbered(connection):
        fault = _fault(connection, number, name)
        if fault:
            yield f"conversation {name} {fault}"


def numbered(connection: sqlite3.Connection) -> Iterator[tuple[int, str]]:
    """The number and the id of each conversation, in the order in which they began, read page by page."""
    position = 0
    while rows := connection.execute(
        "SELECT number, id FROM conversations WHERE number > ? ORDER BY number LIMIT 1000", (position,)
    ).fetchall():
        yield from rows
        position = rows[-1][0]


def _fault(connection: sqlite3.Connection, number: int, name: str) -> str:
    """What is wrong with a conversation, the first; "" when nothing is, also when it is gone meanwhile."""
    expected, chain, over, listed, ended = 0, digest.first(name), False, False, False
    for over, listed, seq, size, at, stored, link, erased in connection.execute(  # noqa: B007 - all rows say the same
        "SELECT ended IS NOT NULL, EXISTS (SELECT 1 FROM open WHERE open.number = conversations.number),"
        " seq, size, at, events, digest, erased FROM conversations"
        " LEFT JOIN steps ON conversation = number WHERE number = ? ORDER BY seq",
        (number,),
    ).fetchall():
        if seq is None:
            return "has no events"
        if seq != expected:
            return f"has a gap: event {expected} is missing"
        if not digest.is_sound(chain, link, erased, seq, size, at, stored):
            return f"is changed: event {seq} is not what was written"
        chain = link
        try:
            events = unpacked(stored)
        except msgspec.MsgspecError as error:
            return f"holds at event {seq} what this version cannot read: {error}"
        expected, ended = seq + size, ended or any(map(ends_conversation, events))
    if not expected:
        return ""
    if ended != bool(over):
        return "is over, and its end is missing" if over else "has ended, and counts as open"
    if listed == bool(over):
        return (
            "is over, and is listed as open"
            if over
            else "is open, and not listed as that: it would not go on"
        )
    return ""
