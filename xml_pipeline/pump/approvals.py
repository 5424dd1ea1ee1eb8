"""What a person has to approve before it is done, and what an approval is of (ADR 39). Pure.

An approval is bound to a digest of the message and of what will be done with it: of another message, or of a listener
that was changed since, nobody has approved, and it is asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated

from xml_pipeline.envelope import SYSTEM, Message
from xml_pipeline.errors import RoutingError, cut, listing
from xml_pipeline.payload import xmlify
from xml_pipeline.pump.listener import Defined, Listener
from xml_pipeline.threads.state import Thread

CONSOLE = "console"
"""The channel of the console, of commands and of Python."""


@xmlify
@dataclass(frozen=True)
class Approval:
    """A person's word on something that is to be done."""

    granted: Annotated[bool, "Whether it may be done."]
    note: Annotated[str, "Why not; whoever wanted it reads this."] = ""


def to_approve(listener: Listener, thread: Thread, message: Message) -> bytes:
    """The digest that has to be approved before a message is handled; b"" when it may be handled now.

    Only calls need it: what comes back to a call that was approved is part of it.
    """
    if not listener.approve or message.in_reply_to or message.from_id in (SYSTEM, listener.name):
        return b""
    digest = digest_of(listener, message)
    return b"" if digest == thread.approved else digest


def digest_of(listener: Listener, message: Message) -> bytes:
    """What an approval is of: the message's canonical content, and what the listener does with it."""
    parts = [message.root, message.content, listener.name, listener.effects, _doing(listener)]
    parts += [codec.fingerprint.hex() for _, codec in sorted(listener.accepts.items())]
    return blake2b("\0".join(parts).encode(), digest_size=16).digest()


def _doing(listener: Listener) -> str:
    """Which code, or which steps, as far as that has a name."""
    handler = listener.handler
    if isinstance(handler, Defined):
        return handler.digest
    function = handler if hasattr(handler, "__qualname__") else type(handler)
    return f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"


def check_channel(listeners: Mapping[str, Listener], name: str, channel: str) -> None:
    """Whether whoever is asked about a listener's message may answer through a channel. Raises RoutingError."""
    listener = listeners.get(name)
    person = None if listener is None else listeners.get(listener.approve) or listener
    if person is not None and person.human and channel not in person.asked_on:
        raise RoutingError(
            f"'{person.name}' is asked on {listing(person.asked_on) or 'no channel'}, and not on '{cut(channel)}'"
        )
