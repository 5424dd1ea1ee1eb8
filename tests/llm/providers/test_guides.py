"""The providers' guides: every YAML snippet loads, and the page on adding a provider adds two."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from tests.emulators import Fail, OpenAIEmulator
from xml_pipeline.errors import QuotaExhaustedError, RateLimitedError
from xml_pipeline.llm import PROVIDER_CLASSES, Router, StreamEnd
from xml_pipeline.llm.providers.openai_compatible import PRESETS
from xml_pipeline.llm.section import build_router

GUIDES = Path(__file__).parents[3] / "docs" / "guides"
PAGES = sorted((GUIDES / "providers").glob("*.md"))
ADDING = GUIDES / "adding-a-provider.md"
BUILTIN = ("openai", "anthropic", "gemini", "ollama", "xai", "openai-compatible")


def snippets(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def sections(page: Path) -> Iterator[dict[str, Any]]:
    for text in snippets(page, "yaml"):
        yield yaml.safe_load(text)["llm"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_snippet_loads(page: Path) -> None:
    found = list(sections(page))
    assert found
    for section in found:
        router = build_router(section, environ={})
        assert len(router.backends) == len(section["backends"])


def test_every_provider_has_its_page_and_every_preset_its_row() -> None:
    index = (GUIDES / "providers" / "README.md").read_text()
    for name in BUILTIN:
        assert f"`{name}`" in index
        assert (GUIDES / "providers" / f"{name}.md").exists()
    page = (GUIDES / "providers" / "openai-compatible.md").read_text()
    for name, preset in PRESETS.items():
        assert f"| `{name}` | `{preset.base_url}` |" in page


@pytest.fixture
def added() -> Iterator[None]:
    """The page's snippets, executed."""
    namespace: dict[str, Any] = {"__name__": __name__}
    for source in snippets(ADDING, "python"):
        exec(compile(source, str(ADDING), "exec"), namespace)
    yield
    for name in ("echo", "nimbus"):
        del PROVIDER_CLASSES[name]


@pytest.fixture
async def echo() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """The server that the page's first provider speaks to: its address, and what it heard."""
    heard: list[dict[str, Any]] = []

    async def say(request: web.Request) -> web.Response:
        if request.headers.get("X-Echo-Key") != "echo-key":
            return web.json_response({"error": {"message": "invalid api key"}}, status=401)
        body = await request.json()
        heard.append(body)
        if body["text"] == "too fast":
            return web.json_response({}, status=429, headers={"Retry-After": "3"})
        return web.json_response({"said": body["text"].upper(), "heard": 2, "spoken": 3})

    app = web.Application()
    app.router.add_post("/v1/say", say)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1", heard
    await runner.cleanup()


def router_for(address: str) -> Router:
    (section,) = sections(ADDING)
    (backend,) = section["backends"]
    return build_router(
        {"retries": 0, "backends": [{**backend, "base_url": address}]}, environ={"ECHO_API_KEY": "echo-key"}
    )


@pytest.mark.usefixtures("added")
async def test_the_page_adds_a_provider(echo: tuple[str, list[dict[str, Any]]]) -> None:
    address, heard = echo
    async with router_for(address) as router:
        response = await router.complete("echo-1", "hello", agent_id="parrot")
        assert (response.content, response.provider) == ("HELLO", "echo")
        assert response.usage["total_tokens"] == 5
        assert router.get_agent_usage("parrot").total_tokens == 5
        assert heard == [{"model": "echo-1", "text": "hello", "loudness": 2}]
        events = [event async for event in router.stream("echo-1", "hello")]
        assert isinstance(events[-1], StreamEnd)
        assert events[-1].response.content == "HELLO"
        with pytest.raises(RateLimitedError) as caught:
            await router.complete("echo-1", "too fast")
        assert caught.value.retry_after == 3


@pytest.mark.usefixtures("added")
async def test_the_page_adds_one_of_a_known_dialect() -> None:
    async with OpenAIEmulator() as server:
        section = {"retries": 0, "backends": [{"provider": "nimbus", "base_url": server.base_url}]}
        async with build_router(section, environ={"NIMBUS_API_KEY": server.key}) as router:
            server.script.say("Rain.").say("More rain.")
            response = await router.complete("nimbus-think-1", "Weather?", temperature=0.5, max_tokens=9)
            assert response.content == "Rain."
            assert server.last.body.keys() == {"model", "messages", "max_completion_tokens"}
            events = [event async for event in router.stream("nimbus-1", "Weather?")]
            assert len(events) > 2
            server.script.then(Fail(status=429, body=b'{"error": {"message": "You are out of clouds."}}'))
            with pytest.raises(QuotaExhaustedError):
                await router.complete("nimbus-1", "Weather?")
