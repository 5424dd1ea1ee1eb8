"""Room in the file: what need not be kept goes, the file becomes small, and nothing is left in the log beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xml_pipeline.errors import JournalError
from xml_pipeline.journal.retention import delete_ended


@contextmanager
def together(connection: sqlite3.Connection) -> Iterator[None]:
    """What is written in this block is written all, or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def compact(connection: sqlite3.Connection, before: float | None) -> int:
    """Delete conversations that ended before a time (None: none), and make the file as small as it can be.

    Returns:
        how many were deleted.
    """
    deleted = 0
    while before is not None:
        with together(connection):
            found = delete_ended(connection, before)
        deleted += found
        if not found:
            break
    connection.execute("VACUUM")
    return deleted


def fold(connection: sqlite3.Connection, path: Path) -> None:
    """Bring all that was written into the file itself, and leave nothing in the log beside it.

    Raises:
        JournalError: somebody reads it for longer than two seconds.
    """
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise JournalError(
            f"the journal {path} is changed, but what it held before is still beside it, because somebody reads it;"
            " stop whoever reads, and try again"
        )
