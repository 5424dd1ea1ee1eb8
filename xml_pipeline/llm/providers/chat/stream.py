"""The stream of a chat completion → events. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xml_pipeline.errors import MalformedAnswerError, cut
from xml_pipeline.llm.http.dialect import StreamDecoder, parse_chunk
from xml_pipeline.llm.providers.history import made_id
from xml_pipeline.llm.providers.tool_names import ToolNames
from xml_pipeline.llm.types import (
    LLMRequest,
    ReasoningDelta,
    StreamEvent,
    StreamFinished,
    TextDelta,
    ToolCallDelta,
    UsageReport,
    is_whole,
)

if TYPE_CHECKING:
    from xml_pipeline.llm.providers.chat import ChatDialect


class ChatStreamDecoder(StreamDecoder):
    """State of one stream: which tool calls were opened, what has to be replayed, whether it finished."""

    def __init__(self, dialect: ChatDialect, request: LLMRequest) -> None:
        self._dialect = dialect
        self._request = request
        self._names: ToolNames | None = None
        self._calls: dict[int, int] = {}
        self._kept: dict[str, Any] = {}
        self._last = -1
        self._model = request.model
        self._id = ""
        self._tier: object = ""
        self._finished = False

    def feed(self, data: str, event: str) -> Sequence[StreamEvent]:
        if data.startswith("[DONE]"):
            self.done = True
            return () if self._finished else (self._finish(None),)
        chunk = parse_chunk(data)
        self._dialect.raise_error(chunk)
        self._id = self._id or str(chunk.get("id") or "")
        self._tier = chunk.get("service_tier") or self._tier
        self._model = str(chunk.get("model") or self._model)
        events: list[StreamEvent] = []
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            self._read_choice(choice, events)
        if isinstance(chunk.get("usage"), dict):
            events.append(UsageReport(self._dialect.usage_in(chunk["usage"], self._tier)))
        return events

    def _read_choice(self, choice: Any, events: list[StreamEvent]) -> None:
        if not isinstance(choice, dict):
            raise MalformedAnswerError(f"a choice of a chunk is no object: {cut(choice)}")
        self._dialect.raise_error(choice)
        if choice.get("index"):
            return
        delta = choice.get("delta")
        if isinstance(delta, dict):
            self._read_delta(delta, events)
        if choice.get("finish_reason") and not self._finished:
            events.append(self._finish(choice["finish_reason"], self._dialect.stop_sequence(choice)))

    def _read_delta(self, delta: Mapping[str, Any], events: list[StreamEvent]) -> None:
        reasoning = self._dialect.reasoning_in(delta)
        if reasoning:
            events.append(ReasoningDelta(reasoning))
        text = delta.get("content")
        if text:
            events.append(TextDelta(text if isinstance(text, str) else self._dialect.text_in(text)))
        elif isinstance(delta.get("refusal"), str) and delta["refusal"]:
            events.append(TextDelta(delta["refusal"]))
        for key in self._dialect.flavour.replays:
            self._keep(key, delta.get(key))
        calls = delta.get("tool_calls") or ()
        if not isinstance(calls, (list, tuple)):
            calls = (calls,)
        for call in calls:
            events.append(self._call(call))

    def _keep(self, key: str, value: Any) -> None:
        """Collect what comes in pieces: lists are joined, and pieces of one indexed text within them."""
        if not value:
            return
        known = self._kept.get(key)
        if not isinstance(value, list):
            self._kept[key] = value
            return
        if not isinstance(known, list):
            known = self._kept[key] = []
        for piece in value:
            last = known[-1] if known else None
            if not isinstance(piece, dict):
                known.append(piece)
            elif isinstance(last, dict) and _continues(last, piece):
                _join(last, piece)
            else:
                known.append(
                    {name: _Text((text,)) if _grows(name, text) else text for name, text in piece.items()}
                )

    def _call(self, call: Any) -> ToolCallDelta:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise MalformedAnswerError(f"a tool call of a chunk has no function: {cut(call)}")
        position = call.get("index")
        if position is None:  # some servers number nothing: a new id, or a name, opens a call
            new = bool(call.get("id")) or (not self._calls)
            position = self._last + 1 if new else self._last
        if not is_whole(position):
            raise MalformedAnswerError(f"a tool call of a chunk has no number as its index: {cut(call)}")
        self._last = max(self._last, position)
        key = position
        arguments = function.get("arguments") or ""
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        kept = self._dialect.keep(call, self._dialect.flavour.call_replays)
        if key in self._calls:
            return ToolCallDelta(self._calls[key], arguments=arguments, provider_data=kept)
        if not isinstance(function.get("name"), str) or not function["name"]:
            raise MalformedAnswerError(f"the first piece of a tool call has no name: {cut(call)}")
        index = self._calls[key] = len(self._calls)
        self._names = self._names or ToolNames.of(self._request)
        call_id = str(call.get("id") or made_id(self._id, index))
        return ToolCallDelta(index, call_id, self._names.plain(function["name"]), arguments, kept)

    def _finish(self, reason: Any, stop_sequence: str = "") -> StreamFinished:
        self._finished = True
        return StreamFinished(
            self._dialect.finish_reason(reason, calls=bool(self._calls)),
            self._model,
            provider_data={self._dialect.name: _written(self._kept)} if self._kept else {},
            stop_reason=str(reason or ""),
            stop_sequence=stop_sequence,
        )


def _continues(last: Mapping[str, Any], piece: Mapping[str, Any]) -> bool:
    return last.get("index") is not None and all(last.get(key) == piece.get(key) for key in ("index", "type"))


class _Text(list[str]):
    """A text on its way, in pieces: adding to a string would copy it each time."""


def _grows(name: str, value: object) -> bool:
    return name in ("text", "summary", "data") and isinstance(value, str)


def _join(last: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for name, value in piece.items():
        known = last.get(name)
        if _grows(name, value) and isinstance(known, _Text):
            known.append(value)
        elif value is not None:
            last[name] = _Text((value,)) if _grows(name, value) else value


def _written(kept: Mapping[str, Any]) -> dict[str, Any]:
    """What was kept, with its texts as texts."""
    return {
        key: [_plain(entry) for entry in value] if isinstance(value, list) else value
        for key, value in kept.items()
    }


def _plain(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    return {name: "".join(value) if isinstance(value, _Text) else value for name, value in entry.items()}
