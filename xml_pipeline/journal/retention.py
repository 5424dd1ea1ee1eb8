"""What is not kept for ever: conversations that ended long ago go as a whole, a few at a time.

Those with a dead letter stay until it is dropped or sent again, for their messages are in them. What was spent stays,
without what was said; and memories of named sessions, which are no part of a conversation.
"""

from __future__ import annotations

import sqlite3

MOST = 50  # conversations in one transaction: steps that come meanwhile wait for a few milliseconds


def delete_ended(connection: sqlite3.Connection, before: float, most: int = MOST) -> int:
    """Delete conversations that ended before a time, the oldest first; how many.

    Args:
        connection: in a transaction that writes.
        before: in seconds of Unix time.
        most: how many at once.
    """
    found = connection.execute(
        "SELECT number, id FROM conversations WHERE ended < ?"
        " AND NOT EXISTS (SELECT 1 FROM letters WHERE conversation = conversations.number)"
        " ORDER BY ended LIMIT ?",
        (before, most),
    ).fetchall()
    numbers, names = [(number,) for number, _ in found], [(name,) for _, name in found]
    connection.executemany("DELETE FROM steps WHERE conversation = ?", numbers)
    connection.executemany(
        "DELETE FROM answers WHERE call IN (SELECT number FROM calls WHERE conversation = ?)", names
    )
    connection.executemany("DELETE FROM parts WHERE conversation = ?", names)
    connection.executemany("DELETE FROM conversations WHERE number = ?", numbers)
    return len(found)
