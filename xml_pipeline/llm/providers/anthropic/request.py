"""Neutral request → body of Anthropic's Messages API. Pure.

What the API wants and the neutral history does not guarantee: all system messages go to the top level, in their
order; turns alternate and begin with the user's; results of tool calls come first in the user turn after
the calls; no text block is empty; thinking goes back as it came, in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xml_pipeline.llm.http.dialect import WireRequest
from xml_pipeline.llm.providers.anthropic.rules import (
    BUDGETS,
    EFFORTS,
    NEWEST_VERSION,
    SAMPLING_VERSION,
    ClaudeRule,
    rule_for,
)
from xml_pipeline.llm.providers.history import (
    CONTINUE,
    CallIds,
    arguments_of,
    calls_of,
    image_url,
    inline_data,
    merge_extra,
    own_data,
    parts_of,
    texts_of,
    unsupported,
)
from xml_pipeline.llm.providers.schemas import closed_schema, in_words
from xml_pipeline.llm.providers.tool_names import ToolNames, marked
from xml_pipeline.llm.types import LLMRequest, Message

_MARKABLE = ("text", "tool_result", "tool_use", "image")
LOOKED_BACK = 20
"""Blocks before a mark in which the API looks for what it has cached
(platform.claude.com/docs/en/build-with-claude/prompt-caching)."""
MAX_MARKS = 4
"""`cache_control` marks that one request may carry."""


@dataclass(frozen=True, slots=True)
class MessagesSettings:
    """What a backend configures: see `AnthropicBackend`."""

    max_tokens: int = 16_384
    cache_ttl: str = "5m"
    api_version: str = ""
    beta: str = ""


def encode_request(
    request: LLMRequest, settings: MessagesSettings, *, dialect: str, stream: bool
) -> WireRequest:
    """The POST for a request."""
    rule = rule_for(request.model)
    names = ToolNames.of(request)
    system = _system(request)
    turns = _Turns(names, dialect)
    changing = len(request.messages) - request.changing
    for number, message in enumerate(request.messages):
        turns.add(message, stable=number < changing)
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_tokens or settings.max_tokens,
        "messages": turns.closed(prefill=rule.prefill),
    }
    if request.tools:
        body["tools"] = [
            marked(
                {"name": names.wire(tool.name), "input_schema": {"type": "object", **tool.parameters}}, tool
            )
            for tool in request.tools
        ]
        if request.tool_choice is not None:
            body["tool_choice"] = _choice(request.tool_choice, names)
    if request.response_schema is not None:
        schema = closed_schema(request.response_schema.schema)
        if schema is None:
            system.append(_block(in_words(request.response_schema.schema)))
        else:
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    if system:
        body["system"] = system
    if request.stop:
        body["stop_sequences"] = [stop for stop in request.stop if stop.strip()]
    thinks = _think(body, request, rule)
    samples = rule.sampling and not thinks and settings.api_version in ("", SAMPLING_VERSION)
    if samples and request.temperature is not None:
        body["temperature"] = min(request.temperature, 1.0)
    elif samples and request.top_p is not None:
        body["top_p"] = request.top_p
    if request.cache_prompt:
        _mark(body, request.cache_ttl or settings.cache_ttl, turns.stable)
    _limit_marks(body)
    if stream:
        body["stream"] = True
    body = merge_extra(body, request)
    sampled = not body.keys().isdisjoint(("temperature", "top_p", "top_k"))
    version = settings.api_version or (SAMPLING_VERSION if sampled else NEWEST_VERSION)
    headers = {"anthropic-version": version}
    if settings.beta:
        headers["anthropic-beta"] = settings.beta
    return WireRequest("/v1/messages", body, headers)


def _block(text: str, marked: Mapping[str, Any] | None = None) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": text}
    if marked and marked.get("cache_control"):
        block["cache_control"] = dict(marked["cache_control"])
    return block


def _system(request: LLMRequest) -> list[dict[str, Any]]:
    """All system messages, in their order."""
    blocks = []
    for message in request.messages:
        if message["role"] != "system":
            continue
        found = [_block(part["text"], part) for part in texts_of(message) if part["text"].strip()]
        if found and message.get("cache_control"):
            found[-1]["cache_control"] = dict(message["cache_control"])
        blocks += found
    return blocks


def _choice(choice: str, names: ToolNames) -> dict[str, Any]:
    kinds = {"auto": "auto", "none": "none", "required": "any"}
    return {"type": kinds[choice]} if choice in kinds else {"type": "tool", "name": names.wire(choice)}


def _think(body: dict[str, Any], request: LLMRequest, rule: ClaudeRule) -> bool:
    """Turn thinking on as the effort says; True when it is on and so forbids sampling."""
    effort = request.reasoning_effort
    if effort is None or effort == "none":
        return False
    forced = body.get("tool_choice", {}).get("type") in ("any", "tool")
    if rule.adaptive:
        body["output_config"] = {**body.get("output_config", {}), "effort": EFFORTS.get(effort, effort)}
        if not forced:
            body["thinking"] = {"type": "adaptive"}
        return not forced
    budget = thinking_tokens(request, rule)
    if not budget or forced or _open_loop_without_thinking(body["messages"]):
        return False
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    body["max_tokens"] = max(body["max_tokens"], 1) + budget  # the limit counts the thinking
    return True


def thinking_tokens(request: LLMRequest, rule: ClaudeRule) -> int:
    """What thinking may take on top of the output limit; none where the model decides within the limit."""
    return 0 if rule.adaptive else BUDGETS.get(request.reasoning_effort or "none", 0)


def _open_loop_without_thinking(turns: list[dict[str, Any]]) -> bool:
    """Whether tool calls wait for their answer that another provider, or no thinking, led to.

    Manual thinking refuses such a history; it is off until the loop ends.
    """
    if len(turns) < 2 or turns[-1]["content"][0]["type"] != "tool_result":
        return False
    return turns[-2]["content"][0]["type"] not in ("thinking", "redacted_thinking")


class _Turns:
    """Messages → alternating turns of blocks.

    Attributes:
        stable: the last block that can carry a mark of the messages that a later call has as well; None for none.
    """

    def __init__(self, names: ToolNames, dialect: str) -> None:
        self._names = names
        self._ids = CallIds()
        self._dialect = dialect
        self._turns: list[dict[str, Any]] = []
        self.stable: dict[str, Any] | None = None

    def add(self, message: Message, *, stable: bool) -> None:
        """Append a message to its turn."""
        self._append(message)
        if stable and self._turns:
            blocks = (block for block in reversed(self._turns[-1]["content"]) if block["type"] in _MARKABLE)
            self.stable = next(blocks, self.stable)

    def _append(self, message: Message) -> None:
        role = message["role"]
        if role == "system":
            return
        if role == "tool":
            self._extend("user", [self._result(message)])
        elif role == "assistant":
            self._extend("assistant", self._assistant(message))
        else:
            blocks = [self._part(part) for part in parts_of(message)]
            self._extend("user", _without_blank(blocks), message)

    def closed(self, *, prefill: bool) -> list[dict[str, Any]]:
        """The turns, with the user's turns that the API wants where there are none."""
        turns = self._turns
        if not turns or turns[0]["role"] != "user":
            turns.insert(0, {"role": "user", "content": [_block(CONTINUE)]})
        last = turns[-1]
        if last["role"] == "assistant":
            if not prefill or last["content"][-1]["type"] != "text":
                turns.append({"role": "user", "content": [_block(CONTINUE)]})
            else:
                last["content"][-1]["text"] = last["content"][-1]["text"].rstrip()
        return turns

    def _extend(self, role: str, blocks: list[dict[str, Any]], marked: Message | None = None) -> None:
        if not blocks:
            return
        if marked is not None and marked.get("cache_control"):
            blocks[-1]["cache_control"] = dict(marked["cache_control"])
        if self._turns and self._turns[-1]["role"] == role:
            self._turns[-1]["content"] += blocks
        else:
            self._turns.append({"role": role, "content": blocks})

    def _result(self, message: Message) -> dict[str, Any]:
        block: dict[str, Any] = {
            "type": "tool_result",
            "tool_use_id": self._ids.result(message["tool_call_id"]),
        }
        content = [self._part(part) for part in parts_of(message)]
        for inner in content:  # a mark stands on the result itself
            mark = inner.pop("cache_control", None)
            if mark is not None:
                block["cache_control"] = mark
        if content:
            block["content"] = content
        if message.get("is_error"):
            block["is_error"] = True
        if message.get("cache_control"):
            block["cache_control"] = dict(message["cache_control"])
        return block

    def _assistant(self, message: Message) -> list[dict[str, Any]]:
        texts = [_block(part["text"], part) for part in texts_of(message)]
        uses = [self._use(call) for call in calls_of(message)]
        own = own_data(message, self._dialect).get("content")
        if isinstance(own, list) and own:
            return _replayed(own, texts, uses)
        return _without_blank(texts) + uses

    def _use(self, call: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "type": "tool_use",
            "id": self._ids.call(call["id"]),
            "name": self._names.wire(call["function"]["name"]),
            "input": arguments_of(call),
        }

    def _part(self, part: Mapping[str, Any]) -> dict[str, Any]:
        if part["type"] == "text":
            return _block(part["text"], part)
        if part["type"] != "image_url":
            raise unsupported(part, "a message")
        url = image_url(part)
        data = inline_data(url)
        source = (
            {"type": "base64", "media_type": data[0], "data": data[1]}
            if data
            else {"type": "url", "url": url}
        )
        block: dict[str, Any] = {"type": "image", "source": source}
        if part.get("cache_control"):
            block["cache_control"] = dict(part["cache_control"])
        return block


