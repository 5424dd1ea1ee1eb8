"""A ledger that is only read, by whoever looks at its file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


class Looking:
    """What `Calls` reads from, where nothing may be written (`journal.calls.Writing`).

    Args:
        connection: that reads; in one thread.
    """

    clock: Callable[[], float] = staticmethod(time.time)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def hand_over(self, statement: str, values: tuple[Any, ...]) -> NoReturn:
        """Refused."""
        raise TypeError("nothing is written by whoever only looks")

    def written(self, statement: str, values: tuple[Any, ...]) -> Awaitable[None]:
        """Refused."""
        self.hand_over(statement, values)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """As `Writing.reading`."""
        yield self._connection

    async def read_apart(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        """As `Writing.read_apart`, without another thread: nobody waits."""
        return self._connection.execute(statement, values).fetchall()
