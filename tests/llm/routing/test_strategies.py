"""The order in which backends are asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from xml_pipeline.errors import ConfigError
from xml_pipeline.llm import Router
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.llm.routing.strategies import STRATEGIES, C, Candidate
from xml_pipeline.testing import run_in_virtual_time


def backend(name: str, latency: float = 1.0, **settings: Any) -> ScriptedBackend:
    return ScriptedBackend(name=name, rules=(Rule(reply=name, latency=latency),), **settings)


async def asked(router: Router, calls: int) -> list[str]:
    return [(await router.complete("m", "hello")).backend for _ in range(calls)]


def test_failover_asks_by_priority_then_as_configured() -> None:
    async def main() -> None:
        router = Router([backend("c", priority=2), backend("a", priority=1), backend("b", priority=1)])
        assert await asked(router, 3) == ["a", "a", "a"]

    run_in_virtual_time(main())


def test_round_robin_is_even_also_while_one_is_out() -> None:
    async def main() -> None:
        flapping = ScriptedBackend(
            name="b",
            rules=(Rule(error="RateLimitedError", retry_after=30.0, times=1), Rule(reply="b", latency=1)),
        )
        router = Router([backend("a"), flapping, backend("c")], strategy="round-robin")
        assert await asked(router, 7) == ["a", "c", "a", "c", "a", "c", "a"]
        await asyncio.sleep(60)
        assert Counter(await asked(router, 30)) == {"a": 10, "b": 10, "c": 10}

    run_in_virtual_time(main())


def test_least_loaded_follows_the_share_that_is_in_use() -> None:
    async def main() -> None:
        router = Router(
            [backend("small", 100, max_concurrent=2), backend("large", 100, max_concurrent=8)],
            strategy="least-loaded",
        )
        tasks = [asyncio.create_task(router.complete("m", "hello")) for _ in range(10)]
        await asyncio.sleep(1)
        assert [status.in_flight for status in router.describe()] == [2, 8]
        await asyncio.gather(*tasks)
        assert Counter(await asked(router, 6)) == {"small": 3, "large": 3}, "equals take turns"

    run_in_virtual_time(main())


def test_least_loaded_sees_slow_backends_fill_up() -> None:
    async def main() -> None:
        router = Router([backend("slow", 10), backend("quick", 1)], strategy="least-loaded")

        async def work() -> list[str]:
            return await asked(router, 20)

        answers = await asyncio.gather(*(work() for _ in range(4)))
        count = Counter(name for one in answers for name in one)
        assert count["quick"] > 3 * count["slow"]

    run_in_virtual_time(main())


class Backwards:
    def order(self, candidates: Sequence[C]) -> Sequence[C]:
        return list(reversed(candidates))

    def taken(self, candidate: Candidate) -> None:
        pass


def test_a_strategy_of_ones_own_by_object_and_by_name() -> None:
    async def main() -> None:
        assert await asked(Router([backend("a"), backend("b")], strategy=Backwards()), 1) == ["b"]
        STRATEGIES["backwards"] = Backwards
        try:
            assert await asked(Router([backend("a"), backend("b")], strategy="backwards"), 1) == ["b"]
        finally:
            del STRATEGIES["backwards"]

    run_in_virtual_time(main())


def test_pitfall_13_a_misspelt_strategy_is_an_error_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        Router(strategy="round-robbin")
    assert str(caught.value) == (
        "no strategy 'round-robbin' (did you mean 'round-robin'?); allowed: failover, round-robin, least-loaded"
    )
