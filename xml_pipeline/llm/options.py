"""What a caller may say about a call beside its model and its messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from xml_pipeline.errors import InvalidRequestError, cut, did_you_mean
from xml_pipeline.llm.messages import normalise_tool_choice, normalise_tools
from xml_pipeline.llm.types import ToolSpec


class StreamOptions(TypedDict, total=False):
    """Keyword arguments of `stream`.

    Attributes:
        agent_id: who is charged, outside of a handler. Inside one it is ignored: the pump says who runs.
        temperature, top_p, seed, stop, reasoning_effort: as the providers know them; what a model is documented to
            refuse is left out for it.
        max_tokens: output limit, reasoning included.
        tools: payload classes, `ToolSpec`s or OpenAI-style dicts.
        tool_choice: `auto`, `none`, `required` or a tool's name.
        cache_prompt: ask for prompt caching where a provider wants to be asked.
        cache_key: routes calls with equal beginnings to one cache, where a provider can.
        timeout: seconds for the whole call, instead of the configured `request_timeout`.
        extra: further keys of the provider's JSON body.
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
    cache_key: str
    timeout: float | None
    extra: Mapping[str, Any] | None


class CallOptions(StreamOptions, total=False):
    """Keyword arguments of `complete`.

    Attributes:
        response_type: a payload class; the answer's `parsed` is then an instance of it (None while the
            answer calls tools).
    """

    response_type: type | None


_STREAM = frozenset(StreamOptions.__annotations__)
_CALL = frozenset(CallOptions.__annotations__) | _STREAM
_EMPTY: dict[str, Any] = {
    "temperature": None,
    "max_tokens": None,
    "tools": (),
    "tool_choice": None,
    "top_p": None,
    "seed": None,
    "stop": (),
    "reasoning_effort": None,
    "cache_prompt": False,
    "cache_key": "",
    "extra": {},
}
_NOT_FIELDS = frozenset(("agent_id", "timeout", "response_type"))


def request_fields(options: Mapping[str, Any], *, streaming: bool = False) -> dict[str, Any]:
    """The fields of an `LLMRequest` that the options set.

    Raises:
        TypeError: an option that does not exist; names the nearest.
        InvalidRequestError: a value that cannot be right.
    """
    fields = dict(_EMPTY)
    if not options:
        return fields
    allowed = _STREAM if streaming else _CALL
    for name, value in options.items():
        if name not in allowed:
            raise _unknown(name, allowed)
        if value is not None and name not in _NOT_FIELDS:
            fields[name] = value
    if fields["tools"]:
        fields["tools"] = normalise_tools(fields["tools"])
    if fields["tool_choice"] is not None:
        fields["tool_choice"] = normalise_tool_choice(fields["tool_choice"], fields["tools"])
    if isinstance(fields["stop"], str):
        fields["stop"] = (fields["stop"],)
    limit = fields["max_tokens"]
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InvalidRequestError(f"max_tokens is a whole number from 1, not {cut(limit)}")
    for name in ("temperature", "top_p"):
        if fields[name] is not None and not _is_number(fields[name]):
            raise InvalidRequestError(f"{name} is a number, not {cut(fields[name])}")
    timeout = options.get("timeout")
    if timeout is not None and not (_is_number(timeout) and timeout > 0):
        raise InvalidRequestError(f"timeout is a number of seconds above 0, not {cut(timeout)}")
    return fields


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _unknown(name: str, allowed: frozenset[str]) -> TypeError:
    hint = did_you_mean(name, allowed, " ({})")
    return TypeError(
        f"there is no option {name!r}{hint}; allowed: {', '.join(sorted(allowed))}. What only one provider knows"
        " goes into extra={...}"
    )
