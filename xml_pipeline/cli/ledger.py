"""Commands that read the ledger, also while its organism runs: `llm cost`, `llm calls`."""

from __future__ import annotations

import argparse
import csv
import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from xml_pipeline.cli.command import FILE_OPTION, all_of, argument, command, config, one_of, positive
from xml_pipeline.cli.history import AS_JSON, when
from xml_pipeline.cli.times import MOMENT, moment
from xml_pipeline.errors import ConfigError
from xml_pipeline.terminal import json_text, line, money, plain, table

if TYPE_CHECKING:
    import sqlite3

    from xml_pipeline.config import OrganismConfig
    from xml_pipeline.journal.spending import Call, Span, Spending

BY = ("agent", "model", "backend", "conversation", "operation", "caller", "door", "day")
ROWS = 40

LEDGER = all_of(
    argument(
        "--journal",
        metavar="LEDGER",
        help="the file with the ledger (default: the journal that the organism names, or its `llm: ledger`)",
    ),
    FILE_OPTION,
)
SINCE = argument(
    "--since", type=moment, metavar="TIME", help=f"only calls that ended then or later: {MOMENT}"
)
UNTIL = argument("--until", type=moment, metavar="TIME", help="only calls that ended earlier")
IN_CONVERSATION = argument(
    "--conversation", default="", metavar="CONVERSATION", help="only those of one: its id, or how that begins"
)


@command(
    "llm cost",
    "tell what calls of models used and cost, from the ledger",
    SINCE,
    UNTIL,
    argument("--by", choices=BY, default="agent", help="what a row is (default: agent)"),
    IN_CONVERSATION,
    argument(
        "-n",
        dest="most",
        type=positive,
        default=ROWS,
        metavar="NUMBER",
        help=f"rows of the table, all others together (default: {ROWS}; JSON and CSV have all)",
    ),
    one_of(
        AS_JSON,
        argument("--csv", action="store_true", help="as CSV"),
        argument(
            "--plot",
            type=Path,
            metavar="PICTURE",
            help="draw it into a file: .svg or .png (needs xml-pipeline[plot])",
        ),
    ),
    LEDGER,
)
def cost(arguments: argparse.Namespace) -> int:
    """Print a table with bars, JSON or CSV, or draw a picture."""
    from xml_pipeline.console.costs import page
    from xml_pipeline.journal.spending import spending

    if arguments.plot is not None:
        from xml_pipeline.cli.plot import kind_of

        kind_of(arguments.plot)  # a wrong name, before anything is read
    ledger = opened(arguments)
    found = spending(ledger, arguments.by, _span(arguments, ledger))
    if arguments.plot is not None:
        from xml_pipeline.cli.plot import draw

        draw(found, arguments.by, arguments.plot)
        print(plain(line(f"{arguments.plot} is drawn")))
    elif arguments.csv:
        print(_csv(found, arguments.by), end="")
    elif arguments.json:
        print(json_text(_document(found, arguments.by)))
    else:
        width = shutil.get_terminal_size((100, 24)).columns
        for row in page(found, arguments.by, width, most=arguments.most):
            print(plain(row).rstrip())
    return 0


@command(
    "llm calls",
    "list the newest calls of models in the ledger, with their numbers",
    SINCE,
    UNTIL,
    IN_CONVERSATION,
    argument(
        "-n",
        dest="most",
        type=positive,
        default=20,
        metavar="NUMBER",
        help="how many, the newest (default: 20)",
    ),
    AS_JSON,
    LEDGER,
)
def list_calls(arguments: argparse.Namespace) -> int:
    """Print a line for each."""
    from xml_pipeline.journal.spending import calls

    ledger = opened(arguments)
    found = calls(ledger, _span(arguments, ledger), most=arguments.most)
    if arguments.json:
        print(json_text([_fields(each) for each in found]))
    elif not found:
        print("no calls")
    else:
        heads = ("CALL", "ENDED", "AGENT", "BACKEND", "MODEL", "OUTCOME", "IN", "OUT", "COST", "")
        for row in table([heads, *map(_row, found)], ""):
            print(plain(row).rstrip())
    return 0


