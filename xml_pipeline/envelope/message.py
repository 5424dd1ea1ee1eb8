"""A message: a frozen value with its canonical bytes.

Every message takes one way, in `Message.sealed`: encoded, parsed by the hardened parser, checked as an envelope,
validated by the receiver's schema, decoded. There is no other way to come by one, so whoever holds a message holds
a valid one (ADR 1). It pickles, copies and compares; no live object hangs on it.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from xml_pipeline.envelope.wire import Heading, encode, unwrap
from xml_pipeline.errors import EnvelopeError, PayloadError, Violation
from xml_pipeline.hardened import DEFAULT_LIMITS, Limits
from xml_pipeline.payload import PayloadCodec


class Message(Struct, frozen=True, gc=False, eq=False):
    """An accepted message. Two are equal when their headings and bytes are.

    Attributes:
        message_id: names it; the same on every attempt.
        thread_id: the call it belongs to.
        conversation_id: the conversation it is part of.
        from_id: the sender: a listener, an outside name, or `system`.
        to: the receiving listener's name; the outside name for what leaves.
        causation_id: the message whose handling produced this one, or "".
        in_reply_to: the call's message that it answers, or "".
        attempt: which delivery this is, from 1.
        at: when it was accepted, in seconds of Unix time.
        repairs: what the text of a model needed before it was this message.
        root: the name of its payload's root element.
        data: the canonical bytes of the whole message.
        payload: the typed instance, as decoded from the wire; not part of its identity.
    """

    message_id: str
    thread_id: str
    conversation_id: str
    from_id: str
    to: str
    causation_id: str
    in_reply_to: str
    attempt: int
    at: float
    repairs: tuple[str, ...]
    root: str
    data: bytes
    payload: Any

    @classmethod
    def sealed(
        cls,
        heading: Heading,
        payload: object,
        writer: PayloadCodec[Any],
        reader: PayloadCodec[Any],
        limits: Limits = DEFAULT_LIMITS,
    ) -> Message:
        """The message with this heading and payload.

        Args:
            heading: all that is said about it.
            payload: the sender's instance; the message holds another, decoded from the bytes.
            writer: of the payload's own class.
            reader: of the class that the receiver takes; it may be another class of the same root name.
            limits: of the whole document.

        Raises:
            PayloadError: the payload is not valid, or its class's own code failed.
            EnvelopeError: the message is too large.
        """
        try:
            data = encode(heading, writer, payload)
            _, element = unwrap(data, limits)
            typed = reader.decode(element, size=len(data))
        except (PayloadError, EnvelopeError):
            raise
        except Exception as error:  # a payload class's own code ran
            rule = f"the class's own code failed with {type(error).__name__}"
            raise PayloadError(Violation(writer.root, rule)) from error
        return cls(
            heading.message_id,
            heading.thread_id,
            heading.conversation_id,
            heading.from_id,
            heading.to,
            heading.causation_id,
            heading.in_reply_to,
            heading.attempt,
            heading.at,
            heading.repairs,
            reader.root,
            data,
            typed,
        )

    @property
    def _identity(self) -> tuple[Any, ...]:
        return (self.data, self.conversation_id, self.attempt, self.at)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self.message_id)
