"""The gate of one backend: tokens and requests a minute, concurrency; in simulated minutes."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xml_pipeline.llm.accounting.estimate import Estimator
from xml_pipeline.llm.http.rate_limit_headers import RateLimits
from xml_pipeline.llm.limits.rate_limiter import RateLimiter
from xml_pipeline.llm.limits.token_bucket import TokenBucket
from xml_pipeline.testing import run_in_virtual_time

MINUTES = 10


@dataclass(frozen=True)
class Sent:
    """One request as a provider meters it: when it came, and what it used."""

    at: float
    tokens: int


def most_in_a_minute(sent: list[Sent]) -> int:
    """The largest sum of tokens in any 60 seconds."""
    most = start = total = 0
    for one in sent:
        total += one.tokens
        while sent[start].at <= one.at - 60 + 1e-6:  # sums of floats
            total -= sent[start].tokens
            start += 1
        most = max(most, total)
    return most


async def saturate(
    gate: RateLimiter, *, workers: int, prompt: int, outputs: list[int], max_tokens: int, latency: float
) -> list[Sent]:
    """Many workers ask without a pause for `MINUTES` minutes."""
    loop = asyncio.get_running_loop()
    estimator, sent = Estimator(), []
    turn = iter(range(1_000_000_000))

    async def work() -> None:
        while loop.time() < MINUTES * 60:
            with await gate.acquire(prompt + estimator.output_tokens(max_tokens)) as permit:
                if loop.time() >= MINUTES * 60:
                    permit.settle(0)
                    return
                started = loop.time()
                output = outputs[next(turn) % len(outputs)]
                sent.append(Sent(started, prompt + output))
                await asyncio.sleep(latency)
                permit.settle(prompt + output)
                estimator.observe(0, prompt, output)

    await asyncio.gather(*(work() for _ in range(workers)))
    return sorted(sent, key=lambda one: one.at)


@pytest.mark.parametrize(
    ("tpm", "latency", "outputs"),
    [
        (60_000, 2.0, [100]),
        (60_000, 0.2, [100]),
        (30_000, 5.0, [100, 60, 80, 95]),
        (200_000, 1.0, [50, 150, 100, 120, 70]),
    ],
)
def test_ten_saturated_minutes_use_the_limit_and_never_pass_it(
    tpm: int, latency: float, outputs: list[int]
) -> None:
    max_tokens = 20 * max(outputs)

    async def main() -> list[Sent]:
        gate = RateLimiter(max_concurrent=50, tokens_per_minute=tpm)
        return await saturate(
            gate, workers=60, prompt=100, outputs=outputs, max_tokens=max_tokens, latency=latency
        )

    sent = run_in_virtual_time(main())
    one_request = 100 + max(outputs)
    assert most_in_a_minute(sent) <= tpm + one_request
    assert sum(one.tokens for one in sent) >= 0.95 * tpm * MINUTES


def test_requests_a_minute_are_never_passed_and_are_used() -> None:
    async def main() -> list[Sent]:
        gate = RateLimiter(max_concurrent=50, requests_per_minute=90)
        return await saturate(gate, workers=20, prompt=1, outputs=[0], max_tokens=1, latency=0.1)

    sent = run_in_virtual_time(main())
    assert most_in_a_minute(sent) <= 90
    assert len(sent) >= 0.95 * 90 * MINUTES


@pytest.mark.parametrize("rpm", [60, 100, 600])
def test_a_minutes_requests_are_spread_and_no_burst_passes_a_sixth_of_them(rpm: int) -> None:
    async def main() -> list[float]:
        gate, starts, loop = (
            RateLimiter(max_concurrent=1000, requests_per_minute=rpm),
            [],
            asyncio.get_running_loop(),
        )

        async def ask() -> None:
            with await gate.acquire(1):
                starts.append(loop.time())

        async with asyncio.TaskGroup() as group:
            for _ in range(2 * rpm):
                group.create_task(ask())
        return starts

    starts = run_in_virtual_time(main())
    assert sum(at == 0 for at in starts) == rpm // 6
    for at in starts:  # a bucket: what it holds at once, and what drains from it
        assert sum(at <= other < at + 10 for other in starts) <= rpm / 3 + 1
        assert sum(at <= other < at + 60 - 1e-6 for other in starts) <= rpm
    assert starts[-1] <= 121  # two minutes' requests in two minutes
    assert starts == sorted(starts)


def test_a_small_limit_a_minute_may_be_used_at_once() -> None:
    async def main() -> float:
        gate = RateLimiter(max_concurrent=10, requests_per_minute=5)
        for _ in range(5):
            (await gate.acquire(1)).release()
        return asyncio.get_running_loop().time()

    assert run_in_virtual_time(main()) == 0


def test_the_pace_does_not_let_requests_be_overtaken() -> None:
    async def main() -> list[int]:
        gate, order = RateLimiter(max_concurrent=100, requests_per_minute=60), []

        async def ask(number: int) -> None:
            with await gate.acquire(1):
                order.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(40):
                group.create_task(ask(number))
                await asyncio.sleep(0.4)  # newcomers all the time, faster than the pace
        return order

    assert run_in_virtual_time(main()) == list(range(40))


def test_a_request_that_was_cancelled_before_it_was_sent_is_not_counted() -> None:
    async def main() -> int | None:
        gate = RateLimiter(max_concurrent=1, requests_per_minute=90)
        held = await gate.acquire(1)
        waiter = asyncio.create_task(gate.acquire(1))
        await asyncio.sleep(0)
        held.release()  # admits the waiter, which does not run any more
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        return gate.requests_available()

    assert run_in_virtual_time(main()) == 89


def test_limits_hold_in_one_event_loop_after_another() -> None:
    gate = RateLimiter(max_concurrent=10, requests_per_minute=60)

    async def main() -> float:
        started = asyncio.get_running_loop().time()
        for _ in range(11):
            (await gate.acquire(1)).release()
        return asyncio.get_running_loop().time() - started

    assert run_in_virtual_time(main()) > 0
    assert run_in_virtual_time(main()) > 0


def test_a_large_request_is_not_overtaken_by_small_ones() -> None:
    async def main() -> list[str]:
        gate = RateLimiter(max_concurrent=100, tokens_per_minute=1000)
        order: list[str] = []

        async def ask(name: str, tokens: int) -> None:
            with await gate.acquire(tokens):
                order.append(name)

        await ask("first", 600)
        async with asyncio.TaskGroup() as group:
            group.create_task(ask("large", 900))
            await asyncio.sleep(0)
            for number in range(50):
                group.create_task(ask(f"small {number}", 10))
        return order

    assert run_in_virtual_time(main())[:2] == ["first", "large"]


@pytest.mark.parametrize("leaves_after", [0.0, 20.0])
def test_when_the_head_of_the_queue_leaves_the_next_one_is_served_at_once(leaves_after: float) -> None:
    async def main() -> list[tuple[int, float]]:
        gate = RateLimiter(max_concurrent=100, tokens_per_minute=1000)
        served: list[tuple[int, float]] = []

        async def ask(tokens: int) -> None:
            with await gate.acquire(tokens):
                served.append((tokens, asyncio.get_running_loop().time()))

        await ask(600)
        head = asyncio.create_task(ask(900))
        await asyncio.sleep(0)
        others = [asyncio.create_task(ask(tokens)) for tokens in (300, 100, 50)]
        await asyncio.sleep(leaves_after)
        head.cancel()
        await asyncio.gather(head, *others, return_exceptions=True)
        return served

    served = run_in_virtual_time(main())
    assert served[:3] == [(600, 0.0), (300, leaves_after), (100, leaves_after)]
    assert served[3] == (50, pytest.approx(60, abs=0.1))


def test_an_estimate_above_the_whole_limit_waits_for_an_empty_minute_and_not_for_ever() -> None:
    async def main() -> float:
        gate = RateLimiter(max_concurrent=10, tokens_per_minute=1000)
        (await gate.acquire(400)).release()
        async with asyncio.timeout(120):
            (await gate.acquire(1_000_000)).release()
        return asyncio.get_running_loop().time()

    assert run_in_virtual_time(main()) == pytest.approx(60, abs=0.1)


def test_overuse_is_a_debt_and_underuse_a_refund_at_once() -> None:
    async def main() -> tuple[int | None, int | None, float]:
        gate = RateLimiter(max_concurrent=10, tokens_per_minute=1000)
        permit = await gate.acquire(900)
        permit.settle(100)
        permit.release()
        after_refund = gate.tokens_available()
        permit = await gate.acquire(100)
        permit.settle(1500)
        permit.release()
        in_debt = gate.tokens_available()
        (await gate.acquire(1)).release()
        return after_refund, in_debt, asyncio.get_running_loop().time()

    after_refund, in_debt, waited = run_in_virtual_time(main())
    assert after_refund == 900
    assert in_debt == -600
    assert waited >= 60


def test_a_stricter_provider_header_makes_requests_wait_and_a_looser_one_does_not_help() -> None:
    async def main() -> tuple[float, float, int | None]:
        loop = asyncio.get_running_loop()
        gate = RateLimiter(max_concurrent=10, tokens_per_minute=1000, requests_per_minute=100)
        gate.correct(RateLimits(limit_tokens=1000, remaining_tokens=0, reset_tokens=20.0))
        (await gate.acquire(10)).release()
        after_tokens = loop.time()
        gate.correct(RateLimits(limit_requests=100, remaining_requests=0, reset_requests=7.0))
        (await gate.acquire(10)).release()
        after_requests = loop.time()
        gate.correct(RateLimits(limit_tokens=10_000, remaining_tokens=10_000, reset_tokens=1.0))
        return after_tokens, after_requests, gate.tokens_available()

    after_tokens, after_requests, available = run_in_virtual_time(main())
    assert after_tokens == pytest.approx(20, abs=0.1)
    assert after_requests == pytest.approx(27, abs=0.1)
    assert available is not None
    assert available <= 1000


steps = st.lists(
    st.tuples(
        st.integers(1, 400),  # estimate
        st.integers(0, 600),  # really used
        st.floats(0, 5),  # starts after
        st.floats(0, 10),  # takes
        st.one_of(st.none(), st.floats(0, 30)),  # cancelled after
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(steps, st.sampled_from([20, 60]))
def test_no_permit_is_lost_whenever_callers_are_cancelled(
    plan: list[tuple[int, int, float, float, float | None]], requests: int
) -> None:
    async def main() -> tuple[int, int, list[int]]:
        gate = RateLimiter(max_concurrent=3, tokens_per_minute=1000, requests_per_minute=requests)
        seen: list[int] = []

        async def ask(estimate: int, used: int, takes: float) -> None:
            with await gate.acquire(estimate) as permit:
                seen.append(gate.in_flight)
                await asyncio.sleep(takes)
                permit.settle(used)

        async def start(one: tuple[int, int, float, float, float | None]) -> None:
            estimate, used, starts, takes, cancelled = one
            await asyncio.sleep(starts)
            task = asyncio.create_task(ask(estimate, used, takes))
            if cancelled is not None:
                await asyncio.sleep(cancelled)
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        await asyncio.gather(*(start(one) for one in plan))
        in_flight, waiting = gate.in_flight, gate.waiting
        async with asyncio.timeout(600):  # the whole limit is free again in the end
            for _ in range(3):
                await gate.acquire(333)
        return in_flight, waiting, seen

    in_flight, waiting, seen = run_in_virtual_time(main())
    assert (in_flight, waiting) == (0, 0)
    assert all(number <= 3 for number in seen)


# --- at the borders ---


def in_virtual_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    return functools.wraps(test)(lambda: run_in_virtual_time(test()))


@in_virtual_time
async def test_whoever_waits_for_a_slot_gets_it_when_one_is_given_back() -> None:
    gate = RateLimiter(max_concurrent=1)
    first = await gate.acquire(1)
    second, third = (asyncio.ensure_future(gate.acquire(1)) for _ in range(2))
    await asyncio.sleep(0)
    assert (gate.waiting, gate.in_flight) == (2, 1)
    first.release()
    first.release()
    await asyncio.wait_for(second, 1)
    assert (gate.waiting, gate.in_flight) == (1, 1)
    third.cancel()
    await asyncio.wait([third])
    assert gate.waiting == 0
    second.result().release()
    assert gate.in_flight == 0


@in_virtual_time
async def test_a_wait_is_foretold_to_the_second() -> None:
    requests = RateLimiter(max_concurrent=9, requests_per_minute=2)
    tokens = RateLimiter(max_concurrent=9, tokens_per_minute=100)
    assert requests.expected_wait(1) == tokens.expected_wait(100) == 0
    for _ in range(2):
        await requests.acquire(1)
    await tokens.acquire(60)
    await asyncio.sleep(10)
    assert requests.expected_wait(1) == tokens.expected_wait(41) == 50
    assert tokens.expected_wait(40) == 0
    assert (requests.requests_available(), tokens.tokens_available()) == (0, 40)
    assert (requests.tokens_available(), tokens.requests_available()) == (None, None)


@pytest.mark.parametrize(
    ("limits", "limited"),
    [
        ({}, False),
        ({"tokens_per_minute": 5}, True),
        ({"requests_per_minute": 5}, True),
        ({"tokens_per_minute": 5, "requests_per_minute": 5}, True),
    ],
)
def test_it_says_whether_a_minute_is_limited(limits: dict[str, int], limited: bool) -> None:
    assert RateLimiter(max_concurrent=1, **limits).has_rate_limits is limited


@in_virtual_time
async def test_a_burst_takes_its_sixth_and_what_is_foretold_is_enough() -> None:
    bucket = TokenBucket(600)
    assert bucket.burst == 100
    for _ in range(100):
        assert bucket.wait() == 0
        bucket.take()
    assert not bucket.ready()
    with pytest.raises(AssertionError, match="without asking"):
        bucket.take()
    await asyncio.sleep(bucket.wait())
    assert bucket.ready()


@in_virtual_time
async def test_a_bucket_stands_before_sixty_requests_a_minute_and_more() -> None:
    async def at_once(limit: int) -> int:
        gate = RateLimiter(max_concurrent=1000, requests_per_minute=limit)
        taken = 0
        while gate.try_acquire(1, asyncio.get_running_loop().time()) is not None:
            taken += 1
        return taken

    assert [await at_once(limit) for limit in (1, 59, 60, 600)] == [1, 59, 10, 100]


def test_a_permit_holds_its_estimate_until_it_is_settled() -> None:
    gate = RateLimiter(max_concurrent=1, tokens_per_minute=100)
    permit = gate.try_acquire(30, 0.0)
    assert permit is not None
    assert gate.tokens_available(0.0) == 70
    permit.settle(7)
    assert gate.tokens_available(0.0) == 93
