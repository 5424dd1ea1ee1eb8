"""A journal that outlives the process: what an organism finds in it, and how it is opened and closed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from msgspec import Struct, field

from xml_pipeline.envelope import Message
from xml_pipeline.errors import JournalError
from xml_pipeline.journal.protocol import Journal, Step
from xml_pipeline.journal.uptime import Uptime
from xml_pipeline.ledger import Ledger
from xml_pipeline.threads.record import Entry


class OpenConversation(Struct, frozen=True, gc=False):
    """A conversation that was not over when the journal was closed, or its process died.

    Attributes:
        id: names it.
        began: when, in seconds of Unix time.
        owes: as of its last `Step`.
        session: the lasting one that it is in, or "".
    """

    id: str
    began: float
    owes: bool
    session: str = ""


class KeptSession(Struct, frozen=True, gc=False):
    """A lasting session of an outside caller, as its last event says.

    Attributes:
        seconds: as of `Resting`; None for one that rests for ever.
        until: as of `Resting`.
        closed: whether it goes with the last of its conversations.
    """

    seconds: float | None
    until: float | None
    closed: bool


class Kept(Struct, frozen=True):
    """What a journal holds when an organism starts on it.

    Attributes:
        open: conversations that are not over, oldest first.
        memories: of lasting sessions of outside callers: session id → memory → its entries, oldest first, each with
            its number and how many are shown.
        uptime: when earlier owners were alive.
        asked: what waits for people, oldest first: thread → conversation.
        sessions: lasting ones of which more is known than what is remembered, by id.
        definitions: what flows did in earlier lives, by digest.
    """

    open: Sequence[OpenConversation]
    memories: dict[str, dict[str, list[tuple[int, int, Entry]]]]
    uptime: Uptime
    sessions: dict[str, KeptSession] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)


@runtime_checkable
class Durable(Journal, Protocol):
    """A journal that outlives the process: stopping suspends, starting goes on.

    Attributes:
        path: the file.
        trouble: why steps cannot be made durable just now (a full disk); "" when they can. They are tried again, and
            nothing new is let in meanwhile.
        ledger: of the tries at models, in the same place: what is decided is durable no sooner than what it was
            decided by.
    """

    path: Path
    trouble: str
    ledger: Ledger

    async def start(self, failed: Callable[[JournalError], None]) -> Kept:
        """Open it, and say what it holds. `failed` is called in the event loop when it can be used no more.

        Raises:
            JournalError: another process uses it, or it is no journal that this version reads.
        """

    def steps(self, conversation_id: str) -> list[Step]:
        """What happened to a conversation, in order; empty when it is unknown. Raises JournalError."""

    def asked(self, thread_ids: Sequence[str]) -> list[Message]:
        """The messages that wait for people in these threads, without payloads; those that are there.

        Raises:
            JournalError: it cannot be read.
        """

    def define(self, digest: str, definition: str) -> None:
        """Keep what a flow does, for calls of it that outlive a change of the file."""

    async def flush(self) -> None:
        """Wait until all that was appended so far is durable. Raises JournalError: it cannot be."""

    async def close(self) -> None:
        """Make durable what was appended, and let the file go."""
