"""The router against real servers: provider headers, real timeouts, hedges, shared keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from tests.emulators.openai import OpenAIEmulator
from tests.emulators.script import Answer, Fail, Failure, Fault, Script
from xml_pipeline.errors import BackendTimeoutError, MalformedAnswerError, QuotaExhaustedError
from xml_pipeline.llm import Router, TextDelta, Timeouts
from xml_pipeline.llm.providers.openai import OpenAIBackend

LEFT = {
    "x-ratelimit-limit-tokens": "1000",
    "x-ratelimit-remaining-tokens": "3",
    "x-ratelimit-reset-tokens": "45s",
    "x-ratelimit-limit-requests": "10",
    "x-ratelimit-remaining-requests": "9",
    "x-ratelimit-reset-requests": "6s",
}


@asynccontextmanager
async def asking(script: Script, **settings: Any) -> AsyncIterator[tuple[OpenAIEmulator, Router]]:
    """A server with this script, and a router that knows only it."""
    async with OpenAIEmulator(script) as server, Router([backend(server)], **settings) as router:
        yield server, router


def backend(server: OpenAIEmulator, **settings: Any) -> OpenAIBackend:
    return OpenAIBackend(base_url=server.base_url, api_key=server.key, **settings)


async def test_headers_of_an_answer_correct_the_local_view() -> None:
    async with OpenAIEmulator(Script(Answer(headers=LEFT))) as first, OpenAIEmulator() as second:
        router = Router(
            [
                backend(first, name="a", rate_limit_tpm=100_000, rate_limit_rpm=100),
                backend(second, name="b", priority=2),
            ]
        )
        async with router:
            assert (await router.complete("gpt-4o", "hello")).backend == "a"
            assert router.describe()[0].tokens_available == 3, "others use the same key"
            assert (await router.complete("gpt-4o", "hello")).backend == "b"


async def test_headers_of_a_stream_correct_the_local_view() -> None:
    async with (
        OpenAIEmulator(Script(Answer(headers=LEFT))) as server,
        Router([backend(server, rate_limit_tpm=100_000)]) as router,
    ):
        async for _ in router.stream("gpt-4o", "hello"):
            pass
        assert router.describe()[0].tokens_available == 3


async def test_a_hanging_server_costs_one_try_and_no_permit() -> None:
    async with OpenAIEmulator(Script(Answer(fault=Fault.HANG))) as bad, OpenAIEmulator() as good:
        backends = [backend(bad, name="bad"), backend(good, name="good", priority=2)]
        async with Router(backends, timeouts=Timeouts(attempt=0.1)) as router:
            response = await router.complete("gpt-4o", "hello")
            assert [attempt.error for attempt in response.attempts] == ["BackendTimeoutError", ""]
            assert [status.in_flight for status in router.describe()] == [0, 0]


async def test_a_stalled_stream_is_an_error_after_its_content() -> None:
    async with OpenAIEmulator(Script(Answer(fault=Fault.STALL))) as bad, OpenAIEmulator() as good:
        backends = [backend(bad, name="bad"), backend(good, name="good", priority=2)]
        async with Router(backends, timeouts=Timeouts(idle=0.1)) as router:
            seen: list[str] = []

            async def consume() -> None:
                async for event in router.stream("gpt-4o", "hello"):
                    if isinstance(event, TextDelta):
                        seen.append(event.text)

            with pytest.raises(BackendTimeoutError, match="stood still"):
                await consume()
            assert seen
            assert not good.requests


async def test_a_stream_without_its_end_is_cut() -> None:
    async with asking(Script(Answer(fault=Fault.NO_END)), retries=0) as (_, router):
        with pytest.raises(MalformedAnswerError):
            async for _event in router.stream("gpt-4o", "hello"):
                pass


async def test_leaving_a_stream_is_charged_and_ends_the_request() -> None:
    pace = asyncio.Semaphore(1)
    async with asking(Script(Answer("word " * 50, pace=pace))) as (server, router):
        async with aclosing(router.stream("gpt-4o", "hello", agent_id="leaver")) as events:
            async for _ in events:
                break
        assert router.get_agent_usage("leaver").completion_tokens > 0
    assert server.last.outcome == "disconnected"


async def test_a_quota_429_is_not_asked_again() -> None:
    async with asking(Script(default=Fail(Failure.QUOTA))) as (server, router):
        for _ in range(2):
            with pytest.raises(QuotaExhaustedError):
                await router.complete("gpt-4o", "hello")
        assert len(server.requests) == 1


async def test_a_hedge_cancels_the_slow_request() -> None:
    gate = asyncio.Event()
    async with OpenAIEmulator(Script(Answer(gate=gate))) as slow, OpenAIEmulator() as quick:
        backends = [backend(slow, name="slow"), backend(quick, name="quick", priority=2)]
        async with Router(backends, timeouts=Timeouts(hedge_after=0.05)) as router:
            assert (await router.complete("gpt-4o", "hello")).backend == "quick"
            assert [status.in_flight for status in router.describe()] == [0, 0]
