"""What an emulated provider does next, in words that every dialect understands."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, auto
from typing import Any, Self


class Failure(StrEnum):
    """Why a provider refuses; each emulator says it with its provider's own status, body and headers."""

    BAD_REQUEST = auto()
    CONTEXT_WINDOW = auto()
    CONTENT_POLICY = auto()
    BAD_KEY = auto()
    FORBIDDEN = auto()
    NO_CREDIT = auto()
    NO_MODEL = auto()
    TIMEOUT_408 = auto()
    CONFLICT = auto()
    TOO_LARGE = auto()
    UNPROCESSABLE = auto()
    RATE = auto()
    QUOTA = auto()
    INTERNAL = auto()
    BAD_GATEWAY = auto()
    UNAVAILABLE = auto()
    GATEWAY_TIMEOUT = auto()
    OVERLOADED = auto()


class Fault(StrEnum):
    """How a connection misbehaves."""

    RESET = auto()  # TCP reset before the first byte of the response
    DROPPED = auto()  # TCP reset in the middle of the body
    TRUNCATED = auto()  # well-formed HTTP, but the JSON (or the last event) is cut
    NO_END = auto()  # a stream that ends cleanly without its terminal event
    HTML = auto()  # a proxy's page with status 200
    EMPTY = auto()  # status 200 and no body
    HANG = auto()  # no byte of the response, until the emulator closes
    STALL = auto()  # headers and the first content, then nothing, until the emulator closes


class Place(StrEnum):
    """Where a failure shows."""

    STATUS = auto()  # as HTTP status
    BODY = auto()  # as the body of an HTTP 200
    STREAM = auto()  # inside an HTTP 200 stream, after `after` content frames


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool call the model makes. Arguments given as text are sent as they are (broken JSON included)."""

    name: str
    arguments: Mapping[str, Any] | str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer, or one that `fault` spoils.

    Attributes:
        cache_write_1h_tokens: of `cache_write_tokens`, where the API tells them apart.
        service_tier: as the API says it; "" for its usual one.
        finish: `stop`, `length`, `content_filter`; tool calls make it `tool_calls` by themselves.
        gate: the first byte of the response waits for this event.
        pace: every content frame after the first waits for one release of this semaphore.
        after: content frames sent before the fault.
        fragment: sends the stream in pieces of this many bytes, whatever they cut through; 0 sends frames.
    """

    text: str = "Hello there, friend."
    tools: tuple[ToolUse, ...] = ()
    reasoning: str = ""
    finish: str = "stop"
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    service_tier: str = ""
    completion_tokens: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    pace: asyncio.Semaphore | None = None
    fault: Fault | None = None
    after: int = 1
    fragment: int = 0


@dataclass(frozen=True, slots=True)
class Fail:
    """A refusal. `status` and `body` replace the provider's own; `retry_after` is sent as written."""

    failure: Failure = Failure.INTERNAL
    retry_after: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    place: Place = Place.STATUS
    after: int = 0
    status: int | None = None
    body: bytes | None = None


@dataclass(slots=True)
class Recorded:
    """A request as the emulator saw it, and what became of it.

    Attributes:
        outcome: `answered`, `refused` (a wrong request), `failed` (as scripted), `cut` or `disconnected`.
        prompt_tokens, completion_tokens: by the emulator's own count; zero unless tokens were used.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    stream: bool = False
    model: str = ""
    outcome: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    truncated: bool = False


Step = Answer | Fail
Choice = Step | Callable[[Recorded], Step]


class Script:
    """A queue of steps, one a request; the `default` answers when it is empty."""

    def __init__(self, *steps: Choice, default: Choice | None = None) -> None:
        self._steps: deque[Choice] = deque(steps)
        self.default: Choice = default if default is not None else Answer()

    def then(self, *steps: Choice) -> Self:
        """Append steps."""
        self._steps.extend(steps)
        return self

    def say(self, text: str, **more: Any) -> Self:
        """Append an answer of this text."""
        return self.then(Answer(text, **more))

    def call(
        self, name: str, arguments: Mapping[str, Any] | str, *, id: str = "", text: str = "", **more: Any
    ) -> Self:
        """Append one tool call."""
        return self.then(Answer(text, tools=(ToolUse(name, arguments, id),), **more))

    def fail(self, failure: Failure, **more: Any) -> Self:
        """Append a refusal."""
        return self.then(Fail(failure, **more))

    def take(self, request: Recorded) -> Step:
        """The step for this request."""
        choice = self._steps.popleft() if self._steps else self.default
        return choice(request) if callable(choice) else choice

    def __len__(self) -> int:
        return len(self._steps)
