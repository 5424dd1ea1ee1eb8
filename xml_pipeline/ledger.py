"""The ledger: a row for each try at a model, written before it is sent, and again when it came to something (ADR 29).

What is kept of an answer stands in its row too, so that a handler that is called again gets it again. A row that was
begun and never ended is *unknown*: nobody can tell whether it was billed, and it counts as what it was expected to
come to at most.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol


class Asked(NamedTuple):
    """One call of a model, as a rerun of its handler makes it again.

    Attributes:
        conversation_id: of the message.
        message_id: which is handled.
        run: how often its handler had raised.
        request: a digest of what was asked.
        nth: how often the same was asked before, in this run.
        parts: the digests of its parts, as `llm.tape` writes them; they say what differs.
    """

    conversation_id: str
    message_id: str
    run: int
    request: bytes
    nth: int
    parts: bytes = b""


class Try(NamedTuple):
    """A try at a model, before it is sent.

    Attributes:
        agent: who pays; "" for nobody.
        operation: what for, or "".
        conversation_id: in which, or "".
        threads: the innermost thread and those above it.
        asked: which call of which message it belongs to; None outside of handlers.
        backend, model: who is asked, and for which model there.
        priced_as: whose price holds, as `openai/gpt-5.4`; "" when it is unknown.
        began: in seconds of Unix time.
        prompt, output: tokens that it may come to: what is reserved for it, or else what is expected.
        micro_usd: what those cost; None when the price is unknown.
        attempt: which try of its call it is, from 1.
        caller: who brought its conversation through a door, as `trigger:nightly`; "" for nobody.
        door: through which; "" for none.
    """

    agent: str
    operation: str
    conversation_id: str
    threads: tuple[str, ...]
    asked: Asked | None
    backend: str
    model: str
    priced_as: str
    began: float
    prompt: int
    output: int
    micro_usd: int | None
    attempt: int = 1
    caller: str = ""
    door: str = ""


class Came(NamedTuple):
    """What a try came to.

    Attributes:
        outcome: `answered`, `dropped`, `failed`, `cancelled` or `stored` (`llm.accounting.usage.Answered`).
        at: in seconds of Unix time.
        prompt, output: tokens, all of them.
        cached, cache_write, reasoning: parts of those.
        estimated: whether the provider did not count all of them.
        confirmed: False when nobody will tell whether it was billed.
        micro_usd: what they cost; None when the price is unknown.
        plain: what they would have cost with nothing cached, in micro-USD; None when the price is unknown.
        priced_as: whose price holds for what came, as `Try.priced_as`.
        stop_reason: of the answer, or "".
        tool_calls: in the answer.
        error: the type of what went wrong, or "".
        answer: what is kept of it, for whoever asks the same again; None for nothing.
        parts: `Asked.parts`, where an answer is kept.
        cache_write_1h: those of `cache_write` that are kept for an hour.
    """

    outcome: str
    at: float
    prompt: int
    output: int
    cached: int
    cache_write: int
    reasoning: int
    estimated: bool
    confirmed: bool
    micro_usd: int | None
    plain: int | None
    priced_as: str
    stop_reason: str
    tool_calls: int
    error: str
    answer: bytes | None = None
    parts: bytes = b""
    cache_write_1h: int = 0


class Recalled(NamedTuple):
    """What an earlier life knows of a call.

    Attributes:
        answer: what was kept; None where it was begun and its answer never came.
        backend: who was asked last.
        response_id: the name that its provider gave the answer, where it can be fetched by it; or "".
        number: of its row.
        prompt, output, micro_usd: that it counts as.
        confirmed: False where nobody can tell whether it was billed.
    """

    answer: bytes | None
    backend: str
    response_id: str
    number: int
    prompt: int
    output: int
    micro_usd: int
    confirmed: bool


class Spent(NamedTuple):
    """What some tries came to together.

    Attributes:
        at: when, to a quarter of an hour, in seconds of Unix time.
        agent, operation: whose, and what for; "" where that was not asked.
        threads: in which; () where that was not asked.
        in_run: whether in the run that goes on: since a start that followed a proper end.
        prompt, output: tokens.
        micro_usd: of those with a known price.
        caller, door: who brought it through which door; "" for nobody, or where that was not asked.
    """

    at: float
    agent: str
    operation: str
    threads: tuple[str, ...]
    in_run: bool
    prompt: int
    output: int
    micro_usd: int
    caller: str = ""
    door: str = ""


class Forgiven(NamedTuple):
    """What is not held against a budget any more.

    Attributes:
        scope: of the budget: `organism`, or `agent`, `operation`, `caller`, `door`, `conversation` or `thread` and a
            name.
        per: its period.
        start: where that began: in seconds of Unix time, or, of a run, the number of the last call before it.
        at: when it was forgiven, in seconds of Unix time.
        prompt, output: tokens; less than none where a forgiven call was put right.
        micro_usd: of those with a known price.
    """

    scope: str
    per: str
    start: float
    at: float
    prompt: int
    output: int
    micro_usd: int


class Amended(NamedTuple):
    """A call that a person put right.

    Attributes:
        number: of its row.
        conversation_id: in which, or "".
        change: what it came to more than was known, or (below 0) less.
        forgiven: what of that is forgiven, because the call was.
        was, now_is: its tokens, input and output, and what it cost in micro-USD; None when that is unknown.
    """

    number: int
    conversation_id: str
    change: Spent
    forgiven: Sequence[Forgiven]
    was: tuple[int, int, int | None]
    now_is: tuple[int, int, int | None]


class Limited(NamedTuple):
    """A thread that has limits of its own.

    Attributes:
        thread_id, conversation_id: which, and in which conversation.
        limits: as `llm.accounting.budgets` writes them.
    """

    thread_id: str
    conversation_id: str
    limits: bytes


class Ledger(Protocol):
    """Where the rows are.

    Attributes:
        last: the number of the last row.
    """

    last: int

    def begin(self, started: Try) -> tuple[int, Awaitable[None]]:
        """Write down a try: its number, and what to wait for before it is sent.

        Raises:
            JournalError: nothing can be written any more (also out of what is waited for).
        """

    def named(self, number: int, response_id: str) -> None:
        """The provider gave the answer of a try a name, by which it can be fetched later."""

    def end(self, number: int, came: Came) -> None:
        """Write down what a try came to; that is durable before whatever is decided after it."""

    def recall(self, asked: Asked) -> Recalled | None:
        """What an earlier life knows of a call; None where nobody asked."""

    def others(self, asked: Asked) -> Sequence[Asked]:
        """The calls with an answer of the same run of the same message."""

    def spent_in(self, conversation_id: str, after: int = 0, ended: float = -math.inf) -> Sequence[Spent]:
        """What was spent in a conversation, by agents and threads.

        Args:
            conversation_id: which.
            after: in tries with a higher number alone.
            ended: in tries alone that ended later, in seconds of Unix time, or did not.

        Raises:
            JournalError: it cannot be read.
        """

    def limit(self, limited: Limited) -> None:
        """A thread has these limits from its next try on; with empty ones it has none."""

    def limited(self) -> Sequence[Limited]:
        """The threads with limits of their own. Raises JournalError."""

    @property
    def before(self) -> int:
        """The number of the last row before the run that goes on."""

    def forgiven(self) -> Sequence[Forgiven]:
        """All that was ever forgiven. Raises JournalError."""

    async def spent_since(self, when: float) -> Sequence[Spent]:
        """What agents spent on operations since a time (Unix seconds), and in this run. Raises JournalError."""


class LedgerFile(Protocol):
    """A ledger that is opened when somebody first asks a model.

    Attributes:
        path: the file.
    """

    path: Path

    async def ready(self, take_up: Callable[[Ledger], Awaitable[None]]) -> None:
        """Wait until it is open in this event loop, and was taken up.

        Raises:
            JournalError: another process uses it, or it cannot be used.
        """

    async def close(self) -> None:
        """Write what is to be written, and let the file go."""
