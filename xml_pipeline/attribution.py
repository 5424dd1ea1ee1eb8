"""Who is charged for what runs now.

The pump sets `current_caller` around every handler call; whatever the handler calls (the LLM router above
all) reads it there. So a call cannot be charged to nobody, nor to somebody else.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol


class Caller(Protocol):
    """A running handler, as accounting sees it."""

    @property
    def listener(self) -> str:
        """The listener's name, as `researcher`."""

    @property
    def operation(self) -> str:
        """What its calls of models are for, as the listener says; "" where it says nothing."""

    @property
    def thread_id(self) -> str:
        """The thread the handler works in."""

    @property
    def conversation_id(self) -> str:
        """The conversation the thread belongs to."""

    @property
    def message_id(self) -> str:
        """The message that is being handled."""

    @property
    def attempt(self) -> int:
        """Which delivery of it this is, from 1."""

    @property
    def run(self) -> int:
        """How often the handler had raised on this message: a retry is another run, a rerun after a crash is not."""

    def nth(self, what: bytes) -> int:
        """How often this was called with `what` before, in this run."""

    def times(self, what: bytes) -> int:
        """How often `nth` was called with it, in this run."""

    def came(self) -> tuple[str, str]:
        """Who brought its conversation in through a door, as `trigger:nightly`, and which; "" twice for nobody."""

    def lineage(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The ids of the thread and of all above it, innermost first, and the listeners that work in them."""

    def new_id(self) -> str:
        """An opaque id, the same at every attempt to handle the message."""


current_caller: ContextVar[Caller | None] = ContextVar("xml_pipeline_caller", default=None)
