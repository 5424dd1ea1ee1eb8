"""One handler call in progress."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec import Struct

from xml_pipeline.envelope import Message
from xml_pipeline.threads import Conversation, Thread, lineage
from xml_pipeline.threads.ids import DerivedIds


class HandlerCall(Struct):
    """A handler at work on a message; also what accounting sees as the current caller (`attribution.Caller`).

    Attributes:
        message: what is worked on.
        conversation: of the message.
        thread: of the message.
        arguments: what the handler is called with.
        seconds: how long it may take.
        task: the runner, once it has begun.
        due: when it is too late, by the event loop's clock.
        given_up: whether nobody waits for it any more.
        ids: those that the handler takes, once it has taken one.
        counts: how often it did what, by a digest.
        parts: where it is kept what parts of it came to (`parts.Parts`); None for nowhere.
        turns: at parts of it that are done once, by their names.
        operation: what its calls of models are for, or "".
    """

    message: Message
    conversation: Conversation
    thread: Thread
    arguments: tuple[Any, ...]
    seconds: float
    task: asyncio.Task[Any] | None = None
    due: float = 0.0
    given_up: bool = False
    ids: DerivedIds | None = None
    counts: dict[bytes, int] | None = None
    parts: Any = None
    turns: dict[str, asyncio.Lock] | None = None
    operation: str = ""

    @property
    def listener(self) -> str:
        return self.message.to

    @property
    def thread_id(self) -> str:
        return self.message.thread_id

    @property
    def conversation_id(self) -> str:
        return self.message.conversation_id

    @property
    def message_id(self) -> str:
        return self.message.message_id

    @property
    def attempt(self) -> int:
        return self.message.attempt

    @property
    def run(self) -> int:
        return self.thread.failed

    def nth(self, what: bytes) -> int:
        if self.counts is None:
            self.counts = {}
        before = self.counts.get(what, 0)
        self.counts[what] = before + 1
        return before

    def times(self, what: bytes) -> int:
        return 0 if self.counts is None else self.counts.get(what, 0)

    def turn(self, part: str) -> asyncio.Lock:
        """Held by whoever does this part of it."""
        if self.turns is None:
            self.turns = {}
        return self.turns.setdefault(part, asyncio.Lock())

    def came(self) -> tuple[str, str]:
        conversation = self.conversation
        return (conversation.caller, conversation.door) if conversation.door else ("", "")

    def lineage(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """As `Caller.lineage`; the open ones, for a handler that was given up."""
        return lineage(self.conversation, self.thread)

    def new_id(self) -> str:
        """The first, the second, … id that this handler takes: the same at every attempt."""
        if self.ids is None:
            self.ids = DerivedIds(f"{self.message.message_id}/handler")
        return self.ids.new_id()
