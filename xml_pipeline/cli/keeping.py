"""Commands that change a journal, through its organism or while nobody uses it, and `journal export`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from xml_pipeline.cli.command import argument, command, one_of, positive
from xml_pipeline.cli.history import WHERE, fields_of, journal_file, opened
from xml_pipeline.cli.times import span
from xml_pipeline.terminal import json_text, visible

if TYPE_CHECKING:
    from xml_pipeline.door import Request
    from xml_pipeline.pump.machine import Machine

CONVERSATION = argument("conversation", metavar="CONVERSATION", help="its id, or how that begins")
LETTERS = one_of(
    argument("letter", nargs="?", type=positive, metavar="LETTER", help="its number in `dead list`"),
    argument("--all", action="store_true", help="all of them"),
    required=True,
)


@command(
    "dead retry", "send a dead letter again, to the same listener, in a new conversation", LETTERS, WHERE
)
def retry_dead(arguments: argparse.Namespace) -> int:
    """Let conversations begin; 1 when a letter cannot be sent again."""
    from xml_pipeline.door.requests import Retry

    return changed(arguments, Retry(arguments.letter))


@command("dead drop", "take a dead letter off the list; its conversation may be deleted then", LETTERS, WHERE)
def drop_dead(arguments: argparse.Namespace) -> int:
    """Forget letters."""
    from xml_pipeline.door.requests import Drop

    return changed(arguments, Drop(arguments.letter))


@command(
    "cancel", "end a conversation: its handlers are cancelled, and nobody is answered", CONVERSATION, WHERE
)
def cancel(arguments: argparse.Namespace) -> int:
    """End it for good."""
    from xml_pipeline.door.requests import Cancel

    return changed(arguments, Cancel(arguments.conversation))


@command(
    "journal compact",
    "delete the conversations that need not be kept any more, and make the file as small as it can be",
    argument(
        "--keep",
        type=span,
        metavar="TIME",
        help="keep what ended later than so long ago: 90s, 15m, 12h, 7d (default: what the organism says)",
    ),
    WHERE,
)
def compact_journal(arguments: argparse.Namespace) -> int:
    """Delete what `--keep` or `keep` of organism.yaml allows; with --journal alone, nothing."""
    from xml_pipeline.door.requests import Compact

    keep = arguments.keep if arguments.keep is not None else journal_file(arguments).keep
    return changed(arguments, Compact(keep))


@command(
    "journal export",
    "write what happened, in one conversation or in all, as lines of JSON",
    argument(
        "conversation", nargs="?", metavar="CONVERSATION", help="its id, or how that begins (default: all)"
    ),
    WHERE,
)
def export_journal(arguments: argparse.Namespace) -> int:
    """Print a line for each thing that happened."""
    from xml_pipeline.journal.history import conversation_named, happenings, numbered

    journal = opened(arguments)
    begins = arguments.conversation
    found = numbered(journal) if begins is None else [(0, conversation_named(journal, begins))]
    for _, name in found:
        for each in happenings(journal, name):
            print(json_text({"conversation": name, **fields_of(each)}, indent=None))
    return 0


@command(
    "journal erase",
    "take what was said out of a conversation that is over; that it took place stays",
    CONVERSATION,
    WHERE,
)
def erase_conversation(arguments: argparse.Namespace) -> int:
    """Overwrite messages, states, answers, parts and memory entries."""
    from xml_pipeline.door.requests import Erase

    return changed(arguments, Erase(arguments.conversation))


def changed(arguments: argparse.Namespace, request: Request, machine: Machine | None = None) -> int:
    """Let something be changed, by the organism that runs or alone, and print what is told; 1 when a part failed."""
    from xml_pipeline.door import alone, carried_out

    path = journal_file(arguments).path
    told = carried_out(path, request, lambda same: alone(path, same, machine))
    for row in told.rows:
        print(visible(row))
    return 1 if told.failed else 0
