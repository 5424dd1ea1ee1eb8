"""A failing backend is left alone, probed by one request, and asked again when it works."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.llm.backends import backend, down, now, timed
from xml_pipeline.errors import (
    AuthenticationError,
    QuotaExhaustedError,
    RateLimitedError,
    ServerError,
)
from xml_pipeline.events import BackendStateChanged, Event
from xml_pipeline.llm import Router
from xml_pipeline.llm.providers.scripted import Rule
from xml_pipeline.llm.routing.circuit_breaker import CircuitBreaker, CoolingPolicy
from xml_pipeline.testing import run_in_virtual_time


def test_a_failing_backend_is_left_alone_and_probed_by_one_request() -> None:
    async def main() -> None:
        events: list[Event] = []
        flapping = backend("a", down(times=3), Rule(times=1, latency=5, reply="back"))
        router = Router([flapping, backend("b", priority=2)], retry_base_delay=10, on_event=events.append)
        for _ in range(5):
            assert (await router.complete("m", "hello")).backend == "b"
        assert len(flapping.requests) == 3, "cold after three failures in a row"
        await asyncio.sleep(11)
        answers = await asyncio.gather(*(router.complete("m", "hello") for _ in range(4)))
        assert sorted(answer.backend for answer in answers) == ["a", "b", "b", "b"]
        assert (await router.complete("m", "hello")).backend == "a"
        states = [event.state for event in events if isinstance(event, BackendStateChanged)]
        assert states == ["cold", "probing", "healthy"]

    run_in_virtual_time(main())


def test_a_failed_probe_doubles_the_wait() -> None:
    async def main() -> None:
        broken = backend("a", down())
        router = Router([broken, backend("b", priority=2)], retry_base_delay=10)
        asked: list[float] = []
        for _ in range(100):
            before = len(broken.requests)
            await router.complete("m", "hello")
            if len(broken.requests) > before:
                asked.append(now())
            await asyncio.sleep(1)
        assert asked == [0, 1, 2, 12, 32, 72]

    run_in_virtual_time(main())


def test_a_probe_that_is_cancelled_leaves_the_way_open_for_the_next() -> None:
    async def main() -> None:
        a = backend("a", down("RateLimitedError", times=1), Rule(times=1, latency=100, reply="slow"))
        router = Router([a], retry_base_delay=2, retries=0)
        with pytest.raises(RateLimitedError):
            await router.complete("m", "hello")
        await asyncio.sleep(3)
        probe = asyncio.create_task(router.complete("m", "hello"))
        await asyncio.sleep(1)
        waiting = asyncio.create_task(router.complete("m", "hello"))
        await asyncio.sleep(1)
        assert not waiting.done()
        probe.cancel()
        assert (await waiting).content == "from a"

    run_in_virtual_time(main())


def test_a_probe_of_an_account_that_tells_nothing_leaves_the_way_open_too() -> None:
    breaker = CircuitBreaker(CoolingPolicy(), lambda *change: None)
    breaker.failed("m", AuthenticationError("no"), 0.0, 0.0)
    assert not breaker.available("m", 1.0)
    at = breaker.account.until
    assert breaker.available("m", at)
    assert breaker.begin("m", at)
    assert not breaker.available("m", at)
    breaker.abandon("m", at - 1)  # another request
    assert not breaker.available("m", at)
    breaker.abandon("m", at)
    assert breaker.available("m", at)


def test_each_refusal_waits_twice_as_long_beginning_with_the_base() -> None:
    breaker, at, waits = (
        CircuitBreaker(CoolingPolicy(base=2, cap=30), lambda *change: None),
        0.0,
        list[float](),
    )
    for _ in range(6):
        breaker.failed("m", RateLimitedError("slow down"), at, at)
        until = breaker.models["m"].until
        waits.append(until - at)
        at = until
    assert waits == [2, 4, 8, 16, 30, 30]


def test_other_failures_wait_from_the_third_on() -> None:
    breaker, at = CircuitBreaker(CoolingPolicy(base=2, cap=30), lambda *change: None), 0.0
    for _ in range(2):
        breaker.failed("m", ServerError("oops"), at, at)
        assert breaker.available("m", at)
        at += 1
    waits = []
    for _ in range(3):
        breaker.failed("m", ServerError("oops"), at, at)
        assert not breaker.available("m", at)
        waits.append(breaker.models["m"].until - at)
        at = breaker.models["m"].until
    assert waits == [2, 4, 8]


def test_when_everything_is_cold_a_call_waits_for_the_earliest() -> None:
    async def main() -> None:
        backends = [
            backend("a", down("RateLimitedError", times=1, retry_after=40.0)),
            backend("b", down("OverloadedError", times=1, retry_after=15.0)),
        ]
        response, seconds = await timed(Router(backends).complete("m", "hello"))
        assert not isinstance(response, BaseException)
        assert response.backend == "b"
        assert seconds == pytest.approx(15, abs=0.01)

    run_in_virtual_time(main())


def test_a_call_that_waits_is_woken_when_a_backend_heals() -> None:
    async def main() -> None:
        a = backend(
            "a", down("OverloadedError", times=1, retry_after=10.0), Rule(times=1, latency=1, reply="probe")
        )
        router = Router([a])
        first = asyncio.create_task(router.complete("m", "hello"))
        await asyncio.sleep(5)
        second, seconds = await timed(router.complete("m", "hello"))
        assert not isinstance(second, BaseException)
        assert second.content == "from a"
        assert (await first).content == "probe"
        assert seconds == pytest.approx(6, abs=0.01)

    run_in_virtual_time(main())


def test_health_is_kept_per_model() -> None:
    async def main() -> None:
        a = backend("a", Rule(model="big", error="OverloadedError"))
        router = Router([a, backend("b", priority=2)])
        assert (await router.complete("big", "hello")).backend == "b"
        assert (await router.complete("small", "hello")).backend == "a"
        assert len(a.requests) == 2
        assert (await router.complete("big", "hello")).backend == "b"
        assert len(a.requests) == 2

    run_in_virtual_time(main())


def test_an_unknown_model_puts_only_that_model_out_and_is_not_waited_for() -> None:
    async def main() -> None:
        a = backend("a", Rule(model="gone", error="ModelNotFoundError"))
        router = Router([a])
        for _ in range(2):
            _, seconds = await timed(router.complete("gone", "hello"))
            assert seconds == 0
        assert len(a.requests) == 1
        assert (await router.complete("there", "hello")).backend == "a"

    run_in_virtual_time(main())


def test_a_dead_account_is_tried_again_after_a_while() -> None:
    async def main() -> None:
        a = backend("a", down("QuotaExhaustedError", times=1))
        router = Router([a])
        for wait in (0, 100, 100):
            await asyncio.sleep(wait)
            error, seconds = await timed(router.complete("m", "hello"))
            assert isinstance(error, QuotaExhaustedError)
            assert seconds == 0
        assert len(a.requests) == 1
        await asyncio.sleep(200)
        assert (await router.complete("m", "hello")).content == "from a"

    run_in_virtual_time(main())


# Failures of calls that were on their way together


@pytest.mark.parametrize("calls", [1, 3, 20, 100])
@pytest.mark.parametrize(
    "error", ["RateLimitedError", "OverloadedError", "ServerError", "ConnectionFailedError"]
)
def test_many_calls_that_fail_together_are_one_failure(calls: int, error: str) -> None:
    async def main() -> None:
        events: list[Event] = []
        blip = backend("a", down(error, times=calls, latency=1, retry_after=2.0))
        router = Router([blip], on_event=events.append, random=lambda: 0.0)
        answers = await asyncio.gather(*(router.complete("m", "hello", timeout=8) for _ in range(calls)))
        assert {answer.content for answer in answers} == {"from a"}
        assert now() == pytest.approx(3, abs=0.01), "out for as long as the provider said, and no longer"
        states = [event.state for event in events if isinstance(event, BackendStateChanged)]
        assert states == ["cold", "probing", "healthy"]
        assert router.describe()[0].health == "healthy"

    run_in_virtual_time(main())


def test_calls_that_fail_together_without_a_hint_do_not_put_a_backend_out() -> None:
    async def main() -> None:
        router = Router([backend("a", down(times=50, latency=1))], retry_base_delay=0.5)
        answers = await asyncio.gather(*(router.complete("m", "hello") for _ in range(50)))
        assert len(answers) == 50
        assert now() < 3

    run_in_virtual_time(main())


def test_three_failures_one_after_the_other_still_put_it_out() -> None:
    async def main() -> None:
        broken = backend("a", down(latency=1))
        router = Router([broken], retries=0, retry_base_delay=10)
        for _ in range(3):
            assert router.describe()[0].health != "cold"
            with pytest.raises(ServerError):
                await router.complete("m", "hello")
        assert router.describe()[0].health == "cold"

    run_in_virtual_time(main())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.1, 5), st.floats(0.1, 5)), min_size=1, max_size=20),
    st.floats(1, 30),
)
def test_a_backend_is_never_out_for_longer_than_its_provider_said(
    heard: list[tuple[float, float]], told: float
) -> None:
    breaker = CircuitBreaker(CoolingPolicy(cap=60), lambda model, state, reason: None)
    calls = sorted((start + takes, start) for start, takes in heard)
    for at, start in calls:
        breaker.failed("m", RateLimitedError("no", retry_after=told), min(start, 0.1), at)
    last = calls[-1][0]
    assert not breaker.available("m", last)
    assert breaker.available("m", last + told + 1e-6)


def test_a_later_time_that_another_call_heard_counts() -> None:
    breaker = CircuitBreaker(CoolingPolicy(), lambda model, state, reason: None)
    breaker.failed("m", RateLimitedError("no", retry_after=5), 0, 1)
    breaker.failed("m", RateLimitedError("no", retry_after=20), 0, 2)
    breaker.failed("m", RateLimitedError("no", retry_after=1), 0, 3)
    assert breaker.ready_at("m", 3) == 22


def test_a_refusal_counts_although_another_failure_came_before_it() -> None:
    breaker = CircuitBreaker(CoolingPolicy(), lambda model, state, reason: None)
    breaker.failed("m", ServerError("no"), 0, 1)
    assert breaker.available("m", 1)
    breaker.failed("m", RateLimitedError("no", retry_after=20), 0, 2)
    assert breaker.ready_at("m", 3) == 22


def test_an_answer_to_an_older_request_does_not_shorten_the_providers_time() -> None:
    async def main() -> None:
        a = backend(
            "a",
            Rule(match="slow", latency=5, reply="slow"),
            down("RateLimitedError", times=1, latency=1, retry_after=30.0),
        )
        router = Router([a])
        slow = asyncio.create_task(router.complete("m", "slow"))
        quick = asyncio.create_task(router.complete("m", "quick"))
        assert (await slow).content == "slow"
        assert router.describe()[0].health == "cold"
        await quick
        assert now() == pytest.approx(31, abs=0.01)
        assert router.describe()[0].health == "healthy"

    run_in_virtual_time(main())


def test_only_the_probe_itself_can_be_given_up() -> None:
    async def main() -> None:
        a = backend(
            "a",
            Rule(match="old", latency=100, reply="old"),
            down("RateLimitedError", times=1, retry_after=2.0),
            Rule(match="probe", latency=10, reply="probe"),
        )
        router = Router([a])
        old = asyncio.create_task(router.complete("m", "old"))
        await asyncio.sleep(0.1)
        probe = asyncio.create_task(router.complete("m", "probe"))
        await asyncio.sleep(3)
        assert router.describe()[0].health == "probing"
        old.cancel()
        await asyncio.gather(old, return_exceptions=True)
        assert router.describe()[0].health == "probing"
        assert (await probe).content == "probe"

    run_in_virtual_time(main())


def test_a_dead_key_found_by_a_models_probe_leaves_that_model_probeable() -> None:
    async def main() -> None:
        a = backend(
            "a", down("RateLimitedError", times=1, retry_after=2.0), down("AuthenticationError", times=1)
        )
        router = Router([a], retries=0)
        for wait, error in ((0, RateLimitedError), (3, AuthenticationError)):
            await asyncio.sleep(wait)
            with pytest.raises(error):
                await router.complete("m", "hello")
        assert router.describe()[0].health == "dead"
        await asyncio.sleep(400)
        assert (await router.complete("m", "hello", timeout=5)).content == "from a"
        assert router.describe()[0].health == "healthy"

    run_in_virtual_time(main())


def test_after_a_success_nothing_of_the_failures_is_left() -> None:
    async def main() -> None:
        a = backend("a", down(times=3), Rule(times=1, reply="back"), down(times=3))
        router = Router([a, backend("b", priority=2)], retry_base_delay=10)
        for _ in range(3):
            await router.complete("m", "hello")
        assert (router.describe()[0].health, router.describe()[0].reason) == ("cold", "scripted failure")
        await asyncio.sleep(11)
        assert (await router.complete("m", "hello")).content == "back"
        status = router.describe()[0]
        assert (status.health, status.reason) == ("healthy", "")
        await router.complete("m", "hello")
        await router.complete("m", "hello")
        assert router.describe()[0].health == "failing", "it takes three failures again"
        await router.complete("m", "hello")
        await asyncio.sleep(11)  # and the wait starts at its beginning again
        assert (await router.complete("m", "hello")).content == "from a"

    run_in_virtual_time(main())
