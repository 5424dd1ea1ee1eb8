"""The engine that moves messages, and the contract of the handlers it calls."""

from xml_pipeline.pump.approvals import Approval
from xml_pipeline.pump.listener import Attaching, Handler, Listener, ListenerOptions, Surroundings, listener
from xml_pipeline.pump.loop import Pump
from xml_pipeline.pump.machine import Machine
from xml_pipeline.pump.parts import once
from xml_pipeline.pump.response import GatherResponse, HandlerMetadata, HandlerResponse, Keep
from xml_pipeline.pump.settings import ConversationLimits, PumpSettings
from xml_pipeline.threads import DeadLetter

__all__ = [
    "Approval",
    "Attaching",
    "ConversationLimits",
    "DeadLetter",
    "GatherResponse",
    "Handler",
    "HandlerMetadata",
    "HandlerResponse",
    "Keep",
    "Listener",
    "ListenerOptions",
    "Machine",
    "Pump",
    "PumpSettings",
    "Surroundings",
    "listener",
    "once",
]
