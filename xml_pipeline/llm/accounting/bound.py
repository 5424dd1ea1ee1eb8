"""What a prompt can come to at most, in tokens: what budgets reserve before anybody has counted it.

The tokenisers are not known here, but they all cut bytes: a token of byte-level BPE, or of SentencePiece with bytes
to fall back on, stands for one byte at least. So a text never has more tokens than UTF-8 bytes, in any script. What
a provider adds unseen (templates, its own system prompt, instructions for tools) has a fixed allowance.

Two things are learned from what providers count. Whoever counts more than this bound gets a larger one the next
time. And a beginning that was counted once comes to no more when it is sent again: a conversation that grows is
bound by the last count and the bytes that are new, not by all of its bytes.
"""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xml_pipeline.errors import InvalidRequestError, LLMError
from xml_pipeline.llm.types import LLMRequest

# Tokens that a chat template adds around every prompt. The longest known one is that of gpt-oss, with about 70
# (https://cookbook.openai.com/articles/openai-harmony).
HIDDEN_TOKENS = 128
# Tokens of the instructions that a provider adds as soon as there are tools: Anthropic's take 159 to 530
# (https://docs.claude.com/en/docs/agents-and-tools/tool-use/overview#pricing).
HIDDEN_TOOL_TOKENS = 640
# A picture: the largest take up to 4,784 tokens with Anthropic (https://docs.claude.com/en/docs/build-with-claude/vision).
PICTURE_TOKENS = 5000

REMEMBERED = 64  # prompts that came to more than their bound
MAX_BEGINNINGS = 1024  # of prompts that a provider has counted, for each model
_MOST_HIDDEN = 4096  # tokens; what a count is above the bound is taken as fixed up to here, as a ratio beyond
_MARGIN = 1.1  # on what was learned from a count above the bound


@dataclass(frozen=True, slots=True)
class Extent:
    """The size of a prompt, beginning by beginning.

    Attributes:
        digests: of the prompt up to each of its messages, that one included; before them, of what stands above all
            messages (tools, schema, further options).
        tokens: at most, up to the same places.
    """

    digests: tuple[int, ...]
    tokens: tuple[int, ...]


def extent_of(request: LLMRequest, written: Callable[[LLMRequest], Any] | None = None) -> Extent:
    """The extent of a request as a backend gets it.

    Args:
        request: after everything that the backend does not know has been put into words.
        written: the JSON body that the backend makes of a request; None when it does not say.

    Raises:
        InvalidRequestError: it cannot be written as JSON.
    """
    above, total = _above(request, written)
    digest = hash(above)
    digests, tokens = [digest], [total]
    for message in request.messages:
        texts, most = _message(message)
        digest = hash((digest, *texts))
        total += most
        digests.append(digest)
        tokens.append(total)
    return Extent(tuple(digests), tuple(tokens))


def _above(request: LLMRequest, written: Callable[[LLMRequest], Any] | None) -> tuple[str, int]:
    schema = request.response_schema
    text = _text(
        [
            [[tool.name, tool.description, tool.parameters] for tool in request.tools],
            [schema.name, schema.description, schema.schema] if schema is not None else None,
            [request.tool_choice, request.reasoning_effort, request.extra],
        ]
    )
    most = HIDDEN_TOKENS
    if request.tools:
        most += HIDDEN_TOOL_TOKENS
    if not (request.tools or schema is not None or request.extra):
        return text, most
    size = len(text.encode("utf-8", "surrogatepass"))
    if (
        written is not None
    ):  # it may write more than it was given, such as a schema with its references resolved
        try:
            body = written(replace(request, messages=[{"role": "user", "content": ""}]))
            size = max(size, len(_text(body).encode("utf-8", "surrogatepass")))
        except LLMError:
            pass  # the call itself will say so
    return text, most + size


def _message(message: Mapping[str, Any]) -> tuple[list[str], int]:
    """The texts of a message, and what they come to at most."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        text = _text(dict(message))
        return [text], len(text.encode("utf-8", "surrogatepass"))
    rest = _text({name: value for name, value in message.items() if name != "content"})
    texts, most = [rest], len(rest.encode("utf-8", "surrogatepass"))
    for part in content:
        text = _text(part)
        size = len(text.encode("utf-8", "surrogatepass"))
        texts.append(text)
        if isinstance(part.get("text"), str):
            most += size
        elif "image" in part.get("type", ""):
            most += PICTURE_TOKENS
        else:
            most += max(size, PICTURE_TOKENS)
    return texts, most


def _text(value: Any) -> str:
    """As JSON: never shorter than what a model gets of it, and with the marks around it that templates replace."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"the request cannot be written as JSON: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, Sequence) else repr(value)


class PromptBound:
    """The upper bound of one model's prompts, and what is learned for it."""

    __slots__ = ("_counted", "_doubts", "_hidden", "_ratios")

    def __init__(self) -> None:
        self._hidden: deque[int] = deque(maxlen=REMEMBERED)
        self._ratios: deque[float] = deque(maxlen=REMEMBERED)
        self._counted: OrderedDict[int, int] = OrderedDict()
        self._doubts = 0  # prompts for which beginnings are not trusted: one came to more than before

    def most(self, extent: Extent) -> int:
        """Tokens that a prompt cannot pass, as far as its provider counts as it did before."""
        ratio = max(self._ratios, default=1.0)
        whole = extent.tokens[-1]
        least = int(whole * ratio) + max(self._hidden, default=0)
        if self._doubts:
            return least
        for digest, tokens in zip(extent.digests, extent.tokens, strict=True):
            counted = self._counted.get(digest)
            if counted is not None:
                least = min(least, counted + int((whole - tokens) * ratio))
        return least

    def observe(self, extent: Extent, prompt_tokens: int) -> None:
        """Learn from what a provider counted."""
        whole, counted = extent.tokens[-1], self._counted
        above = prompt_tokens - whole
        if above > 0:
            hidden = min(above, _MOST_HIDDEN)
            self._hidden.append(int(hidden * _MARGIN) + 1)
            self._ratios.append(max(1.0, (prompt_tokens - hidden) / whole * _MARGIN))
        elif self._hidden:
            self._hidden.append(0)
            self._ratios.append(1.0)
        if self._doubts:
            self._doubts -= 1
        elif prompt_tokens > self.most(extent):
            self._doubts = REMEMBERED
            counted.clear()
        else:
            for digest in extent.digests:  # no beginning comes to more than the whole
                counted[digest] = min(prompt_tokens, counted.pop(digest, prompt_tokens))
            while len(counted) > MAX_BEGINNINGS:
                counted.popitem(last=False)
