"""What models answered to handlers, kept with their work: a handler that is called again gets its answers again.

An answer is found by the message that was handled, by how often its handler had raised (a retry asks anew; a handler
that was interrupted gets what it got), by what was asked, and by how often the same was asked before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from hashlib import blake2b
from typing import Any
from zlib import crc32

import msgspec

from xml_pipeline.attribution import Caller
from xml_pipeline.ledger import Asked
from xml_pipeline.llm.types import LLMRequest, LLMResponse, ToolCall

_KEPT = (
    *("content", "model", "finish_reason", "reasoning", "provider_data", "request_id", "backend", "provider"),
    *("cost", "latency", "repairs", "stop_reason", "stop_sequence"),
)
_SAYS_NOTHING = frozenset(
    ("messages", "cache_prompt", "cache_key", "changing")
)  # of the answer, beside `messages`
_DEFAULTS: dict[str, Any] = {
    each.name: {} if each.default is MISSING else each.default
    for each in fields(LLMRequest)
    if each.name not in _SAYS_NOTHING
}


def asked_by(caller: Caller, request: LLMRequest) -> Asked:
    """The call that a handler makes."""
    digest, sums = blake2b(digest_size=16), {}
    for name, value in _parts(request):
        digest.update(b"%s=%d:%s" % (name.encode(), len(value), value))
        sums[name] = crc32(value)
    key = digest.digest()
    parts = msgspec.msgpack.encode(sums)
    return Asked(caller.conversation_id, caller.message_id, caller.run, key, caller.nth(key), parts)


def difference(asked: Asked, other: Asked) -> str:
    """The first part in which two calls differ, as `messages[2]` or `temperature`."""
    mine, theirs = (msgspec.msgpack.decode(each.parts) for each in (asked, other))
    return next((name for name in (*mine, *theirs) if mine.get(name) != theirs.get(name)), "")


def _parts(request: LLMRequest) -> Iterator[tuple[str, bytes]]:
    """What is asked, part by part; a field as it usually is says nothing, so a new one changes no digest."""
    for number, message in enumerate(request.messages):
        yield f"messages[{number}]", as_bytes(message)
    for name, usual in _DEFAULTS.items():
        value = getattr(request, name)
        if value is not usual and value != usual:
            yield name, as_bytes(value)


def as_bytes(value: object) -> bytes:
    """A part of a request, the same for what says the same."""
    try:
        return msgspec.json.encode(value, enc_hook=_plain, order="deterministic")
    except (TypeError, ValueError, UnicodeError):  # half a character, a key of another kind
        return json.dumps(value, default=_plain).encode()


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return [getattr(value, name) for name in getattr(type(value), "__slots__", ())] or str(value)


def written(response: LLMResponse) -> bytes:
    """An answer as bytes, without what is of its connection only (`raw`, `headers`, `attempts`)."""
    kept: dict[str, Any] = {name: getattr(response, name) for name in _KEPT}
    kept["usage"] = dict(response.usage)
    kept["tool_calls"] = [
        [call.id, call.name, call.arguments_text, dict(call.provider_data)] for call in response.tool_calls
    ]
    return json.dumps(kept, default=_plain).encode()


def read(answer: bytes) -> LLMResponse:
    """The answer that was written."""
    kept = json.loads(answer)
    kept["tool_calls"] = tuple(ToolCall(*parts) for parts in kept["tool_calls"])
    kept["repairs"] = tuple(kept["repairs"])
    return LLMResponse(**kept)
