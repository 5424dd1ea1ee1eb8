"""The code samples of the router's founding document, as they stand there."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Dict  # noqa: UP035 - the sample's own spelling

import httpx
import pytest
from aiohttp import web

from tests.llm.callers import Handler, running
from xml_pipeline.errors import BackendError
from xml_pipeline.llm import (
    PROVIDER_CLASSES,
    LLMRequest,
    LLMResponse,
    Router,
    configure_router,
    get_router,
    use_router,
)
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend

logger = logging.getLogger(__name__)


@pytest.fixture
def grok() -> Iterator[ScriptedBackend]:
    backend = ScriptedBackend(
        supported_models=("grok-*",), rules=(Rule(match="Hello", reply="Hi!"), Rule(error="ServerError"))
    )
    with use_router(Router([backend], retries=0)):
        yield backend


async def test_simple_call(grok: ScriptedBackend) -> None:
    from xml_pipeline.llm import complete

    response = await complete(
        model="grok-4.1",
        messages=[
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Hello!"},
        ],
    )
    assert response.content == "Hi!"
    assert response.model == "grok-4.1"
    assert response.finish_reason == "stop"
    usage = response.usage
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]


async def test_with_agent_tracking(grok: ScriptedBackend) -> None:
    from xml_pipeline.llm import complete

    messages = [{"role": "user", "content": "Hello!"}]
    with running(Handler("greeter")):
        await complete(
            model="grok-4.1", messages=messages, agent_id="greeter", temperature=0.7, max_tokens=2048
        )
    router = get_router()
    usage = router.get_agent_usage("greeter")
    assert usage.total_tokens > 0
    assert usage.request_count == 1
    assert router.get_all_usage() == {"greeter": usage}
    router.reset_agent_usage("greeter")
    router.reset_agent_usage()
    assert grok.requests[0].temperature == 0.7
    assert grok.requests[0].max_tokens == 2048


async def test_exhausted_retries(grok: ScriptedBackend, caplog: pytest.LogCaptureFixture) -> None:
    from xml_pipeline.llm import complete

    model, messages = "grok-4.1", [{"role": "user", "content": "fail"}]
    try:
        await complete(model, messages)
    except BackendError as e:
        logger.error(f"LLM call failed: {e}")
    assert "LLM call failed" in caplog.text


@dataclass
class MyProviderBackend(Backend):
    provider: str = "myprovider"
    base_url: str = "https://api.myprovider.com/v1"

    def _auth_headers(self) -> Dict[str, str]:  # noqa: UP006 - the sample's own spelling
        return {"Authorization": f"Bearer {self.api_key}"}

    def serves_model(self, model: str) -> bool:
        return model.lower().startswith("mymodel")

    async def _do_completion(self, client: httpx.AsyncClient, request: LLMRequest) -> LLMResponse:
        answer = await client.post(
            f"{self.base_url}/chat",
            headers=self._auth_headers(),
            json={"model": request.model, "messages": request.messages},
        )
        answer.raise_for_status()
        data = answer.json()
        return LLMResponse(
            content=data["text"], model=data["model"], usage=data["usage"], finish_reason="stop", raw=data
        )


@pytest.fixture
async def server() -> AsyncIterator[tuple[str, list[dict[str, object]]]]:
    """What the provider of the sample might be."""
    seen: list[dict[str, object]] = []

    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        seen.append({"key": request.headers.get("Authorization"), **body})
        text = body["messages"][-1]["content"]
        if text == "limit":
            return web.json_response({"error": "slow down"}, status=429, headers={"Retry-After": "0"})
        if text == "broken":
            return web.Response(body=b'{"text": ')
        if text == "other":
            return web.Response(body=json.dumps({"unexpected": True}).encode())
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        return web.json_response({"text": f"you said {text}", "model": body["model"], "usage": usage})

    app = web.Application()
    app.router.add_post("/v1/chat", chat)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1", seen
    await runner.cleanup()


async def test_a_provider_of_ones_own(server: tuple[str, list[dict[str, object]]]) -> None:
    url, seen = server
    PROVIDER_CLASSES["myprovider"] = MyProviderBackend
    try:
        section = {
            "retries": 1,
            "retry_base_delay": 0.01,
            "backends": [{"provider": "myprovider", "api_key_env": "MY_KEY", "base_url": url}],
        }
        router = configure_router(section, environ={"MY_KEY": "sk-very-secret"})
        async with router:
            response = await router.complete("mymodel-1", "hello")
            assert response.content == "you said hello"
            assert response.usage["total_tokens"] == 7
            assert response.usage.prompt_tokens == 5  # type: ignore[union-attr]  # a Usage by now
            assert response.backend == "myprovider"
            assert seen[0]["key"] == "Bearer sk-very-secret"
            events = [event async for event in router.stream("mymodel-1", "hello")]
            assert [type(event).__name__ for event in events] == ["TextDelta", "StreamEnd"]
            for text, kind in (
                ("limit", "RateLimitedError"),
                ("broken", "Malformed"),
                ("other", "Malformed"),
            ):
                with pytest.raises(BackendError) as caught:
                    await router.complete("mymodel-1", text, timeout=20)
                assert kind in type(caught.value).__name__
                assert "sk-very-secret" not in f"{caught.value!r} {caught.value} {router!r} {router.backends}"
    finally:
        del PROVIDER_CLASSES["myprovider"]
        configure_router([])


async def test_the_class_is_abstract_without_a_completion() -> None:
    @dataclass
    class Empty(Backend):
        provider: str = "empty"

        def serves_model(self, model: str) -> bool:
            return True

    async with Router([Empty(base_url="http://127.0.0.1:1")], retries=0) as router:
        with pytest.raises(BackendError, match="_do_completion"):
            await asyncio.wait_for(router.complete("m", "hello"), 5)
