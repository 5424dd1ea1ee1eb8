"""Who may be addressed by whom, and who takes what. The listener table, read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from xml_pipeline.envelope import codec_for
from xml_pipeline.errors import RoutingError, cut, did_you_mean, listing
from xml_pipeline.payload import PayloadCodec, codec_of, is_payload
from xml_pipeline.pump.instructions import usage_instructions
from xml_pipeline.pump.listener import SYSTEM_CLASSES, Listener

NOT_DELIVERABLE = "the message could not be delivered"
"""All that a sender learns of a peer it may not address: nothing, not even whether it exists."""


def not_promised(name: str, root: str, promised: Iterable[type]) -> str:
    """What a listener is told that answered with another class than it says."""
    return f"'{name}' answers {listing([cls.__name__ for cls in promised])}, not {root}"


class Addressing:
    """Answers questions about a table of listeners, and keeps the answers that every hop needs."""

    def __init__(self, table: Mapping[str, Listener]) -> None:
        self._table = table
        self._unaddressed: dict[tuple[str, str], tuple[Listener, ...]] = {}
        self._instructions: dict[str, str] = {}

    def why_not(self, to: str, payload: object) -> RoutingError:
        """Why the outside cannot send it: no such listener, no payload, or a class that it does not take."""
        try:
            target = self.named(to)
        except RoutingError as error:
            return error
        if not is_payload(type(payload)) and not isinstance(payload, SYSTEM_CLASSES):
            return RoutingError(_no_payload(payload, target))
        return self.refused(target, codec_for(payload).root)

    def refused(self, target: Listener, root: str) -> RoutingError:
        """What the outside is told when it sends `target` an element that it does not take."""
        takes = ", ".join(target.requests) or "nothing that is sent"
        return RoutingError(f"{root} {target.why_not(root)}; '{target.name}' takes {takes}")

    def meant(self, to: str, said: Mapping[str, Any]) -> Any:
        """The message that `{Class: {field: value}}` says, in values as JSON has them, of a class that `to` takes.

        Raises:
            RoutingError: no such listener, or it does not take the class.
            PayloadError: the values do not fit.
        """
        target = self.named(to)
        takes = listing(target.requests) or "nothing that is sent"
        if len(said) != 1:
            raise RoutingError(
                f"a mapping is a message as {{Class: {{field: value}}}}, with one class and not {len(said)};"
                f" '{to}' takes {takes}"
            )
        root, values = next(iter(said.items()))
        if root not in target.requests:
            hint = did_you_mean(str(root), target.requests)
            raise RoutingError(
                f"{cut(root)} {target.why_not(root)}; '{to}' takes {takes}{hint}; a mapping is a message as"
                " {Class: {field: value}}"
            )
        return codec_of(target.requests[root].cls).from_json(values)

    def named(self, name: str) -> Listener:
        """The listener of that name. Raises RoutingError."""
        if not isinstance(name, str):
            raise RoutingError(
                f"the receiver is a listener's name, a text, not a {type(name).__name__}; there are: {self._names()}"
            )
        listener = self._table.get(name)
        if listener is None:
            hint = did_you_mean(name, self._table) or "."
            raise RoutingError(f"no listener '{name}'{hint} There are: {self._names()}")
        return listener

    def _names(self) -> str:
        return ", ".join(self._table) or "none"

    def instructions(self, listener: Listener) -> str:
        """The usage instructions of `listener`'s peers; the same text for the life of the organism."""
        text = self._instructions.get(listener.name)
        if text is None:
            text = self._instructions[listener.name] = usage_instructions(listener, self._table)
        return text

    def unaddressed(self, sender: Listener, root: str) -> tuple[Listener, ...]:
        """Receivers of a message without one: broadcast peers that take it, or the only peer that does."""
        key = (sender.name, root)
        receivers = self._unaddressed.get(key)
        if receivers is None:
            takers = [peer for peer in self._peers(sender) if root in peer.requests]
            many = [peer for peer in takers if peer.broadcast]
            receivers = tuple(many) if many else tuple(takers) if len(takers) == 1 else ()
            self._unaddressed[key] = receivers
        return receivers

    def from_text(self, sender: str, caller: str | None) -> tuple[list[PayloadCodec[Any]], set[str]]:
        """Codecs that text of `sender` may hold payloads of, and the roots among them that call a peer.

        The others answer the caller: what it accepts, or for a caller outside (None) whatever this organism knows.
        """
        calls = _requests(self._peers(self._table[sender]))
        answered = self._table.values() if caller is None else [self._table[caller]]
        return list({**_requests(answered), **calls}.values()), set(calls)

    def _peers(self, listener: Listener) -> list[Listener]:
        return [self._table[name] for name in listener.peers if name in self._table]


def _no_payload(value: object, target: Listener) -> str:
    """What was sent instead of a payload, and what to send."""
    if isinstance(value, type):
        return f"the class {value.__name__} is no payload; send an instance: {value.__name__}(...)"
    cls = type(value)
    decorate = ": decorate its class with @xmlify" if dataclasses.is_dataclass(cls) else ""
    takes = " or ".join(target.requests) or "nothing that is sent"
    return f"a {cls.__name__} is no payload{decorate}; '{target.name}' takes an instance of {takes}"


def _requests(listeners: Iterable[Listener]) -> dict[str, PayloadCodec[Any]]:
    return {root: codec for listener in listeners for root, codec in listener.requests.items()}
