"""What a journal is.

The machine decides, the journal makes it durable, and only then is it carried out: before the next handler starts,
before an `ask` is answered. An organism without a journal carries out at once, and pays nothing for the seam.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from xml_pipeline.threads.record import Event


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
