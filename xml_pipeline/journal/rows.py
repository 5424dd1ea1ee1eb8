"""A step as the bytes of one row, and back.

A message's bytes stand once, in the event that accepted it: an event about a message that its thread holds names
it only. Payloads are not written: they follow from the bytes, and from the classes of whoever reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from xml_pipeline.envelope import Message
from xml_pipeline.threads.record import Approved, Asked, DeadLetter, Event

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[list[Event]] = msgspec.msgpack.Decoder(list[Event])
_message_decoder = msgspec.msgpack.Decoder(Message)


def packed(events: Sequence[Event]) -> bytes:
    """The events of a step as bytes (MessagePack)."""
    return _encoder.encode([_bare(event) for event in events])


def unpacked(data: bytes) -> list[Event]:
    """The events of a step. Raises msgspec.DecodeError: no step, or one of a newer version."""
    return _decoder.decode(data)


def message_packed(message: Message) -> bytes:
    """A message by itself, whole but for its instance."""
    return _encoder.encode(replace(message, payload=None))


def message_unpacked(data: bytes) -> Message:
    """A message by itself. Raises msgspec.DecodeError: no message, or one of a newer version."""
    return _message_decoder.decode(data)


def _bare(event: Any) -> Any:
    message = getattr(event, "message", None)
    if message is None:
        return event
    kind = type(event)
    held = kind is Asked or kind is Approved or (kind is DeadLetter and event.pending)
    return replace(event, message=replace(message, payload=None, data=b"" if held else message.data))
