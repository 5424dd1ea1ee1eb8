"""Neutral request → body of OpenAI's Responses API. Pure.

Newer models take tools only here (source: platform.openai.com/docs/guides/reasoning). Nothing is stored at the
provider (`store: false`): the history is ours, and reasoning travels in it, sealed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xml_pipeline.llm.http.dialect import WireRequest
from xml_pipeline.llm.providers.chat.rules import ModelRule
from xml_pipeline.llm.providers.history import (
    CallIds,
    arguments_text,
    calls_of,
    image_url,
    merge_extra,
    own_data,
    parts_of,
    text_of,
    unsupported,
)
from xml_pipeline.llm.providers.schemas import named_schema
from xml_pipeline.llm.providers.tool_names import ToolNames, described
from xml_pipeline.llm.types import LLMRequest, Message

SEALED = "reasoning.encrypted_content"


def encode_request(request: LLMRequest, rule: ModelRule, *, dialect: str, stream: bool) -> WireRequest:
    """The POST for a request. The API knows no `stop` and no `seed`; they are left out."""
    names = ToolNames.of(request)
    items = _Items(names, dialect)
    for message in request.messages:
        items.add(message)
    effort = rule.effort(request.reasoning_effort)
    body: dict[str, Any] = {
        "model": request.model,
        "input": items.items,
        "store": False,
    }
    if rule.refuses:  # a reasoning model
        body["include"] = [SEALED]
    optional = {"temperature": request.temperature, "top_p": request.top_p}
    for parameter, value in optional.items():
        if value is not None and rule.takes(parameter, effort):
            body[parameter] = value
    if request.max_tokens is not None:
        body["max_output_tokens"] = request.max_tokens
    if effort is not None:
        body["reasoning"] = {"effort": effort}
    if request.tools:
        body["tools"] = [
            described(
                {
                    "type": "function",
                    "name": names.wire(tool.name),
                    "parameters": dict(tool.parameters),
                    "strict": False,
                },
                tool,
            )
            for tool in request.tools
        ]
        if request.tool_choice is not None:
            body["tool_choice"] = _choice(request.tool_choice, names)
    if request.response_schema is not None:
        body["text"] = {"format": {"type": "json_schema", **named_schema(request.response_schema)}}
    if request.cache_key:
        body["prompt_cache_key"] = request.cache_key
    if stream:
        body["stream"] = True
    return WireRequest("/responses", merge_extra(body, request))


def _choice(choice: str, names: ToolNames) -> Any:
    if choice in ("auto", "none", "required"):
        return choice
    return {"type": "function", "name": names.wire(choice)}


class _Items:
    """Messages → input items."""

    def __init__(self, names: ToolNames, dialect: str) -> None:
        self._names = names
        self._ids = CallIds()
        self._dialect = dialect
        self.items: list[dict[str, Any]] = []

    def add(self, message: Message) -> None:
        """Append a message."""
        match message["role"]:
            case "assistant":
                self.items += self._assistant(message)
            case "tool":
                call_id = self._ids.result(message["tool_call_id"])
                output = {"type": "function_call_output", "call_id": call_id, "output": text_of(message)}
                self.items.append(output)
            case role:
                self.items.append({"role": role, "content": self._content(message)})

    def _content(self, message: Message) -> str | list[dict[str, Any]]:
        content = message.get("content")
        if isinstance(content, str):
            return content
        return [self._part(part) for part in parts_of(message)] or ""

    def _part(self, part: Mapping[str, Any]) -> dict[str, Any]:
        if part["type"] == "text":
            return {"type": "input_text", "text": part["text"]}
        if part["type"] != "image_url":
            raise unsupported(part, "a message")
        return {"type": "input_image", "image_url": image_url(part), "detail": "auto"}

    def _assistant(self, message: Message) -> list[dict[str, Any]]:
        text = text_of(message)
        calls = calls_of(message)
        said: list[dict[str, Any]] = [{"role": "assistant", "content": text}] if text else []
        called = [
            {
                "type": "function_call",
                "call_id": self._ids.call(call["id"]),
                "name": self._names.wire(call["function"]["name"]),
                "arguments": arguments_text(call),
            }
            for call in calls
        ]
        own = own_data(message, self._dialect).get("items")
        if isinstance(own, list):
            return _replayed(own, said, called, [call["id"] for call in calls])
        return said + called


def _replayed(
    own: list[Any], said: list[dict[str, Any]], called: list[dict[str, Any]], ids: Sequence[str]
) -> list[dict[str, Any]]:
    """The items in the order they came; if the message was changed since, without its reasoning.

    Reasoning is refused unless what it led to follows it.
    """
    came = [item.get("call_id") for item in own if item.get("type") == "function_call"]
    messages = sum(item.get("type") == "message" for item in own)
    if came != list(ids) or messages != len(said):
        return said + called
    rest = iter(called)
    found: list[dict[str, Any]] = []
    for item in own:
        match item.get("type"):
            case "reasoning":
                found.append(dict(item))
            case "message":
                phase = item.get("phase")
                found.append({**said[0], "phase": phase} if phase else said[0])
            case "function_call":
                found.append(next(rest))
    return found
