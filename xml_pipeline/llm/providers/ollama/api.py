"""Requests and answers of Ollama's `/api/chat`. Pure.

Arguments of tool calls are objects here, images bare base64, and the window (`num_ctx`) is the client's to
choose: a longer prompt is cut without a word, so it is sized to the prompt, and the answer has room in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xml_pipeline.errors import ContextWindowError, InvalidRequestError, MalformedAnswerError, cut
from xml_pipeline.llm.http.dialect import (
    Dialect,
    StreamDecoder,
    UsageKeys,
    expect_object,
    missing,
    parse_chunk,
)
from xml_pipeline.llm.providers.history import (
    arguments_of,
    calls_of,
    image_url,
    inline_data,
    leading_system,
    made_id,
    merge_extra,
    own_data,
    parts_of,
    text_of,
    unsupported,
)
from xml_pipeline.llm.providers.schemas import in_words
from xml_pipeline.llm.providers.tool_names import ToolNames, function_tools
from xml_pipeline.llm.types import (
    LLMRequest,
    LLMResponse,
    Message,
    ReasoningDelta,
    StreamEvent,
    StreamFinished,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    UsageReport,
)

ANSWER_ROOM = 2048  # tokens kept for an answer without max_tokens
MARGIN = 1.2  # the prompt's size is an estimate
# A prompt that was cached whole may be counted as absent.
USAGE = UsageKeys.of(prompt="prompt_eval_count", completion="eval_count")


@dataclass(frozen=True, slots=True)
class OllamaSettings:
    """What a backend configures: see `OllamaBackend`."""

    keep_alive: str = ""
    num_ctx: int = 0
    min_num_ctx: int = 8192
    max_num_ctx: int = 131_072


def window(request: LLMRequest, settings: OllamaSettings) -> int:
    """The context window to ask for, in tokens.

    Raises:
        ContextWindowError: the prompt alone is longer than the greatest window.
    """
    greatest = settings.num_ctx or settings.max_num_ctx
    prompt = request.prompt_tokens_estimate
    if prompt > greatest:
        raise ContextWindowError(
            f"the prompt has about {prompt} tokens and the window at most {greatest}; Ollama would cut it"
            " silently. Shorten it, or raise max_num_ctx (or num_ctx) if the model has more"
        )
    if settings.num_ctx:
        return settings.num_ctx
    needed = int(prompt * MARGIN) + (request.max_tokens or ANSWER_ROOM)
    size = settings.min_num_ctx
    while size < needed:
        size *= 2
    return min(size, settings.max_num_ctx)


def encode_body(
    request: LLMRequest, settings: OllamaSettings, *, dialect: str, stream: bool
) -> dict[str, Any]:
    """The JSON body."""
    names = ToolNames.of(request)
    optional: dict[str, Any] = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "num_predict": request.max_tokens,
    }
    options = {key: value for key, value in optional.items() if value is not None}
    options["num_ctx"] = window(request, settings)
    body: dict[str, Any] = {
        "model": request.model,
        "messages": _messages(request, names, dialect),
        "stream": stream,
        "options": options,
    }
    if request.tools and request.tool_choice != "none":
        body["tools"] = function_tools(request, names)
    if request.response_schema is not None:
        if "tools" in body:  # a format would keep the model from calling any
            instruction = {"role": "system", "content": in_words(request.response_schema.schema)}
            body["messages"] = leading_system([instruction, *body["messages"]])
        else:
            body["format"] = dict(request.response_schema.schema)
    if request.reasoning_effort is not None:
        body["think"] = _think(request.model, request.reasoning_effort)
    if settings.keep_alive:
        body["keep_alive"] = _keep_alive(settings.keep_alive)
    return merge_extra(body, request)


def _think(model: str, effort: str) -> bool | str:
    """gpt-oss knows levels, all others on and off."""
    if "gpt-oss" in model.lower():
        return {"none": "low", "minimal": "low", "low": "low", "medium": "medium"}.get(effort, "high")
    return effort != "none"


def _keep_alive(text: str) -> int | str:
    """A number is seconds (-1 for ever) and must be a JSON number; a duration is text."""
    return int(text) if text.lstrip("-").isdigit() else text


def _messages(request: LLMRequest, names: ToolNames, dialect: str) -> list[dict[str, Any]]:
    called: dict[str, str] = {}
    shaped = []
    for message in request.messages:
        for call in calls_of(message):
            called[call["id"]] = names.wire(call["function"]["name"])
        shaped.append(_message(message, called, names, dialect))
    return leading_system(shaped)


def _message(message: Message, called: Mapping[str, str], names: ToolNames, dialect: str) -> dict[str, Any]:
    role = message["role"]
    if role == "user":
        return _user(message)
    shaped: dict[str, Any] = {"role": role, "content": text_of(message)}
    if role == "tool":
        name = called.get(message["tool_call_id"]) or message.get("name")
        if name:
            shaped["tool_name"] = name
        return shaped
    thinking = own_data(message, dialect).get("thinking")
    if thinking:
        shaped["thinking"] = thinking
    calls = calls_of(message)
    if calls:
        shaped["tool_calls"] = [
            {"function": {"name": names.wire(call["function"]["name"]), "arguments": arguments_of(call)}}
            for call in calls
        ]
    return shaped


def _user(message: Message) -> dict[str, Any]:
    texts: list[str] = []
    images: list[str] = []
    for part in parts_of(message):
        if part["type"] == "text":
            texts.append(part["text"])
        elif part["type"] == "image_url":
            data = inline_data(image_url(part))
            if data is None:
                raise InvalidRequestError("Ollama takes images only as data: URLs; send the image itself")
            images.append(data[1])
        else:
            raise unsupported(part, "a user message")
    shaped: dict[str, Any] = {"role": "user", "content": "".join(texts)}
    if images:
        shaped["images"] = images
    return shaped


def decode_answer(dialect: Dialect, data: Any, request: LLMRequest) -> LLMResponse:
    """The answer in one JSON object."""
    data = expect_object(data)
    message = data.get("message")
    if not isinstance(message, dict):
        raise missing("`message`", data)
    if data.get("done") is not True:
        raise missing("`done: true`", data)
    calls = read_calls(message.get("tool_calls"), 0, data, ToolNames.of(request))
    thinking = str(message.get("thinking") or "")
    return LLMResponse(
        content=str(message.get("content") or ""),
        model=str(data.get("model") or request.model),
        usage=USAGE.read(data),
        finish_reason=dialect.finish_reason(data.get("done_reason"), calls=bool(calls)),
        raw=data,
        tool_calls=calls,
        reasoning=thinking,
        provider_data={dialect.name: {"thinking": thinking}} if thinking and calls else {},
        stop_reason=str(data.get("done_reason") or ""),
    )


def read_calls(calls: Any, known: int, data: Mapping[str, Any], names: ToolNames) -> tuple[ToolCall, ...]:
    """The tool calls of a message; `known` came before them. Older servers give no ids."""
    found: list[ToolCall] = []
    for call in calls or ():
        function = call.get("function") if isinstance(call, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str) or not name:
            raise MalformedAnswerError(f"a tool call has no function name: {cut(call)}")
        index = known + len(found)
        call_id = call.get("id") or made_id(data.get("created_at"), index, function)
        name = names.plain(function["name"])
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            found.append(ToolCall(str(call_id), name, arguments))
        else:
            found.append(ToolCall.of(str(call_id), name, arguments or {}))
    return tuple(found)


class OllamaStreamDecoder(StreamDecoder):
    """State of one stream."""

    def __init__(self, dialect: Dialect, request: LLMRequest) -> None:
        self._dialect = dialect
        self._names = ToolNames.of(request)
        self._model = request.model
        self._calls = 0
        self._thinking: list[str] = []

    def feed(self, data: str, event: str) -> Sequence[StreamEvent]:
        line = parse_chunk(data)
        if line.get("error"):
            raise self._dialect.error(200, {}, line)
        message = line.get("message") or {}
        events: list[StreamEvent] = []
        if message.get("thinking"):
            self._thinking.append(message["thinking"])
            events.append(ReasoningDelta(message["thinking"]))
        if message.get("content"):
            events.append(TextDelta(message["content"]))
        for call in read_calls(message.get("tool_calls"), self._calls, line, self._names):
            events.append(ToolCallDelta(self._calls, call.id, call.name, call.arguments_text))
            self._calls += 1
        if line.get("done"):
            events += self._end(line)
        return events

    def _end(self, line: Mapping[str, Any]) -> list[StreamEvent]:
        self.done = True
        thinking = "".join(self._thinking)
        kept = {self._dialect.name: {"thinking": thinking}} if thinking and self._calls else {}
        reason = self._dialect.finish_reason(line.get("done_reason"), calls=bool(self._calls))
        model = str(line.get("model") or self._model)
        said = str(line.get("done_reason") or "")
        finished = StreamFinished(reason, model, provider_data=kept, stop_reason=said)
        return [UsageReport(USAGE.read(line)), finished]