def _without_blank(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [block for block in blocks if block.get("type") != "text" or _said(block).strip()]


def _said(block: Mapping[str, Any]) -> str:
    """The text of a block; a history may come from a file, and its blocks from anywhere."""
    text = block.get("text")
    return text if isinstance(text, str) else ""


def _replayed(
    own: list[Any], texts: list[dict[str, Any]], uses: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The blocks as they came, thinking in its place; if the message was changed since, thinking first."""
    own = [block for block in own if isinstance(block, Mapping)]
    same_text = "".join(map(_said, own)) == "".join(block["text"] for block in texts)
    came = [block.get("id") for block in own if block.get("type") == "tool_use"]
    if same_text and came == [use["id"] for use in uses]:
        by_id = {use["id"]: use for use in uses}
        return _without_blank([by_id.get(block.get("id"), dict(block)) for block in own])
    thinking = [dict(block) for block in own if "thinking" in str(block.get("type"))]
    return thinking + _without_blank(texts) + uses


def _mark(body: dict[str, Any], ttl: str, stable: dict[str, Any] | None) -> None:
    """Ask to cache what a later call begins with: tools and system, and the messages up to the last stable one."""
    mark = {"type": "ephemeral"} if ttl == "5m" else {"type": "ephemeral", "ttl": ttl}
    prefix = body.get("system") or body.get("tools")
    if prefix:
        prefix[-1].setdefault("cache_control", mark)
    for block in () if stable is None else _ends(body["messages"], stable):
        block.setdefault("cache_control", mark)


def _ends(turns: list[dict[str, Any]], stable: dict[str, Any]) -> list[dict[str, Any]]:
    """The last stable block; and the last one of the call before, where the API would not look back so far."""
    at = next(index for index, turn in enumerate(turns) if any(block is stable for block in turn["content"]))
    if at < 2 or sum(len(turn["content"]) for turn in turns[at - 1 : at + 1]) < LOOKED_BACK:
        return [stable]
    before = [block for block in turns[at - 2]["content"] if block["type"] in _MARKABLE]
    return [*before[-1:], stable]


def _limit_marks(body: dict[str, Any]) -> None:
    """Keep the last marks: each covers all that is before it, and none may outlive one before it."""
    blocks = [*body.get("tools", ()), *body.get("system", ())]
    blocks += [block for turn in body["messages"] for block in turn["content"]]
    marked = [block for block in blocks if "cache_control" in block]
    for block in marked[:-MAX_MARKS]:
        del block["cache_control"]
    short = False
    for block in marked[-MAX_MARKS:]:
        mark = block["cache_control"]
        short = short or mark.get("ttl", "5m") == "5m"
        if short and "ttl" in mark:
            block["cache_control"] = {**mark, "ttl": "5m"}
