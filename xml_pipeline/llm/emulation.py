"""Tools for models that know none: described in the system text, called in `<tool_call>` elements. Pure.

The form is the one that Hermes and Qwen models are trained on (https://github.com/NousResearch/Hermes-Function-Calling):
an element with `{"name": …, "arguments": {…}}` inside. What comes out are ordinary `ToolCall`s; a call whose JSON is
broken keeps its text, and its `arguments` say what to tell the model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

from xml_pipeline.llm.providers.history import made_id
from xml_pipeline.llm.types import (
    LLMRequest,
    LLMResponse,
    Message,
    StreamEvent,
    StreamFinished,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolSpec,
    after_system,
    shown_text,
)

_OPEN = "<tool_call>"
_CLOSE = "</tool_call>"
_BEFORE = re.compile(r"\s*+(?:```\w*+\s++)?+")
_AFTER = re.compile(r"\s*+(?:```)?+\s*+(?:</tool_call>|(?=<tool_call>)|\Z)")
_NAME = re.compile(r'"name"\s*+:\s*+"([^"\\]++)"')
_TAG = re.compile(r"<(?=\s*+/?+\s*+tool_(?:call|result)\b)", re.IGNORECASE)
_ESCAPED = r"\\u003c"  # `<` inside a JSON text
_DECODER = json.JSONDecoder()


def emulated(request: LLMRequest) -> LLMRequest:
    """The request with its tools, and the calls and results of its history, in words."""
    messages = in_words(request.messages)
    if request.tools and request.tool_choice != "none":
        messages = after_system(messages, _instruction(request.tools, request.tool_choice))
    return replace(request, messages=messages, tools=(), tool_choice=None)


def _instruction(tools: Iterable[ToolSpec], choice: Any) -> str:
    described = "\n".join(
        json.dumps(
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            ensure_ascii=False,
        )
        for tool in tools
    )
    must = ""
    if choice == "required":
        must = "\nYou must call a tool now."
    elif isinstance(choice, str) and choice != "auto":
        must = f"\nYou must call the tool {choice} now."
    return (
        f"You may call tools. Each line describes one, with the JSON Schema of its arguments:\n{described}\n\n"
        "To call one, write exactly this, with nothing after it (several calls: one after the other):\n"
        f'{_OPEN}{{"name": "the tool\'s name", "arguments": {{…}}}}</tool_call>\n'
        f"The results come back as <tool_result> elements. When you need no tool, answer in plain text.{must}"
    )


def in_words(messages: Sequence[Message]) -> list[Message]:
    """Messages without native tool calls and results.

    Only what is written here stands in the tags of calls and results: in the texts of users, of models and of results
    these tags are talk, and are written so that they open and close nothing. The system text is the author's.
    """
    written: list[Message] = []
    names: dict[str, str] = {}
    results: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            call_id = message["tool_call_id"]
            name = escape(names.get(call_id) or message.get("name") or call_id)
            results.append(f'<tool_result name="{name}">{_inert(shown_text(message))}</tool_result>')
            continue
        if results:
            written.append({"role": "user", "content": "\n".join(results)})
            results = []
        calls = message.get("tool_calls") or ()
        if calls:
            names.update({call["id"]: call["function"]["name"] for call in calls})
            text = "\n".join([*filter(None, [_inert(shown_text(message))]), *map(_written, calls)])
            written.append({"role": "assistant", "content": text})
        else:
            written.append(message if message["role"] == "system" else _talk(message))
    if results:
        written.append({"role": "user", "content": "\n".join(results)})
    return written


def _inert(text: str) -> str:
    return _TAG.sub("&lt;", text)


def _talk(message: Message) -> Message:
    """A message that calls nothing and is no result."""
    content = message.get("content")
    if content is None:
        return message
    if isinstance(content, str):
        return {**message, "content": _inert(content)}
    parts = [
        {**part, "text": _inert(part["text"])} if isinstance(part.get("text"), str) else part
        for part in content
    ]
    return {**message, "content": parts}


def _written(call: Mapping[str, Any]) -> str:
    function = call["function"]
    arguments = function.get("arguments") or "{}"
    body = f'{{"name": {json.dumps(function["name"])}, "arguments": {arguments}}}'
    return f"{_OPEN}{_TAG.sub(_ESCAPED, body)}{_CLOSE}"


def with_calls(response: LLMResponse, turn: int) -> LLMResponse:
    """The answer with the calls in its text as tool calls; `turn` keeps the ids of different turns apart."""
    content, calls = split(response.content, turn)
    if calls:
        response.content, response.tool_calls = content, calls
        if response.finish_reason == "stop":
            response.finish_reason = "tool_calls"
    return response


def split(text: str, turn: int) -> tuple[str, tuple[ToolCall, ...]]:
    """(the text around the calls, the calls)."""
    around: list[str] = []
    calls: list[ToolCall] = []
    end, start = 0, text.find(_OPEN)
    while start >= 0:
        around.append(text[end:start])
        body, end = _body(text, start + len(_OPEN))
        calls.append(_call(body, made_id("emulated", turn, len(calls), body)))
        start = text.find(_OPEN, end)
    if not calls:
        return text, ()
    return "".join([*around, text[end:]]).strip(), tuple(calls)


def _body(text: str, start: int) -> tuple[str, int]:
    """What a call that opens before `start` holds, and where it ends: a tag inside its JSON does not end it."""
    opening = _BEFORE.match(text, start)
    start = opening.end() if opening else start
    try:
        _, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        end = start
    closing = _AFTER.match(text, end) if end > start else None
    if closing:
        return text[start:end], closing.end()
    end = text.find(_CLOSE, start)
    body, end = (text[start:], len(text)) if end < 0 else (text[start:end], end + len(_CLOSE))
    return body.strip().removesuffix("```").strip(), end


def _call(body: str, call_id: str) -> ToolCall:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        name = _NAME.search(body)
        return ToolCall(call_id, name.group(1) if name else "", body)
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return ToolCall(call_id, "", body)
    arguments = value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):
        return ToolCall(call_id, value["name"], arguments)
    return ToolCall.of(call_id, value["name"], {} if arguments is None else arguments)


class StreamReader:
    """Turns the calls in a stream's text into tool calls. Text passes on as it comes, up to the first call."""

    __slots__ = ("_calling", "_held", "_turn")

    def __init__(self, turn: int) -> None:
        self._held = ""  # what may be the beginning of a call
        self._calling: list[str] = []  # the text from the first call on
        self._turn = turn

    def feed(self, event: StreamEvent) -> list[StreamEvent]:
        """An event of the backend → events for the consumer."""
        if isinstance(event, TextDelta):
            if self._calling:
                self._calling.append(event.text)
                return []
            held = self._held + event.text
            start = held.find(_OPEN)
            if start >= 0:
                text, self._held = held[:start], ""
                self._calling.append(held[start:])
            else:
                start = len(held) - _begun(held)
                text, self._held = held[:start], held[start:]
            return [TextDelta(text)] if text else []
        if isinstance(event, StreamFinished):
            return self._end(event)
        return [event]

    def _end(self, event: StreamFinished) -> list[StreamEvent]:
        text, calls = split("".join(self._calling) or self._held, self._turn)
        self._held = ""
        self._calling.clear()
        events: list[StreamEvent] = [TextDelta(text)] if text else []
        events += [
            ToolCallDelta(index, call.id, call.name, call.arguments_text) for index, call in enumerate(calls)
        ]
        if calls and event.finish_reason == "stop":
            event = replace(event, finish_reason="tool_calls")
        return [*events, event]


def _begun(text: str) -> int:
    """How many characters at the end may be the beginning of a call."""
    return next(
        (size for size in range(min(len(_OPEN) - 1, len(text)), 0, -1) if text.endswith(_OPEN[:size])), 0
    )
