"""OpenAI's chat completions, the dialect that most servers speak. Pure.

Source: platform.openai.com/docs/api-reference/chat. What servers do differently is data (`Flavour`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from xml_pipeline.errors import MalformedAnswerError, cut
from xml_pipeline.llm.http.dialect import (
    Dialect,
    StreamDecoder,
    UsageKeys,
    WireRequest,
    expect_object,
    missing,
)
from xml_pipeline.llm.providers.chat.rules import ANY, ModelRule, rule_for
from xml_pipeline.llm.providers.chat.stream import ChatStreamDecoder
from xml_pipeline.llm.providers.history import (
    CallIds,
    arguments_text,
    calls_of,
    leading_system,
    made_id,
    merge_extra,
    own_data,
    text_of,
    unsupported,
)
from xml_pipeline.llm.providers.schemas import in_words, named_schema
from xml_pipeline.llm.providers.tool_names import ToolNames, function_tools
from xml_pipeline.llm.types import LLMRequest, LLMResponse, Message, ResponseSchema, ToolCall, Usage

USAGE = UsageKeys.of(
    prompt="prompt_tokens",
    completion="completion_tokens",
    cached="prompt_tokens_details.cached_tokens",
    cache_write="prompt_tokens_details.cache_write_tokens",
    reasoning="completion_tokens_details.reasoning_tokens",
)
_PARTS = frozenset(("text", "image_url", "input_audio", "file", "refusal", "video_url", "audio_url"))


@dataclass(frozen=True, slots=True)
class Flavour:
    """How one server differs from another.

    Attributes:
        limit: the name of the output limit.
        rules: what its models take; unlisted models take everything.
        cache_key: it knows `prompt_cache_key`.
        cache_header: the header that it takes instead, or "".
        cache_control: it passes `cache_control` marks of parts on.
        replays: fields of its messages that it wants back in the next turn.
        call_replays: the same for its tool calls.
        local: it serves an open model itself: the chat template takes one system message, and output by JSON
            Schema excludes tool calls.
    """

    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    rules: Sequence[ModelRule] = ()
    cache_key: bool = False
    cache_header: str = ""
    cache_control: bool = False
    replays: tuple[str, ...] = ()
    call_replays: tuple[str, ...] = ()
    local: bool = False


def marked_messages(messages: Sequence[Message], changing: int) -> list[Message]:
    """With marks for Anthropic's prompt cache, which gateways pass on: after the system prompt, and after the last
    message of a user that comes again."""
    marked = list(messages)
    stable = range(len(marked) - changing)
    for role in ("system", "user"):
        found = next((index for index in reversed(stable) if marked[index]["role"] == role), None)
        if found is not None:
            marked[found] = {"cache_control": {"type": "ephemeral"}, **marked[found]}
    return marked


class ChatDialect(Dialect):
    """Chat completions in one flavour."""

    name = "chat"
    finish_reasons: ClassVar[Mapping[str, str]] = {
        "eos": "stop",
        "eos_token": "stop",
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "model_length": "length",
        "function_call": "tool_calls",
    }

    def __init__(self, flavour: Flavour | None = None) -> None:
        self.flavour = flavour or Flavour()

    # Request

    def encode(self, request: LLMRequest, *, stream: bool) -> WireRequest:
        flavour = self.flavour
        rule = rule_for(request.model, flavour.rules) if flavour.rules else ANY
        names: ToolNames | None = None  # of the tools that occur; most requests have none
        messages: list[dict[str, Any]] = []
        asked = request.messages
        if flavour.cache_control and request.cache_prompt and "claude" in request.model.lower():
            asked = marked_messages(asked, request.changing)
        for message in asked:
            role, content = message["role"], message.get("content")
            if (
                type(content) is str
                and (role == "user" or role == "system")
                and "cache_control" not in message
            ):
                messages.append({"role": role, "content": content})
                continue
            if names is None:
                names, ids = ToolNames.of(request), CallIds()
            messages.append(self._message(message, names, ids))
        body: dict[str, Any] = {"model": request.model, "messages": messages}
        effort = None if request.reasoning_effort is None else rule.effort(request.reasoning_effort)
        optional = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "stop": list(request.stop) or None,
        }
        for parameter, value in optional.items():
            if value is not None and rule.takes(parameter, effort):
                body[parameter] = value
        if request.max_tokens is not None:
            body[flavour.limit] = request.max_tokens
        if effort is not None:
            body["reasoning_effort"] = effort
        if request.tools:
            names = names or ToolNames.of(request)
            body["tools"] = function_tools(request, names, marks=flavour.cache_control)
            if request.tool_choice is not None:
                body["tool_choice"] = self._choice(request.tool_choice, names)
        if request.response_schema is not None:
            if flavour.local and request.tools:
                instruction = {"role": "system", "content": in_words(request.response_schema.schema)}
                messages.insert(0, instruction)
            else:
                body["response_format"] = response_format(request.response_schema)
        if flavour.local and len(messages) > 1 and messages[1]["role"] == "system":
            body["messages"] = leading_system(messages)
        headers: dict[str, str] = {}
        if request.cache_key and flavour.cache_header:
            headers[flavour.cache_header] = request.cache_key
        elif request.cache_key and flavour.cache_key:
            body["prompt_cache_key"] = request.cache_key
        if stream:
            body["stream"] = True
            body["stream_options"] = {"include_usage": True}
        return WireRequest(
            "/chat/completions", merge_extra(body, request) if request.extra else body, headers
        )

    def _choice(self, choice: str, names: ToolNames) -> Any:
        if choice in ("auto", "none", "required"):
            return choice
        return {"type": "function", "function": {"name": names.wire(choice)}}

    def _message(self, message: Message, names: ToolNames, ids: CallIds) -> dict[str, Any]:
        role = message["role"]
        if role == "tool":
            return {
                "role": "tool",
                "tool_call_id": ids.result(message["tool_call_id"]),
                "content": text_of(message),
            }
        content = message.get("content")
        if role == "system" and self.flavour.local:
            content = text_of(message)
        elif content is not None and not isinstance(content, str):
            content = [self._part(part, role) for part in content] or ""
        mark = message.get("cache_control") if self.flavour.cache_control else None
        if mark and content:
            content = [{"type": "text", "text": content}] if isinstance(content, str) else content
            content[-1] = {**content[-1], "cache_control": dict(mark)}
        shaped: dict[str, Any] = {"role": role, "content": content or ""}
        if role == "assistant":
            calls = calls_of(message)
            if calls:
                shaped["content"] = content or None
                shaped["tool_calls"] = [self._call(call, names, ids) for call in calls]
            own = own_data(message, self.name)
            shaped.update({key: own[key] for key in self.flavour.replays if key in own})
        return shaped

    def _part(self, part: Mapping[str, Any], role: str) -> dict[str, Any]:
        if part["type"] not in _PARTS:
            raise unsupported(part, f"a {role} message")
        dropped = () if self.flavour.cache_control else ("cache_control",)
        return {key: value for key, value in part.items() if key not in dropped}

    def _call(self, call: Mapping[str, Any], names: ToolNames, ids: CallIds) -> dict[str, Any]:
        shaped = {
            "id": ids.call(call["id"]),
            "type": "function",
            "function": {"name": names.wire(call["function"]["name"]), "arguments": arguments_text(call)},
        }
        own = own_data(call, self.name)
        shaped.update({key: own[key] for key in self.flavour.call_replays if key in own})
        return shaped

    # Answer

    def decode(self, data: Any, request: LLMRequest) -> LLMResponse:
        data = expect_object(data)
        self.raise_error(data)
        choices = data.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise missing("`choices`", data)
        choice = choices[0]
        self.raise_error(choice)
        message = choice.get("message")
        if not isinstance(message, dict):
            raise missing("`choices[0].message`", choice)
        content = self.text_in(message.get("content"))
        finish = choice.get("finish_reason")
        if message.get("refusal") and not content:
            content, finish = str(message["refusal"]), "content_filter"
        called = message.get("tool_calls")
        calls = self._calls(called, str(data.get("id", "")), request) if called else ()
        return LLMResponse(
            content=content,
            model=str(data.get("model") or request.model),
            usage=self.usage_in(data.get("usage"), data.get("service_tier")),
            finish_reason=self.finish_reason(finish, calls=bool(calls)),
            raw=data,
            tool_calls=calls,
            reasoning=self.reasoning_in(message),
            provider_data=self.keep(message, self.flavour.replays) if self.flavour.replays else {},
            stop_reason=str(finish or ""),
            stop_sequence=self.stop_sequence(choice),
        )

    def _calls(self, calls: Any, answer_id: str, request: LLMRequest) -> tuple[ToolCall, ...]:
        if not isinstance(calls, list):
            raise MalformedAnswerError(f"`tool_calls` is no list: {cut(calls)}")
        names = ToolNames.of(request)
        return tuple(self._read_call(call, index, answer_id, names) for index, call in enumerate(calls))

    def _read_call(self, call: Any, index: int, answer_id: str, names: ToolNames) -> ToolCall:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise MalformedAnswerError(f"`tool_calls[{index}]` has no function name: {cut(call)}")
        call_id = call.get("id") or made_id(answer_id, index)
        name = names.plain(function["name"])
        kept = self.keep(call, self.flavour.call_replays)
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            return ToolCall(str(call_id), name, arguments, kept)
        return ToolCall.of(str(call_id), name, arguments or {}, kept)

    @staticmethod
    def text_in(content: Any) -> str:
        """The text of an answer's content, which some servers send in parts."""
        if isinstance(content, str):
            return content
        if isinstance(content, list):
            return "".join(
                part["text"]
                for part in content
                if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
        return ""

    @staticmethod
    def reasoning_in(message: Mapping[str, Any]) -> str:
        """The reasoning beside the content, as `reasoning_content` (DeepSeek, SGLang) or `reasoning` (vLLM)."""
        for key in ("reasoning_content", "reasoning"):
            text = message.get(key)
            if isinstance(text, str) and text:
                return text
        return ""

    @staticmethod
    def usage_in(usage: Any, tier: object) -> Usage:
        """Usage; xAI's `completion_tokens` leaves the reasoning out, which shows in its `total_tokens`."""
        found = USAGE.read(usage, tier)
        reasoning = found.reasoning_tokens
        if reasoning and usage.get("total_tokens") == found.total_tokens + reasoning:
            return replace(found, completion_tokens=found.completion_tokens + reasoning)
        return found

    @staticmethod
    def stop_sequence(choice: Mapping[str, Any]) -> str:
        """The stop text that ended a choice, as vLLM (`stop_reason`) and SGLang (`matched_stop`) tell it; else ""."""
        if choice.get("finish_reason") == "stop":
            for told in (choice.get("stop_reason"), choice.get("matched_stop")):
                if isinstance(told, str):
                    return told
        return ""

    def keep(self, holder: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
        """What has to come back with a message or a call, as `provider_data`."""
        kept = {key: holder[key] for key in fields if holder.get(key)}
        return {self.name: kept} if kept else {}

    def raise_error(self, data: Mapping[str, Any]) -> None:
        """Raise the error that stands in an answer, if there is one.

        Servers put it into a 200 as `error`, or are the error themselves (`"object": "error"`).
        """
        if data.get("error") or data.get("object") == "error":
            raise self.error(200, {}, data)
        if data.get("finish_reason") == "error":
            raise self.error(200, {}, {"error": {"message": "the provider ended the answer with an error"}})

    def stream_decoder(self, request: LLMRequest) -> StreamDecoder:
        return ChatStreamDecoder(self, request)


def response_format(schema: ResponseSchema) -> dict[str, Any]:
    """Structured output, strict where the schema allows it."""
    named = named_schema(schema)
    if schema.description:
        named["description"] = schema.description
    return {"type": "json_schema", "json_schema": named}
