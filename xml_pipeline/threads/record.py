"""The events of record: what happened to a conversation, as frozen values.

They are few and the same for ever: whoever applies them in order comes to the state that the conversation is in
(`threads.state`). The accepted message itself is one, and carries what it opens, ends or fills. The number in a
name is its version; a journal that was written by an older version is read by it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, TypeGuard

from msgspec import Struct

from xml_pipeline.envelope import Message

Slot: TypeAlias = tuple[str, int]
"""A place in a gather: its id, and the position of the call in it."""


class Entry(Struct, frozen=True, omit_defaults=True, gc=False):
    """A payload that is kept: a thread's state, or one entry of a memory.

    Attributes:
        root: the name of the payload's root element.
        data: its canonical document.
        schema: the digest of its class's schema; b"" where that was not known yet.
    """

    root: str
    data: bytes
    schema: bytes = b""


class Opening(Struct, frozen=True, omit_defaults=True, gc=False):
    """The thread that a message opens; it takes the message's thread id, and its receiver as listener.

    Attributes:
        parent: the calling thread; "" for a call from outside.
        caller: its listener, or the outside name.
        opening_id: the message that the answer will be a reply to: this one, or that of a call handed over.
        depth: 1 for a call from outside, 2 for a call below it, …
        session_id: of all calls that this caller's thread makes to this listener.
        memory: the key of the memory that the thread sees as it is now.
        slot: the place in the caller's gather that the answer fills, if any.
        seen: of a memory that outlives the conversation, the number of the newest entry and how many the thread sees;
            None where there is none. Other conversations may add to it before this one is read again.
        posted: whether it was put into the journal by somebody who calls no handlers: until its start is written
            down, nobody has begun with it.
        handovers: how often this call was handed over so far.
        call, called: the thread with which the call began, and its listener; "" for one that was not handed over.
        apart: whether the session is this call's alone, because others are made beside it: it ends with the thread.
    """

    parent: str
    caller: str
    opening_id: str
    depth: int
    session_id: str
    memory: str
    slot: Slot | None = None
    seen: tuple[int, int] | None = None
    posted: bool = False
    handovers: int = 0
    call: str = ""
    called: str = ""
    apart: bool = False


class Began(Struct, frozen=True, omit_defaults=True, gc=False, tag="began/1"):
    """A conversation begins.

    Attributes:
        caller: the outside name that listeners see.
        listener: whom it calls.
        session: of the outside caller.
        lasting: whether the session outlives the conversation.
        awaited: whether somebody outside waits for the answer.
    """

    caller: str
    listener: str
    session: str
    lasting: bool
    awaited: bool


class Accepted(Struct, frozen=True, omit_defaults=True, gc=False, tag="accepted/1"):
    """A message passed all checks.

    Attributes:
        message: the message.
        opens: the thread that it opens.
        ends: the thread that it answers for, or hands over; "" for none.
        sessions: of the thread that ends (and of the conversation, when it is over); what is remembered under them
            goes with them.
        fills: the place in a gather of its thread, where it waits instead of being handled.
        closes: the gather of its thread whose answers it brings; "" for none.
        leaves: whether it goes to the outside caller; then the conversation is over.
        lasting: as of `Over`.
        by_name: whether it is an answer because its sender named the caller, which is a peer of the sender too.
    """

    message: Message
    opens: Opening | None = None
    ends: str = ""
    sessions: tuple[str, ...] = ()
    fills: Slot | None = None
    closes: str = ""
    leaves: bool = False
    lasting: str = ""
    by_name: bool = False


class Handled(Struct, frozen=True, omit_defaults=True, gc=False, tag="handled/1"):
    """A message is done.

    Attributes:
        thread_id: of its thread.
        message_id: names it.
        listener: its receiver.
        how: its handler `returned` or `failed`, or it was `passed on` to the listener's caller.
        code: of a failure, as in SystemError.
        detail: of a failure, for operators; of what was passed on, the payload's name.
        kept: whether the thread keeps the message.
    """

    thread_id: str
    message_id: str
    listener: str
    how: Literal["returned", "failed", "passed on"] = "returned"
    code: str = ""
    detail: str = ""
    kept: bool = False


class Asked(Struct, frozen=True, omit_defaults=True, gc=False, tag="asked/1"):
    """A message waits for a person.

    Attributes:
        approval: the digest of what is to be approved; b"" where the person answers instead of a handler.
        by: who is to approve it.
    """

    message: Message
    approval: bytes = b""
    by: str = ""


class Approved(Struct, frozen=True, omit_defaults=True, gc=False, tag="approved/1"):
    """A person approved a message: its handler is called, if that is still what was approved.

    Attributes:
        digest: of what was approved.
        by: who did.
    """

    message: Message
    digest: bytes
    by: str


class Started(Struct, frozen=True, omit_defaults=True, gc=False, tag="started/1"):
    """A handler is about to be called with a message again: how often that was interrupted has to be known."""

    message: Message


class Redelivered(Struct, frozen=True, omit_defaults=True, gc=False, tag="redelivered/1"):
    """A message is due once more: its handler was interrupted, or raised and is tried again.

    Attributes:
        message: with one more attempt.
        interrupted: how often handlers of it were interrupted so far.
        failed: how often they raised so far.
        seconds: after which it is due.
        detail: of what was raised, for operators; "" when the handler was interrupted.
    """

    message: Message
    interrupted: int = 0
    failed: int = 0
    seconds: float = 0.0
    detail: str = ""


class Gathering(Struct, frozen=True, omit_defaults=True, gc=False, tag="gathering/1"):
    """A thread waits for the answers to several calls together.

    Attributes:
        seconds: after which the calls still open are given up; None for never.
        cause: the message whose handling asked for it.
        apart: whether each of the calls has a session of its own.
    """

    thread_id: str
    gather_id: str
    size: int
    seconds: float | None
    cause: str
    apart: bool = False


class Refused(Struct, frozen=True, omit_defaults=True, gc=False, tag="refused/1"):
    """A message was not let through; its sender is told.

    Attributes:
        thread_id: of the sender.
        listener: the sender.
        to: whom it named; "" for nobody.
        code: as in SystemError, or `huh`.
        reason: for operators.
    """

    thread_id: str
    listener: str
    to: str
    code: str
    reason: str


class Ended(Struct, frozen=True, omit_defaults=True, gc=False, tag="ended/1"):
    """A thread ended without an answer.

    Attributes:
        how: it was over (`unanswered`), or something above it ended (`pruned`).
        sessions: as of `Accepted`.
        fills: the place in its caller's gather that stays without an answer.
    """

    thread_id: str
    listener: str
    how: Literal["unanswered", "pruned"]
    sessions: tuple[str, ...] = ()
    fills: Slot | None = None


class DeadLetter(Struct, frozen=True, omit_defaults=True, tag="dead-letter/1"):
    """A message that ended without a receiver.

    Attributes:
        message: the message.
        reason: why, in words.
        pending: whether it was accepted and waited for its handler until now.
    """

    message: Message
    reason: str
    pending: bool = False

    @property
    def conversation_id(self) -> str:
        """The conversation it was part of."""
        return self.message.conversation_id

    @property
    def thread_id(self) -> str:
        """The call it belonged to."""
        return self.message.thread_id

    @property
    def message_id(self) -> str:
        """Its own id."""
        return self.message.message_id

    @property
    def from_id(self) -> str:
        """Who sent it."""
        return self.message.from_id

    @property
    def to(self) -> str:
        """Whom it was for."""
        return self.message.to

    @property
    def payload(self) -> object:
        """The typed payload."""
        return self.message.payload


class StateKept(Struct, frozen=True, omit_defaults=True, gc=False, tag="state-kept/1"):
    """A handler returned the new state of its thread."""

    thread_id: str
    state: Entry | None


class Remembered(Struct, frozen=True, omit_defaults=True, gc=False, tag="remembered/1"):
    """A memory got an entry.

    Attributes:
        memory: its key: a session id, or `CONVERSATION/LISTENER`.
        entry: what was added.
        keep: how many entries the memory keeps, the newest.
        lasting: whether it belongs to an outside session that outlives the conversation.
        ordinal: its number in such a memory, from 1; of no meaning in others.
    """

    memory: str
    entry: Entry
    keep: int
    lasting: bool = False
    ordinal: int = 0


class Over(Struct, frozen=True, omit_defaults=True, gc=False, tag="over/1"):
    """Nothing of the conversation is in flight any more, and no answer has left.

    Attributes:
        sessions: of the outside caller, when they end with it.
        lasting: the outside caller's session that goes on; "" for none.
    """

    sessions: tuple[str, ...] = ()
    lasting: str = ""


class Closed(Struct, frozen=True, omit_defaults=True, gc=False, tag="closed/1"):
    """A lasting session is closed: it ends now, or with the last of its conversations. It stands under its own id."""


class Resting(Struct, frozen=True, omit_defaults=True, gc=False, tag="resting/1"):
    """How long a lasting session may rest. It stands under its own id.

    Attributes:
        seconds: after its last conversation.
        until: when that is over, in seconds of Unix time; None while it is used.
    """

    seconds: float
    until: float | None = None


Event: TypeAlias = (
    Began
    | Accepted
    | Handled
    | Asked
    | Approved
    | Started
    | Redelivered
    | Gathering
    | Refused
    | Ended
    | DeadLetter
    | StateKept
    | Remembered
    | Over
    | Closed
    | Resting
)


def ends_conversation(event: Event) -> TypeGuard[Over | Accepted]:
    """Whether its conversation is over with it; a dead letter may still follow."""
    return type(event) is Over or (type(event) is Accepted and event.leaves)
