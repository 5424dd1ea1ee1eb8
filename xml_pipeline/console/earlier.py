"""What an earlier life of the console left open, as the journal tells it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from xml_pipeline.errors import cut
from xml_pipeline.hardened import parse
from xml_pipeline.journal.file import looked_at, steps_of, unusable
from xml_pipeline.journal.history import Summary, Wanted, conversations
from xml_pipeline.journal.protocol import Step
from xml_pipeline.threads.record import Accepted


@dataclass(frozen=True, slots=True)
class Left:
    """A conversation that is not over.

    Attributes:
        conversation_id: names it.
        listener: who was written to.
        said: what, without its tags.
        threads: those that answer the caller: the one that was written to, and whom it handed over to.
    """

    conversation_id: str
    listener: str
    said: str
    threads: tuple[str, ...]


def left_open(journal: Path, caller: str) -> list[Left]:
    """The conversations of one caller that are not over, oldest first. Raises JournalError."""
    with reading(journal) as connection:
        found = conversations(connection, Wanted(caller=caller, open_only=True)).values()
        return [_left(each, steps_of(connection, each.id)) for each in found]


@contextmanager
def reading(journal: Path) -> Iterator[sqlite3.Connection]:
    """A connection for looking at a journal, closed at the end of the block. Raises JournalError."""
    with closing(looked_at(journal)) as connection:
        try:
            yield connection
        except sqlite3.Error as error:
            raise unusable(journal, error) from error


def _left(conversation: Summary, steps: Sequence[Step]) -> Left:
    opening = [
        event.message
        for step in steps
        for event in step.events
        if isinstance(event, Accepted) and event.opens is not None and not event.opens.parent
    ]
    text = " ".join(map(str, parse(opening[0].content.encode()).itertext())) if opening else ""
    threads = tuple(message.thread_id for message in opening)
    return Left(conversation.id, conversation.listener, cut(" ".join(text.split())), threads)
