"""What the console says at its start: who is there, and which models can answer."""

from __future__ import annotations

from tests.emulators import OllamaEmulator, closed_port
from xml_pipeline import Organism
from xml_pipeline.console.banner import absent, banner
from xml_pipeline.llm import Router
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.providers.ollama import OllamaBackend
from xml_pipeline.llm.providers.openai import OpenAIBackend
from xml_pipeline.llm.providers.scripted import ScriptedBackend
from xml_pipeline.terminal import plain


async def shown(*backends: Backend) -> str:
    organism = Organism.build(name="demo", description="Shows.\nMore.", router=Router(backends))
    return "\n".join(map(plain, await banner(organism)))


async def test_a_local_server_that_runs_is_live() -> None:
    async with OllamaEmulator() as server:
        text = await shown(OllamaBackend(base_url=server.base_url), ScriptedBackend(name="rules"))
    assert "models live: ollama\n" in text
    assert "backend 'rules' answers when no other backend can" in text
    assert text.startswith("demo  Shows.\n")


async def test_a_local_server_that_does_not_run_is_named_with_its_address() -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    text = await shown(OllamaBackend(base_url=url))
    assert f"not running: ollama ({url})" in text
    assert "no model can answer" in text


async def test_a_key_is_live_and_never_shown_and_a_missing_one_is_named() -> None:
    assert "models live: openai\n" in await shown(OpenAIBackend(api_key="sk-0123456789abcdef"))
    assert "sk-" not in await shown(OpenAIBackend(api_key="sk-0123456789abcdef"))
    text = await shown(OpenAIBackend(api_key_env="WORK_KEY"))
    assert "without a key: openai (set WORK_KEY)" in text


async def test_an_organism_without_models_says_nothing_of_them() -> None:
    assert "model" not in await shown()


async def test_no_backend_elsewhere_is_contacted_at_the_start() -> None:
    assert await absent(Router([OpenAIBackend(api_key="sk-0123456789abcdef")]).describe()) == frozenset()
