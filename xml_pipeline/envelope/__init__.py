"""Bytes ⇄ envelopes, system messages, and repairs of text that models wrote. No I/O."""

from xml_pipeline.envelope.gathered import GatheredCodec, codec_for
from xml_pipeline.envelope.message import (
    ENVELOPE_NS,
    ENVELOPE_XSD,
    META_NS,
    Envelope,
    Heading,
    Message,
    decode,
)
from xml_pipeline.envelope.repairs import Extraction, Found, extract_payloads
from xml_pipeline.envelope.system import (
    CODES,
    SYSTEM,
    BrokenRule,
    Code,
    Gathered,
    Huh,
    SystemError,
    complaint,
    is_error,
)

__all__ = [
    "CODES",
    "ENVELOPE_NS",
    "ENVELOPE_XSD",
    "META_NS",
    "SYSTEM",
    "BrokenRule",
    "Code",
    "Envelope",
    "Extraction",
    "Found",
    "Gathered",
    "GatheredCodec",
    "Heading",
    "Huh",
    "Message",
    "SystemError",
    "codec_for",
    "complaint",
    "decode",
    "extract_payloads",
    "is_error",
]
