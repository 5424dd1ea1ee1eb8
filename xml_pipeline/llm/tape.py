"""What models answered to handlers, kept with their work: a handler that is called again gets its answers again.

An answer is found by the message that was handled, by how often its handler had raised (a retry asks anew; a handler
that was interrupted gets what it got), by what was asked, and by how often the same was asked before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

from xml_pipeline.attribution import Caller
from xml_pipeline.llm.types import LLMRequest, LLMResponse, ToolCall

_KEPT = (
    *("content", "model", "finish_reason", "reasoning", "provider_data", "request_id", "backend", "provider"),
    *("cost", "latency", "repairs", "stop_reason", "stop_sequence"),
)


class Asked(NamedTuple):
    """One call of a model, as a rerun of its handler makes it again.

    Attributes:
        conversation_id: of the message.
        message_id: which is handled.
        run: how often its handler had raised.
        request: a digest of what was asked.
        nth: how often the same was asked before, in this run.
    """

    conversation_id: str
    message_id: str
    run: int
    request: bytes
    nth: int


class Tape(Protocol):
    """Where answers are kept."""

    def recall(self, asked: Asked) -> bytes | None:
        """The answer of an earlier life; b"" where it was asked for and never came; None where nobody asked."""

    async def begin(self, asked: Asked) -> None:
        """Write down that a model is asked, before it is."""

    def keep(self, asked: Asked, answer: bytes) -> None:
        """Write down the answer; it is durable before whatever is decided after it."""


def asked_by(caller: Caller, request: LLMRequest) -> Asked:
    """The call that a handler makes."""
    text = json.dumps(
        [getattr(request, name) for name in LLMRequest.__slots__],
        sort_keys=True,
        default=_plain,
        ensure_ascii=True,
    )
    digest = blake2b(text.encode(), digest_size=16).digest()
    return Asked(caller.conversation_id, caller.message_id, caller.run, digest, caller.nth(digest))


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return [getattr(value, name) for name in getattr(type(value), "__slots__", ())] or str(value)


def written(response: LLMResponse) -> bytes:
    """An answer as bytes, without what is of its connection only (`raw`, `headers`, `attempts`)."""
    fields: dict[str, Any] = {name: getattr(response, name) for name in _KEPT}
    fields["usage"] = dict(response.usage)
    fields["tool_calls"] = [
        [call.id, call.name, call.arguments_text, dict(call.provider_data)] for call in response.tool_calls
    ]
    return json.dumps(fields, default=_plain).encode()


def read(answer: bytes) -> LLMResponse:
    """The answer that was written."""
    fields = json.loads(answer)
    fields["tool_calls"] = tuple(ToolCall(*parts) for parts in fields["tool_calls"])
    fields["repairs"] = tuple(fields["repairs"])
    return LLMResponse(**fields)
