"""One router serves one event loop at a time: several one after the other, never two at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.emulators.openai import OpenAIEmulator
from tests.llm.backends import backend
from xml_pipeline.llm import Budget, Budgets, LLMRequest, LLMResponse, Router
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.providers.openai import OpenAIBackend
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend

REFUSED = r"another event loop.*Make a Router for each thread.*run_coroutine_threadsafe"


class Gated(ScriptedBackend):
    """Answers once somebody, in whatever thread, has opened the gate."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(name="gated", **settings)
        self.asked = threading.Event()
        self.gate = threading.Event()

    async def _do_completion(self, client: object, request: LLMRequest) -> LLMResponse:
        self.asked.set()
        await asyncio.to_thread(self.gate.wait, 10)
        return LLMResponse("open", request.model, {"prompt_tokens": 7, "completion_tokens": 3})


async def streamed(router: Router) -> None:
    async for _ in router.stream("m", "hello"):
        pass


async def completed(router: Router) -> None:
    await router.complete("m", "hello")


@pytest.mark.parametrize("use", [completed, streamed, Router.aclose])
@pytest.mark.parametrize("limits", [{}, {"max_concurrent": 1}, {"rate_limit_tpm": 1000}])
def test_a_second_loop_is_refused_at_once_and_disturbs_nothing(
    use: Callable[[Router], Any], limits: dict[str, int]
) -> None:
    gated = Gated(**limits)
    router = Router([gated], budgets=Budgets(organism=[Budget(tokens=100_000)]))

    async def first() -> LLMResponse:
        return await router.complete("m", "hello", max_tokens=50)

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(asyncio.run, first())
        assert gated.asked.wait(10)
        with pytest.raises(RuntimeError, match=REFUSED):
            asyncio.run(use(router))
        assert router.describe()[0].in_flight == 1
        gated.gate.set()
        assert answer.result(10).content == "open"
    status, total = router.describe()[0], router.get_total_usage()
    assert (status.in_flight, status.waiting) == (0, 0)
    assert (total.total_tokens, total.request_count, total.failure_count) == (10, 1, 0)


def test_a_loop_that_runs_keeps_the_router_also_between_its_calls() -> None:
    router = Router([backend("a")])
    asked, over = threading.Event(), threading.Event()

    async def first() -> None:
        await router.complete("m", "hello")
        asked.set()
        await asyncio.to_thread(over.wait, 10)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, first())
        try:
            assert asked.wait(10)
            with pytest.raises(RuntimeError, match=REFUSED):
                asyncio.run(completed(router))
        finally:
            over.set()
        running.result(10)
    asyncio.run(completed(router))


def test_a_script_may_run_one_loop_after_another() -> None:
    router = Router([backend("a", max_concurrent=1)], budgets=Budgets(organism=[Budget(tokens=10_000)]))
    for _ in range(3):
        assert asyncio.run(router.complete("m", "hello", max_tokens=9)).content == "from a"
        asyncio.run(streamed(router))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(asyncio.run, router.complete("m", "hello", max_tokens=9)).result(10)
    assert router.get_total_usage().request_count == 7
    asyncio.run(router.aclose())


def test_over_real_connections_too() -> None:
    async def emulate() -> None:
        async with OpenAIEmulator() as server:
            router = Router([OpenAIBackend(base_url=server.base_url, api_key=server.key, max_concurrent=1)])
            for _ in range(3):
                await asyncio.to_thread(asyncio.run, router.complete("gpt-4o", "hello"))
            assert server.tally.requests == 3

    asyncio.run(emulate())


def test_a_loop_that_stands_still_keeps_the_router_while_it_holds_a_call() -> None:
    gated = Gated(max_concurrent=1)
    router = Router([gated])
    still = asyncio.new_event_loop()
    try:
        call = still.create_task(router.complete("m", "hello"))
        still.run_until_complete(asyncio.sleep(0.01))
        with pytest.raises(RuntimeError, match=REFUSED):
            asyncio.run(completed(router))
        gated.gate.set()
        assert still.run_until_complete(call).content == "open"
        asyncio.run(completed(router))
        still.run_until_complete(completed(router))
    finally:
        still.close()


def test_calls_that_a_closed_loop_left_behind_hold_nothing() -> None:
    gated = Gated(max_concurrent=1)
    router = Router([gated], budgets=Budgets(organism=[Budget(tokens=1000)]))

    def left_behind() -> None:
        loop = asyncio.new_event_loop()
        running = router.complete("m", "hello", max_tokens=400)
        loop.run_until_complete(asyncio.wait({waiting := loop.create_task(running)}, timeout=0.01))
        loop.close()
        waiting._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant to be
        running.close()

    left_behind()
    gated.gate.set()
    assert asyncio.run(router.complete("m", "hello", max_tokens=400)).content == "open"
    assert router.describe()[0].in_flight == 0
    assert router._shared.calls == 0


def test_of_many_threads_that_start_together_one_loop_gets_the_router() -> None:
    class Slow(Backend):
        offline = True

        def serves_model(self, model: str) -> bool:
            return True

        async def _do_completion(self, client: object, request: object) -> LLMResponse:
            await asyncio.sleep(0.05)
            return LLMResponse("x", "m", {"prompt_tokens": 1, "completion_tokens": 1})

    router = Router([Slow()])
    together = threading.Barrier(8)
    ended = threading.Barrier(8)

    async def calls() -> list[str]:
        together.wait(10)
        done = await asyncio.gather(*(router.complete("m", "hi") for _ in range(5)), return_exceptions=True)
        ended.wait(10)
        return [type(one).__name__ for one in done]

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(lambda: asyncio.run(calls())) for _ in range(8)]
        outcomes = sorted(future.result(20) for future in futures)
    assert outcomes == [["LLMResponse"] * 5] + [["RuntimeError"] * 5] * 7


def test_a_rule_of_a_used_loop_starts_anew() -> None:
    """What a loop left in a circuit breaker or a limiter must not wait for that loop's timers."""
    router = Router(
        [backend("a", Rule(error="RateLimitedError", times=1, retry_after=0.01))], retry_base_delay=0.001
    )
    assert asyncio.run(router.complete("m", "hello")).content == "from a"
    assert asyncio.run(router.complete("m", "hello")).content == "from a"
