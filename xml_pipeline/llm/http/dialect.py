"""The pure side of a provider: request → JSON body, answer → `LLMResponse`, stream chunks → events.

A provider (`providers/<name>/`) supplies a subclass of `Dialect` and a subclass of `Backend`
(see `backend.py`). A dialect does no I/O, imports neither asyncio nor httpx, and keeps no state between
requests: what differs between endpoints (parameter names, capabilities, keep_alive) are constructor
arguments. It supplies

    name                     key of `provider_data`; unique among dialects
    framing                  "sse" or "ndjson": how a stream is cut into chunks
    encode(request, stream)  → WireRequest(path, body, headers). `path` is joined to the backend's base_url; the
                             authentication headers come from the backend. Merge `request.extra` last. A request
                             that this dialect cannot express (an unknown content part) raises InvalidRequestError.
    decode(data, request)    the parsed JSON of a 2xx answer → LLMResponse (content, model, usage, finish_reason,
                             stop_reason and stop_sequence as the API has them,
                             tool_calls, reasoning, provider_data, request_id, raw=data). Missing parts raise
                             MalformedAnswerError; an error object inside the 200 raises `self.error(...)`.
    stream_decoder(request)  → a fresh StreamDecoder for one stream
    finish_reasons           the API's word → `stop`, `length`, `tool_calls`, `content_filter`
    error_rules              rows tried before the common table of `classify.py`
    rate_limits(headers, t)  provider headers → RateLimits, when they differ from the common forms

Finish reasons are mapped to `stop`, `length`, `tool_calls`, `content_filter`; others are passed on as they are.
Usage follows `types.Usage`: prompt_tokens includes cache reads and writes, completion_tokens includes
reasoning. An answer without usage is `Usage()` and the router estimates.

Errors: `self.error(status, headers, data)` builds the typed error of a non-2xx answer, of an error object
inside a 200, or of an in-stream error event. Do not fill provider, backend and model: the router does, and
scrubs keys.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import msgspec

from xml_pipeline.errors import BackendError, MalformedAnswerError, cut
from xml_pipeline.llm.http.classify import ErrorRule, error_from
from xml_pipeline.llm.http.rate_limit_headers import RateLimits, read_rate_limits
from xml_pipeline.llm.types import MOST_TOKENS, LLMRequest, LLMResponse, StreamEvent, Usage, token_count

Path = tuple[str, ...]

_FAST = msgspec.json.Decoder()

LONGEST_TIER = 32  # characters; it is a word


class UsageKeys(NamedTuple):
    """Where an API writes its token counts: for each field of `Usage` the keys that lead there; several are added."""

    prompt: tuple[Path, ...]
    completion: tuple[Path, ...]
    cached: tuple[Path, ...]
    cache_write: tuple[Path, ...]
    reasoning: tuple[Path, ...]
    cache_write_1h: tuple[Path, ...]

    @classmethod
    def of(
        cls,
        prompt: str,
        completion: str,
        cached: str = "",
        cache_write: str = "",
        reasoning: str = "",
        cache_write_1h: str = "",
    ) -> UsageKeys:
        """Written short: `input_tokens details.cached` is the sum of a count and of one inside an object."""
        kinds = (prompt, completion, cached, cache_write, reasoning, cache_write_1h)
        return cls(*(tuple(tuple(path.split(".")) for path in kind.split()) for kind in kinds))

    def read(self, usage: Any, tier: object = "") -> Usage:
        """The usage in an API's object; one whose prompt or answer is no possible count is as good as none.

        Args:
            usage: the object.
            tier: `Usage.service_tier`, where the API says it; what is no text is left out.
        """
        counts = [_total(usage, paths) if paths else 0 for paths in self]
        prompt, completion, cached, cache_write, reasoning, for_an_hour = counts
        if prompt is None or completion is None:
            return Usage()
        cached = min(cached or 0, prompt)  # parts of the prompt, and priced as such
        written = min(cache_write or 0, prompt - cached)
        return Usage(
            prompt,
            completion,
            cached,
            written,
            reasoning or 0,
            cache_write_1h_tokens=min(for_an_hour or 0, written),
            service_tier=tier[:LONGEST_TIER] if isinstance(tier, str) else "",
        )


def _total(usage: Any, paths: Sequence[Path]) -> int | None:
    """The sum of the counts at some places; None if one of them is no count."""
    total = 0
    for path in paths:
        value = usage
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            count = value if type(value) is int and 0 <= value <= MOST_TOKENS else token_count(value)
            if count is None:
                return None
            total += count
    return total


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One HTTP POST without its origin and its key.

    Attributes:
        path: appended to the backend's `base_url`, as `/chat/completions`; may carry a query.
        body: the JSON body.
        headers: beyond authentication and content type.
    """

    path: str
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


