"""Facts about a running organism: frozen, small, emitted where they happen.

An observer gets them by `organism.events()` (an async iterator) or as a `Hook`. An observer that fails is
logged and changes nothing. Times are seconds of the organism's clock; ids are opaque.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Event:
    """Root of all facts."""


@dataclass(frozen=True, slots=True)
class ConversationStarted(Event):
    """A message was injected from outside."""

    conversation_id: str
    listener: str


@dataclass(frozen=True, slots=True)
class ConversationEnded(Event):
    """Nothing of the conversation is in flight any more; its threads are freed."""

    conversation_id: str
    answered: bool


@dataclass(frozen=True, slots=True)
class MessageDelivered(Event):
    """A message passed all checks and its handler is called (or the outside caller has it)."""

    conversation_id: str
    thread_id: str
    message_id: str
    from_id: str
    to: str
    payload: Any


@dataclass(frozen=True, slots=True)
class MessageRefused(Event):
    """A message was not let through; its sender is told (`code` as in SystemError, or `huh`)."""

    conversation_id: str
    thread_id: str
    from_id: str
    to: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class AnswerPassedOn(Event):
    """An answer that `listener` does not accept went on to its caller."""

    conversation_id: str
    thread_id: str
    listener: str
    payload_name: str


@dataclass(frozen=True, slots=True)
class ThreadOpened(Event):
    """One listener was called by another, or from outside (`caller` is then the outside name)."""

    conversation_id: str
    thread_id: str
    listener: str
    caller: str
    session_id: str


@dataclass(frozen=True, slots=True)
class ThreadEnded(Event):
    """A call is over: `how` is `answered`, `unanswered`, `delegated` or `pruned`."""

    conversation_id: str
    thread_id: str
    listener: str
    how: str


@dataclass(frozen=True, slots=True)
class SessionEnded(Event):
    """What a callee remembers under this session id may be forgotten."""

    session_id: str


@dataclass(frozen=True, slots=True)
class HandlerFailed(Event):
    """A handler raised, timed out or returned nonsense. The trace is in the log only."""

    conversation_id: str
    thread_id: str
    listener: str
    code: str
    error: str


@dataclass(frozen=True, slots=True)
class PayloadRepaired(Event):
    """Text of a model was accepted after these named repairs."""

    conversation_id: str
    thread_id: str
    listener: str
    repairs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeadLettered(Event):
    """A message ended without a receiver; `organism.dead_letters()` lists the kept ones."""

    conversation_id: str
    message_id: str
    from_id: str
    to: str
    reason: str


@dataclass(frozen=True, slots=True)
class TextGenerated(Event):
    """A piece of the text that an agent is writing for its answer."""

    conversation_id: str
    thread_id: str
    listener: str
    text: str


@dataclass(frozen=True, slots=True)
class LLMCalled(Event):
    """A call to a model ended. Tokens as the provider counted them; `cost` in USD, None if unknown."""

    agent: str
    thread_id: str
    conversation_id: str
    backend: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class BudgetWarning(Event):
    """A budget passed one of its warning thresholds (`fraction` of `limit`, in `unit`)."""

    scope: str
    fraction: float
    limit: float
    spent: float
    unit: str


@dataclass(frozen=True, slots=True)
class BackendStateChanged(Event):
    """A backend became `cold`, `probing`, `healthy` or `dead`, and why."""

    backend: str
    model: str
    state: str
    reason: str


class Hook(Protocol):
    """An observer: called synchronously with each fact; must be quick, may not raise."""

    def __call__(self, event: Event, /) -> None: ...
