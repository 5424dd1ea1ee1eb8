"""Payload classes: `@xmlify` over dataclasses and pydantic models, and what follows from it."""

from xml_pipeline.payload.classes import REGISTRATION
from xml_pipeline.payload.codec import Codec, PayloadCodec, codec_of, is_payload, payload_classes
from xml_pipeline.payload.decorator import xmlify
from xml_pipeline.payload.prompt import FieldInfo

__all__ = [
    "REGISTRATION",
    "Codec",
    "FieldInfo",
    "PayloadCodec",
    "codec_of",
    "is_payload",
    "payload_classes",
    "xmlify",
]
