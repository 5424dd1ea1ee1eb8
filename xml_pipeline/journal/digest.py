"""The chain of digests over the steps of a conversation; it survives that a step's bodies are erased (ADR 28)."""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct
from struct import error as StructError

_header = Struct(">QQd").pack


def first(conversation_id: str) -> bytes:
    """What the digest of a conversation's first step stands on."""
    return blake2b(conversation_id.encode(), digest_size=16).digest()


def following(previous: bytes, seq: int, size: int, at: float, events: bytes) -> bytes:
    """The digest of a step: `previous` is that of the step before it, `events` are its bytes."""
    return blake2b(previous + _header(seq, size, at) + events, digest_size=16).digest()


def of_rest(previous: bytes, own: bytes, seq: int, size: int, at: float, events: bytes) -> bytes:
    """The digest of what is left of an erased step, whose `own` digest stays what it was."""
    return following(previous + own, seq, size, at, events)


def is_sound(
    previous: bytes, own: bytes, erased: bytes | None, seq: int, size: int, at: float, events: bytes
) -> bool:
    """Whether a step is what was written, or what was left of it when it was erased. It may hold anything."""
    try:
        if erased is None:
            return own == following(previous, seq, size, at, events)
        return erased == of_rest(previous, own, seq, size, at, events)
    except (TypeError, StructError):
        return False
