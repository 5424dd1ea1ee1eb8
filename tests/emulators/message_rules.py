"""The checks Anthropic's Messages API makes on a request body.

Stricter than the service in one point: turns of one role in a row, which it joins, are refused here, because
older gateways in front of it refuse them. Version 2026-10-21 knows no sampling parameters at all
(platform.claude.com/docs/en/api/versioning).
"""

from __future__ import annotations

import re
from typing import Any

PARAMETERS = frozenset(
    [
        "max_tokens",
        "messages",
        "model",
        "cache_control",
        "container",
        "diagnostics",
        "inference_geo",
        "metadata",
        "output_config",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    ]
)
SAMPLING = frozenset(("temperature", "top_p", "top_k"))
TOOL_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")
TOOL_ID = re.compile(r"^[a-zA-Z0-9_-]+$")
NO_SAMPLING = re.compile(r"^claude-(opus-4-[7-9]|(opus|sonnet|haiku|fable|mythos)-[5-9])")
ONE_SAMPLER = re.compile(r"^claude-(opus-4-[1-9]|sonnet-4-[5-9]|haiku-4-[5-9])")
NO_MANUAL_THINKING = NO_SAMPLING
NO_PREFILL = re.compile(r"^claude-(opus-4-[6-9]|sonnet-4-[6-9]|(opus|sonnet|haiku|fable|mythos)-[5-9])")
SCHEMA_LIMITS = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
)


class Wrong(Exception):
    """A broken rule, in Anthropic's words."""


def check(body: Any, *, version: str, signature_prefix: str) -> None:
    """Raise Wrong for the first rule that `body` breaks."""
    if not isinstance(body, dict):
        raise Wrong("Input should be a valid dictionary")
    known = PARAMETERS - SAMPLING if version >= "2026-10-21" else PARAMETERS
    for name in body:
        if name not in known:
            raise Wrong(f"{name}: Extra inputs are not permitted")
    for name in ("model", "max_tokens", "messages"):
        if name not in body:
            raise Wrong(f"{name}: Field required")
    if not isinstance(body["max_tokens"], int) or body["max_tokens"] < 1:
        raise Wrong("max_tokens: Input should be greater than or equal to 1")
    _check_sampling(body)
    _check_thinking(body)
    _check_system(body.get("system"))
    _check_tools(body)
    _check_output(body.get("output_config"))
    _check_messages(body, signature_prefix)
    marks = (
        _count_marks(body.get("system")) + _count_marks(body.get("tools")) + _count_marks(body["messages"])
    )
    if marks > 4:
        raise Wrong(f"A maximum of 4 blocks with cache_control may be provided. Found {marks}.")


