"""How many tokens a call will use, without a tokeniser: calibrated by what the providers counted.

Tokenising blocks the event loop and needs each provider's vocabulary; the providers tell the truth after each
call anyway. So a prompt is measured in UTF-8 bytes and divided by a ratio that is learned per backend and model.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from xml_pipeline.llm.accounting.usage import Answered
from xml_pipeline.llm.types import ToolSpec, Usage

# Before anything is learned: low for English prose (4 to 4.5), right for code and other scripts.
BYTES_PER_TOKEN = 3.5
TOKENS_PER_MESSAGE = 4
BYTES_PER_MEDIA_PART = 4000  # about 1,000 tokens, as a picture costs with most providers
DEFAULT_OUTPUT = 1024  # tokens, when a call states no max_tokens and nothing is learned
REMEMBERED_OUTPUTS = 64
_WEIGHT = 0.2  # of a new observation of the ratio
_RATIO_RANGE = (1.0, 8.0)

# A budget is held by the upper end of what a prompt can be. Before anything is learned: a template around every
# prompt, and text denser than English prose. Afterwards: the densest of the last prompts, and a margin.
_TEMPLATE_TOKENS = 16
_DENSE_BYTES_PER_TOKEN = 2.5
_MARGIN = 1.1


def text_size(text: str) -> int:
    """UTF-8 bytes of a text."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def tools_size(tools: Sequence[ToolSpec]) -> int:
    """Bytes that the tools add to the prompt."""
    return sum(len(json.dumps([tool.name, tool.description, tool.parameters])) for tool in tools)


def prompt_size(messages: Sequence[Mapping[str, Any]], tools: Sequence[ToolSpec] = ()) -> int:
    """Size of a prompt in bytes; messages and media count with a fixed share."""
    size = (tools_size(tools) if tools else 0) + int(len(messages) * TOKENS_PER_MESSAGE * BYTES_PER_TOKEN)
    for message in messages:
        content = message.get("content")
        if type(content) is str:
            size += len(content) if content.isascii() else text_size(content)
        elif content:
            for part in content:
                text = part.get("text")
                size += text_size(text) if isinstance(text, str) else BYTES_PER_MEDIA_PART
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            size += text_size(str(function.get("name", ""))) + text_size(str(function.get("arguments", "")))
    return size


class Estimator:
    """What is learned about one model at one backend."""

    __slots__ = ("_outputs", "_ratios", "bytes_per_token")

    def __init__(self) -> None:
        self.bytes_per_token = BYTES_PER_TOKEN
        self._ratios: deque[float] = deque(maxlen=REMEMBERED_OUTPUTS)
        self._outputs: deque[int] = deque(maxlen=REMEMBERED_OUTPUTS)

    def prompt_tokens(self, size: int) -> int:
        """Tokens of a prompt of so many bytes, rounded up."""
        return int(size / self.bytes_per_token) + 1

    def most_prompt_tokens(self, size: int) -> int:
        """Tokens that a prompt of so many bytes will hardly pass."""
        densest = min(self._ratios, default=_DENSE_BYTES_PER_TOKEN)
        return int(size / densest * _MARGIN) + _TEMPLATE_TOKENS

    def output_tokens(self, max_tokens: int | None) -> int:
        """Tokens that an answer will hardly pass: the largest of the last answers, within `max_tokens`.

        Reserving `max_tokens` itself would leave most of a limit unused when answers are shorter.
        """
        if self._outputs:
            expected = max(self._outputs)
            return expected if max_tokens is None else min(expected, max_tokens)
        return DEFAULT_OUTPUT if max_tokens is None else max_tokens

    def tokens(self, size: int, max_tokens: int | None) -> int:
        """Tokens to reserve for a call: the prompt of so many bytes, and its answer."""
        return int(size / self.bytes_per_token) + 1 + self.output_tokens(max_tokens)

    def answer(self, size: int, characters: int) -> Usage:
        """The usage of an answer that came without one."""
        return Usage(self.prompt_tokens(size), round(characters / self.bytes_per_token), estimated=True)

    def settle(self, fact: Answered) -> None:
        """Learn from what a provider counted."""
        usage = fact.usage
        if fact.outcome == "answered" and not usage.estimated:
            self.observe(fact.size, usage.prompt_tokens, usage.completion_tokens)

    def observe(self, size: int, prompt_tokens: int, completion_tokens: int) -> None:
        """Learn from what a provider counted; an answer that a limit cut counts as well."""
        if prompt_tokens > 0 and size > 0:
            low, high = _RATIO_RANGE
            ratio = min(high, max(low, size / prompt_tokens))
            self._ratios.append(ratio)
            self.bytes_per_token += _WEIGHT * (ratio - self.bytes_per_token)
        if completion_tokens > 0:
            self._outputs.append(completion_tokens)
