"""Commands that change a journal while no organism uses it, and `journal export`, which writes all of it out."""

from __future__ import annotations

import argparse
import time

from xml_pipeline.cli.command import argument, command, one_of, positive
from xml_pipeline.cli.history import WHERE, fields_of, journal_file, opened
from xml_pipeline.terminal import count, json_text, visible

CONVERSATION = argument("conversation", metavar="CONVERSATION", help="its id, or how that begins")
LETTERS = one_of(
    argument("letter", nargs="?", type=positive, metavar="LETTER", help="its number in `dead list`"),
    argument("--all", action="store_true", help="all of them"),
    required=True,
)


@command(
    "dead retry",
    "send a dead letter again, to the same listener, with the next start of the organism",
    LETTERS,
    WHERE,
)
def retry_dead(arguments: argparse.Namespace) -> int:
    """Let conversations begin; 1 when a letter cannot be sent again."""
    from xml_pipeline.journal.letters import Unsendable, numbers, retry
    from xml_pipeline.journal.offline import alone, together
    from xml_pipeline.threads.ids import random_ids

    new_id, told, failed, sent = random_ids(), [], 0, 0
    with alone(journal_file(arguments).path) as journal, together(journal):
        waiting = numbers(journal) if arguments.all else [arguments.letter]
        while waiting:
            number = waiting.pop(0)
            try:
                conversation_id = retry(journal, number, time.time(), new_id)
            except Unsendable as reason:
                failed += 1
                told.append(f"dead letter {number} cannot be sent again: {reason}; `dead drop` drops it")
                continue
            sent += 1
            told.append(f"dead letter {number} is sent with the next start: conversation {conversation_id}")
            left = set(numbers(journal))
            waiting = [each for each in waiting if each in left]  # two may be about one message
    for row in told:
        print(visible(row))
    print(f"{count(sent, 'message')} to be sent")
    return 1 if failed else 0


@command("dead drop", "take a dead letter off the list; its conversation may be deleted then", LETTERS, WHERE)
def drop_dead(arguments: argparse.Namespace) -> int:
    """Forget letters."""
    from xml_pipeline.journal.letters import drop, numbers
    from xml_pipeline.journal.offline import alone, together

    with alone(journal_file(arguments).path) as journal, together(journal):
        dropped = numbers(journal) if arguments.all else [arguments.letter]
        for number in dropped:
            drop(journal, number)
    print(f"{count(len(dropped), 'dead letter')} dropped")
    return 0


@command(
    "journal compact",
    "delete the conversations that need not be kept any more, and make the file as small as it can be",
    WHERE,
)
def compact_journal(arguments: argparse.Namespace) -> int:
    """Delete what `keep` of organism.yaml allows; with --journal alone, nothing."""
    from xml_pipeline.journal.offline import alone, compact

    file = journal_file(arguments)
    before = file.path.stat().st_size if file.path.is_file() else 0
    with alone(file.path) as journal:
        deleted = compact(journal, None if file.keep is None else time.time() - file.keep)
    after = file.path.stat().st_size
    print(f"{count(deleted, 'conversation')} deleted; {before:,} bytes before, {after:,} now")
    return 0


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
    from xml_pipeline.journal.erasure import erase
    from xml_pipeline.journal.history import conversation_named
    from xml_pipeline.journal.offline import alone

    with alone(journal_file(arguments).path) as journal:
        name = conversation_named(journal, arguments.conversation)
        erase(journal, name)
    print(f"conversation {name} is erased")
    return 0
