"""Answers of Anthropic's Messages API, whole and streamed → neutral ones. Pure.

Source: platform.claude.com/docs/en/build-with-claude/streaming.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    Usage,
    UsageReport,
)

# `input_tokens` leave out what was read from and written to the cache.
USAGE = UsageKeys.of(
    prompt="input_tokens cache_read_input_tokens cache_creation_input_tokens",
    completion="output_tokens",
    cached="cache_read_input_tokens",
    cache_write="cache_creation_input_tokens",
    reasoning="output_tokens_details.thinking_tokens",
    cache_write_1h="cache_creation.ephemeral_1h_input_tokens",
)
_THINKING = ("thinking", "redacted_thinking")
_REPLAYED = ("thinking", "redacted_thinking", "text", "tool_use")


def usage_in(usage: Any) -> Usage:
    """What a message used; a fast answer has prices of its own, as a tier has."""
    found: Mapping[str, Any] = usage if isinstance(usage, dict) else {}
    return USAGE.read(found, "fast" if found.get("speed") == "fast" else found.get("service_tier"))


def decode_message(dialect: Dialect, data: Any, request: LLMRequest) -> LLMResponse:
    """The answer in a message."""
    data = expect_object(data)
    content = data.get("content")
    if not isinstance(content, list):
        raise missing("`content`", data)
    blocks = [block for block in content if isinstance(block, dict)]
    names = ToolNames.of(request)
    return LLMResponse(
        content="".join(_text(block, "text") for block in blocks if block.get("type") == "text"),
        model=str(data.get("model") or request.model),
        usage=usage_in(data.get("usage")),
        finish_reason=dialect.finish_reason(data.get("stop_reason")),
        raw=data,
        tool_calls=tuple(_call(block, names) for block in blocks if block.get("type") == "tool_use"),
        reasoning="".join(_text(block, "thinking") for block in blocks if block.get("type") == "thinking"),
        provider_data=replay_data(blocks, dialect.name),
        stop_reason=str(data.get("stop_reason") or ""),
        stop_sequence=str(data.get("stop_sequence") or ""),
    )


def _call(block: Mapping[str, Any], names: ToolNames) -> ToolCall:
    if not (_text(block, "id") and _text(block, "name")):
        raise MalformedAnswerError(f"a `tool_use` block has no id or no name: {cut(block)}")
    written = block.get("input", {})
    name = names.plain(block["name"])
    if isinstance(written, str):
        return ToolCall(block["id"], name, written)
    return ToolCall.of(block["id"], name, written)


def _text(holder: Mapping[str, Any], key: str) -> str:
    value = holder.get(key)
    if value is not None and not isinstance(value, str):
        raise MalformedAnswerError(f"`{key}` is no text: {cut(value)}")
    return value or ""


def replay_data(blocks: Sequence[Mapping[str, Any]], dialect: str) -> dict[str, Any]:
    """What must come back: all blocks in their order, when there is signed thinking among them."""
    if not any(block.get("type") in _THINKING for block in blocks):
        return {}
    return {dialect: {"content": [dict(block) for block in blocks if block.get("type") in _REPLAYED]}}


@dataclass(slots=True)
class _Block:
    """A content block on its way."""

    start: dict[str, Any]
    texts: list[str] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    call: int = -1

    def whole(self) -> dict[str, Any]:
        """The block as a whole answer would hold it."""
        text = "".join(self.texts)
        match self.start.get("type"):
            case "text":
                return {"type": "text", "text": text}
            case "thinking":
                return {"type": "thinking", "thinking": text, "signature": "".join(self.signatures)}
            case "tool_use":
                try:
                    written = json.loads(text) if text else {}
                except (ValueError, RecursionError):
                    written = {}
                return {**self.start, "input": written}
        return self.start


class AnthropicStreamDecoder(StreamDecoder):
    """State of one stream: its blocks, its usage so far, whether it finished."""

    def __init__(self, dialect: Dialect, request: LLMRequest) -> None:
        self._dialect = dialect
        self._names = ToolNames.of(request)
        self._model = request.model
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._usage: dict[str, Any] = {}
        self._stop_sequence = ""
        self._finished = False

    def feed(self, data: str, event: str) -> Sequence[StreamEvent]:
        chunk = parse_chunk(data)
        match chunk.get("type"):
            case "content_block_delta":
                return self._delta(chunk)
            case "content_block_start":
                return self._start(chunk)
            case "message_start":
                message = expect_object(chunk.get("message"))
                self._model = str(message.get("model") or self._model)
                return self._count(message.get("usage"))
            case "message_delta":
                # All blocks are whole when the reason comes; `message_stop` adds nothing.
                delta = expect_object(chunk.get("delta") or {})
                self._stop_sequence = str(delta.get("stop_sequence") or self._stop_sequence)
                reason = delta.get("stop_reason")
                return (*self._count(chunk.get("usage")), *(self._finish(reason) if reason else ()))
            case "message_stop":
                self.done = True
                return self._finish(None)
            case "error":
                raise self._dialect.error(200, {}, chunk)
            case None:
                if chunk.get("error"):
                    raise self._dialect.error(200, {}, chunk)
                raise missing("`type`", chunk)
        return ()  # ping, content_block_stop, and what is newer than this

    def _finish(self, reason: Any) -> Sequence[StreamEvent]:
        if self._finished:
            return ()
        self._finished = True
        blocks = [self._blocks[index].whole() for index in sorted(self._blocks)]
        kept = replay_data(blocks, self._dialect.name)
        return (
            StreamFinished(
                self._dialect.finish_reason(reason),
                self._model,
                provider_data=kept,
                stop_reason=str(reason or ""),
                stop_sequence=self._stop_sequence,
            ),
        )

    def _count(self, usage: Any) -> Sequence[StreamEvent]:
        """The counts are cumulative, and later ones may leave out what did not change."""
        if not isinstance(usage, dict):
            return ()
        self._usage.update({key: value for key, value in usage.items() if value is not None})
        return (UsageReport(usage_in(self._usage)),)

    def _start(self, chunk: Mapping[str, Any]) -> Sequence[StreamEvent]:
        start = expect_object(chunk.get("content_block"))
        block = self._blocks[self._index(chunk)] = _Block(start)
        match start.get("type"):
            case "text" if start.get("text"):
                block.texts.append(_text(start, "text"))
                return (TextDelta(block.texts[-1]),)
            case "thinking" if start.get("thinking"):
                block.texts.append(_text(start, "thinking"))
                return (ReasoningDelta(block.texts[-1]),)
            case "tool_use":
                if not (_text(start, "id") and _text(start, "name")):
                    raise MalformedAnswerError(f"a `tool_use` block has no id or no name: {cut(start)}")
                block.call = self._calls
                self._calls += 1
                return (ToolCallDelta(block.call, start["id"], self._names.plain(start["name"])),)
        return ()

    def _delta(self, chunk: Mapping[str, Any]) -> Sequence[StreamEvent]:
        index = self._index(chunk)
        block = self._blocks.get(index)
        if block is None:
            raise MalformedAnswerError(f"a delta for block {index}, which was never started")
        delta = expect_object(chunk.get("delta"))
        match delta.get("type"):
            case "text_delta":
                block.texts.append(_text(delta, "text"))
                return (TextDelta(block.texts[-1]),)
            case "input_json_delta" if block.call >= 0:
                block.texts.append(_text(delta, "partial_json"))
                return (ToolCallDelta(block.call, arguments=block.texts[-1]),) if block.texts[-1] else ()
            case "thinking_delta":
                block.texts.append(_text(delta, "thinking"))
                return (ReasoningDelta(block.texts[-1]),)
            case "signature_delta":
                block.signatures.append(_text(delta, "signature"))
        return ()

    @staticmethod
    def _index(chunk: Mapping[str, Any]) -> int:
        index = chunk.get("index")
        if not isinstance(index, int):
            raise missing("`index`", chunk)
        return index
