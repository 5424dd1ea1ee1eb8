"""Where steps are made durable: the seam between deciding and carrying out, and the journals behind it."""

from xml_pipeline.journal.durable import Durable, Kept, OpenConversation
from xml_pipeline.journal.protocol import Journal, Step

__all__ = ["Durable", "Journal", "Kept", "OpenConversation", "Step"]
