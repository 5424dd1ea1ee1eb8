"""Calls that race, fail, break off and are cancelled: no budget is passed, nothing is held, all is written down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from xml_pipeline.errors import (
    BackendError,
    BudgetExceededError,
    ConnectionFailedError,
    MalformedAnswerError,
    OverloadedError,
    RateLimitedError,
    ServerError,
)
from xml_pipeline.events import Event, LLMCalled
from xml_pipeline.llm import (
    Budget,
    Budgets,
    LLMRequest,
    LLMResponse,
    Price,
    Router,
    StreamEvent,
    TextDelta,
    Timeouts,
    Usage,
)
from xml_pipeline.llm.accounting.usage import Charge
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.types import StreamFinished, StreamOpened, UsageReport
from xml_pipeline.testing import run_in_virtual_time

End = Literal["answered", "refused", "unsent", "lost", "unreadable", "cut", "after the end", "hangs"]


@dataclass(frozen=True)
class Try:
    """How a provider treats one request.

    Attributes:
        end: what becomes of it.
        share: of the allowed output that is written.
        takes: seconds before its first byte, and between pieces.
        pieces: of a stream that are sent before its end.
        counts: whether each piece comes with the count so far.
    """

    end: End
    share: float
    takes: float
    pieces: int
    counts: bool


@dataclass(frozen=True)
class Call:
    """What a caller does."""

    text: str
    max_tokens: int | None
    starts: float
    streams: bool
    cancelled: float | None
    leaves_after: int | None


@dataclass
class Sent:
    """One request as its provider saw it."""

    prompt: int
    most: int
    received: int = 0  # bytes of content that left the provider
    counted: int | None = None  # tokens, when the last thing that left was a count


@dataclass
class Provider(Backend):
    """Treats its requests by a plan, and counts as consistently as a real one."""

    plan: list[Try] = field(default_factory=list)
    density: float = 1.0
    seen: list[Sent] = field(default_factory=list)
    watch: Any = None

    offline = True

    def serves_model(self, model: str) -> bool:
        return True

    def _next(self, request: LLMRequest) -> tuple[Try, Sent]:
        self.watch()
        assert request.max_tokens is not None, "a budget applies, so there is a limit"
        size = sum(len(message["content"].encode()) for message in request.messages)
        sent = Sent(int(size * self.density) + 60, request.max_tokens)
        self.seen.append(sent)
        return self.plan[(len(self.seen) - 1) % len(self.plan)], sent

    def _refusal(self, end: End) -> Exception | None:
        if end == "refused":
            return (RateLimitedError, OverloadedError, ServerError)[len(self.seen) % 3]("no")
        if end == "unsent":
            error = ConnectionFailedError("no connection")
            error.sent = False
            return error
        return {"lost": ConnectionFailedError("gone"), "unreadable": MalformedAnswerError("<html>")}.get(end)

    async def _do_completion(self, client: object, request: LLMRequest) -> LLMResponse:
        step, sent = self._next(request)
        await asyncio.sleep(1e6 if step.end == "hangs" else step.takes)
        refusal = self._refusal("lost" if step.end in ("cut", "after the end") else step.end)
        if refusal is not None:
            raise refusal
        written = int(sent.most * step.share)
        text = "w" * written or "w"
        sent.received, sent.counted = len(text), sent.prompt + max(1, written)
        self.watch()
        return LLMResponse(
            text, request.model, {"prompt_tokens": sent.prompt, "completion_tokens": max(1, written)}
        )

    async def _do_stream(self, client: object, request: LLMRequest) -> AsyncIterator[StreamEvent]:
        step, sent = self._next(request)
        await asyncio.sleep(step.takes)
        refusal = self._refusal(step.end)
        if refusal is not None:
            raise refusal
        yield StreamOpened()
        written = 0
        for _ in range(step.pieces):
            size = max(1, int(sent.most * step.share / step.pieces))
            if written + size > sent.most:
                break
            written += size
            sent.received, sent.counted = sent.received + size, None
            yield TextDelta("w" * size)
            if step.counts:
                sent.counted = sent.prompt + written
                yield UsageReport(Usage(sent.prompt, written))
            await asyncio.sleep(step.takes)
            self.watch()
        if step.end == "hangs":
            await asyncio.sleep(1e6)
        if step.end == "cut":
            return
        sent.counted = sent.prompt + max(1, written)
        yield UsageReport(Usage(sent.prompt, max(1, written)))
        if step.end == "after the end":
            raise ConnectionFailedError("reset at the end")
        yield StreamFinished("stop", request.model)


tries = st.builds(
    Try,
    st.sampled_from(
        ["answered", "answered", "refused", "unsent", "lost", "unreadable", "cut", "after the end", "hangs"]
    ),
    st.floats(0, 1),
    st.floats(0, 3),
    st.integers(0, 6),
    st.booleans(),
)
calls = st.builds(
    Call,
    st.text(max_size=80),
    st.one_of(st.none(), st.integers(1, 600)),
    st.floats(0, 5),
    st.booleans(),
    st.one_of(st.none(), st.floats(0, 12)),
    st.one_of(st.none(), st.integers(1, 4)),
)
plans = st.lists(tries, min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(
    plans=st.tuples(plans, plans),
    asked=st.lists(calls, min_size=1, max_size=20),
    tokens=st.integers(200, 8000),
    micro_usd=st.integers(500, 40_000),
    density=st.floats(0.2, 1.0),
    retries=st.integers(0, 3),
    hedge_after=st.one_of(st.none(), st.floats(0, 2)),
)
def test_whatever_races_no_budget_is_passed_and_everything_is_written_down(
    plans: tuple[list[Try], list[Try]],
    asked: list[Call],
    tokens: int,
    micro_usd: int,
    density: float,
    retries: int,
    hedge_after: float | None,
) -> None:
    async def main() -> None:
        told: list[LLMCalled] = []

        def note(event: Event) -> None:
            if isinstance(event, LLMCalled):
                told.append(event)

        cheap = Provider(name="cheap", plan=plans[0], density=density, model_map={"m": "cheap"})
        dear = Provider(name="dear", plan=plans[1], density=density, model_map={"m": "dear"}, priority=2)
        router = Router(
            [cheap, dear],
            retries=retries,
            retry_base_delay=0.1,
            timeouts=Timeouts(request=30, attempt=8, first_token=6, idle=5, hedge_after=hedge_after),
            prices={"cheap": Price(1.0, 2.0), "dear": Price(3.0, 15.0)},
            budgets=Budgets(organism=[Budget(tokens=tokens, usd=micro_usd / 1e6)], default_max_tokens=500),
            on_event=note,
        )
        meters = router._book.meters(Charge())

        def watch() -> None:
            for meter in meters:
                assert meter.spent + meter.reserved <= meter.limit
                assert meter.reserved >= 0

        cheap.watch = dear.watch = watch

        async def ask(one: Call) -> None:
            if not one.streams:
                await router.complete("m", one.text, max_tokens=one.max_tokens)
                return
            pieces = 0
            async with aclosing(router.stream("m", one.text, max_tokens=one.max_tokens)) as events:
                async for event in events:
                    pieces += isinstance(event, TextDelta)
                    if pieces == one.leaves_after:
                        return

        async def start(one: Call) -> None:
            await asyncio.sleep(one.starts)
            task = asyncio.create_task(ask(one))
            if one.cancelled is not None:
                await asyncio.sleep(one.cancelled)
                task.cancel()
            (done,) = await asyncio.gather(task, return_exceptions=True)
            watch()
            if done is not None:
                assert isinstance(done, BackendError | BudgetExceededError | asyncio.CancelledError), done

        await asyncio.gather(*(start(one) for one in asked))

        for meter in meters:
            assert meter.reserved == 0
            assert meter.spent <= meter.limit
        for status in router.describe():
            assert (status.in_flight, status.waiting) == (0, 0)
        assert router._shared.calls == 0
        totals, seen = router.get_total_usage(), [*cheap.seen, *dear.seen]
        assert meters[0].spent == totals.total_tokens + totals.unconfirmed_tokens
        assert meters[0].spent == sum(one.prompt_tokens + one.completion_tokens for one in told)
        assert meters[1].spent == sum(round((one.cost or 0) * 1e6) for one in told)
        # What the providers counted to the end is charged exactly; what else they delivered, as an estimate.
        assert totals.total_tokens - totals.estimated_tokens == sum(one.counted or 0 for one in seen)
        uncounted = sum(one.received > 0 and one.counted is None for one in seen)
        assert uncounted == sum(one.estimated and one.confirmed for one in told)

    run_in_virtual_time(main())
