"""What a ledger says was spent: sums for reports, and single calls. Read-only, also while its organism runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

from xml_pipeline.errors import JournalError

By: TypeAlias = Literal["agent", "model", "backend", "conversation", "operation", "caller", "door", "day"]
BY: tuple[By, ...] = get_args(By)

_LONGEST = 86_400.0  # seconds from the beginning of a call to its end; more than any takes
_AT = "coalesce(ended, began)"
_GROUPS: dict[By, str] = {
    **{by: by for by in BY if by != "day"},
    "day": f"date({_AT}, 'unixepoch', 'localtime')",
}
_CAME = "outcome IN ('answered', 'dropped')"
_OPEN = "ended IS NULL"
_UNSURE = "NOT confirmed AND ended IS NOT NULL AND outcome <> 'unknown'"
_UNKNOWN = "NOT confirmed AND outcome = 'unknown'"


def _sum(what: str, when: str) -> str:
    return f"coalesce(sum({what}) FILTER (WHERE {when}), 0)"


_SUMS = ", ".join(
    (
        f"sum({_CAME})",
        f"sum({_OPEN} = 0 AND NOT {_CAME} AND outcome <> 'stored')",
        *(_sum(what, "confirmed") for what in ("prompt", "cached", "cache_write", "output", "reasoning")),
        _sum("micro_usd", "confirmed"),
        _sum("prompt + output", "confirmed AND estimated"),
        "sum(confirmed AND micro_usd IS NULL AND prompt + output > 0)",
        *(
            column
            for which in (_UNSURE, _UNKNOWN, _OPEN)
            for column in (f"sum({which})", _sum("prompt + output", which), _sum("micro_usd", which))
        ),
        "sum(plain - micro_usd) FILTER (WHERE confirmed)",
    )
)


class Unsure(NamedTuple):
    """Tries of which it is not known whether they were billed.

    Attributes:
        tries: how many.
        tokens, micro_usd: what they came to at most, as budgets count them; without those of unknown price.
    """

    tries: int
    tokens: int
    micro_usd: int


class Spending(NamedTuple):
    """What some calls came to together.

    Attributes:
        name: of what they have in common: an agent's, a day, …; "" where the calls name none.
        answered: tries that were answered, or whose stream was left by its consumer.
        failed: tries that were not.
        prompt: input tokens, all of them; of confirmed tries, as are all sums up to `micro_usd`.
        cached, cache_write: parts of those: read from a cache, written to one.
        output: tokens, reasoning included.
        reasoning: a part of those.
        micro_usd: what they cost, in millionths of a US dollar, as far as it is known.
        estimated: tokens of the sums above that no provider counted.
        unpriced: tries in the sums whose price is not known.
        unconfirmed: tries that were sent, and nothing came back.
        unknown: tries that a death of the process cut off.
        open: tries on their way.
        saved: micro-USD that the calls would have cost more without any cache (less: negative); None where it is not
            known of any.
    """

    name: str
    answered: int
    failed: int
    prompt: int
    cached: int
    cache_write: int
    output: int
    reasoning: int
    micro_usd: int
    estimated: int
    unpriced: int
    unconfirmed: Unsure
    unknown: Unsure
    open: Unsure
    saved: int | None


class Span(NamedTuple):
    """Which calls: those that ended (or, not over yet, began) in a time, in one conversation or in all.

    Attributes:
        since, until: in seconds of Unix time; the second one is not in it.
        conversation: its id; "" for all.
    """

    since: float = float("-inf")
    until: float = float("inf")
    conversation: str = ""

    def where(self) -> tuple[str, list[object]]:
        """As a condition of SQL, and its values."""
        condition = f"began >= ? AND {_AT} >= ? AND {_AT} < ?"
        values: list[object] = [self.since - _LONGEST, self.since, self.until]
        if self.conversation:
            return f"{condition} AND conversation = ?", [*values, self.conversation]
        return condition, values


def spending(connection: sqlite3.Connection, by: By, span: Span) -> list[Spending]:
    """What was spent, by what the calls have in common: days in order, all else the dearest first."""
    condition, values = span.where()
    order = "1" if by == "day" else f"9 DESC, {_sum('prompt + output', 'confirmed')} DESC, 1"
    rows = connection.execute(
        f"SELECT {_GROUPS[by]}, {_SUMS} FROM calls WHERE {condition} GROUP BY 1 ORDER BY {order}",  # noqa: S608
        values,
    ).fetchall()
    return [
        Spending._make(
            [*row[:11], *(Unsure._make(row[start : start + 3]) for start in (11, 14, 17)), row[20]]
        )
        for row in rows
    ]


def together(name: str, some: Sequence[Spending]) -> Spending:
    """All of them as one."""
    known = [each.saved for each in some if each.saved is not None]
    sums = [sum(column) for column in zip(*(each[1:11] for each in some), strict=True)] or [0] * 10
    unsure = [
        Unsure._make(map(sum, zip(Unsure(0, 0, 0), *column, strict=True)))
        for column in (
            [each.unconfirmed for each in some],
            [each.unknown for each in some],
            [each.open for each in some],
        )
    ]
    return Spending._make([name, *sums, *unsure, sum(known) if known else None])


class Call(NamedTuple):
    """One try at a model.

    Attributes:
        number: of its row.
        at: when it ended, or, not over yet, began; in seconds of Unix time.
        agent, operation, conversation: whose, what for, in which; or "".
        backend, model: who was asked, for what.
        priced_as: whose price held; "" when it is unknown.
        outcome: `answered`, `dropped`, `failed`, `cancelled`, `stored` (the beginning of prompts, for later calls),
            `unknown` (cut off by a death), or "" (on its way).
        prompt, output: tokens.
        micro_usd: what they cost; None when that is unknown.
        estimated: whether no provider counted them.
        confirmed: False when nobody can tell whether it was billed.
        amended: when a person put it right, in seconds of Unix time; None for never.
        organism, thread: whose, and the innermost thread; or "".
        attempt: which try of its call, from 1.
        cached, cache_write, cache_write_1h: parts of `prompt`: read from a cache, written to one, and those of the
            written that are kept for an hour.
        reasoning: a part of `output`.
        latency: seconds from its beginning to its end; None while it is not over, or where a death cut it off.
        stop_reason: of the answer, or "".
        tool_calls: in the answer.
        error: the type of what went wrong, or "".
    """

    number: int
    at: float
    agent: str
    operation: str
    conversation: str
    backend: str
    model: str
    priced_as: str
    outcome: str
    prompt: int
    output: int
    micro_usd: int | None
    estimated: bool
    confirmed: bool
    amended: float | None
    organism: str
    thread: str
    attempt: int
    cached: int
    cache_write: int
    cache_write_1h: int
    reasoning: int
    latency: float | None
    stop_reason: str
    tool_calls: int
    error: str


def calls(connection: sqlite3.Connection, span: Span, *, most: int) -> list[Call]:
    """The newest calls, the oldest of them first."""
    condition, values = span.where()
    rows = connection.execute(
        f"SELECT number, {_AT}, agent, operation, conversation, backend, model, priced, outcome, prompt, output,"  # noqa: S608
        " micro_usd, estimated, confirmed, amended, organism, threads, attempt, cached, cache_write, cache_write_1h,"
        " reasoning, CASE outcome WHEN 'unknown' THEN NULL ELSE ended - began END, stop, tools, error"
        f" FROM calls WHERE {condition} ORDER BY number DESC LIMIT ?",
        [*values, most],
    ).fetchall()
    found = map(Call._make, reversed(rows))
    return [
        each._replace(
            estimated=bool(each.estimated),
            confirmed=bool(each.confirmed),
            thread=each.thread.partition(" ")[0],
        )
        for each in found
    ]


def conversation_called(connection: sqlite3.Connection, start: str) -> str:
    """The id of the conversation with calls whose id begins so. Raises JournalError: none, or several."""
    found = [
        name
        for (name,) in connection.execute(
            "SELECT DISTINCT conversation FROM calls WHERE conversation <> '' AND substr(conversation, 1, ?) = ?"
            " LIMIT 2",
            (len(start), start),
        )
    ]
    if len(found) != 1:
        which = "several conversations with calls begin" if found else "no conversation with calls begins"
        raise JournalError(f"{which} with '{start}'")
    return str(found[0])
