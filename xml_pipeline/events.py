"""What observers of a running organism get: frozen, small values, made only while somebody observes.

There are two kinds. A `Fact` is a projection of an event of record: it is certain (with a journal: durable), carries
its number within its conversation, and says whether it is replayed. A `Signal` tells what goes on meanwhile (a
handler was started, a model wrote a piece of text); it may be lost or repeated, and nothing may be counted by it.

An observer gets them by `organism.events()` (an async iterator) or as a `Hook`. An observer that fails is logged and
changes nothing. Ids are opaque.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class Event:
    """Root of all that observers get."""


@dataclass(frozen=True, slots=True)
class Fact(Event):
    """Something happened to a conversation, for good.

    Attributes:
        seq: which event of its conversation it comes from, from 1; 0 where it comes from none.
        replayed: whether it happened in an earlier life of the organism.
    """

    seq: int = field(default=0, kw_only=True, compare=False, repr=False)
    replayed: bool = field(default=False, kw_only=True, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Signal(Event):
    """Something goes on; never counted by."""


@dataclass(frozen=True, slots=True)
class ConversationStarted(Fact):
    """A message was injected from outside."""

    conversation_id: str
    listener: str


@dataclass(frozen=True, slots=True)
class ConversationEnded(Fact):
    """Nothing of the conversation is in flight any more; its threads are freed."""

    conversation_id: str
    answered: bool


@dataclass(frozen=True, slots=True)
class MessageDelivered(Signal):
    """A message's handler is called (or the outside caller has it)."""

    conversation_id: str
    thread_id: str
    message_id: str
    from_id: str
    to: str
    payload: Any
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class MessageRefused(Fact):
    """A message was not let through; its sender is told (`code` as in SystemError, or `huh`)."""

    conversation_id: str
    thread_id: str
    from_id: str
    to: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class AnswerPassedOn(Fact):
    """An answer that `listener` does not accept went on to its caller."""

    conversation_id: str
    thread_id: str
    listener: str
    payload_name: str


@dataclass(frozen=True, slots=True)
class ThreadOpened(Fact):
    """One listener was called by another, or from outside (`caller` is then the outside name)."""

    conversation_id: str
    thread_id: str
    listener: str
    caller: str
    session_id: str


@dataclass(frozen=True, slots=True)
class ThreadEnded(Fact):
    """A call is over: `how` is `answered`, `unanswered`, `delegated` or `pruned`.

    `note` says more where that may surprise: the call was pruned because what had called it ended first, or it was
    answered by a message that named its caller.
    """

    conversation_id: str
    thread_id: str
    listener: str
    how: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class SessionEnded(Fact):
    """What a callee remembers under this session id may be forgotten."""

    session_id: str


@dataclass(frozen=True, slots=True)
class HandlerFailed(Fact):
    """A handler raised, timed out or returned nonsense. The trace is in the log only."""

    conversation_id: str
    thread_id: str
    listener: str
    code: str
    error: str


@dataclass(frozen=True, slots=True)
class PayloadRepaired(Fact):
    """Text of a model was accepted after these named repairs."""

    conversation_id: str
    thread_id: str
    listener: str
    repairs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeadLettered(Fact):
    """A message ended without a receiver; `organism.dead_letters()` lists the kept ones."""

    conversation_id: str
    message_id: str
    from_id: str
    to: str
    reason: str


@dataclass(frozen=True, slots=True)
class QuestionAsked(Fact):
    """A message waits for a person: `organism.questions()` lists it.

    With a journal it comes once more in each later life in which it still waits, `replayed`.
    """

    conversation_id: str
    thread_id: str
    message_id: str


@dataclass(frozen=True, slots=True)
class CallApproved(Fact):
    """A person, `by`, approved a call: its handler is called."""

    conversation_id: str
    thread_id: str
    message_id: str
    by: str


@dataclass(frozen=True, slots=True)
class StateChanged(Fact):
    """A handler returned the new state of its thread; shown by class, size in bytes and SHA-256."""

    conversation_id: str
    thread_id: str
    payload_name: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class EntryRemembered(Fact):
    """A memory got an entry (under a session id, or a listener's name); shown by class, size and SHA-256."""

    conversation_id: str
    memory: str
    payload_name: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class TextGenerated(Signal):
    """A piece of the text that an agent is writing for its answer.

    Of a message that is handled again (`attempt` grows) the text begins anew.
    """

    conversation_id: str
    thread_id: str
    listener: str
    text: str
    message_id: str = ""
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class LLMCalled(Signal):
    """A call to a model ended, or a try of one that is charged. `cost` in USD, None if unknown.

    The tokens are those of one try, so that all of them together are what was charged. `message_id` and `attempt` are
    of what the calling handler works on; "" outside of handlers.

    Attributes:
        estimated: the tokens, or a part of them, are our estimate, because the provider's count did not come.
        confirmed: False when it was sent, nothing came back, and nobody will tell whether it was billed.
        ended: False for a try that failed, was cancelled or overtaken: its call went on, or has an event of its own.
    """

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
    message_id: str = ""
    attempt: int = 1
    estimated: bool = False
    confirmed: bool = True
    ended: bool = True


@dataclass(frozen=True, slots=True)
class BudgetWarning(Signal):
    """A budget passed one of its warning thresholds (`fraction` of `limit`, in `unit`)."""

    scope: str
    fraction: float
    limit: float
    spent: float
    unit: str


CacheReason = Literal["unexpected", "ttl_expired", "compacted", "unknown", "unreported"]


@dataclass(frozen=True, slots=True)
class CacheCollapsed(Signal):
    """A turn of a conversation read far less from a prompt cache than the turn before had left there.

    Attributes:
        reason: `compacted`: an older message was shortened or left out; `ttl_expired`: the turn came too late;
            `unknown`: another backend or model was asked; `unreported`: the provider did not count; `unexpected`:
            none of these.
        part: the first part that is not as it was, as `tools[0]` or `messages[2]` of what was asked; "" for none.
        expected_tokens: that the turn before had read or written.
        cached_tokens: that were read.
    """

    agent: str
    thread_id: str
    conversation_id: str
    backend: str
    model: str
    reason: CacheReason
    part: str
    expected_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class BackendStateChanged(Signal):
    """A backend became `cold`, `probing`, `healthy` or `dead`, and why."""

    backend: str
    model: str
    state: str
    reason: str


class Hook(Protocol):
    """An observer: called synchronously with each fact and signal; must be quick, may not raise."""

    def __call__(self, event: Event, /) -> None: ...
