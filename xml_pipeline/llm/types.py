"""What goes into a model call and what comes out of it, the same for every provider.

Messages are OpenAI-style dicts, because that is what people have and what a custom backend can send as it is:

    {"role": "system" | "user", "content": text or parts}
    {"role": "assistant", "content": text or None, "tool_calls": [call, …], "provider_data": {dialect: opaque}}
    {"role": "tool", "tool_call_id": id, "content": text or parts, "name": tool name, "is_error": bool}

    part: {"type": "text", "text": …} or {"type": "image_url", "image_url": {"url": "data:…" or "https:…"}}
    call: {"id": …, "type": "function", "function": {"name": …, "arguments": JSON text}, "provider_data": {…}}

`provider_data` holds what one dialect needs back untouched (thinking blocks with their signatures, Gemini's
`thoughtSignature`), under that dialect's name; every other dialect drops it. So a history survives failover.
A part, a message or a tool may carry `"cache_control": {"type": "ephemeral"}`; dialects without it drop it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NoReturn, TypeAlias, TypeGuard

from xml_pipeline.errors import Attempt, PayloadError, Violation, cut
from xml_pipeline.payload.text import carriable, deeply

Message: TypeAlias = Mapping[str, Any]
Feature: TypeAlias = Literal["tools", "schema"]
"""What a model may know natively: tool calls, and JSON Schema for its answer."""

MOST_TOKENS = 10**9  # of one call; a provider that counts more miscounts

_USAGE_KEYS = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cache_write_1h_tokens",
)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is a whole number; a truth value is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is a number; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_amount(value: object) -> TypeGuard[int | float]:
    """Whether it is a finite number from 0."""
    return is_number(value) and 0 <= value < math.inf


def token_count(value: object) -> int | None:
    """A count of tokens as providers write it: 0 for none at all, None for what cannot be one.

    Whole numbers, also written as `12.0` or (as Google's JSON does with large ones) as text, up to `MOST_TOKENS`.
    """
    if value is None:
        return 0
    if (
        isinstance(value, str)
        and len(value) <= len(str(MOST_TOKENS))
        and value.isascii()
        and value.isdecimal()
    ):
        value = int(value)
    if not is_number(value) or not 0 <= value <= MOST_TOKENS or value != int(value):
        return None
    return int(value)


def shown_text(message: Message) -> str:
    """The text of a message, of its text parts when it has parts."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))


def after_system(messages: Sequence[Message], text: str) -> list[Message]:
    """The messages with one more system message, after those that lead."""
    leading = next(
        (index for index, message in enumerate(messages) if message["role"] != "system"), len(messages)
    )
    return [*messages[:leading], {"role": "system", "content": text}, *messages[leading:]]


@dataclass(frozen=True, slots=True)
class Usage(dict[str, int]):
    """Tokens of one call, as attributes and as a read-only dict, so that `json.dumps(response.usage)` works.

    Attributes:
        prompt_tokens: all input tokens, those from a cache and those written to one included.
        completion_tokens: all output tokens, reasoning included.
        cached_tokens: input tokens read from the provider's prompt cache.
        cache_write_tokens: input tokens written to it.
        reasoning_tokens: output tokens spent on reasoning.
        estimated: True when the provider reported nothing and the numbers are our estimate.
        cache_write_1h_tokens: those of `cache_write_tokens` that are kept for an hour, where a provider tells; they
            cost more than those kept for minutes.
        service_tier: how the provider says that it served the call, as `priority`, `flex` or `fast`, because that
            decides the price; "" when it does not say. No key of the dict.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    cache_write_1h_tokens: int = 0
    service_tier: str = ""

    def __post_init__(self) -> None:
        # One made for each answer: written out, it takes a third of the time of a loop over `_USAGE_KEYS`.
        prompt, completion = self.prompt_tokens, self.completion_tokens
        dict.update(
            self,
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            cached_tokens=self.cached_tokens,
            cache_write_tokens=self.cache_write_tokens,
            reasoning_tokens=self.reasoning_tokens,
            cache_write_1h_tokens=self.cache_write_1h_tokens,
        )

    @property
    def total_tokens(self) -> int:
        """Input plus output."""
        return self.prompt_tokens + self.completion_tokens

    @classmethod
    def of(cls, value: Usage | Mapping[str, Any] | None) -> Usage:
        """A `Usage` from one, from a dict with any of its keys, or from nothing (then all are 0).

        A dict with a prompt or an answer of no possible count is as good as none.
        """
        if isinstance(value, Usage):
            return value
        if not value:
            return cls()
        counts = {key: token_count(value.get(key)) for key in _USAGE_KEYS}
        prompt, completion = counts["prompt_tokens"], counts["completion_tokens"]
        if prompt is None or completion is None:
            return cls()
        if value.get("completion_tokens") is None:
            completion = max(0, (counts["total_tokens"] or 0) - prompt)
        return cls(
            prompt,
            completion,
            counts["cached_tokens"] or 0,
            counts["cache_write_tokens"] or 0,
            counts["reasoning_tokens"] or 0,
            cache_write_1h_tokens=counts["cache_write_1h_tokens"] or 0,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, each.name) for each in fields(self))

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a Usage does not change; dataclasses.replace(usage, ...) makes another one")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool that the model may call.

    Attributes:
        name: as the model sees it.
        description: what it does and when to use it.
        parameters: JSON Schema of the arguments, an object.
        cache_control: a mark for the provider's prompt cache after this tool, as `{"type": "ephemeral"}`; dialects
            without it drop it.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    cache_control: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call that a model wrote.

    Attributes:
        id: the provider's, or one made here when the provider has none; the tool result repeats it.
        name: the tool's.
        arguments_text: the arguments as JSON text, as the model wrote them (perhaps broken).
        provider_data: what the dialect needs back with this call, under its name.
    """

    id: str
    name: str
    arguments_text: str
    provider_data: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, call_id: str, name: str, arguments: Any, provider_data: Mapping[str, Any] | None = None
    ) -> ToolCall:
        """A call whose arguments came as an object instead of text."""
        return cls(call_id, name, json.dumps(arguments, ensure_ascii=False), provider_data or {})

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments, parsed; what XML cannot carry in their texts is U+FFFD.

        Raises:
            PayloadError: they are no JSON object; its text can be sent back to the model.
        """
        try:
            value = json.loads(self.arguments_text) if self.arguments_text.strip() else {}
            value = deeply(carriable, value)
        except (ValueError, RecursionError) as error:
            raise self._broken(f"the arguments are no valid JSON: {error}") from None
        if not isinstance(value, dict):
            raise self._broken("the arguments are no JSON object")
        return value

    def _broken(self, rule: str) -> PayloadError:
        return PayloadError(
            Violation(
                self.name,
                f"{rule}. Call the tool again with one JSON object",
                cut(self.arguments_text),
                "a JSON object with the tool's parameters",
            )
        )

    def as_dict(self) -> dict[str, Any]:
        """The OpenAI-style dict of an assistant message's `tool_calls`."""
        call: dict[str, Any] = {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments_text},
        }
        if self.provider_data:
            call["provider_data"] = dict(self.provider_data)
        return call


