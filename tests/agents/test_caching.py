"""What agents ask providers to cache: what a later turn begins with, and nothing that nobody will read again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.emulators import Answer as Written
from tests.emulators import Emulator, OpenAIEmulator, ToolUse
from tests.emulators.anthropic import AnthropicEmulator
from tests.emulators.xai import XAIEmulator
from xml_pipeline import Organism
from xml_pipeline.agents import AgentSettings, LLMAgent, Task
from xml_pipeline.llm import Router
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.providers.anthropic import AnthropicBackend
from xml_pipeline.llm.providers.openai import OpenAIBackend
from xml_pipeline.llm.providers.xai import XAIBackend

from .scenes import Add, add

CALL = Written(text="", tools=(ToolUse("calculator_add", {"a": 2, "b": 40}),))


def organism(backend: Backend, model: str, *, peers: bool = True, **settings: Any) -> Organism:
    made = Organism.build(router=Router([backend], retries=0))
    agent = LLMAgent("bot", AgentSettings(model, "You are careful.", **settings))
    called = ["calculator.add"] if peers else []
    made.listener(agent, name="bot", peers=called, **agent.options)
    made.listener(add, name="calculator.add", accepts=[Add], description="Adds two integers.")
    return made


def marks(body: Any) -> list[str]:
    """Where a request to Anthropic has marks."""

    def found() -> Iterator[str]:
        for name in ("tools", "system"):
            for number, block in enumerate(body.get(name, ())):
                if "cache_control" in block:
                    yield f"{name}[{number}]"
        for turn, message in enumerate(body["messages"]):
            for block in message["content"]:
                if "cache_control" in block:
                    yield f"messages[{turn}] {block['type']}"

    return list(found())


async def asked(server: Emulator, made: Organism, *tasks: str) -> list[list[str]]:
    async with made, made.session() as session:
        for task in tasks:
            await session.ask("bot", Task(task), timeout=20)
    return [marks(request.body) for request in server.requests]


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ("session", [["system[0]", "messages[0] text"], ["system[0]", "messages[2] tool_result"]]),
        ("call", [["system[0]", "messages[0] text"], ["system[0]", "messages[2] tool_result"]]),
        # the round before is not shown again, the task is
        ("none", [["system[0]", "messages[0] text"], ["system[0]", "messages[0] text"]]),
    ],
)
async def test_marks_stand_where_the_next_turn_begins_alike(memory: str, expected: list[list[str]]) -> None:
    async with AnthropicEmulator() as server:
        server.script.then(CALL, Written("42."))
        backend = AnthropicBackend(base_url=server.base_url, api_key=server.key)
        made = organism(backend, "claude-sonnet-5", memory=memory)
        assert await asked(server, made, "What is 2+40?") == expected


async def test_an_agent_without_peers_that_remembers_caches_too() -> None:
    async with AnthropicEmulator() as server:
        server.script.then(Written("Hi."), Written("Yes."))
        backend = AnthropicBackend(base_url=server.base_url, api_key=server.key)
        made = organism(backend, "claude-sonnet-5", peers=False)
        assert await asked(server, made, "Hello", "Again?") == [
            ["system[0]", "messages[0] text"],
            ["system[0]", "messages[2] text"],
        ]


@pytest.mark.parametrize(
    "settings", [{"peers": False, "memory": "call"}, {"max_turns": 1, "memory": "none"}], ids=str
)
async def test_a_one_shot_pays_for_no_write(settings: dict[str, Any]) -> None:
    async with AnthropicEmulator() as server:
        server.script.then(Written("Hi."), Written("Hi."))
        backend = AnthropicBackend(base_url=server.base_url, api_key=server.key)
        made = organism(backend, "claude-sonnet-5", **settings)
        assert await asked(server, made, "Hello", "Hello") == [[], []]


async def test_the_last_turn_of_a_task_that_nobody_remembers_pays_for_no_write() -> None:
    async with AnthropicEmulator() as server:
        server.script.then(CALL, Written("42."))
        backend = AnthropicBackend(base_url=server.base_url, api_key=server.key)
        made = organism(backend, "claude-sonnet-5", memory="call", max_turns=2)
        assert (await asked(server, made, "What is 2+40?"))[1] == []


async def test_turns_of_one_conversation_have_one_key_at_openai() -> None:
    async with OpenAIEmulator() as server:
        server.script.then(CALL, Written("42."), Written("Hi."))
        backend = OpenAIBackend(base_url=server.base_url, api_key=server.key, api="chat")
        async with organism(backend, "gpt-4o") as made:
            await made.ask("bot", Task("What is 2+40?"), timeout=20)
            await made.ask("bot", Task("Hello"), timeout=20)
    first, second, other = (request.body["prompt_cache_key"] for request in server.requests)
    assert first == second != other
    assert len(first) <= 64


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_turns_of_one_conversation_have_one_key_at_xai(api: str) -> None:
    async with XAIEmulator() as server:
        server.script.then(CALL, Written("42."))
        backend = XAIBackend(base_url=server.base_url, api_key=server.key, api=api)
        async with organism(backend, "grok-4.7") as made:
            await made.ask("bot", Task("What is 2+40?"), timeout=20)
    headers = {request.headers.get("x-grok-conv-id") for request in server.requests}
    keys = {request.body.get("prompt_cache_key") for request in server.requests}
    sent, absent = (headers, keys) if api == "chat" else (keys, headers)
    assert (len(sent), absent) == (1, {None})
    assert all(sent)
