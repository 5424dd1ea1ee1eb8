"""A conversation with tool calls goes on at any other provider, whoever made the calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.emulators import (
    Answer,
    AnthropicEmulator,
    Emulator,
    GeminiEmulator,
    OllamaEmulator,
    OpenAIEmulator,
    ToolUse,
)
from xml_pipeline.llm import LLMResponse, Router, StreamEnd, ToolSpec
from xml_pipeline.llm.types import Message

from .cases import CASES, Case

TOOLS = [
    ToolSpec(name, "A tool.", {"type": "object", "properties": {"q": {"type": "string"}}})
    for name in ("calculator.add", "calculator_add", "searché", "look-up")
]
MORE = (
    Case("openai", OpenAIEmulator, "o4-mini"),
    Case("openai", OpenAIEmulator, "gpt-6.1-sol"),
    Case("anthropic", AnthropicEmulator, "claude-opus-4-7"),
    Case("anthropic", AnthropicEmulator, "claude-opus-4-6"),
    Case("gemini", GeminiEmulator, "gemini-2.5-flash", prefix="/v1beta"),
    Case("ollama", OllamaEmulator, "gpt-oss:20b"),
)
ALL = (*CASES, *MORE)

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


@dataclass(frozen=True)
class Round:
    """One provider's turn: what it says and calls, and how the tools answer."""

    provider: int
    calls: tuple[tuple[int, dict[str, str] | str, str, bool], ...]
    text: str
    reasoning: str
    effort: str | None
    streamed: bool
    says: str | None
    odd_ids: bool = False  # as Kimi writes them: the same in every turn


calls = st.tuples(
    st.integers(0, len(TOOLS) - 1),
    st.dictionaries(texts, texts, max_size=2) | st.sampled_from(['{"q": ', "[1]", ""]),
    texts,
    st.booleans(),
)
rounds = st.builds(
    Round,
    provider=st.integers(0, len(ALL) - 1),
    calls=st.lists(calls, min_size=1, max_size=3).map(tuple),
    text=texts,
    reasoning=texts,
    effort=st.sampled_from([None, "none", "low", "high"]),
    streamed=st.booleans(),
    says=st.none() | texts,
    odd_ids=st.booleans(),
)


class World:
    """All emulators, and a router with one backend for each."""

    def __init__(self, servers: list[Emulator], routers: list[Router]) -> None:
        self.servers = servers
        self.routers = routers

    async def ask(self, index: int, history: list[Message], turn: Round, answer: Answer) -> LLMResponse:
        self.servers[index].script.then(answer)
        options: dict[str, Any] = {"tools": TOOLS, "reasoning_effort": turn.effort, "cache_prompt": True}
        model = ALL[index].model
        if not turn.streamed:
            return await self.routers[index].complete(model, history, **options)
        async for event in self.routers[index].stream(model, history, **options):
            if isinstance(event, StreamEnd):
                return event.response
        raise AssertionError("the stream had no end")


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[asyncio.Runner, World]]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def start() -> World:
            servers, routers = [], []
            for case in ALL:
                server = await stack.enter_async_context(case.emulator())
                backend = case.backend(server.base_url, server.key)
                routers.append(await stack.enter_async_context(Router([backend], retries=0)))
                servers.append(server)
            return World(servers, routers)

        yield runner, runner.run(start())
        runner.run(stack.aclose())


def wire_names(index: int) -> list[str]:
    """The tools' names as they stand in the last request there."""
    return [
        "calculator.add" if ALL[index].name == "gemini" else "calculator_add_2",
        "calculator_add",
        "search_",
        "look-up",
    ]


async def converse(world: World, plan: list[Round]) -> None:
    history: list[Message] = [
        {"role": "system", "content": "Be terse."},
        {"role": "user", "content": "Look this up."},
    ]
    for turn in plan:
        if turn.says is not None:
            history.append({"role": "user", "content": turn.says})
        names = wire_names(turn.provider)
        uses = tuple(ToolUse(names[tool], arguments) for tool, arguments, _, _ in turn.calls)
        if turn.odd_ids and ALL[turn.provider].name != "anthropic":
            uses = tuple(replace(use, id=f"functions.{use.name}:{number}") for number, use in enumerate(uses))
        if ALL[turn.provider].name in ("gemini", "ollama", "anthropic"):  # these write objects only
            uses = tuple(
                use if isinstance(use.arguments, dict) else replace(use, arguments={}) for use in uses
            )
        answer = Answer(turn.text.strip(), tools=uses, reasoning=turn.reasoning)
        response = await world.ask(turn.provider, history, turn, answer)
        assert [call.name for call in response.tool_calls] == [
            TOOLS[tool].name for tool, _, _, _ in turn.calls
        ]
        history.append(response.message)
        results: list[Message] = [
            {"role": "tool", "tool_call_id": call.id, "content": result, "is_error": failed}
            for call, (_, _, result, failed) in zip(response.tool_calls, turn.calls, strict=True)
        ]
        history += results
        for index in range(len(ALL)):
            reply = await world.ask(index, history, turn, Answer("Good."))
            assert reply.content == "Good."


@settings(max_examples=40, deadline=None)
@given(plan=st.lists(rounds, min_size=1, max_size=3))
def test_every_provider_goes_on_with_every_history(
    world: tuple[asyncio.Runner, World], plan: list[Round]
) -> None:
    runner, everyone = world
    runner.run(converse(everyone, plan))


@pytest.mark.parametrize("first", range(len(ALL)), ids=lambda index: f"from-{ALL[index]}-{ALL[index].model}")
def test_everybody_takes_over_from(world: tuple[asyncio.Runner, World], first: int) -> None:
    call = (0, {"q": "x"}, "found", False)
    plan = [
        Round(first, (call, call), "I look.", "Hm.", "low", False, None),
        Round((first + 1) % len(ALL), (call,), "", "Well.", "low", True, "And again?"),
        Round(first, (call, call), "", "", None, True, None, odd_ids=True),
        Round(first, (call, call), "", "", None, False, None, odd_ids=True),
    ]
    runner, everyone = world
    runner.run(converse(everyone, plan))
