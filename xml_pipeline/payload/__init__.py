"""Payload classes: `@xmlify` over dataclasses and pydantic models, and what follows from it."""

from xml_pipeline.payload.codec import Codec, PayloadCodec, codec_of
from xml_pipeline.payload.decorator import is_payload, xmlify
from xml_pipeline.payload.prompt import FieldInfo

__all__ = ["Codec", "FieldInfo", "PayloadCodec", "codec_of", "is_payload", "xmlify"]
