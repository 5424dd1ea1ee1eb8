"""Answers of Gemini's generateContent, whole and streamed → neutral ones. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xml_pipeline.errors import BackendError, MalformedAnswerError, cut
from xml_pipeline.llm.http.dialect import (
    Dialect,
    StreamDecoder,
    UsageKeys,
    expect_object,
    missing,
    parse_chunk,
)
from xml_pipeline.llm.providers.history import made_id
from xml_pipeline.llm.providers.tool_names import DOTTED, ToolNames
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

# Candidates leave the thoughts out, the prompt includes what was cached.
USAGE = UsageKeys.of(
    prompt="promptTokenCount toolUsePromptTokenCount",
    completion="candidatesTokenCount thoughtsTokenCount",
    cached="cachedContentTokenCount",
    reasoning="thoughtsTokenCount",
)
_BROKEN = ("MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL")


class _Reader:
    """Reads candidates, of a whole answer or of one chunk after the other."""

    def __init__(self, dialect: Dialect, request: LLMRequest) -> None:
        self._dialect = dialect
        self._names = ToolNames.of(request, DOTTED)
        self.calls: list[ToolCall] = []
        self.signature = ""
        self.finish = ""

    def read(self, data: Mapping[str, Any]) -> tuple[str, str, list[ToolCall]]:
        """(text, reasoning, calls) that `data` adds."""
        candidates = data.get("candidates")
        if not isinstance(candidates, list) or not candidates:
            self._blocked(data)
            return "", "", []
        candidate = expect_object(candidates[0])
        texts: list[str] = []
        thoughts: list[str] = []
        before = len(self.calls)
        content = candidate.get("content") or {}
        for part in content.get("parts") or ():
            self._part(expect_object(part), str(data.get("responseId", "")), texts, thoughts)
        reason = candidate.get("finishReason")
        if reason in _BROKEN:
            raise MalformedAnswerError(
                f"the model wrote a tool call that Gemini could not read ({reason}):"
                f" {cut(candidate.get('finishMessage') or 'no details')}",
                code=str(reason),
            )
        self.finish = reason or self.finish
        return "".join(texts), "".join(thoughts), self.calls[before:]

    def _part(self, part: Mapping[str, Any], answer_id: str, texts: list[str], thoughts: list[str]) -> None:
        call = part.get("functionCall")
        if isinstance(call, Mapping):
            self.calls.append(self._call(call, part.get("thoughtSignature"), answer_id))
        elif isinstance(part.get("text"), str):
            (thoughts if part.get("thought") else texts).append(part["text"])
            self.signature = part.get("thoughtSignature") or self.signature

    def _call(self, call: Mapping[str, Any], signature: Any, answer_id: str) -> ToolCall:
        if not isinstance(call.get("name"), str) or not call["name"]:
            raise MalformedAnswerError(f"a `functionCall` has no name: {cut(call)}")
        own = {key: value for key, value in (("id", call.get("id")), ("signature", signature)) if value}
        call_id = call.get("id") or made_id(answer_id, signature, len(self.calls))
        kept = {self._dialect.name: own} if own else {}
        return ToolCall.of(str(call_id), self._names.plain(call["name"]), call.get("args") or {}, kept)

    def _blocked(self, data: Mapping[str, Any]) -> None:
        reason = (data.get("promptFeedback") or {}).get("blockReason")
        if reason:
            raise self._prompt_error(str(reason))
        if "usageMetadata" not in data:
            raise missing("`candidates`", data)

    def _prompt_error(self, reason: str) -> BackendError:
        text = f"Gemini blocked the prompt ({reason})"
        return self._dialect.error(200, {}, {"error": {"message": text, "code": "prompt_blocked"}})

    def finish_reason(self) -> str:
        """The neutral finish reason; tool calls end with `STOP` here."""
        return self._dialect.finish_reason(self.finish, calls=bool(self.calls)).lower()

    def provider_data(self) -> dict[str, Any]:
        """What must come back with the message."""
        return {self._dialect.name: {"signature": self.signature}} if self.signature else {}


def decode_answer(dialect: Dialect, data: Any, request: LLMRequest) -> LLMResponse:
    """The answer in a GenerateContentResponse."""
    data = expect_object(data)
    reader = _Reader(dialect, request)
    text, thoughts, calls = reader.read(data)
    if not reader.finish:
        raise missing("`candidates[0].finishReason`", data)
    return LLMResponse(
        content=text,
        model=str(data.get("modelVersion") or request.model),
        usage=USAGE.read(data.get("usageMetadata")),
        finish_reason=reader.finish_reason(),
        raw=data,
        tool_calls=tuple(calls),
        reasoning=thoughts,
        provider_data=reader.provider_data(),
        request_id=str(data.get("responseId") or ""),
        stop_reason=str(reader.finish),
    )


class GeminiStreamDecoder(StreamDecoder):
    """State of one stream. Nothing marks its end but the finish reason; usage counts are cumulative."""

    def __init__(self, dialect: Dialect, request: LLMRequest) -> None:
        self._dialect = dialect
        self._reader = _Reader(dialect, request)
        self._model = request.model
        self._finished = False

    def feed(self, data: str, event: str) -> Sequence[StreamEvent]:
        chunk = parse_chunk(data)
        if chunk.get("error"):
            raise self._dialect.error(200, {}, chunk)
        self._model = str(chunk.get("modelVersion") or self._model)
        events: list[StreamEvent] = []
        known = len(self._reader.calls)
        text, thoughts, calls = self._reader.read(chunk)
        if thoughts:
            events.append(ReasoningDelta(thoughts))
        if text:
            events.append(TextDelta(text))
        events += [
            ToolCallDelta(known + index, call.id, call.name, call.arguments_text, call.provider_data)
            for index, call in enumerate(calls)
        ]
        if chunk.get("usageMetadata"):
            events.append(UsageReport(USAGE.read(chunk["usageMetadata"])))
        if self._reader.finish and not self._finished:
            self._finished = True
            events.append(
                StreamFinished(
                    self._reader.finish_reason(),
                    self._model,
                    str(chunk.get("responseId") or ""),
                    self._reader.provider_data(),
                    str(self._reader.finish),
                )
            )
        return events