def _check_sampling(body: dict[str, Any]) -> None:
    for name in SAMPLING & set(body):
        if NO_SAMPLING.match(body["model"]):
            raise Wrong(f"{name}: this model does not support sampling parameters")
    if {"temperature", "top_p"} <= set(body) and ONE_SAMPLER.match(body["model"]):
        raise Wrong("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    temperature = body.get("temperature")
    if temperature is not None and not 0 <= temperature <= 1:
        raise Wrong("temperature: range: 0..1")
    for stop in body.get("stop_sequences", ()):
        if not stop.strip():
            raise Wrong("stop_sequences: each stop sequence must contain non-whitespace")


def _check_thinking(body: dict[str, Any]) -> None:
    thinking = body.get("thinking")
    if thinking is None or thinking.get("type") == "disabled":
        return
    if thinking.get("type") == "enabled":
        if NO_MANUAL_THINKING.match(body["model"]):
            raise Wrong(
                '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive".'
            )
        if thinking.get("budget_tokens", 0) < 1024:
            raise Wrong("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        if body["max_tokens"] <= thinking["budget_tokens"]:
            raise Wrong("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if body.get("temperature", 1) != 1:
        raise Wrong("`temperature` may only be set to 1 when thinking is enabled.")
    if body.get("tool_choice", {}).get("type") in ("any", "tool"):
        raise Wrong("Thinking may not be enabled when tool_choice forces tool use.")


def _check_system(system: Any) -> None:
    if system is None or (isinstance(system, str) and system):
        return
    if isinstance(system, str):
        raise Wrong("system: text content blocks must be non-empty")
    for index, block in enumerate(system):
        if block.get("type") != "text":
            raise Wrong(f"system.{index}.type: Input should be 'text'")
        if not block.get("text"):
            raise Wrong(f"system.{index}: text content blocks must be non-empty")


def _check_tools(body: dict[str, Any]) -> None:
    names = []
    for index, tool in enumerate(body.get("tools", ())):
        where = f"tools.{index}.custom"
        if not TOOL_NAME.match(str(tool.get("name", ""))):
            raise Wrong(f"{where}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if tool.get("description") == "":
            raise Wrong(f"{where}.description: String should have at least 1 character")
        schema = tool.get("input_schema")
        if not isinstance(schema, dict):
            raise Wrong(f"{where}.input_schema: Field required")
        if schema.get("type") != "object":
            raise Wrong(f"{where}.input_schema.type: Input should be 'object'")
        if set(tool) - {"name", "description", "input_schema", "cache_control", "type", "strict"}:
            raise Wrong(f"{where}: Extra inputs are not permitted")
        names.append(tool["name"])
    if len(set(names)) != len(names):
        raise Wrong("tools: Tool names must be unique.")
    choice = body.get("tool_choice")
    if choice is None:
        return
    if not names:
        raise Wrong("tool_choice: may only be specified while providing tools")
    if choice.get("type") not in ("auto", "any", "tool", "none"):
        raise Wrong(
            "tool_choice.type: Input tag is not one of the expected tags: 'auto', 'any', 'tool', 'none'"
        )
    if choice["type"] == "tool" and choice.get("name") not in names:
        raise Wrong(f"Tool '{choice.get('name')}' not found in provided tools")


def _check_output(config: Any) -> None:
    form = (config or {}).get("format")
    if form is None:
        return
    if form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict):
        raise Wrong("output_config.format: Field required")
    _check_schema(form["schema"])


def _check_schema(schema: Any) -> None:
    if isinstance(schema, list):
        for part in schema:
            _check_schema(part)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        raise Wrong(
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to"
            " false"
        )
    for keyword in SCHEMA_LIMITS:
        if keyword in schema:
            raise Wrong(
                f"output_config.format.schema: For '{schema.get('type')}' type, property '{keyword}' is not"
                " supported"
            )
    for key in ("properties", "$defs"):
        for part in schema.get(key, {}).values():
            _check_schema(part)
    for key in ("items", "anyOf", "allOf"):
        _check_schema(schema.get(key))


def _count_marks(value: Any) -> int:
    if isinstance(value, list):
        return sum(_count_marks(part) for part in value)
    if isinstance(value, dict):
        return ("cache_control" in value) + (
            _count_marks(value["content"]) if isinstance(value.get("content"), list) else 0
        )
    return 0


def _check_messages(body: dict[str, Any], signature_prefix: str) -> None:
    messages = body["messages"]
    if not isinstance(messages, list) or not messages:
        raise Wrong("messages: at least one message is required")
    if messages[0].get("role") != "user":
        raise Wrong('messages: first message must use the "user" role')
    asked: list[str] = []
    for index, message in enumerate(messages):
        role = message.get("role")
        if role not in ("user", "assistant"):
            raise Wrong(
                f'messages: Unexpected role "{role}". The Messages API accepts a top-level `system`'
                " parameter,"
                ' not "system" as an input message'
                " role."
            )
        if index and messages[index - 1]["role"] == role:
            raise Wrong(
                'messages: roles must alternate between "user" and "assistant", but found multiple'
                f' "{role}" roles in a row'
            )
        asked = _check_turn(message, index, asked, last=index == len(messages) - 1, prefix=signature_prefix)
    if asked:
        _unanswered(len(messages) - 1, asked)
    if messages[-1]["role"] == "assistant" and NO_PREFILL.match(body["model"]):
        raise Wrong(
            "This model does not support assistant message prefill. The conversation must end with a user"
            " message."
        )
    if body.get("thinking", {}).get("type") == "enabled":
        _check_final_thinking(messages)


def _unanswered(index: int, ids: list[str]) -> None:
    raise Wrong(
        f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after:"
        f" {', '.join(ids)}. Each `tool_use` block must have a corresponding `tool_result` block in the next"
        " message."
    )


def _check_turn(
    message: dict[str, Any], index: int, asked: list[str], *, last: bool, prefix: str
) -> list[str]:
    content = message.get("content")
    if isinstance(content, str):
        if not content:
            raise Wrong(f"messages.{index}: all messages must have non-empty content")
        if last and message["role"] == "assistant" and content != content.rstrip():
            raise Wrong("messages: final assistant content cannot end with trailing whitespace")
        if asked:
            _unanswered(index - 1, asked)
        return []
    if not isinstance(content, list) or not content:
        raise Wrong(
            f"messages.{index}: all messages must have non-empty content except for the optional final"
            " assistant message"
        )
    asks: list[str] = []
    answered: list[str] = []
    others = 0
    for place, block in enumerate(content):
        where = f"messages.{index}.content.{place}"
        match block.get("type"):
            case "tool_result" if message["role"] == "user":
                _check_result(block, where, asked, others)
                answered.append(block["tool_use_id"])
            case "tool_use" if message["role"] == "assistant":
                asks.append(_check_use(block, where))
            case "thinking" if message["role"] == "assistant":
                if not str(block.get("signature", "")).startswith(prefix):
                    raise Wrong(f"{where}: Invalid `signature` in `thinking` block")
            case "redacted_thinking" if message["role"] == "assistant":
                pass
            case "text":
                others += 1
                if not block.get("text"):
                    raise Wrong("messages: text content blocks must be non-empty")
                if not block["text"].strip():
                    raise Wrong("messages: text content blocks must contain non-whitespace text")
            case "image" | "document" if message["role"] == "user":
                others += 1
            case kind:
                raise Wrong(f"{where}.type: Input tag '{kind}' is not expected here")
    missing = [ident for ident in asked if ident not in answered]
    if missing:
        _unanswered(index - 1, missing)
    return asks


def _check_result(block: dict[str, Any], where: str, asked: list[str], others: int) -> None:
    if block.get("tool_use_id") not in asked:
        raise Wrong(
            f"{where}: unexpected `tool_use_id` found in `tool_result` blocks:"
            f" {block.get('tool_use_id')}. Each"
            " `tool_result` block must have a corresponding `tool_use` block in the previous"
            " message."
        )
    if others:
        raise Wrong(f"{where}: `tool_result` blocks must come first in the user message")
    for part in block["content"] if isinstance(block.get("content"), list) else ():
        if part.get("type") == "text" and not part.get("text"):
            raise Wrong(f"{where}: text content blocks must be non-empty")


def _check_use(block: dict[str, Any], where: str) -> str:
    if not TOOL_ID.match(str(block.get("id", ""))):
        raise Wrong(f"{where}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
    if not TOOL_NAME.match(str(block.get("name", ""))):
        raise Wrong(f"{where}.tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    if not isinstance(block.get("input"), dict):
        raise Wrong(f"{where}.tool_use.input: Input should be a valid dictionary")
    return str(block["id"])


def _check_final_thinking(messages: list[dict[str, Any]]) -> None:
    """With manual thinking, an open tool loop must begin with the thinking it came from."""
    if (
        not isinstance(messages[-1]["content"], list)
        or messages[-1]["content"][0].get("type") != "tool_result"
    ):
        return
    first = messages[-2]["content"][0]
    if first.get("type") not in ("thinking", "redacted_thinking"):
        raise Wrong(
            f"messages.{len(messages) - 2}.content.0.type: Expected `thinking` or `redacted_thinking`,"
            " but found"
            f" `{first.get('type')}`. When `thinking` is enabled, a final `assistant` message must"
            " start with a"
            " thinking block."
        )
