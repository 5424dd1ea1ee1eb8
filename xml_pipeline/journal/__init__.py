"""Where steps are made durable: the seam between deciding and carrying out."""

from xml_pipeline.journal.protocol import Journal, Step

__all__ = ["Journal", "Step"]
