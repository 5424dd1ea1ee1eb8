"""Which backend a call asks next, and when it ends."""

from __future__ import annotations

import asyncio

import pytest

from tests.llm.backends import backend, down, now, timed
from xml_pipeline.errors import (
    BackendTimeoutError,
    InvalidRequestError,
    RateLimitedError,
    ServerError,
)
from xml_pipeline.llm import Router, Timeouts
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.testing import run_in_virtual_time

# Pitfall 12, one test for each of its sentences


def test_pitfall_12_another_healthy_backend_is_asked_without_sleeping() -> None:
    async def main() -> None:
        router = Router([backend("a", down(), priority=1), backend("b", priority=2)])
        response, seconds = await timed(router.complete("m", "hello"))
        assert not isinstance(response, BaseException)
        assert response.backend == "b"
        assert [attempt.error for attempt in response.attempts] == ["ServerError", ""]
        assert seconds == 0

    run_in_virtual_time(main())


def test_pitfall_12_nothing_is_waited_for_after_the_last_attempt() -> None:
    async def main() -> None:
        router = Router([backend("a", down())], retries=2, retry_base_delay=8, random=lambda: 1.0)
        error, seconds = await timed(router.complete("m", "hello"))
        assert isinstance(error, ServerError)
        assert len(error.attempts) == 3
        assert seconds == 8 + 16

    run_in_virtual_time(main())


@pytest.mark.parametrize("name", ["InvalidRequestError", "ContextWindowError", "ContentPolicyError"])
def test_pitfall_12_the_callers_fault_is_raised_at_once_and_asks_nobody_else(name: str) -> None:
    async def main() -> None:
        a, b = backend("a", down(name)), backend("b")
        with pytest.raises(InvalidRequestError) as caught:
            await Router([a, b]).complete("m", "hello")
        assert type(caught.value).__name__ == name
        assert (len(a.requests), len(b.requests)) == (1, 0)
        assert caught.value.backend == "a"
        assert len(caught.value.attempts) == 1

    run_in_virtual_time(main())


@pytest.mark.parametrize("name", ["AuthenticationError", "QuotaExhaustedError"])
def test_pitfall_12_a_dead_key_or_empty_account_is_not_asked_again(name: str) -> None:
    async def main() -> None:
        a, b = backend("a", down(name)), backend("b")
        router = Router([a, b], retries=0)
        for _ in range(3):
            assert (await router.complete("m", "hello")).backend == "b"
        assert len(a.requests) == 1
        assert router.describe()[0].health == "dead"

    run_in_virtual_time(main())


def test_pitfall_12_two_backends_of_one_provider_are_two() -> None:
    async def main() -> None:
        first, second = ScriptedBackend(rules=[down()]), ScriptedBackend(rules=[Rule(reply="second")])
        router = Router([first, second])
        assert list(router.backends) == ["scripted", "scripted-2"]
        assert (await router.complete("m", "hello")).backend == "scripted-2"

    run_in_virtual_time(main())


def test_pitfall_12_a_retry_after_is_obeyed_up_to_a_cap() -> None:
    async def main() -> None:
        polite = backend("a", down("RateLimitedError", times=1, retry_after=7.0))
        _, seconds = await timed(Router([polite]).complete("m", "hello"))
        assert seconds == pytest.approx(7, abs=0.01)
        endless = backend("a", down("RateLimitedError", times=1, retry_after=1e9))
        response, seconds = await timed(Router([endless], retry_max_delay=30).complete("m", "hello"))
        assert not isinstance(response, BaseException)
        assert seconds == pytest.approx(30, abs=0.01)

    run_in_virtual_time(main())


# Attempts and deadlines


def test_one_attempt_budget_holds_over_all_backends() -> None:
    async def main() -> None:
        backends = [backend(name, down()) for name in "abc"]
        with pytest.raises(ServerError) as caught:
            await Router(backends, retries=3).complete("m", "hello")
        assert [attempt.backend for attempt in caught.value.attempts[:3]] == ["a", "b", "c"]
        assert len(caught.value.attempts) == 4
        assert "a: ServerError" in str(caught.value)

    run_in_virtual_time(main())


def test_dead_keys_use_up_no_retries() -> None:
    async def main() -> None:
        backends = [backend(name, down("AuthenticationError")) for name in "abcd"]
        router = Router([*backends, backend("e")], retries=0)
        assert (await router.complete("m", "hello")).backend == "e"

    run_in_virtual_time(main())


def test_a_call_ends_at_its_deadline_whatever_the_backend_does() -> None:
    async def main() -> None:
        slow = backend("a", Rule(latency=1000, reply="late"))
        router = Router([slow], timeouts=Timeouts(request=20))
        error, seconds = await timed(router.complete("m", "hello"))
        assert isinstance(error, BackendTimeoutError)
        assert seconds == 20
        error, seconds = await timed(router.complete("m", "hello", timeout=5))
        assert isinstance(error, BackendTimeoutError)
        assert seconds == 5
        assert router.describe()[0].in_flight == 0
        assert router.describe()[0].health == "healthy", "the caller's impatience is not the backend's fault"

    run_in_virtual_time(main())


def test_a_slow_try_is_given_up_for_another_backend() -> None:
    async def main() -> None:
        slow = backend("a", Rule(latency=1000, reply="late"))
        router = Router([slow, backend("b")], timeouts=Timeouts(attempt=10))
        response, seconds = await timed(router.complete("m", "hello"))
        assert not isinstance(response, BaseException)
        assert response.backend == "b"
        assert response.attempts[0].error == "BackendTimeoutError"
        assert seconds == 10

    run_in_virtual_time(main())


def test_a_wait_that_would_pass_the_deadline_is_not_begun() -> None:
    async def main() -> None:
        limited = backend("a", down("RateLimitedError", retry_after=50.0))
        error, seconds = await timed(Router([limited]).complete("m", "hello", timeout=20))
        assert isinstance(error, RateLimitedError)
        assert error.retry_after == 50
        assert seconds == 0

    run_in_virtual_time(main())


def test_a_cancelled_call_leaves_nothing_behind() -> None:
    async def main() -> None:
        router = Router([backend("a", Rule(latency=1000, reply="late"), max_concurrent=1)])
        tasks = [asyncio.create_task(router.complete("m", "hello")) for _ in range(3)]
        await asyncio.sleep(1)
        assert (router.describe()[0].in_flight, router.describe()[0].waiting) == (1, 2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (router.describe()[0].in_flight, router.describe()[0].waiting) == (0, 0)

    run_in_virtual_time(main())


def test_an_outer_timeout_stays_the_callers() -> None:
    async def main() -> None:
        router = Router([backend("a", Rule(latency=1000, reply="late"))])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await router.complete("m", "hello")

    run_in_virtual_time(main())


# Busy backends


def test_a_backend_without_room_is_passed_by_another_that_has_some() -> None:
    async def main() -> None:
        a = backend("a", Rule(latency=5, reply="a"), max_concurrent=2)
        router = Router([a, backend("b", priority=2)])
        answers = await asyncio.gather(*(router.complete("m", "hello") for _ in range(5)))
        assert sorted(answer.backend for answer in answers) == ["a", "a", "b", "b", "b"]

    run_in_virtual_time(main())


def test_when_all_are_full_calls_wait_and_none_is_lost() -> None:
    async def main() -> None:
        backends = [backend(name, Rule(latency=5, reply=name), max_concurrent=2) for name in "ab"]
        router = Router(backends)
        answers = await asyncio.gather(*(router.complete("m", "hello") for _ in range(12)))
        assert len(answers) == 12
        assert now() == 15

    run_in_virtual_time(main())
