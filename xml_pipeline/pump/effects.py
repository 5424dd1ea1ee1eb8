"""What the machine wants done: the loop carries it out, the machine never waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from xml_pipeline.events import Event
from xml_pipeline.payload import PayloadCodec
from xml_pipeline.pump.listener import Listener
from xml_pipeline.threads import Call, Conversation, Gather, Port


class Message:
    """An accepted message that waits for its handler: validated, typed, addressed.

    Attributes:
        call: the thread it belongs to.
        to: the receiver.
        codec: the codec of `payload`.
        payload: the typed instance, as decoded from the wire.
        from_id: the sender's name.
        message_id: names it; the same on every attempt.
        in_reply_to: the call's message that it answers, or "".
    """

    __slots__ = ("call", "codec", "from_id", "in_reply_to", "message_id", "payload", "to")

    def __init__(
        self,
        call: Call,
        to: Listener,
        codec: PayloadCodec[Any],
        payload: Any,
        from_id: str,
        message_id: str,
        in_reply_to: str = "",
    ) -> None:
        self.call = call
        self.to = to
        self.codec = codec
        self.payload = payload
        self.from_id = from_id
        self.message_id = message_id
        self.in_reply_to = in_reply_to


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer leaves the organism."""

    port: Port
    conversation: Conversation
    payload: Any
    codec: PayloadCodec[Any]
    from_id: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The conversation's first call is over without an answer."""

    port: Port
    conversation: Conversation


@dataclass(frozen=True, slots=True)
class Over:
    """Nothing of the conversation is in flight any more; it is freed."""

    conversation: Conversation


@dataclass(frozen=True, slots=True)
class Stopped:
    """The call has ended while its handler runs: nobody can use what it does any more, so it is cancelled."""

    call: Call


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A person need not answer this message any more: its thread has ended."""

    message: Message


@dataclass(frozen=True, slots=True)
class GatherTimer:
    """`Machine.expire(gather)` is due in `seconds`, unless the gather is closed by then."""

    gather: Gather
    seconds: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that ended without a receiver.

    Attributes:
        reason: why, in words.
        payload: the typed payload; None where there never was one.
    """

    reason: str
    conversation_id: str
    thread_id: str
    message_id: str
    from_id: str
    to: str
    payload: Any = None

    @classmethod
    def of(cls, message: Message, reason: str) -> DeadLetter:
        """What became of an accepted message."""
        call = message.call
        return cls(
            reason,
            call.conversation.id,
            call.thread_id,
            message.message_id,
            message.from_id,
            message.to.name,
            message.payload,
        )


Effect: TypeAlias = (
    Message | Reply | Unanswered | Over | Stopped | Withdrawn | GatherTimer | DeadLetter | Event
)
