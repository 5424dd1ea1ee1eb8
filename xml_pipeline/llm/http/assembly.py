"""The events of a stream → one answer, and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from xml_pipeline.errors import MalformedAnswerError, cut
from xml_pipeline.llm.types import (
    LLMResponse,
    ReasoningDelta,
    StreamEvent,
    StreamFinished,
    StreamOpened,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageReport,
)


class Assembly:
    """Collects a stream into an answer."""

    __slots__ = ("_reasoning", "_text", "_tools", "finished", "headers", "request_id", "usage")

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tools: dict[int, tuple[list[str], list[str], list[str], dict[str, object]]] = {}
        self.usage: Usage | None = None
        self.finished: StreamFinished | None = None
        self.headers: Mapping[str, str] | None = None
        self.request_id = ""

    def add(self, event: StreamEvent) -> bool:
        """Take an event in; True when it is content for the consumer.

        Raises:
            MalformedAnswerError: what should be text is none.
        """
        if isinstance(event, TextDelta):
            _check(event.text)
            self._text.append(event.text)
            return True
        if isinstance(event, ReasoningDelta):
            _check(event.text)
            self._reasoning.append(event.text)
            return True
        if isinstance(event, ToolCallDelta):
            _check(event.id, event.name, event.arguments)
            ids, names, arguments, data = self._tools.setdefault(event.index, ([], [], [], {}))
            ids.append(event.id)
            names.append(event.name)
            arguments.append(event.arguments)
            data.update(event.provider_data)
            return True
        if isinstance(event, UsageReport):
            self.usage = event.usage
        elif isinstance(event, StreamFinished):
            _check(event.finish_reason, event.model, event.request_id, event.stop_reason, event.stop_sequence)
            self.finished = event
        elif isinstance(event, StreamOpened):
            self.headers = event.headers
            self.request_id = event.request_id
        return False

    def response(self, model: str) -> LLMResponse:
        """The whole answer; of a cut stream, what there is."""
        finished = self.finished or StreamFinished("incomplete")
        tools = tuple(
            ToolCall("".join(ids), "".join(names), "".join(arguments), data)
            for _, (ids, names, arguments, data) in sorted(self._tools.items())
        )
        return LLMResponse(
            content="".join(self._text),
            model=finished.model or model,
            usage=self.usage or Usage(),
            finish_reason=finished.finish_reason,
            tool_calls=tools,
            reasoning="".join(self._reasoning),
            provider_data=finished.provider_data,
            request_id=finished.request_id or self.request_id,
            headers=self.headers,
            stop_reason=finished.stop_reason,
            stop_sequence=finished.stop_sequence,
        )


def as_events(response: LLMResponse) -> list[StreamEvent]:
    """A whole answer as the events of a stream."""
    events: list[StreamEvent] = [StreamOpened(response.headers, response.request_id)]
    if response.reasoning:
        events.append(ReasoningDelta(response.reasoning))
    if response.content:
        events.append(TextDelta(response.content))
    events += [
        ToolCallDelta(index, call.id, call.name, call.arguments_text, call.provider_data)
        for index, call in enumerate(response.tool_calls)
    ]
    events.append(UsageReport(Usage.of(response.usage)))
    events.append(
        StreamFinished(
            response.finish_reason,
            response.model,
            response.request_id,
            response.provider_data,
            response.stop_reason,
            response.stop_sequence,
        )
    )
    return events


def checked(response: LLMResponse) -> LLMResponse:
    """A whole answer as a dialect read it.

    Raises:
        MalformedAnswerError: what should be text is none, or a call says not what it calls or cannot be answered.
    """
    _check(response.content, response.reasoning, response.finish_reason, response.model, response.request_id)
    for call in response.tool_calls:
        _check(call.id, call.name, call.arguments_text)
        if not (call.id and call.name):
            raise MalformedAnswerError(f"a tool call has no id or no name: {cut(call)}")
    return response


def _check(*texts: object) -> None:
    for text in texts:
        if not isinstance(text, str):
            raise MalformedAnswerError(f"where the answer should have text, it has {cut(text)}")
