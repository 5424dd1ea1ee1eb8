"""Where steps are made durable: the seam between deciding and carrying out, and the journals behind it."""

from xml_pipeline.journal.durable import Durable, Kept, OpenConversation
from xml_pipeline.journal.protocol import Journal, Step
from xml_pipeline.journal.uptime import Uptime

__all__ = ["Durable", "Journal", "Kept", "OpenConversation", "Step", "Uptime"]
