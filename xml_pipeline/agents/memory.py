"""Where finished tasks are remembered: per session or per conversation, freed with it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from xml_pipeline.agents.history import Bounds, Exchange, within
from xml_pipeline.events import ConversationEnded, Event, SessionEnded
from xml_pipeline.llm.types import Message
from xml_pipeline.pump.response import HandlerMetadata

Span: TypeAlias = Literal["call", "session", "conversation", "none"]


class Record:
    """The finished exchanges of one session or conversation, oldest first.

    Tasks that run at the same time each add theirs whole when they end. A record outlives its end for those who
    hold it, so what is added too late is lost with it instead of being kept for ever.
    """

    __slots__ = ("exchanges",)

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    @property
    def messages(self) -> list[Message]:
        """As a model sees them, oldest first."""
        return [message for exchange in self.exchanges for message in exchange.messages()]


class Memory:
    """The records of one agent. It is a hook: the pump's events end its records.

    Args:
        span: what a record belongs to. With `call` and `none` nothing outlives a task.
        bounds: of each record.
    """

    def __init__(self, span: Span = "session", bounds: Bounds | None = None) -> None:
        self.span = span
        self.bounds = bounds or Bounds()
        self._records: dict[str, Record] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __call__(self, event: Event) -> None:
        if isinstance(event, SessionEnded):
            if self.span == "session":
                self._records.pop(event.session_id, None)
        elif isinstance(event, ConversationEnded) and self.span == "conversation":
            self._records.pop(event.conversation_id, None)

    def record(self, metadata: HandlerMetadata) -> Record:
        """What is remembered where a message belongs to."""
        if self.span == "session":
            return self._records.setdefault(metadata.session_id, Record())
        if self.span == "conversation":
            return self._records.setdefault(metadata.conversation_id, Record())
        return Record()

    def get(self, key: str) -> Record | None:
        """The record of a session or conversation id, if there is one."""
        return self._records.get(key)

    def add(self, record: Record, exchange: Exchange) -> None:
        """Remember a finished exchange; the oldest ones go when the bounds ask for it."""
        record.exchanges = within(self.bounds, [*record.exchanges, exchange])
