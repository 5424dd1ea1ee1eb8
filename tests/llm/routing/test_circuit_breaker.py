"""A failing backend is left alone, probed by one request, and asked again when it works."""

from __future__ import annotations

import asyncio

import pytest

from tests.llm.backends import backend, down, now, timed
from xml_pipeline.errors import (
    QuotaExhaustedError,
    RateLimitedError,
)
from xml_pipeline.events import BackendStateChanged, Event
from xml_pipeline.llm import Router
from xml_pipeline.llm.providers.scripted import Rule
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