@dataclass(frozen=True, slots=True)
class ResponseSchema:
    """The JSON Schema that the answer must fit, for providers with native structured output."""

    name: str
    schema: Mapping[str, Any]
    description: str = ""


@dataclass(frozen=True, slots=True)
class LLMRequest:
    """One call as a backend gets it: normalised, with the model's name as this backend knows it.

    Attributes:
        model: after aliases and the backend's `model_map`.
        messages: normalised OpenAI-style dicts (see the module's text); not to be changed.
        temperature, top_p, seed, stop: sampling, None or () when the caller said nothing.
        max_tokens: output limit including reasoning; None for the provider's own.
        tools: the tools offered.
        tool_choice: None, `auto`, `none`, `required`, or the one tool's name.
        response_schema: structured output asked for natively.
        reasoning_effort: None or the provider's word (`low`, `medium`, `high`, …).
        cache_prompt: ask for prompt caching where it must be asked for (Anthropic's `cache_control`): a later call
            begins as this one does.
        changing: how many of the last messages that later call will not have; they are not worth a write.
        cache_key: a stable key that routes equal prefixes to one cache, or "".
        extra: further keys of the provider's JSON body, merged last.
        prompt_tokens_estimate: estimated size of the prompt in tokens (Ollama sizes `num_ctx` by it).
        agent: who the call is charged to, or ""; never sent to a provider.
        cache_ttl: how long a cached prompt lives, `5m` or `1h`, where it can be said; "" for the backend's.
        stored: the name by which its provider has its beginning; "" where it has not. The router fills it in.
    """

    model: str
    messages: Sequence[Message]
    temperature: float | None = None
    max_tokens: int | None = None
    tools: Sequence[ToolSpec] = ()
    tool_choice: str | None = None
    response_schema: ResponseSchema | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: Sequence[str] = ()
    reasoning_effort: str | None = None
    cache_prompt: bool = False
    cache_key: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    prompt_tokens_estimate: int = 0
    agent: str = ""
    cache_ttl: str = ""
    changing: int = 1
    stored: str = ""


