"""Tools as a provider takes them, their names above all. Pure.

A listener may be called `calculator.add`; OpenAI and Anthropic take letters, digits, `_` and `-` only. Names
that fit stay as they are; others are rewritten, the same way for the same request, and read back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from xml_pipeline.llm.providers.history import calls_of
from xml_pipeline.llm.types import LLMRequest, ToolSpec

PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}\Z")  # Gemini's rule
MAX_LENGTH = 64
_OTHER = re.compile(r"[^A-Za-z0-9_-]")


class ToolNames:
    """The names of one request's tools on the wire, and back.

    Args:
        names: all tool names that occur: offered, forced, and in the history.
        allowed: what the provider takes.
    """

    __slots__ = ("_back", "_forth")

    def __init__(self, names: Iterable[str], allowed: re.Pattern[str] = PLAIN) -> None:
        known = list(dict.fromkeys(names))
        self._forth: dict[str, str] = {}
        self._back: dict[str, str] = {}
        taken = {name for name in known if allowed.match(name)}
        numbers: dict[str, int] = {}  # how far each rewritten name has got
        for name in known:
            if allowed.match(name):
                continue
            base = _OTHER.sub("_", name)[:MAX_LENGTH] or "tool"
            base = base if allowed.match(base) else f"t{base}"[:MAX_LENGTH]
            wire = base
            while wire in taken:
                numbers[base] = numbers.get(base, 1) + 1
                suffix = f"_{numbers[base]}"
                wire = base[: MAX_LENGTH - len(suffix)] + suffix
            taken.add(wire)
            self._forth[name] = wire
            self._back[wire] = name

    @classmethod
    def of(cls, request: LLMRequest, allowed: re.Pattern[str] = PLAIN) -> ToolNames:
        """The names of a request."""
        names = [tool.name for tool in request.tools]
        for message in request.messages:
            names += [call["function"]["name"] for call in calls_of(message)]
        return cls(names, allowed)

    def wire(self, name: str) -> str:
        """The name to send."""
        return self._forth.get(name, name)

    def plain(self, wire: str) -> str:
        """The tool's own name for one that was received; unknown ones stay as they are."""
        return self._back.get(wire, wire)


def described(shape: dict[str, Any], tool: ToolSpec) -> dict[str, Any]:
    """`shape` with the tool's description, if it has one: some gateways refuse an empty one."""
    if tool.description:
        shape["description"] = tool.description
    return shape


def marked(shape: dict[str, Any], tool: ToolSpec) -> dict[str, Any]:
    """`described`, with the tool's mark for the prompt cache, if it has one."""
    if tool.cache_control:
        shape["cache_control"] = dict(tool.cache_control)
    return described(shape, tool)


def function_tools(request: LLMRequest, names: ToolNames, *, marks: bool = False) -> list[dict[str, Any]]:
    """The tools offered, in the shape that chat completions and Ollama share; `marks`: with their cache marks."""
    return [
        {
            "type": "function",
            "function": described({"name": names.wire(tool.name), "parameters": dict(tool.parameters)}, tool),
            **({"cache_control": dict(tool.cache_control)} if marks and tool.cache_control else {}),
        }
        for tool in request.tools
    ]
