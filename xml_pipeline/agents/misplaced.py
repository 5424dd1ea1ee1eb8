"""Calls that a model wrote where, or how, calls are not written. Pure.

They are recognised so that the model is told, instead of its caller getting them as an answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from xml_pipeline.agents.toolbox import Tool, Toolbox
from xml_pipeline.envelope.fences import unfenced, without_quotations
from xml_pipeline.errors import PayloadError

_HERMES = re.compile(
    r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL
)  # as Hermes and Qwen models write calls
_ELEMENT = re.compile(r"\A<([A-Za-z_][\w.-]*)[\s/>]")
_NAMES = ("name", "tool", "function", "tool_name", "recipient_name")
_ARGUMENTS = ("arguments", "parameters", "args", "input", "tool_input")
_MAX_DOCUMENTS = 20  # JSON documents in prose that are looked at
_NOTATION = re.compile(
    r"""^[ \t]*(?:
      (?:<|&lt;)call\s+to\s*=                             # ours, where native calls are wanted
    | <(?:\w+:)?(?:tool_call|function_calls|invoke\ name=["'])  # Hermes, Qwen, GLM; MiniMax; Claude
    | <function=[\w.-]+>                                  # Qwen coder, Llama
    | <\|(?:python_tag|tool_call|START_ACTION)            # Llama, Granite and Kimi, Command
    | <\|channel\|>commentary\ to=                        # gpt-oss
    | <\uff5c(?:tool\u2581call|DSML\uff5c)                  # DeepSeek
    | \[TOOL_CALLS\]                                      # Mistral
    | ```tool_code | (?:print\()?default_api\.            # Gemini, Gemma
    )""",
    re.MULTILINE | re.VERBOSE,
)
_REACT = re.compile(r"^Action:([^\n]*+)\n++[ \t]*+Action Input:", re.MULTILINE)
_RESULT = re.compile(r"^[ \t]*<result\s+of\s*=", re.MULTILINE)


def written_as_json(text: str, toolbox: Toolbox, *, by_fields: bool) -> bool:
    """Whether a text is a call as JSON, or holds one: it names a tool or a peer.

    Args:
        text: of the model's answer.
        toolbox: what it may call.
        by_fields: whether the bare arguments of one of the tools count as well.
    """
    wrapped = _HERMES.search(without_quotations(unfenced(text)))
    try:
        data = json.loads(unfenced(wrapped[1] if wrapped else text))
    except (ValueError, RecursionError):
        return wrapped is not None or any(
            any(key in each for key in _ARGUMENTS) and _is_call(each, toolbox, False)
            for each in _in_prose(text)
        )
    return any(_is_call(each, toolbox, by_fields) for each in _objects(data))


def _in_prose(text: str) -> Iterator[Mapping[str, Any]]:
    """The JSON objects that begin at the beginning of a line."""
    decoder, at = json.JSONDecoder(), 0
    for number, start in enumerate(re.finditer(r"^[ \t]*(?=[{\[])", text, re.MULTILINE)):
        if number >= _MAX_DOCUMENTS:
            return
        if start.end() < at:
            continue  # inside the document before
        try:
            data, at = decoder.raw_decode(text, start.end())
        except (ValueError, RecursionError):
            continue
        yield from _objects(data)


def _objects(data: Any) -> Iterator[Mapping[str, Any]]:
    yield from (each for each in (data if isinstance(data, list) else [data]) if isinstance(each, Mapping))


def _is_call(data: Mapping[str, Any], toolbox: Toolbox, by_fields: bool) -> bool:
    function = data.get("function")
    inner = function if isinstance(function, Mapping) else data
    names = [inner.get(key) for key in _NAMES]
    if len(data) == 1:
        names += data
    if any(isinstance(name, str) and toolbox.find(name) for name in names):
        return True
    calls = (tool.codec for tool in toolbox.tools if tool.does == "calls")
    return by_fields and any(len(codec.fields) > 1 and _fits(codec, data) for codec in calls)


def _fits(codec: Any, data: Mapping[str, Any]) -> bool:
    try:
        codec.from_json(data)
    except PayloadError:
        return False
    return True


def written_as_unknown_element(text: str, answers: Collection[str]) -> str:
    """The name of the one element that a text is, if it looks like a payload that nobody takes; else "".

    An answer in HTML, or in any XML with names in lower case, is an answer.
    """
    body = unfenced(text)
    element = _ELEMENT.match(body)
    if element is None:
        return ""
    name = element[1]
    whole = body.endswith((f"</{name}>", "/>"))
    return name if whole and name != name.lower() and name not in answers else ""


def written_in_another_notation(text: str, toolbox: Toolbox) -> bool:
    """Whether a text holds a call as some model's chat template, prompt or habit writes it.

    What stands in a code fence or in backticks is talk about such a call.
    """
    bare = without_quotations(unfenced(text))
    if _NOTATION.search(bare):
        return True
    action = _REACT.search(bare)
    if action and toolbox.find(action[1].strip(" \t").strip("`")):
        return True
    return any(_named_after(tool, bare) for tool in toolbox.tools)


def _named_after(tool: Tool, text: str) -> bool:
    """Whether an element is called as the tool is, and begins with one of its fields; a hand-over may have none."""
    if tool.does == "hands over":
        name = re.escape(tool.name)
        return re.search(rf"(?<!`)<(?:{name}[\s/>]|call\s+to\s*=\s*[\"']{name}[\"'])", text) is not None
    fields = "|".join(re.escape(each.name) for each in tool.codec.fields)
    if not fields or (f"<{tool.name}>" not in text and f"<{tool.peer}>" not in text):
        return False
    names = f"{re.escape(tool.name)}|{re.escape(tool.peer)}"
    return re.search(rf"(?<!`)<(?:{names})>\s*<(?:{fields})[\s/>]", text) is not None


def written_as_result(text: str) -> bool:
    """Whether a text holds a made-up result of a call, in the form in which results in text are given."""
    return _RESULT.search(without_quotations(text)) is not None
