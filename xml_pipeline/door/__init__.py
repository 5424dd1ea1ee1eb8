"""The door of a journal: what commands want changed, and who carries it out.

While an organism runs it alone has its journal, and takes requests at a socket that only its owner reaches (ADR 30).
While nobody runs whoever asks becomes the owner, as long as it takes. Both decide with the same `Desk`.
"""

from xml_pipeline.door.desk import Desk, Holder
from xml_pipeline.door.holders import Resting, Running
from xml_pipeline.door.reaching import alone, carried_out
from xml_pipeline.door.requests import Request, Told
from xml_pipeline.door.server import Door

__all__ = ["Desk", "Door", "Holder", "Request", "Resting", "Running", "Told", "alone", "carried_out"]
