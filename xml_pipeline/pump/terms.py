"""What the rules go by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from msgspec import Struct

from xml_pipeline.hardened import Limits as WireLimits
from xml_pipeline.pump.addressing import Addressing
from xml_pipeline.pump.listener import Listener
from xml_pipeline.pump.settings import ConversationLimits

_ERROR_BYTES = 65_536


class Terms(Struct, frozen=True):
    """What the rules go by; the same for the life of an organism.

    Attributes:
        listeners: all by name.
        addressing: who may be addressed by whom.
        limits: of each conversation.
        wire_limits: of each message.
        system_limits: of each message of the system: errors arrive, however little a message may hold.
    """

    listeners: Mapping[str, Listener]
    addressing: Addressing
    limits: ConversationLimits
    wire_limits: WireLimits
    system_limits: WireLimits


def terms_of(listeners: Mapping[str, Listener], limits: ConversationLimits, wire_limits: WireLimits) -> Terms:
    """The terms that follow from these."""
    system_limits = replace(
        wire_limits,
        max_bytes=max(wire_limits.max_bytes, _ERROR_BYTES),
        max_depth=max(wire_limits.max_depth, 16),
    )
    return Terms(listeners, Addressing(listeners), limits, wire_limits, system_limits)
