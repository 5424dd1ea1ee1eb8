"""Calls that a model wrote where, or how, calls are not written. Pure.

They are recognised so that the model is told, instead of its caller getting them as an answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from xml_pipeline.agents.toolbox import Toolbox
from xml_pipeline.errors import PayloadError

_FENCED = re.compile(r"\A```[a-zA-Z]*[ \t]*\n(.*?)\n?[ \t]*```\Z", re.DOTALL)
_HERMES = re.compile(
    r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL
)  # as Hermes and Qwen models write calls
_ELEMENT = re.compile(r"\A<([A-Za-z_][\w.-]*)[\s/>]")
_NAMES = ("name", "tool", "function", "tool_name", "recipient_name")


def unfenced(text: str) -> str:
    """`text` without blanks and a code fence around the whole of it."""
    text = text.strip()
    fenced = _FENCED.match(text)
    return fenced[1].strip() if fenced else text


def written_as_json(text: str, toolbox: Toolbox, *, by_fields: bool) -> bool:
    """Whether a text is a call as JSON: it names a tool or a peer.

    Args:
        text: of the model's answer.
        toolbox: what it may call.
        by_fields: whether the bare arguments of one of the tools count as well.
    """
    wrapped = _HERMES.search(text)
    try:
        data = json.loads(unfenced(wrapped[1] if wrapped else text))
    except ValueError:
        return wrapped is not None
    calls = data if isinstance(data, list) else [data]
    return any(isinstance(each, Mapping) and _is_call(each, toolbox, by_fields) for each in calls)


def _is_call(data: Mapping[str, Any], toolbox: Toolbox, by_fields: bool) -> bool:
    function = data.get("function")
    inner = function if isinstance(function, Mapping) else data
    names = [inner.get(key) for key in _NAMES]
    if len(data) == 1:
        names += data
    if any(isinstance(name, str) and toolbox.find(name) for name in names):
        return True
    return by_fields and any(len(tool.codec.fields) > 1 and _fits(tool.codec, data) for tool in toolbox.tools)


def _fits(codec: Any, data: Mapping[str, Any]) -> bool:
    try:
        codec.from_json(data)
    except PayloadError:
        return False
    return True


def written_as_unknown_element(text: str, answer_root: str) -> str:
    """The name of the one element that a text is, if it looks like a payload that nobody takes; else "".

    An answer in HTML, or in any XML with names in lower case, is an answer.
    """
    body = unfenced(text)
    element = _ELEMENT.match(body)
    if element is None:
        return ""
    name = element[1]
    whole = body.endswith((f"</{name}>", "/>"))
    return name if whole and name != name.lower() and name != answer_root else ""
