"""The ledger in a journal's file (`ledger.Ledger`): a row for each try at a model, and what is kept of its answer."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from xml_pipeline.ledger import Asked, Came, Forgiven, Limited, Recalled, Spent, Try

_BEGUN = (
    "INSERT INTO calls (number, conversation, message, run, request, nth, threads, agent, operation, backend, model,"
    " priced, began, prompt, output, micro_usd, attempt, caller, door, organism)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_NAMED = "UPDATE calls SET response = ? WHERE number = ?"
_ENDED = (
    "UPDATE calls SET outcome = ?, ended = ?, prompt = ?, output = ?, cached = ?, cache_write = ?, reasoning = ?,"
    " estimated = ?, confirmed = ?, micro_usd = ?, plain = ?, priced = ?, stop = ?, tools = ?, error = ?,"
    " cache_write_1h = ? WHERE number = ?"
)
_ANSWERED = "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)"
_OF = "FROM calls LEFT JOIN answers ON call = number WHERE conversation = ? AND message = ? AND run = ?"
_SUMS = "sum(prompt), sum(output), coalesce(sum(micro_usd), 0) FROM calls"
_SUMS_OF = "sum(prompt), sum(output), coalesce(sum(micro_usd), 0), caller, door FROM calls"
SPENT_AT = "CAST(coalesce(ended, began) / 900 AS INTEGER) * 900.0"
"""When a call counts as spent: to a quarter of an hour, for all zones begin their hours there."""

_LONGEST = 86_400.0  # seconds from the beginning of a call to its end; more than any takes


class Writing(Protocol):
    """What the rows are written by and read from."""

    clock: Callable[[], float]

    def hand_over(self, statement: str, values: tuple[Any, ...]) -> None:
        """Write it after all that was handed over before."""

    def written(self, statement: str, values: tuple[Any, ...]) -> Awaitable[None]:
        """As `hand_over`; what is given is done when it is durable. Raises JournalError."""

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """The connection that reads, in the event loop's thread. Raises JournalError."""

    async def read_apart(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        """The rows of a long look at the file, read in another thread. Raises JournalError."""


class Calls:
    """The ledger of one journal.

    Args:
        file: where the rows are.
        organism: whose calls they are, or "".
        visits: whether nobody will call a model: no run begins, and none ends.

    Attributes:
        last: the number of the last row.
        before: the number of the last row before the run that goes on.
    """

    def __init__(self, file: Writing, *, organism: str = "", visits: bool = False) -> None:
        self._file = file
        self._organism = organism
        self._visits = visits
        self.last = 0
        self.before = 0

    def look(self, connection: sqlite3.Connection) -> bool:
        """Find the run that goes on, and change nothing; False when none does: the last one ended properly."""
        (self.last,) = connection.execute("SELECT coalesce(max(number), 0) FROM calls").fetchone()
        run = connection.execute("SELECT before FROM runs WHERE ended IS NULL").fetchone()
        self.before = self.last if run is None else run[0]
        return run is not None

    def start(self, connection: sqlite3.Connection, now: float) -> None:
        """Mark what an earlier life began and never ended, and find the run: a death does not end one.

        Limits of threads go whose conversation is over.
        """
        connection.execute(
            "DELETE FROM limits WHERE conversation NOT IN (SELECT id FROM open JOIN conversations USING (number))"
        )
        if self.look(connection):
            connection.execute(
                "UPDATE calls SET outcome = 'unknown', ended = began WHERE number > ? AND ended IS NULL",
                (self.before,),
            )
        elif not self._visits:
            connection.execute("INSERT INTO runs VALUES (?, ?, NULL)", (now, self.last))

    def stop(self, connection: sqlite3.Connection, now: float) -> None:
        """The run ends here."""
        if not self._visits:
            connection.execute("UPDATE runs SET ended = ? WHERE ended IS NULL", (now,))

    def begin(self, started: Try) -> tuple[int, Awaitable[None]]:
        """As `Ledger.begin`."""
        self.last += 1
        asked = started.asked
        of = ("", 0, None, 0) if asked is None else asked[1:5]
        values = (self.last, started.conversation_id, *of, " ".join(started.threads), *started[:2])
        return self.last, self._file.written(_BEGUN, (*values, *started[5:], self._organism))

    def named(self, number: int, response_id: str) -> None:
        """As `Ledger.named`."""
        self._file.hand_over(_NAMED, (response_id, number))

    def end(self, number: int, came: Came) -> None:
        """As `Ledger.end`."""
        self._file.hand_over(_ENDED, (*came[:-3], came.cache_write_1h, number))
        if came.answer is not None:
            self._file.hand_over(_ANSWERED, (number, came.parts, came.answer))

    def recall(self, asked: Asked) -> Recalled | None:
        """As `Ledger.recall`."""
        with self._file.reading() as reader:
            found = reader.execute(
                "SELECT answer, backend, response, number, prompt, output, coalesce(micro_usd, 0), confirmed"
                f" {_OF} AND request = ? AND nth = ?"
                " ORDER BY answer IS NOT NULL DESC, number DESC LIMIT 1",
                asked[:5],
            ).fetchone()
        return None if found is None else Recalled(*found)

    def others(self, asked: Asked) -> Sequence[Asked]:
        """As `Ledger.others`."""
        with self._file.reading() as reader:
            rows = reader.execute(
                f"SELECT request, nth, parts {_OF} AND answer IS NOT NULL ORDER BY number", asked[:3]
            ).fetchall()
        return [Asked(*asked[:3], *row) for row in rows]

    def spent_in(self, conversation_id: str, after: int = 0, ended: float = -math.inf) -> Sequence[Spent]:
        """As `Ledger.spent_in`."""
        with self._file.reading() as reader:
            rows = reader.execute(
                f"SELECT {SPENT_AT}, agent, threads, {_SUMS} WHERE conversation = ? AND number > ?"
                " AND (ended IS NULL OR ended > ?) GROUP BY 1, 2, 3",
                (conversation_id, after, ended),
            ).fetchall()
        return [
            Spent(at, agent, "", tuple(threads.split()), True, *sums) for at, agent, threads, *sums in rows
        ]

    def limit(self, limited: Limited) -> None:
        """As `Ledger.limit`."""
        if limited.limits:
            self._file.hand_over("INSERT OR REPLACE INTO limits VALUES (?, ?, ?)", limited)
        else:
            self._file.hand_over("DELETE FROM limits WHERE thread = ?", limited[:1])

    def limited(self) -> Sequence[Limited]:
        """As `Ledger.limited`."""
        with self._file.reading() as reader:
            return [Limited(*row) for row in reader.execute("SELECT * FROM limits").fetchall()]

    def forgiven(self) -> Sequence[Forgiven]:
        """As `Ledger.forgiven`."""
        with self._file.reading() as reader:
            return forgiven_in(reader)

    async def spent_since(self, when: float) -> Sequence[Spent]:
        """As `Ledger.spent_since`."""
        rows = await self._file.read_apart(
            f"SELECT {SPENT_AT}, agent, operation, number > ?1, {_SUMS_OF} WHERE number > ?1"
            " OR (began >= ?2 AND coalesce(ended, began) >= ?3) GROUP BY 1, 2, 3, 4, caller, door",
            (self.before, when - _LONGEST, when),
        )
        return [Spent(at, agent, what, (), bool(in_run), *sums) for at, agent, what, in_run, *sums in rows]


def forgiven_in(connection: sqlite3.Connection) -> list[Forgiven]:
    """All that was ever forgiven."""
    return [_forgiven(*row) for row in connection.execute("SELECT * FROM forgiven").fetchall()]


def _forgiven(budget: str, at: float, prompt: int, output: int, micro_usd: int) -> Forgiven:
    """A row of the table: `day@1790000000 agent writer` is one day's budget of an agent."""
    period, _, scope = budget.partition(" ")
    per, _, start = period.partition("@")
    return Forgiven(scope, per, float(start), at, prompt, output, micro_usd)
