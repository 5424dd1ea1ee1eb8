"""A router that is closed while calls run: they end at once, nothing is sent after it, nothing stays held."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.emulators.raw import Exchange, RawServer, head
from xml_pipeline.errors import BackendError, NoBackendError
from xml_pipeline.llm import PROVIDER_CLASSES, Budget, Budgets, Router
from xml_pipeline.llm.accounting.usage import Charge
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.testing import run_in_virtual_time

ENDS = 5.0  # seconds, far below any timeout of the router


async def streamed(router: Router, text: str = "hello") -> list[Any]:
    return [event async for event in router.stream("m", text, max_tokens=50)]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "begins",
    [b"", head(), head(kind="text/event-stream"), head() + b'5\r\n{"ab"\r\n'],
    ids=["silent", "head", "stream-head", "part"],
)
async def test_calls_that_run_end_with_the_router_and_are_not_tried_again(
    begins: bytes, stream: bool
) -> None:
    asked = asyncio.Event()

    async def play(exchange: Exchange) -> None:
        await exchange.send(begins)
        asked.set()
        await asyncio.Event().wait()

    async with RawServer(play) as server:
        backend = PROVIDER_CLASSES["openai-compatible"](base_url=server.origin, max_concurrent=1)
        router = Router([backend], retry_base_delay=0.001, budgets=Budgets(organism=[Budget(tokens=10_000)]))
        first = streamed(router) if stream else router.complete("m", "hello", max_tokens=50)
        calls = [asyncio.create_task(first), asyncio.create_task(streamed(router, "in the queue"))]  # type: ignore[arg-type]
        await asyncio.wait_for(asked.wait(), ENDS)
        await router.aclose()
        ended = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), ENDS)
        assert [type(error) for error in ended] == [NoBackendError, NoBackendError]
        assert len(server.requests) == server.connections == 1
        (meter,) = router._book.meters(Charge())
        assert meter.reserved == 0
        assert meter.spent == router.get_total_usage().unconfirmed_tokens > 0
        assert [(status.in_flight, status.waiting) for status in router.describe()] == [(0, 0)]


async def test_a_stream_that_has_begun_breaks_off_and_is_charged() -> None:
    piece = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"one two three"}}]}\n\n'

    async def play(exchange: Exchange) -> None:
        await exchange.send(head(kind="text/event-stream"), b"%x\r\n%b\r\n" % (len(piece), piece))
        await asyncio.Event().wait()

    async with RawServer(play) as server:
        router = Router([PROVIDER_CLASSES["openai-compatible"](base_url=server.origin)])
        events = router.stream("m", "hello")
        await anext(events)
        await router.aclose()
        with pytest.raises(BackendError):
            await asyncio.wait_for(anext(events), ENDS)
        assert router.get_total_usage().estimated_tokens > 0


@pytest.mark.parametrize("waits", ["for a limit", "for a retry", "for a budget"])
def test_calls_that_wait_end_with_the_router(waits: str) -> None:
    async def main() -> None:
        rules = [Rule(error="RateLimitedError", retry_after=50)] if waits == "for a retry" else []
        backend = ScriptedBackend(
            rules=(*rules, Rule(reply="x", latency=50)),
            rate_limit_rpm=1 if waits == "for a limit" else None,
        )
        budget = Budgets(organism=[Budget(tokens=1000)]) if waits == "for a budget" else None
        router = Router([backend], budgets=budget)
        first = asyncio.create_task(router.complete("m", "hello", max_tokens=800))
        await asyncio.sleep(1)
        second = asyncio.create_task(router.complete("m", "hello", max_tokens=800))
        await asyncio.sleep(1)
        sent, closed = len(backend.requests), asyncio.get_running_loop().time()
        await router.aclose()
        with pytest.raises(NoBackendError, match="the router is closed"):
            await second
        assert asyncio.get_running_loop().time() == closed
        await asyncio.gather(first, return_exceptions=True)
        assert len(backend.requests) == sent
        assert [(status.in_flight, status.waiting) for status in router.describe()] == [(0, 0)]

    run_in_virtual_time(main())
