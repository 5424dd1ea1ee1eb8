"""Commands about budgets and what counts for them: `llm caps list | reset`, `llm amend`."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from xml_pipeline.cli.command import FILE_OPTION, argument, command, config, dollars, positive
from xml_pipeline.cli.history import AS_JSON, when
from xml_pipeline.cli.ledger import LEDGER, ledger_file, ledger_of
from xml_pipeline.errors import ConfigError, listing
from xml_pipeline.terminal import json_text, money, plain, table, visible

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from xml_pipeline.door import Request
    from xml_pipeline.ledger import Ledger, Spent
    from xml_pipeline.llm.accounting.budgets import Budget, Budgets, Meter
    from xml_pipeline.llm.accounting.periods import Per

PERIODS = ("run", "hour", "day", "week", "month")


def _tokens(text: str) -> tuple[int, int]:
    """A type of `argument`: two whole numbers with a comma between them."""
    prompt, comma, output = text.partition(",")
    if not (comma and all(each.isascii() and each.isdigit() and len(each) < 13 for each in (prompt, output))):
        raise argparse.ArgumentTypeError(f"input and output tokens are needed, as 1200,80, not {text!r}")
    return int(prompt), int(output)


@command(
    "llm caps list",
    "list the budgets of organism.yaml: what is spent, what is left, when each begins anew",
    AS_JSON,
    FILE_OPTION,
)
def list_caps(arguments: argparse.Namespace) -> int:
    """Print a row for each limit; what is on its way counts as the most that it can come to."""
    found = config(arguments, "nothing")
    if found.llm is None or not (budgets := found.llm.budgets.budgets()):
        print("no budgets: add some under `llm: budgets:` in organism.yaml")
        return 0
    ledger = ledger_of(found, arguments.file)
    rows = [*_caps(budgets, ledger), *_each(budgets)]
    if arguments.json:
        print(json_text(rows))
        return 0
    for row in table([("SCOPE", "PER", "LIMIT", "SPENT", "LEFT", "BEGINS ANEW"), *map(_row, rows)], ""):
        print(plain(row).rstrip())
    return 0


def _row(each: dict[str, object]) -> tuple[str, ...]:
    def shown(amount: object) -> str:
        if not isinstance(amount, int | float):
            return "-"
        return money(amount) if each["unit"] == "usd" else f"{amount:,.0f}"

    unit = "" if each["unit"] == "usd" else f" {str(each['unit']).replace('_', ' ')}"
    soft = " (only warns)" if each["soft"] else ""
    return (
        str(each["scope"]),
        str(each["per"]),
        f"{shown(each['limit'])}{unit}{soft}",
        shown(each["spent"]),
        shown(each["left"]),
        str(each["begins_anew"]),
    )


def _caps(budgets: Budgets, path: Path) -> list[dict[str, object]]:
    """The budgets that scopes of the ledger, or the file, name; nothing is spent where there is no ledger yet."""
    from contextlib import closing

    from xml_pipeline.journal.file import looked_at, sqlite_told

    if not path.is_file():
        return [_of_meter(each) for each in _meters(budgets, None)]
    with sqlite_told(path), closing(looked_at(path)) as connection:
        return [_of_meter(each) for each in _meters(budgets, connection)]


def _meters(budgets: Budgets, connection: sqlite3.Connection | None) -> list[Meter]:
    """The very meters by which calls are let through, as a start would make them now."""
    import asyncio
    import time

    from xml_pipeline.journal.calls import Calls
    from xml_pipeline.journal.looking import Looking
    from xml_pipeline.llm.accounting.budgets import BudgetBook
    from xml_pipeline.llm.accounting.usage import Charge

    book = BudgetBook(budgets, time.time, lambda event: None, lambda: None)
    charges = [Charge(agent=name) for name in budgets.agents if not _is_glob(name)]
    charges += [Charge(operation=name) for name in budgets.operations if not _is_glob(name)]
    charges += [
        Charge(door=door, caller=caller) for door in budgets.doors for caller in ("", *budgets.callers)
    ]
    if connection is not None:
        ledger = Calls(Looking(connection))
        ledger.look(connection)
        spent = asyncio.run(_spent(ledger, book.since()))
        book.take_up(ledger, spent)
        charges += [Charge(agent=each.agent) for each in spent]
        charges += [Charge(operation=each.operation) for each in spent]
        open_ = connection.execute(
            "SELECT DISTINCT conversation FROM calls WHERE conversation IN"
            " (SELECT id FROM open JOIN conversations USING (number)) ORDER BY 1"
        )
        charges += [Charge(conversation_id=name) for (name,) in open_.fetchall()]
    found = {id(meter): meter for charge in (Charge(), *charges) for meter in book.meters(charge)}
    return list(found.values())


async def _spent(ledger: Ledger, since: float) -> Sequence[Spent]:
    return await ledger.spent_since(since)


def _is_glob(name: str) -> bool:
    return bool(set("*?[") & set(name))


def _of_meter(meter: Meter) -> dict[str, object]:
    return _fields(
        meter.scope,
        meter.budget,
        meter.unit,
        meter.shown(meter.limit),
        spent=meter.shown(meter.spent),
        left=meter.shown(max(0, meter.unspent)),
        begins_anew="with the next start" if math.isinf(meter.ends) else when(meter.ends),
    )


def _each(budgets: Budgets) -> Iterator[dict[str, object]]:
    """The limits of scopes that are not named: each conversation's, thread's, call's, those that only globs name."""
    kinds = (("each conversation", budgets.conversation), ("each thread", budgets.thread))
    globs = [
        (f"each {kind} {name}" if _is_glob(name) else f"{kind} {name}", some)
        for kind, named in (
            ("agent", budgets.agents),
            ("operation", budgets.operations),
            ("door", budgets.doors),
            ("caller", budgets.callers),
        )
        for name, every in named.items()
        if (some := every if _is_glob(name) else [one for one in every if one.per not in PERIODS])
    ]
    for scope, some in (*globs, *kinds):
        for budget in some:
            for unit, limit in budget.limits():
                amount = limit / 1_000_000 if unit == "usd" else float(limit)
                yield _fields(scope, budget, unit, amount, spent=None, left=None, begins_anew="")


