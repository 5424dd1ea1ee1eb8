"""What a model answered is paid once: a handler that is called again gets it again."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.journal.test_recovery import came_to
from tests.pump.scenes import Answer, Question, respond
from xml_pipeline import HandlerMetadata, Organism
from xml_pipeline.agents import AgentSettings, Task, agent_listener
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.llm import LLMRequest, LLMResponse, Router, StreamEnd, TextDelta, ToolCall, complete, stream
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.tape import read, written
from xml_pipeline.pump import listener


class Model(Backend):
    """Counts what it is asked; its answers have a number, so that no two are the same."""

    provider = "counting"
    offline = True

    def __init__(self, *, slow: bool = False) -> None:
        super().__init__(name="model", supported_models=["m"])
        self.asked: list[LLMRequest] = []
        self.slow = slow

    async def _do_completion(self, client: Any, request: LLMRequest) -> LLMResponse:
        self.asked.append(request)
        if self.slow:
            await asyncio.Event().wait()
        return LLMResponse(f"answer {len(self.asked)}", "m", {"prompt_tokens": 5, "completion_tokens": 2})


class World:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = Model()
        self.got: list[list[str]] = []
        self.dies = False
        self.fails = 0

    async def worker(self, payload: Question, metadata: HandlerMetadata) -> Any:
        answers = [(await complete("m", "the same")).content for _ in range(2)]
        answers.append((await complete("m", f"at {metadata.received_at}")).content)
        async for event in stream("m", "as it comes"):
            if isinstance(event, StreamEnd):
                answers.append(event.response.content)
        self.got.append(answers)
        if self.dies:
            await asyncio.Event().wait()
        if self.fails:
            self.fails -= 1
            raise ValueError("not this time")
        return respond(Answer(" ".join(answers)))

    def organism(self, **options: Any) -> Organism:
        return Organism(
            "world",
            [listener("worker", self.worker, **options)],
            journal=SqliteJournal(self.path),
            router=Router([self.model], retries=0),
            shutdown_seconds=0,
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state.db")


async def test_a_handler_that_is_called_again_gets_the_same_answers_and_nobody_is_asked(world: World) -> None:
    world.dies = True
    async with world.organism() as organism:
        await organism.send("worker", Question("x"), key="k")
        await came_to(lambda: world.got)
    world.dies = False
    async with world.organism() as organism:
        assert await organism.ask("worker", Question("x"), key="k") == Answer(
            "answer 1 answer 2 answer 3 answer 4"
        )
        assert organism.router.get_total_usage().request_count == 0
    assert world.got[0] == world.got[1]
    assert len(world.model.asked) == 4


async def test_a_retry_asks_anew(world: World) -> None:
    world.fails = 1
    async with world.organism(retries=1) as organism:
        answer = await organism.ask("worker", Question("x"))
    assert answer == Answer("answer 5 answer 6 answer 7 answer 8")


async def test_an_answer_that_never_came_is_asked_for_again_and_the_log_says_so(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.model = Model(slow=True)
    async with world.organism() as organism:
        await organism.send("worker", Question("x"), key="k")
        await came_to(lambda: world.model.asked)
    world.model = Model()
    with caplog.at_level(logging.WARNING, "xml_pipeline.llm"):
        async with world.organism() as organism:
            await organism.ask("worker", Question("x"), key="k")
    assert "its answer never came" in caplog.text
    assert "counts as spent" in caplog.text
    assert len(world.model.asked) == 4


async def test_another_question_is_asked(world: World) -> None:
    world.dies = True
    async with world.organism() as organism:
        await organism.send("worker", Question("x"), key="k")
        await came_to(lambda: world.got)

    async def changed(payload: Question, metadata: HandlerMetadata) -> Any:
        return respond(Answer((await complete("m", "something else")).content))

    world.worker = changed  # type: ignore[method-assign]
    async with world.organism() as organism:
        assert await organism.ask("worker", Question("x"), key="k") == Answer("answer 5")


async def test_an_agent_goes_on_in_the_middle_of_a_task(tmp_path: Path) -> None:
    model, calls = Model(), list[str]()
    stuck = True

    async def _do_completion(client: Any, request: LLMRequest) -> LLMResponse:
        model.asked.append(request)
        if len(model.asked) == 1:
            call = ToolCall("c1", "tool", json.dumps({"text": "look"}))
            return LLMResponse("", "m", tool_calls=[call], finish_reason="tool_calls")
        return LLMResponse("It is 42.", "m")

    model._do_completion = _do_completion  # type: ignore[method-assign]

    async def tool(payload: Question, metadata: HandlerMetadata) -> Any:
        calls.append(payload.text)
        if stuck:
            await asyncio.Event().wait()
        return respond(Answer("42"))

    def organism() -> Organism:
        agent = agent_listener("agent", AgentSettings("m", "You answer."), peers=["tool"])
        return Organism(
            "world",
            [agent, listener("tool", tool)],
            journal=SqliteJournal(tmp_path / "state.db"),
            router=Router([model], retries=0),
            shutdown_seconds=0,
        )

    async with organism() as first:
        await first.send("agent", Task("What is it?"), key="k")
        await came_to(lambda: calls)
    stuck = False
    async with organism() as second:
        answer = await second.ask("agent", Task("What is it?"), key="k")
        assert answer.text == "It is 42."
    assert calls == ["look", "look"]
    assert len(model.asked) == 2


def test_an_answer_comes_back_as_it_was() -> None:
    response = LLMResponse(
        "text é \ud83d",
        "m",
        {"prompt_tokens": 1, "completion_tokens": 2},
        tool_calls=[ToolCall("1", "t", '{"a": 1}', {"x": {"y": [1]}})],
        provider_data={"openai": {"kept": [1, {"a": None}]}},
        cost=0.25,
        repairs=("one",),
        stop_sequence="END",
    )
    again = read(written(response))
    assert (again.content, again.usage, tuple(again.tool_calls)) == (
        response.content,
        response.usage,
        tuple(response.tool_calls),
    )
    assert again.provider_data == response.provider_data
    assert (again.cost, again.repairs, again.stop_sequence) == (0.25, ("one",), "END")
    assert isinstance(TextDelta("x"), TextDelta)
