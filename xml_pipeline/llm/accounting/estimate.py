"""How many tokens a call will use, without a tokeniser: calibrated by what the providers counted.

Tokenising blocks the event loop and needs each provider's vocabulary; the providers tell the truth after each
call anyway. So a prompt is measured in UTF-8 bytes, and tokens for a byte are learned per backend and model. What a
prompt can come to at most is another question: see `bound`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from xml_pipeline.llm.accounting.bound import HIDDEN_TOKENS, PromptBound
from xml_pipeline.llm.accounting.usage import Answered
from xml_pipeline.llm.types import LLMResponse, ToolSpec, Usage

# Before anything is learned: low for English prose (4 to 4.5), right for code and other scripts.
BYTES_PER_TOKEN = 3.5
TOKENS_PER_MESSAGE = 4
BYTES_PER_MEDIA_PART = 4000  # about 1,000 tokens, as a picture costs with most providers
DEFAULT_OUTPUT = 1024  # tokens, when a call states no max_tokens and nothing is learned
REMEMBERED_OUTPUTS = 64
_FADES = 0.9  # with each prompt, of how far one came above the line
_WEIGHT = 0.2  # of a new observation, once there are some
_SPREAD = 10_000.0  # bytes²; prompts must differ by about 100 bytes before their lengths tell the ratio
_RATIO_RANGE = (1 / 8, 8.0)  # tokens for each byte


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


def answer_size(response: LLMResponse) -> int:
    """Size of all that a model wrote, in bytes: text, reasoning and tool calls."""
    # A custom backend's answer holds what it holds: what is no text is counted as it shows.
    calls = sum(
        text_size(str(getattr(call, "name", call))) + text_size(str(getattr(call, "arguments_text", "")))
        for call in response.tool_calls
    )
    return text_size(str(response.content)) + text_size(str(response.reasoning)) + calls


class Estimator:
    """What is learned about one model at one backend.

    A prompt of so many bytes is taken to have a fixed number of tokens (what the provider adds unseen) and some for
    each byte: a line through what was counted, in which older prompts count less and less.

    Attributes:
        tokens_per_byte: of prompts and answers.
        hidden: tokens of every prompt beside those of its bytes.
        bound: what prompts can come to at most.
    """

    __slots__ = (
        *(
            "_covariance",
            "_mean_size",
            "_mean_tokens",
            "_outputs",
            "_seen",
            "_variance",
            "_widest",
        ),
        *("bound", "hidden", "tokens_per_byte"),
    )

    def __init__(self) -> None:
        self.tokens_per_byte = 1 / BYTES_PER_TOKEN
        self.hidden = 0.0
        self.bound = PromptBound()
        self._seen = 0
        self._mean_size = self._mean_tokens = self._variance = self._covariance = 0.0
        self._widest = 1.0  # how far the last prompts came above the line
        self._outputs: deque[int] = deque(maxlen=REMEMBERED_OUTPUTS)

    def prompt_tokens(self, size: int) -> int:
        """Tokens of a prompt of so many bytes, rounded up."""
        return int(self.hidden + size * self.tokens_per_byte) + 1

    def answer_tokens(self, size: int) -> int:
        """Tokens of an answer of so many bytes; of any that came, at least one."""
        return max(1, round(size * self.tokens_per_byte)) if size else 0

    def output_tokens(self, max_tokens: int | None) -> int:
        """Tokens that an answer will hardly pass: the largest of the last answers, within `max_tokens`.

        Reserving `max_tokens` itself would leave most of a limit unused when answers are shorter.
        """
        if self._outputs:
            expected = max(self._outputs)
            return expected if max_tokens is None else min(expected, max_tokens)
        return DEFAULT_OUTPUT if max_tokens is None else max_tokens

    def tokens(self, size: int, max_tokens: int | None) -> int:
        """Tokens to reserve in a rate limit: a prompt of so many bytes, and its answer.

        Before anything is learned a prompt is taken at its bytes, which it cannot pass; then as far above its
        estimate as the densest of the last ones came.
        """
        if self._seen:
            prompt = int((self.hidden + size * self.tokens_per_byte) * self._widest) + 1
        else:
            prompt = size + HIDDEN_TOKENS
        return prompt + self.output_tokens(max_tokens)

    def completed(self, usage: Usage, size: int, received: int) -> Usage:
        """A provider's count, with an estimate where it counted nothing.

        Args:
            usage: as reported.
            size: of the prompt, in bytes.
            received: bytes of the answer that the count does not have in it.
        """
        prompt, more = usage.prompt_tokens, self.answer_tokens(received)
        if prompt and not more:
            return usage
        completion = usage.completion_tokens + more
        return replace(
            usage,
            prompt_tokens=prompt or self.prompt_tokens(size),
            completion_tokens=completion,
            estimated=True,
        )

    def settle(self, fact: Answered) -> None:
        """Learn from what a provider counted."""
        usage = fact.usage
        if fact.outcome == "answered" and not usage.estimated:
            self.observe(fact.size, usage.prompt_tokens, usage.completion_tokens)
            if fact.extent is not None:
                self.bound.observe(fact.extent, usage.prompt_tokens)

    def observe(self, size: int, prompt_tokens: int, completion_tokens: int) -> None:
        """Learn from what a provider counted; an answer that a limit cut counts as well."""
        if prompt_tokens > 0 and size > 0:
            self._seen += 1
            weight = max(_WEIGHT, 1 / self._seen)
            off, far = size - self._mean_size, prompt_tokens - self._mean_tokens
            self._mean_size += weight * off
            self._mean_tokens += weight * far
            self._variance = (1 - weight) * (self._variance + weight * off * off)
            self._covariance = (1 - weight) * (self._covariance + weight * off * far)
            self._draw()
            above = prompt_tokens / (self.hidden + size * self.tokens_per_byte)
            self._widest = max(above, 1 + (self._widest - 1) * _FADES)
        if completion_tokens > 0:
            self._outputs.append(completion_tokens)

    def _draw(self) -> None:
        """The line through what was seen; not steeper than through the origin, where nothing is added unseen."""
        low, high = _RATIO_RANGE
        usual = _SPREAD / BYTES_PER_TOKEN
        slope = min(high, max(low, (self._covariance + usual) / (self._variance + _SPREAD)))
        self.hidden = self._mean_tokens - slope * self._mean_size
        if self.hidden < 0:
            self.hidden = 0.0
            slope = min(high, max(low, self._mean_tokens / self._mean_size))
        self.tokens_per_byte = slope
