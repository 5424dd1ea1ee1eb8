"""What a caller passes to `complete()` → the neutral shapes of `types.py`. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xml_pipeline.errors import InvalidRequestError, cut
from xml_pipeline.llm.types import LLMResponse, Message, ToolSpec
from xml_pipeline.payload import Codec, codec_of, is_payload

ROLES = frozenset(("system", "user", "assistant", "tool"))


def _wrong(index: int, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"messages[{index}]: {what}")


def normalise_messages(messages: str | Iterable[Message | LLMResponse]) -> list[Message]:
    """OpenAI-style dicts, checked; a plain string is one user message, a response its assistant message.

    Raises:
        InvalidRequestError: names the first message that is wrong, and what is allowed.
    """
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    if not isinstance(messages, Iterable) or isinstance(messages, (bytes, Mapping)):
        raise InvalidRequestError(f"messages is a list of dicts, or one text, not {type(messages).__name__}")
    checked: list[Message] = []
    for index, message in enumerate(messages):
        if isinstance(message, LLMResponse):
            message = message.message
        if not isinstance(message, Mapping):
            raise _wrong(index, f"a message is a dict with role and content, not {cut(message)}")
        role = message.get("role")
        if role == "developer":
            message, role = {**message, "role": "system"}, "system"
        if role not in ROLES:
            raise _wrong(index, f"role {cut(repr(role))} is none of {', '.join(sorted(ROLES))}")
        content = message.get("content")
        if type(content) is not str:
            _check_content(index, str(role), message, content)
        if role == "tool" and not isinstance(message.get("tool_call_id"), str):
            raise _wrong(index, "a tool message needs the tool_call_id of the call it answers")
        checked.append(message)
    if not checked:
        raise InvalidRequestError("messages is empty; pass at least one message")
    return checked


def after_system(messages: Sequence[Message], text: str) -> list[Message]:
    """The messages with one more system message, after those that lead."""
    leading = next(
        (index for index, message in enumerate(messages) if message["role"] != "system"), len(messages)
    )
    return [*messages[:leading], {"role": "system", "content": text}, *messages[leading:]]


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
            return ToolSpec(function["name"], str(function.get("description") or ""), parameters)
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


def tools_size(tools: Sequence[ToolSpec]) -> int:
    """Bytes that the tools add to the prompt."""
    return sum(len(json.dumps([tool.name, tool.description, tool.parameters])) for tool in tools)
