"""Answers of OpenAI's Responses API, whole and streamed → neutral ones. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xml_pipeline.errors import MalformedAnswerError, cut
from xml_pipeline.llm.http.dialect import (
    Dialect,
    StreamDecoder,
    UsageKeys,
    expect_object,
    missing,
    parse_chunk,
)
from xml_pipeline.llm.providers.tool_names import ToolNames
from xml_pipeline.llm.types import (
    LLMRequest,
    LLMResponse,
    ReasoningDelta,
    StreamEvent,
    StreamFinished,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    UsageReport,
)

# Input includes what was cached, output the reasoning.
USAGE = UsageKeys.of(
    prompt="input_tokens",
    completion="output_tokens",
    cached="input_tokens_details.cached_tokens",
    cache_write="input_tokens_details.cache_write_tokens",
    reasoning="output_tokens_details.reasoning_tokens",
)
_TEXT = ("response.output_text.delta", "response.refusal.delta")
_REASONING = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
_ENDS = ("response.completed", "response.incomplete")
_FAILURES = ("response.failed", "response.cancelled")


def decode_response(dialect: Dialect, data: Any, request: LLMRequest) -> LLMResponse:
    """The answer in a response object."""
    data = expect_object(data)
    if data.get("error") or data.get("status") in ("failed", "cancelled"):
        raise dialect.error(200, {}, data)
    output = data.get("output")
    if not isinstance(output, list):
        raise missing("`output`", data)
    items = [expect_object(item) for item in output]
    names = ToolNames.of(request)
    calls = tuple(_call(item, names) for item in items if item.get("type") == "function_call")
    return LLMResponse(
        content="".join(_texts(items, "message", "content", ("text", "refusal"))),
        model=str(data.get("model") or request.model),
        usage=USAGE.read(data.get("usage"), data.get("service_tier")),
        finish_reason=why_it_ended(data, items),
        raw=data,
        tool_calls=calls,
        reasoning="".join(_texts(items, "reasoning", "summary", ("text",)))
        or "".join(_texts(items, "reasoning", "content", ("text",))),
        provider_data=replay_data(items, dialect.name),
        stop_reason=stop_reason(data),
    )


def stop_reason(data: Mapping[str, Any]) -> str:
    """The API's own word for why it ended: why it is incomplete, else its status."""
    details = data.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, Mapping) else None
    return str(reason or data.get("status") or "")


def _texts(items: Sequence[Mapping[str, Any]], kind: str, key: str, fields: Sequence[str]) -> list[str]:
    return [
        part[field]
        for item in items
        if item.get("type") == kind
        for part in item.get(key) or ()
        for field in fields
        if isinstance(part.get(field), str)
    ]


def _call(item: Mapping[str, Any], names: ToolNames) -> ToolCall:
    if not (_named(item, "call_id") and _named(item, "name")):
        raise MalformedAnswerError(f"a `function_call` has no call_id or no name: {cut(item)}")
    return ToolCall(item["call_id"], names.plain(item["name"]), str(item.get("arguments") or ""))


def _named(item: Mapping[str, Any], key: str) -> bool:
    value = item.get(key)
    return isinstance(value, str) and bool(value)


def replay_data(items: Sequence[Mapping[str, Any]], dialect: str) -> dict[str, Any]:
    """What must come back: sealed reasoning, and the order of the items around it."""
    kept: list[dict[str, Any]] = []
    for item in items:
        match item.get("type"):
            case "reasoning" if item.get("encrypted_content"):
                fields = ("type", "id", "summary", "encrypted_content")
                kept.append({key: item[key] for key in fields if key in item})
            case "message":
                kept.append({"type": "message", **({"phase": item["phase"]} if item.get("phase") else {})})
            case "function_call":
                kept.append({"type": "function_call", "call_id": item.get("call_id")})
    worth = any(item["type"] == "reasoning" or "phase" in item for item in kept)
    return {dialect: {"items": kept}} if worth else {}


def why_it_ended(data: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> str:
    """The neutral finish reason, from status, reason and what the items are."""
    if data.get("status") == "incomplete":
        reason = str((data.get("incomplete_details") or {}).get("reason") or "length")
        return "length" if reason == "max_output_tokens" else reason
    if any(item.get("type") == "function_call" for item in items):
        return "tool_calls"
    refused = any(
        part.get("type") == "refusal"
        for item in items
        if item.get("type") == "message"
        for part in item.get("content") or ()
    )
    return "content_filter" if refused else "stop"


class ResponsesStreamDecoder(StreamDecoder):
    """State of one stream: which output item is which tool call. The last event holds the whole response."""

    def __init__(self, dialect: Dialect, request: LLMRequest) -> None:
        self._dialect = dialect
        self._names = ToolNames.of(request)
        self._model = request.model
        self._calls: dict[Any, int] = {}

    def feed(self, data: str, event: str) -> Sequence[StreamEvent]:
        if data.startswith("[DONE]"):  # some gateways end so
            self.done = True
            return ()
        chunk = parse_chunk(data)
        kind = chunk.get("type")
        if kind in _TEXT:
            return (TextDelta(str(chunk.get("delta", ""))),)
        if kind in _REASONING:
            return (ReasoningDelta(str(chunk.get("delta", ""))),)
        if kind == "response.function_call_arguments.delta":
            return self._arguments(chunk)
        if kind == "response.output_item.added":
            return self._added(chunk)
        if kind in _ENDS:
            return self._end(chunk)
        if kind == "error":
            raise self._dialect.error(
                200, {}, chunk if chunk.get("error") else {"error": {**chunk, "type": None}}
            )
        if kind in _FAILURES or (kind is None and chunk.get("error")):
            raise self._dialect.error(200, {}, chunk.get("response") or chunk)
        if kind is None:
            raise missing("`type`", chunk)
        return ()  # the rest repeats what the deltas said, or is newer than this

    def _added(self, chunk: Mapping[str, Any]) -> Sequence[StreamEvent]:
        item = expect_object(chunk.get("item"))
        if item.get("type") != "function_call":
            return ()
        call = _call(item, self._names)
        index = self._calls[chunk.get("output_index")] = len(self._calls)
        return (ToolCallDelta(index, call.id, call.name, call.arguments_text),)

    def _arguments(self, chunk: Mapping[str, Any]) -> Sequence[StreamEvent]:
        index = self._calls.get(chunk.get("output_index"))
        if index is None:
            raise MalformedAnswerError(
                f"arguments for output {chunk.get('output_index')}, which is no tool call"
            )
        return (ToolCallDelta(index, arguments=str(chunk.get("delta", ""))),)

    def _end(self, chunk: Mapping[str, Any]) -> Sequence[StreamEvent]:
        response = expect_object(chunk.get("response"))
        items = [expect_object(item) for item in response.get("output") or ()]
        self.done = True
        return (
            UsageReport(USAGE.read(response.get("usage"), response.get("service_tier"))),
            StreamFinished(
                why_it_ended(response, items),
                str(response.get("model") or self._model),
                provider_data=replay_data(items, self._dialect.name),
                stop_reason=stop_reason(response),
            ),
        )
