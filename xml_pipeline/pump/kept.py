"""What a listener keeps, as bytes and back: the state of a thread, the entries of a memory.

It is stored under the name of its root element, with the digest of its class's schema. A class may change: what it
still takes is read, and what it does not take any more goes through its own `upgrade`, if it has one. Pure.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, TypeVar

from xml_pipeline.envelope.message import own_code_failed
from xml_pipeline.errors import PayloadError, Violation, described
from xml_pipeline.hardened import Limits, parse
from xml_pipeline.payload import codec_of
from xml_pipeline.payload.codec import Codec
from xml_pipeline.payload.plain import fields_in
from xml_pipeline.threads.record import Entry

T = TypeVar("T")

UPGRADE = "upgrade"

KEPT = Limits(
    max_bytes=64 << 20,
    max_elements=1_000_000,
    max_attributes=1_000_000,
    max_references=64 << 20,
    max_markup=64 << 20,
)
"""Of a state, and of one entry of a memory: it may hold many messages."""


def entry_of(payload: Any) -> Entry:
    """A payload as it is kept. Raises PayloadError for one that is not valid, or too large."""
    codec = codec_of(type(payload))
    return Entry(codec.root, _written(codec, payload), codec.fingerprint)


def read(entry: Entry, codec: Codec[T]) -> tuple[T, bool]:
    """An entry as an instance of today's class, and whether it had to be upgraded.

    It is decoded anew each time: who has it cannot change what is kept.

    Raises:
        PayloadError: the class does not take it, and has no `upgrade`, or one that failed.
    """
    element = parse(entry.data, KEPT)
    try:
        return codec.decode(element), False
    except PayloadError:
        upgrade = _upgrade(codec.cls)
        if upgrade is None or entry.schema == codec.fingerprint:
            raise
    try:
        upgraded = upgrade(fields_in(element))
    except Exception as error:
        raise _failed(codec, f"failed: {described(error)}") from error
    except BaseException as error:  # the class's own code ran
        raise own_code_failed(codec.root, error) from error
    if type(upgraded) is not codec.cls:
        raise _failed(codec, f"returned a {type(upgraded).__name__}, and no {codec.cls.__name__}")
    return codec.decode(parse(_written(codec, upgraded), KEPT)), True


def recalled(entries: Iterable[Entry], cls: type[T]) -> tuple[T, ...]:
    """The entries of one payload class, as `HandlerMetadata.recall`."""
    codec = codec_of(cls)
    return tuple(read(entry, codec)[0] for entry in entries if entry.root == codec.root and entry.data)


def restored(kept: Entry | None, cls: type) -> Any:
    """A thread's state, or None."""
    return None if kept is None else read(kept, codec_of(cls))[0]


def _written(codec: Codec[T], payload: T) -> bytes:
    try:
        data = codec.encode(payload)
    except Exception:
        raise
    except BaseException as error:  # the class's own code ran
        raise own_code_failed(codec.root, error) from error
    if len(data) > KEPT.max_bytes:
        rule = f"has {len(data)} bytes; at most {KEPT.max_bytes} can be kept"
        raise PayloadError(Violation(codec.root, rule))
    codec.decode(parse(data, KEPT))  # what cannot be read again must not be kept
    return data


def _upgrade(cls: type) -> Any:
    """The class's `upgrade`, if that is a class method or a static one, and no field or method of instances."""
    found = inspect.getattr_static(cls, UPGRADE, None)
    return getattr(cls, UPGRADE) if isinstance(found, classmethod | staticmethod) else None


def _failed(codec: Codec[Any], how: str) -> PayloadError:
    return PayloadError(Violation(codec.root, f"its class's upgrade(old) {how}"))
