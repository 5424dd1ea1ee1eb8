"""What begins and ends in a journal while somebody looks on."""

from __future__ import annotations

import sqlite3

from msgspec.structs import replace

from xml_pipeline.journal.history import Summary, Wanted, conversations


class Follower:
    """Conversations as they begin, and once more as they end.

    Args:
        connection: reads only; no transaction stays open between two looks.
        wanted: which of them.
        most: how many there are to begin with, the newest; None for all.
    """

    def __init__(self, connection: sqlite3.Connection, wanted: Wanted, most: int | None) -> None:
        self._connection = connection
        self._wanted = wanted
        self._most = most
        self._last = 0
        self._open: dict[int, Summary] = {}

    def news(self) -> list[Summary]:
        """What is new since it was asked last: first those that ended, then those that began."""
        ended = self._ended()
        found = conversations(self._connection, self._wanted, most=self._most, after=self._last)
        self._most, self._last = None, max(found, default=self._last)
        self._open.update({number: each for number, each in found.items() if each.ended is None})
        return [*ended, *found.values()]

    def _ended(self) -> list[Summary]:
        ended = []
        for number, each in tuple(self._open.items()):
            rows = self._connection.execute(
                "SELECT ended FROM conversations WHERE number = ?", (number,)
            ).fetchall()
            if rows == [(None,)]:
                continue
            del self._open[number]
            if rows:  # else it is deleted already
                ended.append(replace(each, ended=rows[0][0]))
        return ended
