"""Calls, sessions, conversations: who waits for whom. No I/O, no clock of its own."""

from xml_pipeline.threads.registry import Call, Conversation, Gather, Port, Registry

__all__ = ["Call", "Conversation", "Gather", "Port", "Registry"]