def _row(each: Call) -> tuple[str, ...]:
    notes = (
        ("estimated", each.estimated and each.outcome != ""),
        ("unconfirmed", not each.confirmed and each.outcome not in ("", "unknown")),
        ("amended", each.amended is not None),
    )
    return (
        str(each.number),
        when(each.at),
        each.agent or "-",
        each.backend,
        each.model,
        each.outcome or "on its way",
        f"{each.prompt:,}",
        f"{each.output:,}",
        money(None if each.micro_usd is None else each.micro_usd / 1_000_000),
        ", ".join(note for note, there in notes if there),
    )


def _span(arguments: argparse.Namespace, ledger: sqlite3.Connection) -> Span:
    from xml_pipeline.journal.spending import Span, conversation_called

    since = float("-inf") if arguments.since is None else arguments.since
    until = float("inf") if arguments.until is None else arguments.until
    begins = arguments.conversation
    return Span(since, until, conversation_called(ledger, begins) if begins else "")


def _fields(each: Call) -> dict[str, object]:
    named = each._asdict()
    micro_usd = named.pop("micro_usd")
    return {**named, "usd": None if micro_usd is None else micro_usd / 1_000_000}


def fields_of(each: Spending) -> dict[str, object]:
    """As JSON and CSV have it: in USD, and flat."""
    named = each._asdict()
    flat: dict[str, object] = {}
    for name, value in named.items():
        if name in ("unconfirmed", "unknown", "open"):
            flat |= {name: value.tries, f"{name}_tokens": value.tokens, f"{name}_usd": value.micro_usd / 1e6}
        elif name == "micro_usd":
            flat["usd"] = value / 1e6
        elif name == "saved":
            flat["saved_by_caching_usd"] = None if value is None else value / 1e6
        else:
            flat[_NAMES.get(name, name)] = value
    return flat


_NAMES = {
    "prompt": "input_tokens",
    "cached": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_tokens",
    "estimated": "estimated_tokens",
}


def _document(found: list[Spending], by: str) -> dict[str, object]:
    from xml_pipeline.journal.spending import together

    rows = [{by: each.pop("name"), **each} for each in map(fields_of, found)]
    total = fields_of(together("total", found))
    del total["name"]
    return {"by": by, "rows": rows, "total": total}


def _csv(found: list[Spending], by: str) -> str:
    from xml_pipeline.journal.spending import together

    text = io.StringIO()
    rows = [fields_of(each) for each in found]
    heads = list(fields_of(together("", [])))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([by, *heads[1:]])
    writer.writerows([_harmless(str(row.pop("name"))), *row.values()] for row in rows)
    return text.getvalue()


def _harmless(name: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name


def opened(arguments: argparse.Namespace) -> sqlite3.Connection:
    """A connection that reads the ledger. Raises ConfigError, JournalError."""
    from xml_pipeline.journal.file import looked_at, sqlite_told

    path = ledger_file(arguments)
    arguments.at_end.enter_context(sqlite_told(path))
    connection = looked_at(path)
    arguments.at_end.callback(connection.close)
    return connection


def ledger_file(arguments: argparse.Namespace) -> Path:
    """The file that `--journal` names, or the organism. Raises ConfigError: it names none."""
    if arguments.journal:
        return Path(arguments.journal)
    return ledger_of(config(arguments, "nothing"), arguments.file)


def ledger_of(found: OrganismConfig, name: str) -> Path:
    """The file in which an organism's calls are rows. Raises ConfigError: there is none."""
    path = ledger_if_any(found)
    if path is None:
        raise ConfigError(
            f"{name} names no ledger; add `journal: state.db` to its `organism` or `ledger: usage.db` to its `llm`,"
            " or name a file with --journal"
        )
    return path


def ledger_if_any(found: OrganismConfig) -> Path | None:
    """That file: its journal, or else its ledger. One organism at a time has it, and takes requests beside it."""
    if found.organism.journal is not None:
        return found.base / found.organism.journal.path
    ledger = None if found.llm is None else found.llm.ledger
    return None if ledger is None or ledger.path is None else found.llm_base / ledger.path
