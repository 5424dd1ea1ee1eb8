"""What people put right in a ledger: a call that was mispriced or miscounted, and what is forgiven of a budget.

What is forgiven is a row of its own: the calls stay as they are. It names the budget's period and scope, so that it
is taken off that budget alone; a call that is put right later stays forgiven with what it is then.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from xml_pipeline.errors import JournalError
from xml_pipeline.journal.calls import SPENT_AT, forgiven_in
from xml_pipeline.journal.space import together
from xml_pipeline.ledger import Amended, Forgiven, Spent

_FORGIVEN = "INSERT INTO forgiven VALUES (?, ?, ?, ?, ?)"
_BELONGS = {
    "organism": "? = ''",
    "agent": "agent = ?",
    "operation": "operation = ?",
    "caller": "caller = ?",
    "door": "door = ?",
    "conversation": "conversation = ?",
    "thread": "instr(' ' || threads || ' ', ' ' || ? || ' ') > 0",
}
"""Which calls belong to a scope, by its first word."""

SCOPES = tuple(_BELONGS)


class Cap(NamedTuple):
    """A scope in a period.

    Attributes:
        scope: `organism`, or a word of `SCOPES` and a name.
        per: the period.
        start: where it began: in seconds of Unix time, or, of a run, the number of the last call before it.
        end: in seconds of Unix time; infinite for a run.
    """

    scope: str
    per: str
    start: float
    end: float = math.inf

    def calls(self) -> tuple[str, list[object]]:
        """Which calls belong to it, as a condition of SQL with its values. Raises JournalError: no such scope."""
        kind, _, name = self.scope.partition(" ")
        if kind not in _BELONGS or (kind == "organism") != (name == ""):
            raise JournalError(
                f"there is no scope '{self.scope}': write organism, or {', '.join(SCOPES[1:])} and a name"
            )
        when = "number > ?" if self.per == "run" else f"{SPENT_AT} >= ?"
        return f"{_BELONGS[kind]} AND {when} AND {SPENT_AT} < ?", [name, self.start, self.end]


def forgive(connection: sqlite3.Connection, cap: Cap, now: float) -> Forgiven:
    """Take off what this period's calls came to so far, without those on their way. Raises JournalError."""
    belongs, values = cap.calls()
    with together(connection):
        spent = connection.execute(
            "SELECT coalesce(sum(prompt), 0), coalesce(sum(output), 0), coalesce(sum(micro_usd), 0)"  # noqa: S608
            f" FROM calls WHERE ended IS NOT NULL AND {belongs}",
            values,
        ).fetchone()
        before = [each for each in forgiven_in(connection) if each[:3] == cap[:3]]
        prompt, output, micro_usd = spent
        made = Forgiven(
            *cap[:3],
            now,
            max(0, prompt - sum(each.prompt for each in before)),
            max(0, output - sum(each.output for each in before)),
            max(0, micro_usd - sum(each.micro_usd for each in before)),
        )
        _write(connection, made)
    return made


def amend(
    connection: sqlite3.Connection,
    number: int,
    tokens: tuple[int, int] | None,
    micro_usd: int | None,
    now: float,
    before: int,
) -> Amended:
    """Put a call right; what is None stays as it is.

    Args:
        connection: that writes.
        number: of the call.
        tokens: input and output.
        micro_usd: what it cost.
        now: in seconds of Unix time.
        before: the number of the last call before the run that goes on.

    Raises:
        JournalError: there is no such call, or it is not over.
    """
    with together(connection):
        row = connection.execute(
            f"SELECT ended, {SPENT_AT}, agent, operation, conversation, threads, caller, door, prompt, output,"  # noqa: S608
            " micro_usd FROM calls WHERE number = ?",
            (number,),
        ).fetchone()
        if row is None:
            raise JournalError(f"there is no call {number}; `xml-pipeline llm calls` lists them")
        ended, at, agent, operation, conversation, threads, caller, door, prompt, output, cost = row
        if ended is None:
            raise JournalError(f"call {number} is on its way; it can be put right when it is over")
        new_prompt, new_output = (prompt, output) if tokens is None else tokens
        new_cost = cost if micro_usd is None else micro_usd
        connection.execute(
            "UPDATE calls SET prompt = ?1, output = ?2, micro_usd = ?3, amended = ?4, confirmed = 1, plain = NULL,"
            " estimated = estimated AND ?5, cached = min(cached, ?1), reasoning = min(reasoning, ?2),"
            " cache_write = min(cache_write, ?1 - min(cached, ?1)),"
            " cache_write_1h = min(cache_write_1h, ?1 - min(cached, ?1)) WHERE number = ?6",
            (new_prompt, new_output, new_cost, now, tokens is None, number),
        )
        change = new_prompt - prompt, new_output - output, (new_cost or 0) - (cost or 0)
        stays = [
            each._replace(prompt=change[0], output=change[1], micro_usd=change[2])
            for each in _forgiving(connection, number)
        ]
        for each in stays:
            _write(connection, each)
    spent = Spent(at, agent, operation, tuple(threads.split()), number > before, *change, caller, door)
    was, now_is = (prompt, output, cost), (new_prompt, new_output, new_cost)
    return Amended(number, conversation, spent, stays, was, now_is)


def _forgiving(connection: sqlite3.Connection, number: int) -> Iterator[Forgiven]:
    """The last of what was forgiven of each budget when this call was among it."""
    last = {each[:3]: each for each in forgiven_in(connection)}
    for each in last.values():
        belongs, values = Cap(*each[:3]).calls()
        if connection.execute(
            f"SELECT 1 FROM calls WHERE number = ? AND ended <= ? AND {belongs}",  # noqa: S608
            [number, each.at, *values],
        ).fetchone():
            yield each


def _write(connection: sqlite3.Connection, what: Forgiven) -> None:
    budget = f"{what.per}@{what.start!r} {what.scope}"
    connection.execute(_FORGIVEN, (budget, what.at, what.prompt, what.output, what.micro_usd))
