"""Retries, failover, cooldown and deadlines, in virtual time against scripted backends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from xml_pipeline.errors import (
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    ConnectionFailedError,
    ContextWindowError,
    InvalidRequestError,
    NoBackendError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitedError,
    ServerError,
)
from xml_pipeline.events import BackendStateChanged, Event
from xml_pipeline.llm import PROVIDER_CLASSES, Budget, Budgets, LLMRequest, LLMResponse, Router, Timeouts
from xml_pipeline.llm.accounting.usage import Charge
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.testing import run_in_virtual_time

T = TypeVar("T")


def backend(name: str, *rules: Rule, **settings: Any) -> ScriptedBackend:
    return ScriptedBackend(name=name, rules=(*rules, Rule(reply=f"from {name}")), **settings)


def down(error: str = "ServerError", times: int | None = None, **settings: Any) -> Rule:
    return Rule(error=error, times=times, **settings)


def now() -> float:
    return asyncio.get_running_loop().time()


async def timed(call: Coroutine[Any, Any, T]) -> tuple[T | BaseException, float]:
    """What a call gave or raised, and how many seconds it took."""
    started = now()
    try:
        return await call, now() - started
    except BackendError as error:
        return error, now() - started


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


# CircuitBreaker


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


def test_backends_can_be_listed_outside_of_an_event_loop() -> None:
    (status,) = Router([backend("a", rate_limit_tpm=1000)]).describe()
    assert (status.health, status.tokens_available) == ("healthy", 1000)


# Everything down


def test_the_final_error_is_of_the_last_kind_and_tells_the_whole_story() -> None:
    async def main() -> None:
        router = Router(
            [backend("a", down("AuthenticationError")), backend("b", down("OverloadedError"))], retries=0
        )
        with pytest.raises(OverloadedError) as caught:
            await router.complete("m", "hello")
        error = caught.value
        assert isinstance(error, BackendError)
        assert [(one.backend, one.error) for one in error.attempts] == [
            ("a", "AuthenticationError"),
            ("b", "OverloadedError"),
        ]
        assert "after 2 tries" in str(error)
        with pytest.raises((AuthenticationError, OverloadedError), match="every backend is out"):
            await router.complete("m", "hello", timeout=0.5)

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("AuthenticationError", r"Check the key of backend a \(environment variable MY_KEY\)$"),
        ("QuotaExhaustedError", "Add credit to the account of backend a"),
        ("ModelNotFoundError", "Check the model's name"),
        ("RateLimitedError", "Set rate_limit_rpm and rate_limit_tpm of backend a"),
        ("MalformedAnswerError", "Check that base_url http://127.0.0.1:9/v1 of backend a is the address"),
        ("ConnectionFailedError", "Check that base_url http://127.0.0.1:9/v1 of backend a is right"),
    ],
)
async def test_the_final_error_says_what_to_do(name: str, what: str) -> None:
    failing = backend("a", down(name), base_url="http://127.0.0.1:9/v1", api_key_env="MY_KEY")
    with pytest.raises(BackendError, match=what):
        await Router([failing], retries=0).complete("m", "hello")


async def test_a_server_that_does_not_run_is_no_connection_and_says_where() -> None:
    nobody = PROVIDER_CLASSES["openai-compatible"](base_url="http://127.0.0.1:9/v1")
    async with Router([nobody], retries=0) as router:
        with pytest.raises(
            ConnectionFailedError, match=r"no connection to 127\.0\.0\.1:9: .*its server runs"
        ):
            await router.complete("m", "hello")


def test_a_closed_router_says_so() -> None:
    async def main() -> None:
        async with Router([backend("a")]) as router:
            await router.complete("m", "hello")
        with pytest.raises(NoBackendError, match="closed"):
            await router.complete("m", "hello")

    run_in_virtual_time(main())


def test_a_context_window_error_keeps_its_kind() -> None:
    async def main() -> None:
        with pytest.raises(ContextWindowError):
            await Router([backend("a", down("ContextWindowError"))]).complete("m", "hello")

    run_in_virtual_time(main())


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
