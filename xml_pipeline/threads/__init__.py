"""Threads, sessions, conversations: who waits for whom, as plain data and the events that made it. No I/O."""

from xml_pipeline.threads.record import DeadLetter, Entry, Event
from xml_pipeline.threads.state import Conversation, Gather, OutsideSession, State, Thread, lineage

__all__ = [
    "Conversation",
    "DeadLetter",
    "Entry",
    "Event",
    "Gather",
    "OutsideSession",
    "State",
    "Thread",
    "lineage",
]
