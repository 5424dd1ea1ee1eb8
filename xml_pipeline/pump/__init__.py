"""The engine that moves messages, and the contract of the handlers it calls."""

from xml_pipeline.pump.asker import Asker, LastingSessions
from xml_pipeline.pump.effects import DeadLetter
from xml_pipeline.pump.listener import Handler, Listener, listener
from xml_pipeline.pump.loop import Pump
from xml_pipeline.pump.machine import ConversationLimits, Machine
from xml_pipeline.pump.response import GatherResponse, HandlerMetadata, HandlerResponse
from xml_pipeline.pump.settings import PumpSettings

__all__ = [
    "Asker",
    "ConversationLimits",
    "DeadLetter",
    "GatherResponse",
    "Handler",
    "HandlerMetadata",
    "HandlerResponse",
    "LastingSessions",
    "Listener",
    "Machine",
    "Pump",
    "PumpSettings",
    "listener",
]
