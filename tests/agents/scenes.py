"""Organisms of agents whose models say what a test tells them to."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from xml_pipeline import HandlerMetadata, HandlerResponse, Organism, xmlify
from xml_pipeline.agents import AgentSettings, Answer, LLMAgent, Task
from xml_pipeline.agents.running import RememberedTask
from xml_pipeline.hardened import parse
from xml_pipeline.llm import Budgets, LLMRequest, LLMResponse, Router, ToolCall
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.payload import codec_of
from xml_pipeline.pump import ConversationLimits
from xml_pipeline.testing import run_in_virtual_time


@xmlify
@dataclass
class Add:
    """Two integers to add."""

    a: int
    b: Annotated[int, Field(le=1000)]


@xmlify
@dataclass
class Sum:
    value: int


@xmlify
@dataclass
class Note:
    """A remark."""

    text: str
    tags: list[str]


@xmlify
@dataclass
class Report:
    """What was found."""

    title: str
    score: Annotated[int, Field(ge=0, le=10)]


async def add(payload: Add, metadata: HandlerMetadata) -> HandlerResponse:
    return HandlerResponse.respond(Sum(payload.a + payload.b))


Line = str | LLMResponse | ToolCall | list[ToolCall] | Callable[[LLMRequest], "str | LLMResponse"]


def calls(*written: ToolCall, text: str = "", finish: str = "tool_calls") -> LLMResponse:
    """A model's answer that calls tools."""
    return LLMResponse(text, "m", finish_reason=finish, tool_calls=written)


def said(text: str, finish: str = "stop") -> LLMResponse:
    return LLMResponse(text, "m", finish_reason=finish)


class Model:
    """Says its lines one after the other; the last one again and again."""

    def __init__(self, *lines: Line, native_tools: bool = True) -> None:
        self.lines = deque(lines)
        rules = [Rule(reply=self._next), Rule(on="tool", reply=self._next)]
        self.backend = ScriptedBackend(rules=rules, native_tools=native_tools)

    def _next(self, request: LLMRequest) -> str | LLMResponse:
        line = self.lines.popleft() if len(self.lines) > 1 else self.lines[0]
        if isinstance(line, ToolCall):
            return calls(line)
        if isinstance(line, list):
            return calls(*line)
        return line(request) if callable(line) else line

    @property
    def requests(self) -> list[LLMRequest]:
        return list(self.backend.requests)

    @property
    def last(self) -> LLMRequest:
        return self.backend.requests[-1]

    def seen(self) -> str:
        """All that the model read in its last call."""
        return "\n".join(str(message["content"]) for message in self.last.messages)


class Scene:
    """An organism with one agent, `bot`, a calculator and whatever a test adds."""

    def __init__(
        self,
        *lines: Line,
        peers: Iterable[str] = ("calculator.add",),
        budgets: Budgets | None = None,
        native_tools: bool = True,
        limits: ConversationLimits | None = None,
        **settings: Any,
    ) -> None:
        self.model = Model(*lines, native_tools=native_tools)
        router = Router([self.model.backend], retries=0, budgets=budgets)
        self.organism = Organism.build(router=router, limits=limits)
        self.bot = self.agent("bot", peers=peers, **settings)
        self.organism.listener(add, name="calculator.add", description="Adds two integers.")

    def agent(
        self,
        name: str,
        *,
        peers: Iterable[str] = (),
        accepts: Iterable[type] | type = Task,
        answers: Iterable[type] | type = Answer,
        hands_over_to: Iterable[str] = (),
        **settings: Any,
    ) -> LLMAgent:
        made = AgentSettings(**{"model": "m", "prompt": f"You are {name}.", **settings})
        agent = LLMAgent(name, made, accepts=accepts, answers=answers)
        targets = tuple(hands_over_to)
        self.organism.listener(agent, name=name, peers=tuple(peers), hands_over_to=targets, **agent.options)
        return agent

    def open_tasks(self, name: str = "bot") -> int:
        """Tasks that an agent is working on."""
        return sum(thread.listener == name for thread in self.organism.threads())

    def memories(self) -> list[tuple[RememberedTask, ...]]:
        """What is remembered in all sessions and conversations together."""
        state = self.organism._pump.state
        every = [*state.sessions.values(), *state.conversations.values()]
        codec = codec_of(RememberedTask)
        return [
            tuple(codec.decode(parse(entry.data)) for entry in memory)
            for each in every
            for memory in (each.memory or {}).values()
        ]

    async def ask(self, text: str = "go") -> Any:
        async with self.organism:
            return await self.organism.ask("bot", Task(text))


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """An async test on a loop whose time passes at once."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_in_virtual_time(test(*args, **kwargs))

    return run
