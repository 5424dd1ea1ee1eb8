"""Payload classes: `@xmlify` over dataclasses and pydantic models, and what follows from it."""

from xml_pipeline.payload.codec import Codec
from xml_pipeline.payload.decorator import codec_of, is_payload, xmlify
from xml_pipeline.payload.protocol import PayloadCodec
from xml_pipeline.payload.wording import FieldInfo

__all__ = ["Codec", "FieldInfo", "PayloadCodec", "codec_of", "is_payload", "xmlify"]
