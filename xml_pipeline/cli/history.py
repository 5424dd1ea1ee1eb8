"""Commands that look into a journal, also while its organism runs: `log`, `show`, `dead list`, `journal check`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from xml_pipeline.cli.command import FILE_OPTION, all_of, argument, command, config, positive
from xml_pipeline.errors import ConfigError
from xml_pipeline.terminal import count, json_text, line, plain, table, visible

if TYPE_CHECKING:
    import sqlite3

    from xml_pipeline.journal.history import Happening

CUT = 160  # characters of a payload or a reason in a list

WHERE = all_of(
    argument("--journal", metavar="JOURNAL", help="the journal's file (default: what the organism names)"),
    FILE_OPTION,
)
AS_JSON = argument("--json", action="store_true", help="as JSON")
MOST = argument(
    "-n", dest="most", type=positive, default=20, metavar="NUMBER", help="how many, the newest (default: 20)"
)


@command(
    "log",
    "list the newest conversations in the journal",
    argument("--listener", default="", metavar="NAME", help="only those that called it"),
    argument("--open", action="store_true", help="only those that are not over"),
    MOST,
    AS_JSON,
    WHERE,
)
def log(arguments: argparse.Namespace) -> int:
    """Print a line for each."""
    from xml_pipeline.journal.history import conversations

    journal = _journal(arguments)
    found = conversations(journal, most=arguments.most, listener=arguments.listener, open_only=arguments.open)
    if arguments.json:
        print(json_text([{name: getattr(each, name) for name in each.__struct_fields__} for each in found]))
        return 0
    if not found:
        print("no conversations")
        return 0
    rows = [
        (each.id[:13], _when(each.began), f"{each.caller} → {each.listener}", _lasted(each.began, each.ended))
        for each in found
    ]
    for row in table(rows):
        print(plain(row))
    return 0


@command(
    "show",
    "show what was said in a conversation: who to whom, when, and what became of it",
    argument("conversation", metavar="CONVERSATION", help="its id, or how that begins"),
    AS_JSON,
    WHERE,
)
def show(arguments: argparse.Namespace) -> int:
    """Print a line for each thing that happened."""
    from xml_pipeline.journal.history import conversation_named, happenings

    journal = _journal(arguments)
    found = list(happenings(journal, conversation_named(journal, arguments.conversation)))
    if arguments.json:
        print(json_text([{name: getattr(each, name) for name in each.__struct_fields__} for each in found]))
        return 0
    for each in found:
        print(_told(each, whole=True))
    return 0


@command("dead list", "list the newest dead letters in the journal, with their reasons", MOST, AS_JSON, WHERE)
def list_dead(arguments: argparse.Namespace) -> int:
    """Print a line for each."""
    from xml_pipeline.journal.history import dead_letters

    found = dead_letters(_journal(arguments), most=arguments.most)
    if arguments.json:
        letters = [
            {
                "number": each.number,
                "conversation": each.conversation,
                **{field: getattr(each.what, field) for field in each.what.__struct_fields__},
            }
            for each in found
        ]
        print(json_text(letters))
        return 0
    for each in found:
        print(f"{each.number:>4}  {each.conversation[:13]}  {_told(each.what, whole=False)}")
    print(count(len(found), "dead letter"))
    return 0


@command("journal check", "check that the journal is whole, and that this version can read all of it", WHERE)
def check_journal(arguments: argparse.Namespace) -> int:
    """Print what is wrong; 1 when something is."""
    from xml_pipeline.journal.history import faults

    journal = _journal(arguments)
    wrong = 0
    for fault in faults(journal):
        wrong += 1
        print(visible(fault))
    (conversations,) = journal.execute("SELECT count(*) FROM conversations").fetchone()
    (steps,) = journal.execute("SELECT count(*) FROM steps").fetchone()
    print(
        f"{count(conversations, 'conversation')}, {count(steps, 'step')}: {count(wrong, 'fault') if wrong else 'ok'}"
    )
    return 1 if wrong else 0


def _journal(arguments: argparse.Namespace) -> sqlite3.Connection:
    from xml_pipeline.journal.file import looked_at

    if arguments.journal:
        return looked_at(Path(arguments.journal))
    found = config(arguments, "nothing")
    if found.organism.journal is None:
        raise ConfigError(
            f"{arguments.file} names no journal; add `journal: state.db` to its `organism`, or name one with"
            " --journal"
        )
    return looked_at(found.base / found.organism.journal.path)


def _told(each: Happening, *, whole: bool) -> str:
    arrow = f"{each.from_id} → {each.to}" if each.to else each.from_id
    content = " ".join(each.content.split())
    shown = content if whole or len(content) <= CUT else f"{content[:CUT]}…"
    return plain(line(f"{_when(each.at)}  {each.what:<8}  {arrow}  {each.name}  {shown}".rstrip()))


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _lasted(began: float, ended: float | None) -> str:
    return "open" if ended is None else f"{ended - began:.1f} s"
