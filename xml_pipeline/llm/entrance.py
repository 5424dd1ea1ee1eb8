"""Text of models, made carriable where it comes in. Pure.

A model, or a server that cuts its tokens apart, gives halves of characters (lone surrogates), NUL and control
characters. Such a text ends every request whose history holds it, every payload and every file it is written to. So
nothing of an answer but its `raw` gets past here with them: each becomes U+FFFD, and `LLMResponse.repairs` says so.
A character whose halves came in two pieces of a stream is whole again. `provider_data` may be signed and goes back to
its provider only: there a lone surrogate alone is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from xml_pipeline.envelope.repairs import CHARACTER
from xml_pipeline.errors import MalformedAnswerError
from xml_pipeline.llm.types import (
    LLMResponse,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from xml_pipeline.payload.text import carriable, carried, deeply, encodable

_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u([0-9a-fA-F]{4})|([bf])|.)", re.DOTALL
)


def carriable_answer(response: LLMResponse) -> LLMResponse:
    """The answer, with every text in it carriable.

    Raises:
        MalformedAnswerError: it is nested deeper than anything can be.
    """
    try:
        return _carriable(response)
    except RecursionError:
        raise MalformedAnswerError("the answer is nested too deep") from None


def _carriable(response: LLMResponse) -> LLMResponse:
    if _plain(response):
        return response
    before = (response.content, response.reasoning, response.tool_calls, response.provider_data)
    response.content = _text(response.content)
    response.reasoning = _text(response.reasoning)
    response.model = _text(response.model)
    response.request_id = _text(response.request_id)
    response.finish_reason = _text(response.finish_reason)
    response.stop_reason = _text(response.stop_reason)
    response.stop_sequence = _text(response.stop_sequence)
    if response.tool_calls:
        response.tool_calls = _same(tuple(map(_call, response.tool_calls)), response.tool_calls)
    if response.provider_data:
        response.provider_data = deeply(encodable, response.provider_data)
    after = (response.content, response.reasoning, response.tool_calls, response.provider_data)
    if any(new is not old for new, old in zip(after, before, strict=True)):
        response.repairs = (*response.repairs, CHARACTER)
    if len(response.tool_calls) > 1 and all(isinstance(call, ToolCall) for call in response.tool_calls):
        response.tool_calls = tuple(distinct(response.tool_calls))
    return response


def _plain(response: LLMResponse) -> bool:
    """Whether it holds texts alone, all of them carriable: the usual answer is looked at once."""
    if response.tool_calls or response.provider_data:
        return False
    texts = (
        *(response.content, response.reasoning, response.model, response.request_id),
        *(response.finish_reason, response.stop_reason, response.stop_sequence),
    )
    try:
        return carried("".join(texts)) is not None
    except TypeError:  # a custom backend put something else there
        return False


def _text(value: str) -> str:
    """A backend of somebody's own may put something else there."""
    return carriable(value) if isinstance(value, str) and not carried(value) else value


def _same(made: tuple[ToolCall, ...], given: Any) -> Any:
    return given if all(new is old for new, old in zip(made, given, strict=True)) else made


def _call(call: ToolCall) -> ToolCall:
    if not isinstance(call, ToolCall):
        return call
    arguments = call.arguments_text
    made = replace(
        call,
        id=_text(call.id),
        name=_text(call.name),
        arguments_text=carriable_json(arguments) if isinstance(arguments, str) else arguments,
        provider_data=deeply(encodable, call.provider_data),
    )
    return call if made == call else made


def distinct(calls: Iterable[ToolCall]) -> Iterator[ToolCall]:
    """Calls of one answer, each with an id of its own, by which its result finds it.

    Some servers give two calls one id, or none: the second gets a number. A call that repeats another one whole, its
    id too, is left out.
    """
    said: set[tuple[str, str, str]] = set()
    taken: set[str] = set()
    numbers: dict[str, int] = {}
    for call in calls:
        whole = (call.id, call.name, call.arguments_text)
        if call.id and whole in said:
            continue
        said.add(whole)
        call_id = wanted = call.id or "call"
        while call_id in taken:
            numbers[wanted] = numbers.get(wanted, 1) + 1
            call_id = f"{wanted}-{numbers[wanted]}"
        taken.add(call_id)
        yield call if call_id == call.id else replace(call, id=call_id)


def carriable_json(text: str) -> str:
    """The text of a JSON document, with its escapes of uncarriable characters replaced as the characters are."""
    text = carriable(text)
    return _ESCAPE.sub(_unescaped, text) if "\\" in text else text


def _unescaped(match: re.Match[str]) -> str:
    code, control = match.groups()
    return "\\ufffd" if control or (code and not carried(chr(int(code, 16)))) else match[0]


class Carrier:
    """Makes the pieces of a stream carriable; the first half of a character waits for the second."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[object, tuple[str, Callable[[str], StreamEvent]]] = {}

    def feed(self, piece: StreamEvent) -> Iterator[StreamEvent]:
        """What the consumer gets of a piece of content now."""
        if isinstance(piece, TextDelta | ReasoningDelta):
            kind = type(piece)
            text = self._joined(kind, piece.text, kind)
            if text:
                yield piece if text is piece.text else kind(text)
        elif isinstance(piece, ToolCallDelta):
            index = piece.index
            made = replace(
                piece,
                id=carriable(piece.id),
                name=carriable(piece.name),
                arguments=self._joined(
                    index, piece.arguments, lambda text: ToolCallDelta(index, arguments=text)
                ),
                provider_data=_data(piece.provider_data),
            )
            yield made

    def close(self) -> Iterator[StreamEvent]:
        """The halves that nobody completed."""
        for half, delta in self._held.values():
            yield delta(carriable(half))
        self._held.clear()

    def _joined(self, channel: object, text: str, delta: Callable[[str], StreamEvent]) -> str:
        held = self._held.pop(channel, None)
        if held is not None:
            text = held[0] + text
        if text[-1:] >= "\ud800" and text[-1:] <= "\udbff":
            self._held[channel] = (text[-1], delta)
            text = text[:-1]
        return carriable(text)


def _data(data: Mapping[str, Any]) -> Mapping[str, Any]:
    carried_data: Mapping[str, Any] = deeply(encodable, data) if data else data
    return carried_data