def _fields(scope: str, budget: Budget, unit: str, limit: float, **more: object) -> dict[str, object]:
    return {
        "scope": scope,
        "per": budget.per,
        "unit": unit,
        "limit": limit if unit == "usd" else int(limit),
        "soft": budget.soft,
        **more,
    }


@command(
    "llm caps reset",
    "begin a budget anew: what was spent of it so far is forgiven, in this scope and period alone",
    argument(
        "scope",
        nargs="+",
        metavar="SCOPE",
        help="organism, or agent, operation, door, caller, conversation or thread and a name, as `llm caps list`"
        " shows it",
    ),
    argument(
        "--per", choices=PERIODS, help="of which period (default: every one that the scope has a limit for)"
    ),
    FILE_OPTION,
)
def reset_cap(arguments: argparse.Namespace) -> int:
    """Write down what is forgiven; a running organism goes on with it at once."""
    from xml_pipeline.door.requests import Forgive

    found = config(arguments, "nothing")
    budgets = None if found.llm is None else found.llm.budgets.budgets()
    scope = " ".join(arguments.scope)
    periods = [] if budgets is None else _periods(budgets, scope)
    if not periods or arguments.per not in (None, *periods):
        per = f" per {arguments.per}" if arguments.per and periods else ""
        there = (
            f"; those that it has are per {listing(periods)}" if periods else "; `llm caps list` shows all"
        )
        raise ConfigError(f"there is no budget of '{scope}'{per}{there}")
    path, code = ledger_of(found, arguments.file), 0
    assert budgets is not None
    for per in periods:
        if arguments.per in (None, per):
            code = max(code, _carried_out(path, Forgive(scope, per, budgets.zone)))
    return code


def _periods(budgets: Budgets, scope: str) -> list[Per]:
    """The periods for which a scope has limits."""
    from fnmatch import fnmatchcase

    kind, _, name = scope.partition(" ")
    match kind:
        case "organism" if not name:
            some = list(budgets.organism)
        case "agent" | "operation" | "door" | "caller":
            named = getattr(budgets, f"{kind}s")
            fitting = [limits for glob, limits in named.items() if fnmatchcase(name, glob)]
            some = list(named[name]) if name in named else [one for each in fitting for one in each]
        case "conversation" | "thread" if name:
            some = list(budgets.conversation if kind == "conversation" else budgets.thread)
        case _:
            some = []
    return list(dict.fromkeys(budget.per for budget in some if budget.per in PERIODS))


@command(
    "llm amend",
    "put a call of a model right that was mispriced or miscounted; budgets and reports follow",
    argument("call", type=positive, metavar="CALL", help="its number in `llm calls`"),
    argument("--usd", type=dollars, metavar="AMOUNT", help="what it cost, as 0.01"),
    argument("--tokens", type=_tokens, metavar="IN,OUT", help="its input and output tokens, as 1200,80"),
    LEDGER,
)
def amend_call(arguments: argparse.Namespace) -> int:
    """Write it down; a running organism goes on with it at once."""
    from xml_pipeline.door.requests import Amend

    if arguments.usd is None and arguments.tokens is None:
        raise ConfigError("say what is right: --usd AMOUNT, --tokens IN,OUT, or both")
    return _carried_out(ledger_file(arguments), Amend(arguments.call, arguments.tokens, arguments.usd))


def _carried_out(path: Path, request: Request) -> int:
    """Let it be done by the organism that runs, or alone, and print what is told; 1 when a part failed."""
    from xml_pipeline.door import alone, carried_out

    told = carried_out(path, request, lambda same: alone(path, same))
    for row in told.rows:
        print(visible(row))
    return 1 if told.failed else 0
