"""Facts: what happens to an organism from its outside, as values. The machine makes events of them.

Each carries the time at which it was noticed, in seconds of Unix time: the machine reads no clock.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct

from xml_pipeline.envelope import Code, Message, SystemError


class Injected(Struct, frozen=True, gc=False):
    """A message comes from outside, and opens a conversation.

    Attributes:
        conversation_id: the new one's; all ids in it follow from it.
        caller: the outside name that listeners see.
        to: a listener's name.
        payload: an instance of a class that the listener accepts.
        session: a lasting session of the caller; "" for one that ends with the conversation.
        awaited: whether somebody waits for the answer.
    """

    conversation_id: str
    caller: str
    to: str
    payload: Any
    session: str = ""
    awaited: bool = True
    at: float = 0.0


class Due(Struct, frozen=True, gc=False):
    """A message's turn has come. No event follows where its handler is to be called."""

    message: Message

    at: float = 0.0


class Returned(Struct, frozen=True):  # collected: what was returned may refer to the frame that holds it
    """A message's handler returned `value`."""

    message: Message

    value: Any
    at: float = 0.0


class Failed(Struct, frozen=True, gc=False):
    """A message's handler raised, or took too long.

    Attributes:
        code: what the caller is told, with `text`.
        detail: what operators are told.
        cut_off: whether it did not come to its end: it was given up, or its process died.
    """

    message: Message

    code: Code
    text: str
    detail: str
    at: float = 0.0
    cut_off: bool = False


class Interrupted(Struct, frozen=True, gc=False):
    """A message's handler was cut off through no fault of its own: the process died under it.

    `stopped`: it was an orderly stop, which says nothing against the message.
    """

    message: Message

    at: float = 0.0
    stopped: bool = False


class Starting(Struct, frozen=True, gc=False):
    """A message's handler is about to be called again."""

    message: Message

    at: float = 0.0


class Undeliverable(Struct, frozen=True, gc=False):
    """A message of an earlier life cannot be handled any more; `reason` says why."""

    message: Message

    reason: str
    at: float = 0.0


class Expired(Struct, frozen=True, gc=False):
    """A gather's time is up."""

    conversation_id: str
    thread_id: str
    gather_id: str
    at: float = 0.0


class Answered(Struct, frozen=True, gc=False):
    """A person answered the message that waits for them."""

    message: Message

    payload: Any
    at: float = 0.0


class Aborted(Struct, frozen=True, gc=False):
    """A conversation is to end now; the outside gets `error`, or nothing."""

    conversation_id: str
    error: SystemError | None = None
    at: float = 0.0


Fact: TypeAlias = (
    Injected | Due | Returned | Failed | Interrupted | Starting | Undeliverable | Expired | Answered | Aborted
)