class StreamDecoder(ABC):
    """State of one stream: chunks in, events out.

    Attributes:
        done: set True when nothing more will come (`[DONE]`, `message_stop`, `done: true`): reading stops, and
            the connection is free for the next request.
    """

    done: bool = False

    @abstractmethod
    def feed(self, data: str, event: str) -> Sequence[StreamEvent]:
        """One SSE event's data (with its `event:` name or "") or one NDJSON line → events in order.

        Emits TextDelta, ReasoningDelta, ToolCallDelta as they come; UsageReport whenever usage is known (the
        last one wins); StreamFinished once, when the provider's terminal event or finish reason was seen.
        `[DONE]` comes here as any data. Raises a BackendError for an in-stream error event,
        MalformedAnswerError for what is no JSON. The end of the connection without a StreamFinished is the
        router's to report.
        """


class Dialect(ABC):
    """The wire mapping of one provider API. See the module's text for what each part must do."""

    name: ClassVar[str]
    framing: ClassVar[Literal["sse", "ndjson"]] = "sse"
    error_rules: ClassVar[tuple[ErrorRule, ...]] = ()
    finish_reasons: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def encode(self, request: LLMRequest, *, stream: bool) -> WireRequest:
        """The POST for this request."""

    @abstractmethod
    def decode(self, data: Any, request: LLMRequest) -> LLMResponse:
        """The answer in the parsed JSON `data` of a 2xx."""

    @abstractmethod
    def stream_decoder(self, request: LLMRequest) -> StreamDecoder:
        """A decoder for one stream."""

    def beyond_limit(self, request: LLMRequest) -> int:
        """Tokens that `encode` lets the model write beyond `request.max_tokens`, at most; budgets reserve them."""
        return 0

    def least_cacheable(self, model: str) -> int | None:
        """Tokens that the beginning of a prompt needs to be cached at all; None where that is not known."""
        return None

    def finish_reason(self, word: Any, *, calls: bool = False) -> str:
        """The neutral finish reason of the API's word, where it is none of its own.

        Args:
            word: as the API writes it.
            calls: whether the answer calls tools; several APIs say `stop` nevertheless.
        """
        found = str(word or "stop")
        found = self.finish_reasons.get(found, found)
        return "tool_calls" if calls and found == "stop" else found

    def error(self, status: int | None, headers: Mapping[str, str], data: Any) -> BackendError:
        """The typed error of an answer.

        Args:
            status: the HTTP status; 200 (or None) for an error object inside a good answer or a stream, then
                the error's own code and type decide.
            headers: lower-case names; may be empty.
            data: the parsed JSON body, or the text of one that is no JSON.
        """
        return error_from(status, headers, data, self.error_rules)

    def rate_limits(self, headers: Mapping[str, str], now: float) -> RateLimits | None:
        """What the answer's headers say about limits; `now` is unix time in seconds."""
        return read_rate_limits(headers, now)


# Reading answers


def loaded(text: str | bytes) -> Any:
    """The value in a JSON text.

    What the fast parser refuses (NaN, half a character, a byte order mark) the patient one may take; where both take
    a text they agree.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested without end.
    """
    try:
        return _FAST.decode(text)
    except (ValueError, RecursionError):
        return json.loads(text)


def expect_object(data: Any) -> dict[str, Any]:
    """`data` if it is a JSON object.

    Raises:
        MalformedAnswerError: it is something else.
    """
    if not isinstance(data, dict):
        raise MalformedAnswerError(f"the answer is no JSON object but {cut(data)}")
    return data


def missing(what: str, data: Mapping[str, Any]) -> MalformedAnswerError:
    """The error for an answer without a documented part; shows which keys it has."""
    return MalformedAnswerError(f"the answer has no {what}; it has: {', '.join(map(str, data)) or 'nothing'}")


def parse_chunk(data: str) -> dict[str, Any]:
    """One chunk of a stream.

    Raises:
        MalformedAnswerError: it is no JSON object.
    """
    try:
        value = loaded(data)
    except (ValueError, RecursionError) as error:
        raise MalformedAnswerError(f"a chunk of the stream is no JSON ({error}): {cut(data)!r}") from None
    return expect_object(value)