@dataclass(slots=True)
class LLMResponse:
    """One answer of a model.

    Attributes:
        content: the generated text.
        model: the model that answered, as the provider names it.
        usage: tokens; attributes and mapping. A plain dict is turned into a `Usage`.
        finish_reason: `stop`, `length`, `tool_calls`, `content_filter`, or the provider's own word.
        stop_reason: the provider's own word for it, as it wrote it (`end_turn`, `stop_sequence`, `STOP`); "" if it
            says none.
        stop_sequence: which of the request's `stop` texts ended the answer, where the provider tells: Anthropic, and
            vLLM and SGLang among the servers of chat completions; "" otherwise.
        raw: the provider's parsed answer (None for a stream).
        tool_calls: what the model wants called, each with an id of its own.
        reasoning: reasoning text, where the provider shows it.
        provider_data: what this dialect needs back in the next turn, under its name (`message` carries it).
        request_id: the provider's id of the call.
        headers: the HTTP answer's headers, or None; read for rate limits.
        backend, provider: who answered; filled by the router.
        attempts: all tries of the call, the successful one last; filled by the router.
        cost: USD, None when the price is unknown; filled by the router.
        latency: seconds from call to answer; filled by the router.
        parsed: the payload instance when `response_type` was given; filled by the router.
        repairs: what the router had to mend in the answer's text, in words; filled by the router.
    """

    content: str
    model: str
    usage: Usage | Mapping[str, int] = field(default_factory=Usage)
    finish_reason: str = "stop"
    raw: Any = field(default=None, repr=False)
    tool_calls: Sequence[ToolCall] = ()
    reasoning: str = ""
    provider_data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    request_id: str = ""
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    backend: str = ""
    provider: str = ""
    attempts: Sequence[Attempt] = ()
    cost: float | None = None
    latency: float = 0.0
    parsed: Any = None
    repairs: tuple[str, ...] = ()
    stop_reason: str = ""
    stop_sequence: str = ""

    def __post_init__(self) -> None:
        if type(self.usage) is not Usage:
            self.usage = Usage.of(self.usage)

    @property
    def message(self) -> dict[str, Any]:
        """This answer as the assistant message to append to the history."""
        message: dict[str, Any] = {"role": "assistant", "content": self.content}
        if self.tool_calls:
            message["tool_calls"] = [call.as_dict() for call in self.tool_calls]
        if self.provider_data:
            message["provider_data"] = dict(self.provider_data)
        return message


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """Root of what `stream()` yields."""


@dataclass(frozen=True, slots=True)
class TextDelta(StreamEvent):
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta(StreamEvent):
    """A piece of the model's reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta(StreamEvent):
    """A piece of a tool call.

    Attributes:
        index: which call of this answer, from 0; an id may come twice, and is made unique in the whole answer only.
        id, name: set in the call's first piece, "" later.
        arguments: a piece of the JSON text of the arguments.
        provider_data: what the dialect needs back with this call; set in at most one piece.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    provider_data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamOpened(StreamEvent):
    """From a backend to the router only: the answer began (status 200). Carries no content."""

    headers: Mapping[str, str] | None = None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class UsageReport(StreamEvent):
    """From a backend to the router only: usage so far; each one replaces the one before."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class StreamFinished(StreamEvent):
    """From a backend to the router only: the provider's terminal event was seen.

    A stream that ends without one was cut. Usage may still follow.
    """

    finish_reason: str = "stop"
    model: str = ""
    request_id: str = ""
    provider_data: Mapping[str, Any] = field(default_factory=dict)
    stop_reason: str = ""
    stop_sequence: str = ""


@dataclass(frozen=True, slots=True)
class StreamEnd(StreamEvent):
    """The last event of `stream()`: the whole answer, with usage, cost, backend and attempts."""

    response: LLMResponse

    @property
    def usage(self) -> Usage:
        """The final usage."""
        return Usage.of(self.response.usage)
