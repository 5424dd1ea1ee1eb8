"""Short ways to a dialect and to what it sends."""

from __future__ import annotations

from typing import Any

from xml_pipeline.llm import PROVIDER_CLASSES, LLMRequest, ToolSpec
from xml_pipeline.llm.http.dialect import Dialect

USER: dict[str, Any] = {"role": "user", "content": "Hi"}
ADD = ToolSpec(
    "add", "Adds.", {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
)


def dialect(provider: str, **settings: Any) -> Dialect:
    found = PROVIDER_CLASSES[provider](**settings).dialect
    assert found is not None
    return found


def body(provider: str, request: LLMRequest, *, stream: bool = False, **settings: Any) -> dict[str, Any]:
    return dialect(provider, **settings).encode(request, stream=stream).body


def ask(model: str, *messages: dict[str, Any], **more: Any) -> LLMRequest:
    return LLMRequest(model, messages or (USER,), **more)
