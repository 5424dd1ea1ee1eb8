"""Which rows of lasting sessions of outside callers are written, and which go. Pure.

What a session remembers goes with it: at once when it is closed, or with the last of its conversations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from xml_pipeline.threads.record import Closed, Remembered, Resting
from xml_pipeline.threads.state import is_named

Statement: TypeAlias = tuple[str, tuple[Any, ...]]

_SPARE = (
    1000  # entries of a memory that are kept beyond those that new threads see: open ones may have seen them
)


class Sessions:
    """The lasting sessions that have open conversations, and those that end with them."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._closed: set[str] = set()

    def start(
        self, running: Iterable[str], closed: Iterable[str], known: Iterable[str]
    ) -> Iterator[Statement]:
        """Begin another life; what to write first.

        Args:
            running: the session of each open conversation, "" for none.
            closed: those that were closed and not gone yet.
            known: all that something is kept of. Nobody can come back to one that has no name.
        """
        self._running = Counter(filter(None, running))
        nameless = (each for each in (*known, *self._running) if not is_named(each))
        self._closed = {*closed, *nameless}
        for each in sorted(self._closed - set(self._running)):
            yield from self._gone(each)

    def began(self, session: str) -> None:
        """A conversation of it began."""
        self._running[session] += 1

    def ended(self, session: str) -> Iterator[Statement]:
        """A conversation of it is over."""
        self._running[session] -= 1
        if not self._running[session]:
            del self._running[session]
            if session in self._closed:
                yield from self._gone(session)

    def happened(self, session: str, event: Closed | Resting) -> Iterator[Statement]:
        """An event that stands under the session's own id."""
        if type(event) is Resting:
            yield "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, 0)", (session, event.seconds, event.until)
        elif session in self._running:
            self._closed.add(session)
            yield "INSERT OR REPLACE INTO sessions VALUES (?, NULL, NULL, 1)", (session,)
        else:
            yield from self._gone(session)

    def remembered(self, session: str, event: Remembered) -> Iterator[Statement]:
        """A memory of it has another entry."""
        entry, memory = event.entry, event.memory
        yield (
            "INSERT INTO memories VALUES (?, ?, ?, ?, ?, ?, ?)",
            (session, memory, event.ordinal, event.keep, entry.root, entry.data, entry.schema),
        )
        old = event.ordinal - event.keep - _SPARE
        yield "DELETE FROM memories WHERE session = ? AND memory = ? AND ordinal <= ?", (session, memory, old)

    def _gone(self, session: str) -> Iterator[Statement]:
        self._closed.discard(session)
        yield "DELETE FROM memories WHERE session = ?", (session,)
        yield "DELETE FROM sessions WHERE session = ?", (session,)
