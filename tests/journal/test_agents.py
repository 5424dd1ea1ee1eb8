"""Agents that die between two answers of their models: what was paid is used, and they see what they saw."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.journal.lives import killed
from tests.journal.test_recovery import came_to, finished
from tests.journal.test_replay import recorded
from tests.pump.scenes import Answer, Question, respond
from xml_pipeline import HandlerMetadata, Organism, xmlify
from xml_pipeline.agents import AgentSettings, RememberedTask, Task, agent_listener
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.llm import LLMRequest, LLMResponse, Router, ToolCall, complete
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.pump import ConversationLimits, Listener, Machine, listener
from xml_pipeline.pump.replay import replayed


@xmlify
@dataclass
class Sum:
    """What it comes to."""

    n: int


@xmlify
@dataclass(frozen=True)
class Complaint:
    """Something went wrong."""

    order: int
    what: str


@xmlify
@dataclass(frozen=True)
class Said:
    """What is said to it."""

    text: str


def said(request: LLMRequest) -> str:
    """All that a model is shown but for its instructions."""
    return " | ".join(str(message["content"]) for message in request.messages[1:])


class Scripted(Backend):
    """Answers by what it is shown; it waits for ever where it has no answer.

    Attributes:
        asked: what it was shown, in each call.
    """

    provider = "scripted"
    offline = True

    def __init__(self, script: Callable[[LLMRequest, int], str | ToolCall | None]) -> None:
        super().__init__(name="scripted", supported_models=["m"])
        self.script = script
        self.asked: list[str] = []

    async def _do_completion(self, client: Any, request: LLMRequest) -> LLMResponse:
        self.asked.append(said(request))
        answer = self.script(request, len(self.asked))
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, ToolCall):
            return LLMResponse("", "m", tool_calls=[answer], finish_reason="tool_calls")
        return LLMResponse(str(answer), "m", {"prompt_tokens": 5, "completion_tokens": 2})


class World:
    """Lives of an agent with a tool, and of a worker that wants a sum.

    Attributes:
        shut: tasks whose tool waits for ever.
    """

    def __init__(self, path: Path, script: Callable[[LLMRequest, int], str | ToolCall | None]) -> None:
        self.path = path
        self.model = Scripted(script)
        self.shut: set[str] = set()
        self.called: list[str] = []

    async def tool(self, payload: Question, metadata: HandlerMetadata) -> Any:
        self.called.append(payload.text)
        if payload.text in self.shut:
            await asyncio.Event().wait()
        return respond(Answer(f"looked up {payload.text}"))

    async def worker(self, payload: Question, metadata: HandlerMetadata) -> Any:
        response = await complete("m", [{"role": "user", "content": payload.text}], response_type=Sum)
        return respond(response.parsed)

    def organism(self) -> Organism:
        agent = agent_listener("agent", AgentSettings("m", "You look things up."), peers=["tool"])
        adder = agent_listener("adder", AgentSettings("m", "You add."), answers=Sum)
        return Organism(
            "agents",
            [agent, adder, listener("tool", self.tool), listener("worker", self.worker)],
            journal=SqliteJournal(self.path),
            router=Router([self.model], retries=0),
            shutdown_seconds=0,
        )


def looks_up(request: LLMRequest, number: int) -> str | ToolCall:
    """Calls the tool with the task's last word, then answers."""
    last = str(request.messages[-1]["content"])
    if "looked up" in last:
        return f"done: {last}"
    return ToolCall.of(f"c{number}", "tool", {"text": last.partition("<")[0].split()[-1]})


async def test_two_tasks_of_a_remembering_agent_see_in_the_next_life_what_they_saw(tmp_path: Path) -> None:
    """One is done and remembered when the process dies, the other began before that and does not know of it."""
    world = World(tmp_path / "state.db", looks_up)
    world.shut = {"slowly"}
    async with world.organism() as organism:
        session = organism.session(id="s")
        slow = asyncio.ensure_future(session.ask("agent", Task("look slowly"), key="slow"))
        await came_to(lambda: world.called == ["slowly"])
        quick = await session.ask("agent", Task("look quickly"), key="quick")
        world.path = killed(world.path)
        slow.cancel()
    paid = list(world.model.asked)
    assert len(paid) == 3
    world.shut = set()
    async with world.organism() as organism:
        session = organism.session(id="s")
        assert await session.ask("agent", Task("look quickly"), key="quick") == quick
        answer = await session.ask("agent", Task("look slowly"), key="slow")
        assert "slowly" in answer.text
        assert world.model.asked[:3] == paid
        (last,) = world.model.asked[3:]
        assert "quickly" not in last  # it began when nothing was remembered
        await session.ask("agent", Task("look again"))
        assert "quickly" in world.model.asked[4]
        assert "slowly" in world.model.asked[4]
    assert world.called == ["slowly", "quickly", "slowly", "again"]


