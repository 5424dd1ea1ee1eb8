"""A journal while no organism uses it: the only time at which anybody else may change it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from xml_pipeline.errors import JournalError
from xml_pipeline.journal.file import looked_at, opened, sqlite_told
from xml_pipeline.journal.owner import Owner
from xml_pipeline.journal.retention import delete_ended


@contextmanager
def alone(path: Path) -> Iterator[sqlite3.Connection]:
    """The one connection that writes, to a journal that nobody else uses as long as the block lasts.

    Raises:
        JournalError: an organism uses it (which process is told), there is none, or it cannot be used.
    """
    looked_at(path).close()
    try:
        owner = Owner(path)
    except JournalError as error:
        raise JournalError(f"{error}; stop it first, and try again") from None
    try:
        with sqlite_told(path), closing(opened(path, "full")) as connection:
            yield connection
            fold(connection, path)
    finally:
        owner.release()


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
