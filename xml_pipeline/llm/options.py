"""What a caller passes to `complete()` and `stream()` → one neutral request, checked. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict

from xml_pipeline.errors import InvalidRequestError, cut, did_you_mean
from xml_pipeline.llm.types import LLMRequest, LLMResponse, Message, ToolSpec, is_number, is_whole
from xml_pipeline.payload import Codec, codec_of, is_payload
from xml_pipeline.payload.text import deeply, encodable


class StreamOptions(TypedDict, total=False):
    """Keyword arguments of `stream`.

    Attributes:
        agent_id: who is charged, outside of a handler. Inside one it is ignored: the pump says who runs.
        temperature, top_p, seed, stop, reasoning_effort: as the providers know them; what a model is documented to
            refuse is left out for it.
        max_tokens: output limit, reasoning included.
        tools: payload classes, `ToolSpec`s or OpenAI-style dicts.
        tool_choice: `auto`, `none`, `required` or a tool's name.
        cache_prompt: ask for prompt caching where a provider wants to be asked: later calls begin as this one.
        changing: how many of the last messages those later calls will not have (1 by default): they are not
            written to a cache.
        cache_ttl: how long a cached prompt lives, `5m` or `1h`, where it can be said.
        cache_key: routes calls with equal beginnings to one cache, where a provider can.
        timeout: seconds for the whole call, instead of the configured `request_timeout`.
        extra: further keys of the provider's JSON body.
        operation: what the call is for, as budgets and reports know it; the listener's own by default.
    """

    agent_id: str | None
    temperature: float | None
    max_tokens: int | None
    tools: Iterable[ToolSpec | Mapping[str, Any] | type] | None
    tool_choice: str | Mapping[str, Any] | None
    top_p: float | None
    seed: int | None
    stop: str | Sequence[str] | None
    reasoning_effort: str | None
    cache_prompt: bool
    cache_ttl: str
    changing: int
    cache_key: str
    timeout: float | None
    extra: Mapping[str, Any] | None
    operation: str | None


class CallOptions(StreamOptions, total=False):
    """Keyword arguments of `complete`.

    Attributes:
        response_type: a payload class; the answer's `parsed` is then an instance of it (None while the
            answer calls tools).
    """

    response_type: type | None


_STREAM = frozenset(StreamOptions.__annotations__)
_CALL = frozenset(CallOptions.__annotations__) | _STREAM
_NOT_FIELDS = frozenset(("agent_id", "operation", "timeout", "response_type"))  # of a request
_EMPTY: Mapping[str, Any] = {}

NAME_OF_OPERATION = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
ROLES = frozenset(("system", "user", "assistant", "tool"))


def request_of(
    model: str,
    messages: str | Iterable[Message | LLMResponse],
    options: Mapping[str, Any],
    *,
    streaming: bool = False,
) -> LLMRequest:
    """The request, with the model as the caller names it.

    Raises:
        TypeError: an option that does not exist; names the nearest.
        InvalidRequestError: a message or a value that cannot be right.
    """
    fields = _fields(options, _STREAM if streaming else _CALL) if options else _EMPTY
    checked = normalise_messages(messages)
    if not isinstance(model, str) or not model:
        raise InvalidRequestError(f"model is the name of a model, not {cut(model)}")
    return LLMRequest(model, checked, **fields)


def _fields(options: Mapping[str, Any], allowed: frozenset[str]) -> dict[str, Any]:
    """The fields of an `LLMRequest` that the options set."""
    fields: dict[str, Any] = {}
    for name, value in options.items():
        if name not in allowed:
            raise _unknown(name, allowed)
        if value is not None and name not in _NOT_FIELDS:
            fields[name] = value
    tools = fields["tools"] = normalise_tools(fields.get("tools"))
    if "tool_choice" in fields:
        fields["tool_choice"] = normalise_tool_choice(fields["tool_choice"], tools)
    if isinstance(fields.get("stop"), str) and fields["stop"]:
        fields["stop"] = (fields["stop"],)
    for name, (fits, what) in _VALUES.items():
        value = fields.get(name, options.get(name))
        if value is not None and not fits(value):
            raise InvalidRequestError(f"{name} is {what}, not {cut(repr(value))}")
    return fields


def _is_finite(value: object, low: float, high: float = math.inf) -> bool:
    return is_number(value) and low <= value <= high and value != math.inf


def _are_stops(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, (str, bytes))
        and all(isinstance(each, str) and each for each in value)
    )


_VALUES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "agent_id": (lambda value: isinstance(value, str), "the name of who is charged"),
    "operation": (
        lambda value: isinstance(value, str) and NAME_OF_OPERATION.fullmatch(value) is not None,
        "a name: a letter or '_', then letters, digits, '_', '-' and '.', at most 100",
    ),
    "temperature": (lambda value: _is_finite(value, 0), "a number from 0 (most models take at most 2)"),
    "top_p": (lambda value: _is_finite(value, 0, 1), "a number from 0 to 1"),
    "max_tokens": (lambda value: is_whole(value) and value >= 1, "a whole number from 1"),
    "seed": (is_whole, "a whole number"),
    "stop": (_are_stops, "a text that is not empty, or a list of such texts"),
    "reasoning_effort": (lambda value: isinstance(value, str) and bool(value), "a word, as 'low' or 'high'"),
    "cache_prompt": (lambda value: isinstance(value, bool), "True or False"),
    "cache_ttl": (lambda value: value in ("5m", "1h"), "'5m' or '1h'"),
    "changing": (lambda value: is_whole(value) and value >= 0, "a whole number from 0"),
    "cache_key": (lambda value: isinstance(value, str), "a text"),
    "timeout": (lambda value: _is_finite(value, 0) and value > 0, "a number of seconds above 0"),
    "extra": (
        lambda value: isinstance(value, Mapping) and all(isinstance(key, str) for key in value),
        "a dict of further keys of the provider's JSON body",
    ),
}


def _unknown(name: str, allowed: frozenset[str]) -> TypeError:
    hint = did_you_mean(name, allowed, " ({})")
    return TypeError(
        f"there is no option {name!r}{hint}; allowed: {', '.join(sorted(allowed))}. What only one provider knows"
        " goes into extra={...}"
    )


def _wrong(index: int, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"messages[{index}]: {what}")


def normalise_messages(messages: str | Iterable[Message | LLMResponse]) -> list[Message]:
    """OpenAI-style dicts, checked; a plain string is one user message, a response its assistant message.

    A half of a character (a lone surrogate, as `surrogateescape` leaves it) becomes U+FFFD: no request can carry it,
    and it is not worth the call.

    Raises:
        InvalidRequestError: names the first message that is wrong, and what is allowed.
    """
    if isinstance(messages, str):
        return [{"role": "user", "content": messages if messages.isascii() else encodable(messages)}]
    if not isinstance(messages, Iterable) or isinstance(messages, (bytes, Mapping)):
        raise InvalidRequestError(f"messages is a list of dicts, or one text, not {type(messages).__name__}")
    checked: list[Message] = []
    for index, message in enumerate(messages):
        if isinstance(message, LLMResponse):
            message = message.message
        if type(message) is not dict and not isinstance(message, Mapping):
            raise _wrong(index, f"a message is a dict with role and content, not {cut(message)}")
        role = message.get("role")
        if role == "developer":
            message, role = {**message, "role": "system"}, "system"
        if role not in ROLES:
            raise _wrong(index, f"role {cut(repr(role))} is none of {', '.join(sorted(ROLES))}")
        content = message.get("content")
        if type(content) is not str:
            _check_content(index, str(role), message, content)
        if type(content) is not str or not content.isascii() or len(message) > 2:
            try:
                message = deeply(encodable, message)
            except RecursionError:
                raise _wrong(index, "the message is nested too deep, or within itself") from None
        if role == "tool" and not isinstance(message.get("tool_call_id"), str):
            raise _wrong(index, "a tool message needs the tool_call_id of the call it answers")
        checked.append(message)
    if not checked:
        raise InvalidRequestError("messages is empty; pass at least one message")
    return checked


def _check_content(index: int, role: str, message: Message, content: Any) -> None:
    if content is None:
        if role == "assistant":
            return
        raise _wrong(index, f"a {role} message needs content")
    if not isinstance(content, Sequence) or isinstance(content, (str, bytes)):
        raise _wrong(index, f"content is text or a list of parts, not {type(content).__name__}")
    for part in content:
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            raise _wrong(index, f"a content part is a dict with a type, not {cut(part)}")
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise _wrong(index, "a text part needs its text as a string")


def normalise_tools(tools: Iterable[ToolSpec | Mapping[str, Any] | type] | None) -> tuple[ToolSpec, ...]:
    """Tools given as `ToolSpec`, as OpenAI-style dicts or as payload classes.

    Raises:
        InvalidRequestError: one of them is none of these, or two have one name.
    """
    if not tools:
        return ()
    specs = tuple(_tool(tool) for tool in tools)
    names = [spec.name for spec in specs]
    if len(set(names)) != len(names):
        raise InvalidRequestError(f"two tools have one name: {', '.join(sorted(names))}")
    return specs


def _tool(tool: Any) -> ToolSpec:
    if isinstance(tool, ToolSpec):
        return tool
    if isinstance(tool, type) and is_payload(tool):
        codec: Codec[Any] = codec_of(tool)
        return ToolSpec(codec.root, codec.description, codec.json_schema)
    if isinstance(tool, Mapping):
        function = tool.get("function", tool)
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            parameters = function.get("parameters") or {"type": "object", "properties": {}}
            mark = tool.get("cache_control") or function.get("cache_control")
            if mark is not None and not isinstance(mark, Mapping):
                name = function["name"]
                raise InvalidRequestError(
                    f"the cache_control of tool {name} is a dict, as {{'type': 'ephemeral'}}, not {cut(mark)}"
                )
            return ToolSpec(function["name"], str(function.get("description") or ""), parameters, mark)
    raise InvalidRequestError(
        f"a tool is a ToolSpec, a payload class or a dict with function.name, not {cut(tool)}"
    )


def normalise_tool_choice(choice: str | Mapping[str, Any] | None, tools: Sequence[ToolSpec]) -> str | None:
    """None, `auto`, `none`, `required` or a tool's name; OpenAI's dict form is taken too.

    Raises:
        InvalidRequestError: it names no tool of this request.
    """
    if choice is None or choice in ("auto", "none", "required"):
        return choice if isinstance(choice, str) else None
    name = choice.get("function", {}).get("name") if isinstance(choice, Mapping) else choice
    if not any(tool.name == name for tool in tools):
        raise InvalidRequestError(
            f"tool_choice {cut(repr(choice))} names no tool of this request; allowed: auto, none, required"
            f"{''.join(', ' + tool.name for tool in tools)}"
        )
    return str(name)
