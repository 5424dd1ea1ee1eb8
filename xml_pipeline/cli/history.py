"""Commands that look into a journal, also while its organism runs: `log`, `show`, `dead list`, `journal check`."""

from __future__ import annotations

import argparse
import select
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from xml_pipeline.cli.command import FILE_OPTION, all_of, argument, command, config, one_of, positive
from xml_pipeline.cli.times import MOMENT, moment
from xml_pipeline.errors import ConfigError
from xml_pipeline.terminal import count, json_text, one_line, plain, table, visible, xml_text

if TYPE_CHECKING:
    import sqlite3

    from msgspec import Struct

    from xml_pipeline.journal.following import Follower
    from xml_pipeline.journal.history import Happening, Letter, Summary

LOOKS = 0.5  # seconds between two looks of `log --follow`
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
    argument("--since", type=moment, metavar="TIME", help=f"only those that began then or later: {MOMENT}"),
    one_of(
        argument("--until", type=moment, metavar="TIME", help="only those that began earlier"),
        argument(
            "--follow",
            action="store_true",
            help="go on until Ctrl-C: a line for each that begins or ends (with --json, a line of JSON)",
        ),
    ),
    MOST,
    AS_JSON,
    WHERE,
)
def log(arguments: argparse.Namespace) -> int:
    """Print a line for each."""
    from xml_pipeline.journal.following import Follower
    from xml_pipeline.journal.history import Wanted, conversations

    since = float("-inf") if arguments.since is None else arguments.since
    until = float("inf") if arguments.until is None else arguments.until
    wanted = Wanted(arguments.listener, arguments.open, since, until)
    journal = opened(arguments)
    if arguments.follow:
        return _follow(Follower(journal, wanted, arguments.most), as_json=arguments.json)
    found = conversations(journal, wanted, most=arguments.most).values()
    if arguments.json:
        print(json_text([fields_of(each) for each in found]))
        return 0
    if not found:
        print("no conversations")
        return 0
    for row in table([_row(each) for each in found]):
        print(plain(row))
    return 0


def _follow(follower: Follower, *, as_json: bool) -> int:
    """Print what is new as it comes, until Ctrl-C, or until nobody reads it: 1, as when a write tells that."""
    reads = True
    while reads:
        for each in follower.news():
            row = json_text(fields_of(each), indent=None) if as_json else one_line("  ".join(_row(each)))
            print(row, flush=True)
        reads = _read_after(sys.stdout, LOOKS)
    return 1


def _read_after(stream: TextIO, seconds: float) -> bool:
    """Wait so long, or until whoever reads the stream has gone; whether somebody reads it still."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
    except (AttributeError, OSError):  # no such call here, or no file behind the stream
        time.sleep(seconds)
        return True
    return not poll.poll(seconds * 1000)


def fields_of(each: Struct) -> dict[str, object]:
    return {name: getattr(each, name) for name in each.__struct_fields__}


def _row(each: Summary) -> tuple[str, str, str, str]:
    lasted = _lasted(each.began, each.ended)
    return each.id[:13], when(each.began), f"{each.caller} → {each.listener}", lasted


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

    journal = opened(arguments)
    found = list(happenings(journal, conversation_named(journal, arguments.conversation)))
    if arguments.json:
        print(json_text([fields_of(each) for each in found]))
        return 0
    for each in found:
        print(_told(each, whole=True))
    return 0


@command("dead list", "list the newest dead letters in the journal, with their reasons", MOST, AS_JSON, WHERE)
def list_dead(arguments: argparse.Namespace) -> int:
    """Print a line for each."""
    from xml_pipeline.journal.history import dead_letters

    found = dead_letters(opened(arguments), most=arguments.most)
    if arguments.json:
        print(json_text([_letter(each) for each in found]))
        return 0
    for each in found:
        print(f"{each.number:>4}  {each.conversation[:13]}  {_told(each.what, whole=False)}")
    print(count(len(found), "dead letter"))
    return 0


@command(
    "dead show",
    "show a dead letter: who sent it to whom, why it is dead, and what it says",
    argument("letter", type=positive, metavar="LETTER", help="its number in `dead list`"),
    AS_JSON,
    WHERE,
)
def show_dead(arguments: argparse.Namespace) -> int:
    """Print all of it."""
    from xml_pipeline.journal.history import dead_letter

    found, body = dead_letter(opened(arguments), arguments.letter)
    if arguments.json:
        print(json_text({**_letter(found), "payload": body}))
        return 0
    print(_told(found.what, whole=True))
    print(one_line(f"conversation {found.conversation}"))
    print(xml_text(body))
    return 0


def _letter(each: Letter) -> dict[str, object]:
    return {"number": each.number, "conversation": each.conversation, **fields_of(each.what)}


@command("journal check", "check that the journal is whole, and that this version can read all of it", WHERE)
def check_journal(arguments: argparse.Namespace) -> int:
    """Print what is wrong; 1 when something is."""
    from xml_pipeline.journal.history import faults

    journal = opened(arguments)
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


@dataclass(frozen=True, slots=True)
class JournalFile:
    """The journal that a command line names.

    Attributes:
        path: the file.
        keep: seconds for which conversations are kept, as organism.yaml says; None for ever.
    """

    path: Path
    keep: float | None = None


def opened(arguments: argparse.Namespace) -> sqlite3.Connection:
    """A connection that reads it. Raises ConfigError, JournalError."""
    from xml_pipeline.journal.file import looked_at, sqlite_told

    path = journal_file(arguments).path
    arguments.at_end.enter_context(sqlite_told(path))  # whatever the command finds in it
    connection = looked_at(path)
    arguments.at_end.callback(connection.close)
    return connection


def journal_file(arguments: argparse.Namespace) -> JournalFile:
    """The one that `--journal` names, or the organism. Raises ConfigError: it names none."""
    from xml_pipeline.journal.span import seconds_of

    if arguments.journal:
        return JournalFile(Path(arguments.journal))
    found = config(arguments, "nothing")
    if found.organism.journal is None:
        raise ConfigError(
            f"{arguments.file} names no journal; add `journal: state.db` to its `organism`, or name one with"
            " --journal"
        )
    section = found.organism.journal
    return JournalFile(found.base / section.path, None if section.keep is None else seconds_of(section.keep))


def _told(each: Happening, *, whole: bool) -> str:
    arrow = f"{each.from_id} → {each.to}" if each.to else each.from_id
    content = " ".join(each.content.split())
    shown = content if whole or len(content) <= CUT else f"{content[:CUT]}…"
    return one_line(f"{when(each.at)}  {each.what:<8}  {arrow}  {each.name}  {shown}".rstrip())


def when(at: float) -> str:
    """A moment in Unix time, as it was here."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _lasted(began: float, ended: float | None) -> str:
    return "open" if ended is None else f"{ended - began:.1f} s"
