"""Payload classes: `@xmlify` over dataclasses and pydantic models, and what follows from it."""

from xml_pipeline.payload.codec import Codec
from xml_pipeline.payload.decorator import codec_of, is_payload, xmlify

__all__ = ["Codec", "codec_of", "is_payload", "xmlify"]
