"""Bytes ⇄ envelopes, system messages, and repairs of text that models wrote. No I/O."""

from xml_pipeline.envelope.codec import ENVELOPE_NS, ENVELOPE_XSD, META_NS, Envelope, decode, encode, unwrap
from xml_pipeline.envelope.gathered import GatheredCodec
from xml_pipeline.envelope.repairs import Extraction, Found, extract_payloads
from xml_pipeline.envelope.system import SYSTEM, BrokenRule, Code, Gathered, Huh, SystemError, is_error

__all__ = [
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
    "Huh",
    "SystemError",
    "decode",
    "encode",
    "extract_payloads",
    "is_error",
    "unwrap",
]
