"""What the machine's rules go by, and what each kind of message may cost. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Self

from msgspec import Struct

from xml_pipeline.hardened import Limits as WireLimits
from xml_pipeline.pump.addressing import Addressing
from xml_pipeline.pump.listener import Listener
from xml_pipeline.pump.settings import ConversationLimits

MOST_GATHERED = 100_000
"""Calls of one gather: its answers are one message."""

_GATHERED_ELEMENTS = 10 * MOST_GATHERED
_ERROR_BYTES = 65_536


class Terms(Struct, frozen=True):
    """What the rules go by; the same for the life of an organism.

    Attributes:
        listeners: all by name.
        addressing: who may be addressed by whom.
        limits: of each conversation.
        wire_limits: of each message.
        system_limits: of each message of the system: errors arrive, however little a message may hold.
        gathered_limits: of the answers to a gather together: each of them was within `wire_limits` already.
    """

    listeners: Mapping[str, Listener]
    addressing: Addressing
    limits: ConversationLimits
    wire_limits: WireLimits
    system_limits: WireLimits
    gathered_limits: WireLimits

    @property
    def kept_limits(self) -> WireLimits:
        """Of whatever was accepted once, and is read again."""
        system = self.system_limits
        return replace(self.gathered_limits, max_bytes=system.max_bytes, max_depth=system.max_depth)

    @classmethod
    def of(
        cls, listeners: Mapping[str, Listener], limits: ConversationLimits, wire_limits: WireLimits
    ) -> Self:
        """The terms of an organism; the limits that are not given follow from `wire_limits`."""
        system_limits = replace(
            wire_limits,
            max_bytes=max(wire_limits.max_bytes, _ERROR_BYTES),
            max_depth=max(wire_limits.max_depth, 16),
        )
        gathered_limits = replace(
            wire_limits,
            max_elements=max(wire_limits.max_elements, _GATHERED_ELEMENTS),
            max_attributes=max(wire_limits.max_attributes, _GATHERED_ELEMENTS),
            max_references=max(wire_limits.max_references, wire_limits.max_bytes),
            max_markup=max(wire_limits.max_markup, wire_limits.max_bytes),
        )
        return cls(listeners, Addressing(listeners), limits, wire_limits, system_limits, gathered_limits)
