"""What a journal knows of triggers: up to when each was seen to, and what goes on of what it began.

A firing is claimed before its message is sent, and settled when that is durable. Between the two nobody can tell, so
the next life sends it again, under the same key: then it is one conversation.
"""

from __future__ import annotations

from typing import NamedTuple

from xml_pipeline.journal.protocol import Journal
from xml_pipeline.journal.sqlite import SqliteJournal

_SEEN = "INSERT OR REPLACE INTO triggers VALUES (?, ?, ?)"


class Seen(NamedTuple):
    """A row.

    Attributes:
        until: the last time that was seen to, in seconds of Unix time.
        sent: whether what it says was sent, or was not to be; False where a death may have come before.
    """

    until: float
    sent: bool


class Triggered:
    """The rows of triggers in a journal that is started.

    Args:
        journal: the file.

    Attributes:
        keep: seconds for which the journal knows a key after its conversation; None for ever.
    """

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal
        self.keep = journal.keep

    def seen(self, name: str) -> Seen | None:
        """Up to when a trigger was seen to; None where it is new. Raises JournalError."""
        with self._journal.reading() as reader:
            row = reader.execute("SELECT seen, sent FROM triggers WHERE name = ?", (name,)).fetchone()
        return None if row is None else Seen(row[0], bool(row[1]))

    def claim(self, name: str, moment: float) -> None:
        """Its time has come, and it is about to be fired; durable before whatever is handed over after it."""
        self._journal.hand_over(_SEEN, (name, moment, 0))

    def settle(self, name: str, moment: float) -> None:
        """Its time was seen to: it is fired, or is not to be."""
        self._journal.hand_over(_SEEN, (name, moment, 1))

    def open(self, caller: str) -> list[str]:
        """The conversations that somebody began and that are not over. Raises JournalError."""
        with self._journal.reading() as reader:
            rows = reader.execute(
                "SELECT id FROM open JOIN conversations USING (number) WHERE caller = ?", (caller,)
            ).fetchall()
        return [each for (each,) in rows]


def triggered_in(journal: Journal | None) -> Triggered | None:
    """What a journal knows of triggers; None for no journal, or one of another kind."""
    return Triggered(journal) if isinstance(journal, SqliteJournal) else None
