"""The offline backend: deterministic answers from rules. For tests, demonstrations and a console without keys.

    ScriptedBackend(rules=[
        Rule(match=r"add (\\d+) and (\\d+)", tool="calculator.add", arguments='{"a": \\\\1, "b": \\\\2}'),
        Rule(on="tool", reply="The result is \\\\g<0>."),
        Rule(match="overload", error="OverloadedError", times=2),
        Rule(reply="Hello!"),
    ])

The first rule that fits the last message answers. It opens no connection and needs no key, and its answers say
where they come from: `LLMResponse.backend`, `provider` and `model`, and the text of the built-in last rule.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import takewhile
from typing import Any, ClassVar, Literal

from xml_pipeline import errors
from xml_pipeline.llm.accounting.estimate import prompt_size, text_size
from xml_pipeline.llm.http.assembly import as_events
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.types import (
    Feature,
    LLMRequest,
    LLMResponse,
    Message,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    shown_text,
)

BYTES_PER_TOKEN = 4  # of the usage that is reported: a rule of thumb, the same every time
REMEMBERED_REQUESTS = 1000

Reply = str | Callable[[LLMRequest], "str | LLMResponse"]


@dataclass(frozen=True, slots=True)
class Rule:
    """When to answer, and what.

    Attributes:
        match: regular expression, searched in the text of the last message, or of all tool results since the
            model's last answer; "" fits any.
        on: which last message it looks at: the user's, or a tool's result.
        model: name or glob of the model asked for.
        agent: name or glob of who is charged.
        when: predicate on the whole request, beside the others; None fits any.
        reply: the text, in which `\\\\1` and `\\\\g<name>` stand for the groups of `match`; or a function of
            the request that gives the text or a whole `LLMResponse`.
        tool: name of a tool to call instead; "" for none.
        arguments: of that call: JSON text, or a mapping; both with groups as in `reply`, which a mapping quotes.
        calls: further calls in the same answer, as (tool, arguments).
        error: name of an exception class of `xml_pipeline.errors` to fail with, or an instance; None for none.
        retry_after: seconds that the error asks to wait.
        latency: seconds until the answer, or until its first piece.
        chunks: pieces of a streamed answer; by words when empty.
        fail_after: pieces after which a streamed answer breaks with `error`; None for before the first.
        usage: tokens to report; by the length of the texts when None.
        finish_reason: as in `LLMResponse`; "" for `stop` or `tool_calls`.
        times: how often the rule holds, None for always.
    """

    match: str = ""
    on: Literal["user", "tool"] = "user"
    model: str = "*"
    agent: str = "*"
    when: Callable[[LLMRequest], bool] | None = None
    reply: Reply = ""
    tool: str = ""
    arguments: str | Mapping[str, Any] = "{}"
    calls: Sequence[tuple[str, str | Mapping[str, Any]]] = ()
    error: str | errors.BackendError | None = None
    retry_after: float | None = None
    latency: float = 0.0
    chunks: Sequence[str] = ()
    fail_after: int | None = None
    usage: Mapping[str, int] | None = None
    finish_reason: str = ""
    times: int | None = None

    def __post_init__(self) -> None:
        try:
            re.compile(self.match)
        except re.error as wrong:
            raise errors.ConfigError(f"match {self.match!r} is no regular expression: {wrong}") from None
        if isinstance(self.error, str) and not _is_error_name(self.error):
            names = ", ".join(name for name in dir(errors) if _is_error_name(name))
            raise errors.ConfigError(f"error {self.error!r} is none of {names}")


def _is_error_name(name: str) -> bool:
    kind = getattr(errors, name, None)
    return isinstance(kind, type) and issubclass(kind, errors.BackendError)


@dataclass
class ScriptedBackend(Backend):
    """Answers from rules, without a network.

    Attributes:
        rules: tried in order; after them comes a rule that repeats the question and says that it is offline.
        native_schema: whether it claims native structured output (JSON) or wants to be asked for XML.
        native_tools: whether it claims native tool calls.
        requests: the last requests, oldest first, for assertions.
    """

    provider: str = "scripted"
    rules: Sequence[Rule] = ()
    native_schema: bool = False
    native_tools: bool = True
    max_concurrent: int = 1000
    requests: deque[LLMRequest] = field(
        default_factory=lambda: deque(maxlen=REMEMBERED_REQUESTS), repr=False, compare=False
    )

    offline: ClassVar[bool] = True
    yaml_keys: ClassVar[str] = "xml_pipeline.llm.providers.scripted.section:ScriptedKeys"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._used: dict[int, int] = {}

    def serves_model(self, model: str) -> bool:
        return True

    def supports(self, feature: Feature, model: str) -> bool:
        return self.native_schema if feature == "schema" else self.native_tools

    async def _do_completion(self, client: Any, request: LLMRequest) -> LLMResponse:
        rule, found = self._choose(request)
        if rule.latency:
            await asyncio.sleep(rule.latency)
        if rule.error is not None:
            raise _error(rule)
        return _response(rule, found, request)

    async def _do_stream(self, client: Any, request: LLMRequest) -> AsyncIterator[StreamEvent]:
        rule, found = self._choose(request)
        if rule.latency:
            await asyncio.sleep(rule.latency)
        if rule.error is not None and not rule.fail_after:
            raise _error(rule)
        response = _response(rule, found, request)
        sent = 0
        for event in as_events(response):
            for piece in _pieces(event, rule):
                if rule.error is not None and sent == rule.fail_after:
                    raise _error(rule)
                sent += isinstance(piece, (TextDelta, ToolCallDelta))
                yield piece
                await asyncio.sleep(0)

    def _choose(self, request: LLMRequest) -> tuple[Rule, re.Match[str] | None]:
        self.requests.append(request)
        role = "tool" if request.messages[-1]["role"] == "tool" else "user"
        text = latest_text(request.messages)
        for index, rule in enumerate(self.rules):
            if rule.on != role or (rule.times is not None and self._used.get(index, 0) >= rule.times):
                continue
            found = re.search(rule.match, text, re.DOTALL)
            if (
                found
                and fnmatchcase(request.model, rule.model)
                and fnmatchcase(request.agent, rule.agent)
                and (rule.when is None or rule.when(request))
            ):
                self._used[index] = self._used.get(index, 0) + 1
                return rule, found
        return Rule(reply=_offline), None


def latest_text(messages: Sequence[Message]) -> str:
    """The text of the last message, or of all tool results at the end."""
    results = list(takewhile(lambda message: message["role"] == "tool", reversed(messages)))
    return "\n".join(shown_text(message) for message in reversed(results or messages[-1:]))


def _offline(request: LLMRequest) -> str:
    text = latest_text(request.messages)
    what = "The tool answered" if request.messages[-1]["role"] == "tool" else "You wrote"
    return f"(offline: scripted backend, no model was asked) {what}: {text}"


def _response(rule: Rule, found: re.Match[str] | None, request: LLMRequest) -> LLMResponse:
    reply = rule.reply(request) if callable(rule.reply) else _expand(rule.reply, found)
    if isinstance(reply, LLMResponse):
        return reply
    wanted = ([(rule.tool, rule.arguments)] if rule.tool else []) + list(rule.calls)
    calls = tuple(
        ToolCall(
            f"call_{len(request.messages)}{f'_{number}' if number else ''}", tool, _arguments(given, found)
        )
        for number, (tool, given) in enumerate(wanted)
    )
    written = text_size(reply) + sum(text_size(call.arguments_text) for call in calls)
    usage = (
        Usage(-(-prompt_size(request.messages) // BYTES_PER_TOKEN), -(-written // BYTES_PER_TOKEN))
        if rule.usage is None
        else Usage.of(rule.usage)
    )
    return LLMResponse(
        content=reply,
        model=request.model,
        usage=usage,
        finish_reason=rule.finish_reason or ("tool_calls" if calls else "stop"),
        tool_calls=calls,
    )


def _arguments(given: str | Mapping[str, Any], found: re.Match[str] | None) -> str:
    if isinstance(given, str):
        return _expand(given, found)

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return _expand(value, found)
        if isinstance(value, Mapping):
            return {key: filled(inner) for key, inner in value.items()}
        return [filled(inner) for inner in value] if isinstance(value, list | tuple) else value

    return json.dumps(filled(given), ensure_ascii=False)


def _expand(template: str, found: re.Match[str] | None) -> str:
    if found is None or "\\" not in template:
        return template
    try:
        return found.expand(template)
    except (re.error, IndexError) as wrong:
        raise errors.InvalidRequestError(
            f"the scripted reply {template!r} does not expand: {wrong}"
        ) from None


def _error(rule: Rule) -> errors.BackendError:
    if isinstance(rule.error, errors.BackendError):
        return copy.copy(rule.error)
    assert rule.error is not None
    kind = getattr(errors, rule.error)
    made = kind("scripted failure", retry_after=rule.retry_after)
    assert isinstance(made, errors.BackendError)
    return made


def _pieces(event: StreamEvent, rule: Rule) -> Sequence[StreamEvent]:
    if not isinstance(event, TextDelta):
        return (event,)
    if rule.chunks and "".join(rule.chunks) == event.text:
        return [TextDelta(chunk) for chunk in rule.chunks]
    return [TextDelta(word) for word in re.findall(r"\s*\S+\s*$|\s*\S+|\s+$", event.text)]
