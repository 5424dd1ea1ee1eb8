"""Hedged calls, and what an attempt comes to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.llm.backends import backend, down, timed
from xml_pipeline.errors import (
    InvalidRequestError,
    NoBackendError,
    RateLimitedError,
)
from xml_pipeline.llm import Budget, Budgets, LLMRequest, LLMResponse, Router, Timeouts
from xml_pipeline.llm.accounting.usage import Charge
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.testing import run_in_virtual_time

# Hedging


def test_a_hedge_answers_for_a_slow_backend_and_the_slow_one_is_cancelled() -> None:
    async def main() -> None:
        slow = backend("a", Rule(latency=100, reply="slow"))
        router = Router(
            [slow, backend("b", Rule(latency=1, reply="fast"), priority=2)], timeouts=Timeouts(hedge_after=4)
        )
        response, seconds = await timed(router.complete("m", "hello"))
        assert not isinstance(response, BaseException)
        assert (response.backend, seconds) == ("b", 5)
        assert [status.in_flight for status in router.describe()] == [0, 0]
        assert router.get_backend_usage()["a"].unconfirmed_tokens > 0, "it may have been billed"

    run_in_virtual_time(main())


def test_no_hedge_starts_when_the_first_is_quick_or_nobody_else_is_there() -> None:
    async def main() -> None:
        b = backend("b", priority=2)
        quick = Router([backend("a", Rule(latency=3, reply="a")), b], timeouts=Timeouts(hedge_after=4))
        assert (await quick.complete("m", "hello")).backend == "a"
        assert not b.requests
        alone = Router([backend("a", Rule(latency=30, reply="a"))], timeouts=Timeouts(hedge_after=4))
        assert (await alone.complete("m", "hello")).backend == "a"

    run_in_virtual_time(main())


def test_a_hedge_that_fails_does_not_end_the_call() -> None:
    async def main() -> None:
        router = Router(
            [backend("a", Rule(latency=9, reply="a")), backend("b", down(), priority=2)],
            timeouts=Timeouts(hedge_after=4),
        )
        response, seconds = await timed(router.complete("m", "hello"))
        assert not isinstance(response, BaseException)
        assert (response.backend, seconds) == ("a", 9)
        both = Router(
            [backend("a", down(times=1, latency=6)), backend("b", down(times=1, latency=4), priority=2)],
            timeouts=Timeouts(hedge_after=4),
        )
        assert (await both.complete("m", "hello")).backend in ("a", "b")

    run_in_virtual_time(main())


def test_a_hedge_that_is_refused_does_not_lose_the_answer_on_its_way() -> None:
    """As where the second backend's model has a smaller window, or does not know an option."""

    async def main() -> None:
        for refusal in ("ContextWindowError", "InvalidRequestError", "ContentPolicyError"):
            slow = backend("slow", Rule(reply="here I am", latency=8))
            small = backend("small", down(refusal, latency=1), priority=2)
            router = Router([slow, small], timeouts=Timeouts(hedge_after=5))
            assert (await router.complete("m", "hello")).content == "here I am"
            assert router.get_agent_usage("").failure_count == 0

    run_in_virtual_time(main())


def test_a_refusal_ends_the_call_when_the_other_try_fails_too() -> None:
    async def main() -> None:
        slow = backend("slow", down("ServerError", latency=8))
        small = backend("small", down("InvalidRequestError", latency=1), priority=2)
        router = Router([slow, small], timeouts=Timeouts(hedge_after=5))
        with pytest.raises(InvalidRequestError) as caught:
            await router.complete("m", "hello")
        assert [attempt.backend for attempt in caught.value.attempts] == ["small", "slow"]
        assert len(slow.requests) == len(small.requests) == 1

    run_in_virtual_time(main())


def test_a_hedged_call_that_is_cancelled_at_once_leaves_no_probe_and_no_permit() -> None:
    async def main() -> None:
        a = backend("a", down("RateLimitedError", times=1), max_concurrent=1)
        router = Router([a], retries=0, timeouts=Timeouts(hedge_after=1))
        with pytest.raises(RateLimitedError):
            await router.complete("m", "hello")
        await asyncio.sleep(5)
        probe = asyncio.create_task(router.complete("m", "hello"))
        await asyncio.sleep(0)
        assert router.describe()[0].health == "probing"
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        assert (await router.complete("m", "hello", timeout=5)).content == "from a"

    run_in_virtual_time(main())


def test_an_attempt_that_never_started_gives_everything_back() -> None:
    async def main() -> None:
        a = backend("a", rate_limit_tpm=5000, rate_limit_rpm=30)
        router = Router(
            [a], timeouts=Timeouts(hedge_after=1), budgets=Budgets(organism=[Budget(tokens=5000)])
        )
        call = asyncio.create_task(router.complete("m", "hello", max_tokens=1000))
        await asyncio.sleep(0)
        assert router.describe()[0].in_flight == 1
        for task in asyncio.all_tasks() - {asyncio.current_task()}:  # as a loop does that ends
            task.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert not a.requests
        status, totals = router.describe()[0], router.get_total_usage()
        assert (status.in_flight, status.tokens_available) == (0, 5000)
        assert router._endpoints["a"].limiter.requests_available() == 30
        (meter,) = router._book.meters(Charge())
        assert (meter.reserved, meter.spent, totals.unconfirmed_tokens) == (0, 0, 0)

    run_in_virtual_time(main())


def test_backends_can_be_listed_outside_of_an_event_loop() -> None:
    (status,) = Router([backend("a", rate_limit_tpm=1000)]).describe()
    assert (status.health, status.tokens_available) == ("healthy", 1000)


# What an attempt came to


def test_the_attempt_that_a_hedge_overtook_counts_in_the_budget() -> None:
    async def main() -> None:
        answer = Rule(latency=1, reply="fast", usage={"prompt_tokens": 7, "completion_tokens": 3})
        router = Router(
            [backend("a", Rule(latency=60, reply="slow")), backend("b", answer, priority=2)],
            timeouts=Timeouts(hedge_after=4),
            budgets=Budgets(organism=[Budget(tokens=10_000)]),
        )
        assert (await router.complete("m", "hello", max_tokens=100)).backend == "b"
        meter = router._book.meters(Charge())[0]
        totals = router.get_total_usage()
        assert meter.reserved == 0
        assert totals.unconfirmed_tokens > 100
        assert meter.spent == totals.total_tokens + totals.unconfirmed_tokens

    run_in_virtual_time(main())


def test_a_backend_that_asks_a_router_of_its_own_leaves_nothing_behind_when_that_cannot_answer() -> None:
    class Asking(ScriptedBackend):
        async def _do_completion(self, client: Any, request: LLMRequest) -> LLMResponse:
            return await Router().complete("nobody", "hello")

    async def main() -> None:
        router = Router([Asking(name="a")], retries=0)
        with pytest.raises(NoBackendError, match="no backend is configured"):
            await router.complete("m", "hello")
        status = router.describe()[0]
        assert (status.in_flight, status.health) == (0, "healthy")

    run_in_virtual_time(main())
