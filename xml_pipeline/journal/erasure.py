"""What people said in a conversation is taken out of a journal; that it took place stays (ADR 28)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import MsgspecError, Struct
from msgspec.structs import fields, replace

from xml_pipeline.envelope import Message
from xml_pipeline.errors import JournalError
from xml_pipeline.journal import digest
from xml_pipeline.journal.history import ERASED
from xml_pipeline.journal.rows import packed, unpacked
from xml_pipeline.journal.space import together
from xml_pipeline.threads.record import Entry, Event, Remembered

_WORDS = {"reason", "detail"}  # fields of events that may quote a body


class Erased(Struct, frozen=True):
    """What was erased and may be known elsewhere, too.

    Attributes:
        session: the lasting one that the conversation was in, or "".
        entries: what was remembered in it.
    """

    session: str
    entries: list[Remembered]


def erase(connection: sqlite3.Connection, conversation_id: str) -> Erased:
    """Take the bodies out of a conversation: messages, states, what it remembered, what models answered, parts.

    Nothing of them is in the file afterwards, also not in a place that is free; in the log beside it until that is
    folded (`space.fold`).

    Raises:
        JournalError: there is no such conversation, or it is not over.
    """
    found = connection.execute(
        "SELECT number, session, ended IS NOT NULL FROM conversations WHERE id = ?", (conversation_id,)
    ).fetchone()
    if found is None:
        raise JournalError(f"there is no conversation {conversation_id}; `xml-pipeline log` lists them")
    number, session, over = found
    if not over:
        raise JournalError(
            f"conversation {conversation_id} is not over, and needs what would be erased; let it end, or cancel it"
        )
    with _overwriting(connection):
        with together(connection):
            entries = _erase_steps(connection, number, session, conversation_id)
            connection.execute("UPDATE letters SET reason = ? WHERE conversation = ?", (ERASED, number))
            connection.execute(
                "DELETE FROM answers WHERE call IN (SELECT number FROM calls WHERE conversation = ?)",
                (conversation_id,),
            )
            connection.execute("UPDATE parts SET value = x'' WHERE conversation = ?", (conversation_id,))
        connection.execute("VACUUM")  # a page may hold copies of what was moved
    return Erased(session, entries)


@contextmanager
def _overwriting(connection: sqlite3.Connection) -> Iterator[None]:
    """What is deleted in this block is overwritten; others use the connection too, and pay for it no longer."""
    (before,) = connection.execute("PRAGMA secure_delete").fetchone()
    connection.execute("PRAGMA secure_delete = ON")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA secure_delete = {('OFF', 'ON', 'FAST')[before]}")


def bare(event: Event) -> Event:
    """An event without what was said."""
    return replace(
        event, **{each.name: _empty(each.name, getattr(event, each.name)) for each in fields(event)}
    )


def _empty(name: str, value: Any) -> Any:
    if isinstance(value, Message):
        return replace(value, data=b"", payload=None)
    if isinstance(value, Entry):
        return replace(value, data=b"")
    return ERASED if value and name in _WORDS else value


def _erase_steps(
    connection: sqlite3.Connection, number: int, session: str, conversation_id: str
) -> list[Remembered]:
    chain, entries = digest.first(conversation_id), []
    rows = connection.execute(
        "SELECT seq, size, at, events, digest FROM steps WHERE conversation = ? ORDER BY seq", (number,)
    ).fetchall()
    for seq, size, at, stored, own in rows:
        try:
            events = unpacked(stored)
        except MsgspecError as error:
            raise JournalError(
                f"conversation {conversation_id} holds at event {seq} what this version cannot read, so nothing was"
                f" erased: {error}"
            ) from error
        left = packed([bare(event) for event in events])
        rest = digest.of_rest(chain, own, seq, size, at, left)
        connection.execute(
            "UPDATE steps SET events = ?, erased = ? WHERE conversation = ? AND seq = ?",
            (left, rest, number, seq),
        )
        for event in events:
            if isinstance(event, Remembered) and event.lasting and event.entry.data:
                entries.append(event)
                # The entry is named by its bytes too: the session may have ended, and another one have its name.
                connection.execute(
                    "UPDATE memories SET entry = x'' WHERE session = ? AND memory = ? AND ordinal = ? AND entry = ?",
                    (session, event.memory, event.ordinal, event.entry.data),
                )
        chain = own
    return entries
