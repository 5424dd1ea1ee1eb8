"""What a journal is.

The machine decides, the journal makes it durable, and only then is it carried out: before the next handler starts,
before an `ask` is answered. An organism without a journal carries out at once, and pays nothing for the seam.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from xml_pipeline.threads.record import Entry, Event


class Step(Struct, frozen=True, gc=False):
    """What followed from one fact, to one conversation.

    Attributes:
        conversation_id: whose.
        seq: how many events the conversation had before.
        at: the fact's time, in seconds of Unix time.
        events: in order.
        owes: whether the conversation has messages that are queued or handled; without any it waits for people, or
            for a time.
    """

    conversation_id: str
    seq: int
    at: float
    events: Sequence[Event]
    owes: bool = True


class Journal(Protocol):
    """Steps on their way to where they survive."""

    def append(self, conversation_id: str, expected_seq: int, step: Step, done: Callable[[], None]) -> None:
        """Make a step durable, then call `done` in the event loop.

        Steps become durable in the order of appending, and `done` is called in that order too. It returns at once.

        Args:
            conversation_id: whose step it is.
            expected_seq: the events that the conversation has in the journal; another number means that somebody
                else owns it now.
            step: what happened.
            done: everything that waits for the step to be durable.
        """


class OpenConversation(Struct, frozen=True, gc=False):
    """A conversation that was not over when the journal was closed, or its process died.

    Attributes:
        id: names it.
        began: when, in seconds of Unix time.
        owes: as of its last `Step`.
    """

    id: str
    began: float
    owes: bool


class Kept(Struct, frozen=True):
    """What a journal holds when an organism starts on it.

    Attributes:
        open: conversations that are not over, oldest first.
        memories: of lasting sessions of outside callers: session id → memory → its entries, each with its number,
            oldest first.
        alive: when the last owner was seen, in seconds of Unix time; 0.0 for a new journal.
    """

    open: Sequence[OpenConversation]
    memories: dict[str, dict[str, list[tuple[int, Entry]]]]
    alive: float


@runtime_checkable
class Durable(Journal, Protocol):
    """A journal that outlives the process: stopping suspends, starting goes on.

    Attributes:
        trouble: why steps cannot be made durable just now (a full disk); "" when they can. They are tried again, and
            nothing new is let in meanwhile.
    """

    trouble: str

    async def start(self, failed: Callable[[BaseException], None]) -> Kept:
        """Open it, and say what it holds. `failed` is called in the event loop when it can be used no more.

        Raises:
            JournalError: another process uses it, or it is no journal that this version reads.
        """

    def steps(self, conversation_id: str) -> list[Step]:
        """What happened to a conversation, in order; empty when it is unknown. Raises JournalError."""

    async def close(self) -> None:
        """Make durable what was appended, and let the file go."""
