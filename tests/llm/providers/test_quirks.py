"""What single providers do differently, end to end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.emulators import (
    LOW_CREDIT,
    Answer,
    AnthropicEmulator,
    Emulator,
    Fail,
    Failure,
    GeminiEmulator,
    LlamaCppEmulator,
    OllamaEmulator,
    OpenAIEmulator,
    OpenRouterEmulator,
    Recorded,
    VLLMEmulator,
    XAIEmulator,
)
from xml_pipeline.errors import (
    BackendError,
    ContextWindowError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitedError,
)
from xml_pipeline.llm import PROVIDER_CLASSES, Backend, Router, StreamEnd, TextDelta


def backend(server: Emulator, **settings: Any) -> Backend:
    suffix = "/v1beta" if server.provider == "gemini" else ""
    given = {"base_url": server.base_url + suffix, "api_key": server.key, **settings}
    return PROVIDER_CLASSES[server.provider](**given)


async def failure_of(server: Emulator, model: str, fail: Fail, **settings: Any) -> BackendError:
    """What the caller sees when this happens."""
    server.script.then(fail)
    async with Router([backend(server, **settings)], retries=0) as router:
        with pytest.raises(BackendError) as caught:
            await router.complete(model, "Hello")
        return caught.value


class TestWhatAnErrorMeans:
    async def test_anthropic_reports_low_credit_as_400(self) -> None:
        async with AnthropicEmulator() as server:
            error = await failure_of(server, "claude-sonnet-5", Fail(Failure.BAD_REQUEST, body=LOW_CREDIT))
        assert isinstance(error, QuotaExhaustedError)
        assert error.status == 400

    async def test_openrouters_402_that_asks_to_wait_is_no_end(self) -> None:
        async with OpenRouterEmulator() as server:
            fail = Fail(Failure.NO_CREDIT, retry_after="2")
            error = await failure_of(server, "a/b", fail, preset="openrouter")
        assert isinstance(error, RateLimitedError)
        assert error.retry_after == 2

    async def test_gemini_says_in_the_body_how_long_to_wait(self) -> None:
        async with GeminiEmulator() as server:
            error = await failure_of(server, "gemini-3-pro", Fail(Failure.RATE))
        assert isinstance(error, RateLimitedError)
        assert error.retry_after == 7

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"retry-after-ms": "1500", "Retry-After": "9"}, 1.5),
            ({"x-ms-retry-after-ms": "250"}, 0.25),
            ({"Retry-After": "1.5"}, 1.5),
            ({"Retry-After": "Sat, 21 Nov 2026 12:00:30 GMT", "Date": "Sat, 21 Nov 2026 12:00:00 GMT"}, 30),
            ({"Retry-After": "soon"}, None),
        ],
    )
    async def test_retry_after_in_all_its_forms(self, headers: dict[str, str], seconds: float | None) -> None:
        async with OpenAIEmulator() as server:
            error = await failure_of(server, "gpt-4o", Fail(Failure.RATE, headers=headers))
        assert error.retry_after == seconds

    async def test_llamacpp_loads_its_model(self) -> None:
        async with LlamaCppEmulator() as server:
            error = await failure_of(server, "m", Fail(Failure.UNAVAILABLE), preset="llama.cpp")
        assert isinstance(error, OverloadedError)
        assert error.retryable

    @pytest.mark.parametrize(
        ("kind", "model", "code"),
        [
            (OpenAIEmulator, "gpt-4o", "rate_limit_exceeded"),
            (AnthropicEmulator, "claude-sonnet-5", "rate_limit_error"),
            (GeminiEmulator, "gemini-3-pro", "RESOURCE_EXHAUSTED"),
            (XAIEmulator, "grok-4.1", "Some resource has been exhausted"),
        ],
    )
    async def test_the_providers_own_words_are_there(
        self, kind: type[Emulator], model: str, code: str
    ) -> None:
        async with kind() as server:
            error = await failure_of(server, model, Fail(Failure.RATE))
        assert (error.status, error.code) == (429, code)
        assert error.request_id or kind is GeminiEmulator


class TestLimits:
    @pytest.mark.parametrize(
        ("kind", "tokens", "remaining"),
        [
            (OpenAIEmulator, 2_000_000, 1_999_000),
            (AnthropicEmulator, 480_000, 479_000),
            (XAIEmulator, 2_000_000, 1_999_000),
        ],
    )
    async def test_headers_say_what_is_left(self, kind: type[Emulator], tokens: int, remaining: int) -> None:
        async with kind() as server:
            one = backend(server)
            model = {"openai": "gpt-4o", "anthropic": "claude-sonnet-5", "xai": "grok-4.1"}[one.provider]
            async with Router([one]) as router:
                response = await router.complete(model, "Hello")
            assert response.headers is not None
            assert one.dialect is not None
            limits = one.dialect.rate_limits(response.headers, 1_795_000_000.0)
        assert limits is not None
        assert (limits.limit_tokens, limits.remaining_tokens) == (tokens, remaining)


class TestOllama:
    async def test_a_long_prompt_is_never_cut(self) -> None:
        async with OllamaEmulator() as server, Router([backend(server)]) as router:
            await router.complete("llama3", "a word " * 6000)
            assert not server.last.truncated
            with pytest.raises(ContextWindowError):
                await router.complete("llama3", "a word " * 300_000)

    async def test_the_window_stays_while_the_prompt_grows(self) -> None:
        async with OllamaEmulator() as server, Router([backend(server)]) as router:
            for length in (1, 100, 1000):
                await router.complete("llama3", "word " * length)
            windows = {request.body["options"]["num_ctx"] for request in server.requests}
        assert windows == {8192}


class TestConnections:
    async def test_first_text_comes_before_the_answer_is_done(self) -> None:
        async with VLLMEmulator() as server:
            arrived, gate, pace = asyncio.Event(), asyncio.Event(), asyncio.Semaphore(0)

            def slowly(request: Recorded) -> Answer:
                arrived.set()
                return Answer("one two three", gate=gate, pace=pace)

            server.script.then(slowly)
            async with Router([backend(server, preset="vllm")]) as router:
                stream = router.stream("m", "Hello")
                first = asyncio.ensure_future(anext(stream))
                await arrived.wait()
                assert not first.done()
                gate.set()
                assert await first == TextDelta("one")
                pace.release()
                assert await anext(stream) == TextDelta(" two")
                pace.release()
                *_, last = [event async for event in stream]
                assert isinstance(last, StreamEnd)
                assert last.response.content == "one two three"

    async def test_one_connection_serves_stream_after_stream(self) -> None:
        async with OpenAIEmulator() as server, Router([backend(server, max_concurrent=1)]) as router:
            for _ in range(5):
                assert [event async for event in router.stream("gpt-4o", "Hello")]
            assert server.connections == 1