async def test_two_tasks_that_die_together_go_on_each_with_its_own_answers(tmp_path: Path) -> None:
    world = World(tmp_path / "state.db", looks_up)
    world.shut = {"here", "there"}
    async with world.organism() as organism:
        session = organism.session(id="s")
        for each in ("here", "there"):
            await session.send("agent", Task(f"look {each}"), key=each)
        await came_to(lambda: sorted(world.called) == ["here", "there"])
        world.path = killed(world.path)
    assert len(world.model.asked) == 2
    world.shut = set()
    async with world.organism() as organism:
        session = organism.session(id="s")
        both = await asyncio.gather(
            *(session.ask("agent", Task(f"look {each}"), key=each) for each in ("here", "there"))
        )
    assert [each in answer.text for each, answer in zip(("here", "there"), both, strict=True)] == [True, True]
    assert len(world.model.asked) == 4
    assert not any("here" in seen.split() and "there" in seen.split() for seen in world.model.asked)


@pytest.mark.parametrize("whose", ["adder", "worker"])
async def test_a_correction_that_is_broken_off_keeps_the_answer_that_was_bad(
    tmp_path: Path, whose: str
) -> None:
    """The first answer fits no class, the second never comes: it alone is asked for again."""
    good = json.dumps({"n": 42}) if whose == "worker" else "<Sum><n>42</n></Sum>"
    world = World(tmp_path / "state.db", lambda request, number: ["no sum", None, good][number - 1])
    task = Task("6 * 7") if whose == "adder" else Question("6 * 7")
    async with world.organism() as organism:
        await organism.send(whose, task, key="k")
        await came_to(lambda: len(world.model.asked) == 2)
        world.path = killed(world.path)
    assert "no sum" in world.model.asked[1]
    async with world.organism() as organism:
        assert await organism.ask(whose, task, key="k", timeout=20) == Sum(42)
    assert world.model.asked[1:] == [world.model.asked[1]] * 2


async def test_a_task_is_handed_over_in_the_next_life_as_it_came_and_a_replay_finds_the_same(
    tmp_path: Path,
) -> None:
    """Its agent had called a tool when the process died; what it remembers of the task outlives it, too."""

    def script(request: LLMRequest, number: int) -> str | ToolCall:
        if number == 1:
            return ToolCall.of("c1", "tool", {"text": "terms"})
        return ToolCall.of(f"c{number}", "hand_over_to_desk", {}) if number == 2 else "it was for the desk"

    path, model = tmp_path / "state.db", Scripted(script)
    stuck = asyncio.Event()
    got: list[Any] = []

    async def tool(payload: Question, metadata: HandlerMetadata) -> Any:
        if not stuck.is_set():
            await asyncio.Event().wait()
        return respond(Answer("looked up"))

    async def desk(payload: Complaint, metadata: HandlerMetadata) -> Any:
        got.append(payload)
        return respond(Said("granted"))

    def table() -> list[Listener]:
        settings = AgentSettings("m", "You triage.", task={Complaint: "{{what}} of {{order}}"})
        front = agent_listener(
            "front", settings, accepts=Complaint, answers=Said, peers=["tool"], hands_over_to=["desk"]
        )
        return [front, listener("tool", tool), listener("desk", desk)]

    def life() -> Organism:
        router = Router([model], retries=0)
        return Organism("life", table(), journal=SqliteJournal(path), router=router, shutdown_seconds=0)

    complaint = Complaint(17, "late & <wet>")
    async with life() as organism:
        await organism.session(id="s").send("front", complaint, key="k")
        await came_to(lambda: len(model.asked) == 1)
        await came_to(lambda: any(each.listener == "tool" for each in organism.threads()))
    stuck.set()
    async with life() as organism:
        session = organism.session(id="s")
        assert await session.ask("front", complaint, key="k") == Said("granted")
        assert got == [complaint]
        assert model.asked[0] == "<what>late &amp; &lt;wet&gt;</what> of 17"
        await finished(organism)
        (outside,) = organism._pump.state.sessions.values()
        (memory,) = (organism.remembered(key, RememberedTask) for key in outside.memory or {})
        assert "handed over to desk" in str(memory[0].messages()[-1]["content"])
    for steps in recorded(path).values():
        found = replayed(steps, Machine({each.name: each for each in table()}, ConversationLimits()))
        assert (found.difference, found.gaps) == (None, [])
