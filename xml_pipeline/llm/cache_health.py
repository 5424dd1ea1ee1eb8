"""Whether the turns of a conversation find what the turns before them left in a provider's prompt cache.

A provider says how much of a prompt it read from its cache. Where that is far less than what the turn before left
there, the rest is paid again: this says so, and why, as far as what was sent tells.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from xml_pipeline.events import CacheCollapsed, CacheReason
from xml_pipeline.llm.accounting.usage import Answered
from xml_pipeline.llm.tape import as_bytes
from xml_pipeline.llm.types import LLMRequest

logger = logging.getLogger(__name__)

MAX_THREADS = 1024  # whose last turns are remembered, the least recently used forgotten first
LEAST = 512  # tokens; below that nobody caches anything
_FAR_LESS = 2  # times


class _Part(NamedTuple):
    """A tool or a message.

    Attributes:
        place: as `messages[2]`.
        digest: of what it says.
        size: in bytes.
        turn: whether it is of the conversation, and no tool or system message.
    """

    place: str
    digest: bytes
    size: int
    turn: bool


class _Turn(NamedTuple):
    """What a turn left behind.

    Attributes:
        parts: that the next one was to begin with.
        tokens: that stand in the cache, read or written.
        at: when, in seconds of the router's monotonic clock.
        asked: backend and model.
    """

    parts: tuple[_Part, ...]
    tokens: int
    at: float
    asked: tuple[str, str]


class CacheWatch:
    """The last turns in the threads of one router."""

    def __init__(self) -> None:
        self._threads: OrderedDict[str, dict[tuple[str, str], _Turn]] = OrderedDict()

    def forget(self, thread_id: str) -> None:
        """The thread has ended: it has no further turn."""
        self._threads.pop(thread_id, None)

    def turn(self, fact: Answered, request: LLMRequest, seconds: float) -> CacheCollapsed | None:
        """Take in what a turn came to; what collapsed, if anything did, which is logged as well.

        Args:
            fact: of the attempt that answered.
            request: as it was asked, with `cache_prompt`.
            seconds: that the provider keeps what is not read.
        """
        charge, usage = fact.charge, fact.usage
        parts = tuple(_parts(request))
        changing = min(request.changing, len(request.messages))
        stable = parts[: len(parts) - changing]
        left = usage.cached_tokens + usage.cache_write_tokens
        turns = self._threads.setdefault(charge.thread_id, {})
        self._threads.move_to_end(charge.thread_id)
        if len(self._threads) > MAX_THREADS:
            self._threads.popitem(last=False)
        key = charge.operation, request.model
        before = turns.get(key)
        turns[key] = _Turn(stable, left, fact.at, (fact.backend, fact.model))
        if before is None or before.tokens < LEAST or usage.cached_tokens * _FAR_LESS >= before.tokens:
            return None
        moved = _moved(before.parts, parts)
        place = "" if moved is None else before.parts[moved].place
        reason = _reason(fact, before, parts, moved, seconds)
        logger.warning(
            "the prompt cache collapsed (%s%s): %s read %d of %d tokens that the turn before left with %s",
            reason,
            f", {place} moved" if place else "",
            charge.agent or "a call",
            usage.cached_tokens,
            before.tokens,
            fact.backend,
        )
        return CacheCollapsed(
            charge.agent,
            charge.thread_id,
            charge.conversation_id,
            fact.backend,
            fact.model,
            reason,
            place,
            before.tokens,
            usage.cached_tokens,
        )


def _parts(request: LLMRequest) -> list[_Part]:
    """What is sent, in the order in which caches compare it."""
    parts = [
        _part(f"tools[{number}]", [tool.name, tool.description, tool.parameters], turn=False)
        for number, tool in enumerate(request.tools)
    ]
    for number, message in enumerate(request.messages):
        said = {name: value for name, value in message.items() if name != "cache_control"}
        parts.append(_part(f"messages[{number}]", said, turn=message["role"] != "system"))
    return parts


def _part(place: str, value: object, *, turn: bool) -> _Part:
    text = as_bytes(value)
    return _Part(place, blake2b(text, digest_size=8).digest(), len(text), turn)


def _moved(before: Sequence[_Part], now: Sequence[_Part]) -> int | None:
    """Which part of what was to come again did not, the first of them."""
    for index, old in enumerate(before):
        if index >= len(now) or old != now[index]:
            return index
    return None


def _left_out(before: Sequence[_Part], now: Sequence[_Part], moved: int) -> bool:
    """Whether an older message was shortened or left out: a conversation that only grows has none of these signs."""
    later = {part.digest for part in before[moved + 1 :]}
    shorter = moved < len(now) and now[moved].size < before[moved].size
    return shorter or len(now) <= len(before) or any(part.digest in later for part in now[moved:])


def _reason(
    fact: Answered, before: _Turn, parts: Sequence[_Part], moved: int | None, seconds: float
) -> CacheReason:
    if fact.usage.estimated:
        return "unreported"
    if moved is not None:
        turn = before.parts[moved].turn
        return "compacted" if turn and _left_out(before.parts, parts, moved) else "unexpected"
    if (fact.backend, fact.model) != before.asked:
        return "unknown"
    return "ttl_expired" if fact.at - before.at > seconds else "unexpected"
