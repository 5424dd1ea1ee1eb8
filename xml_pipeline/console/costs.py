"""What was spent, as a table with bars that fits a width. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from xml_pipeline.journal.spending import By, Spending, Unsure, together
from xml_pipeline.terminal import Line, columns, count, line, money, plain, table

LONGEST_BAR = 24
MOST = 40  # rows that are shown by themselves
_SHORTEST_BAR = 6
_SHORTEST_NAME = 8
_GAP = 2  # columns between two cells, as `table` leaves them


class _Column(NamedTuple):
    head: str
    cell: Callable[[Spending], str]
    rank: int  # those of the highest go first where there is little room


_COLUMNS = (
    _Column("CALLS", lambda each: f"{each.answered:,}", 2),
    _Column("FAILED", lambda each: f"{each.failed:,}" if each.failed else "", 6),
    _Column("INPUT", lambda each: f"{each.prompt:,}", 1),
    _Column("CACHED", lambda each: f"{each.cached:,}" if each.cached else "", 4),
    _Column("WRITTEN", lambda each: f"{each.cache_write:,}" if each.cache_write else "", 5),
    _Column("OUTPUT", lambda each: f"{each.output:,}", 1),
    _Column("REASONING", lambda each: f"{each.reasoning:,}" if each.reasoning else "", 7),
    _Column("COST", lambda each: _cost(each), 0),
)


def page(found: Sequence[Spending], by: By, width: int, *, most: int) -> list[Line]:
    """The table, its total, and what its marks mean.

    Args:
        found: what was spent, in the order in which it is shown.
        by: what each row has in common.
        width: of the terminal, in columns.
        most: rows; the others are one row.
    """
    if not found:
        return [line(("dim", "no model was called"))]
    total = together("total", found)
    shown = _shortened(found, by, most)
    rows = [*shown, total]
    names = [by.upper(), *(plain(line(each.name or f"(no {by})")) for each in shown), "total"]
    chosen = [each for each in _COLUMNS if any(map(each.cell, rows))]
    bar = _bar_width(names, chosen, rows, width)
    while len(chosen) > 1 and _width(chosen, rows) + _SHORTEST_NAME > width:
        chosen.remove(max(chosen, key=lambda each: each.rank))
    room = max(_SHORTEST_NAME, width - _width(chosen, rows) - (bar + _GAP if bar else 0))
    names = [_cut(name, room) for name in names]
    bars = ["", *_bars(shown, bar), ""]
    cells = [_aligned(each, rows) for each in chosen]
    return [*table([*zip(names, *cells, bars, strict=True)]), *_meanings(total)]


def _shortened(found: Sequence[Spending], by: By, most: int) -> list[Spending]:
    if len(found) <= most:
        return list(found)
    if by == "day":  # the newest ones are of interest
        return [together(f"({len(found) - most:,} before)", found[:-most]), *found[-most:]]
    return [*found[:most], together(f"({len(found) - most:,} others)", found[most:])]


def _aligned(column: _Column, rows: Sequence[Spending]) -> list[str]:
    cells = [column.head, *map(column.cell, rows)]
    width = max(map(columns, cells))
    return [f"{' ' * (width - columns(cell))}{cell}" for cell in cells]


def _width(chosen: Sequence[_Column], rows: Sequence[Spending]) -> int:
    return sum(columns(_aligned(each, rows)[0]) + _GAP for each in chosen)


def _bar_width(names: Sequence[str], chosen: Sequence[_Column], rows: Sequence[Spending], width: int) -> int:
    """What is left for bars; 0 where there is too little."""
    left = width - max(map(columns, names)) - _width(chosen, rows) - _GAP
    return 0 if left < _SHORTEST_BAR else min(left, LONGEST_BAR)


def _bars(shown: Sequence[Spending], width: int) -> list[str]:
    """Their parts of the highest: of cost, or of tokens where nothing has a price."""
    amounts = [each.micro_usd for each in shown]
    if not any(amounts):
        amounts = [each.prompt + each.output for each in shown]
    highest = max(amounts) or 1
    return ["█" * round(width * amount / highest) or ("▏" if amount and width else "") for amount in amounts]


def _cut(name: str, room: int) -> str:
    if columns(name) <= room:
        return name
    while columns(name) >= room:
        name = name[:-1]
    return f"{name}…"


def _cost(each: Spending) -> str:
    """With its marks; the last columns are the same for all, so that amounts stand below each other."""
    known = "unknown" if each.unpriced and not each.micro_usd else money(each.micro_usd / 1_000_000)
    unsure = each.unconfirmed.tries or each.unknown.tries or each.open.tries
    marks = (("~", each.estimated), ("?", unsure), ("+", each.unpriced))
    return f"{known} {''.join(mark if there else ' ' for mark, there in marks)}"


def _meanings(total: Spending) -> list[Line]:
    """What the marks mean, of those that are there; and what caching did."""
    told = []
    if total.estimated:
        told.append(f"~ {count(total.estimated, 'token')} estimated: the provider did not count them")
    for unsure, why in (
        (total.unconfirmed, "unconfirmed (sent, and nothing came back)"),
        (total.unknown, "unknown (cut off by a death of the process)"),
        (total.open, "on its way" if total.open.tries == 1 else "on their way"),
    ):
        if unsure.tries:
            told.append(f"? {_tries(unsure.tries)} {why}: {_at_most(unsure)} more; budgets count it")
    if total.unpriced:
        told.append(f"+ {_tries(total.unpriced)} without a known price, not in the cost")
    if total.saved is not None and (total.cached or total.cache_write):
        told.append(_caching(total.saved))
    return [line(("dim", each)) for each in told]


def _tries(number: int) -> str:
    return "1 try" if number == 1 else f"{number:,} tries"


def _at_most(unsure: Unsure) -> str:
    return f"at most {money(unsure.micro_usd / 1_000_000)} ({count(unsure.tokens, 'token')})"


def _caching(saved: int) -> str:
    if saved < 0:
        return f"caching lost {money(-saved / 1_000_000)}: what was written to caches cost more than reading it saved"
    return f"caching saved {money(saved / 1_000_000)}, its writes paid"
