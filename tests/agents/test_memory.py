"""What an agent remembers, for how long, and that nothing stays when it is over."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from xml_pipeline import AnswerError, HandlerMetadata, HandlerResponse, SystemError
from xml_pipeline.agents import Answer, RememberedTask, Task
from xml_pipeline.agents.running import recalled
from xml_pipeline.events import ThreadOpened
from xml_pipeline.llm import ToolCall

from .scenes import Add, Scene, calls, virtual

ADD = ToolCall.of("c1", "calculator_add", {"a": 2, "b": 40})


def texts(scene: Scene) -> list[str]:
    return [str(message["content"]) for message in scene.model.last.messages]


@virtual
async def test_a_session_remembers_finished_tasks_with_their_calls() -> None:
    scene = Scene(ADD, "It is 42.", "As I said.")
    async with scene.organism, scene.organism.session() as session:
        await session.ask("bot", Task("2+40?"))
        await session.ask("bot", Task("Sure?"))
        assert [message["role"] for message in scene.model.last.messages] == [
            "system", "user", "assistant", "tool", "assistant", "user",
        ]  # fmt: skip
        assert len(scene.memories()) == 1
    assert len(scene.memories()) == 0
    assert scene.open_tasks() == 0


@pytest.mark.parametrize("memory", ["call", "none", "conversation"])
@virtual
async def test_other_memories_do_not_outlive_the_conversation(memory: str) -> None:
    scene = Scene("ok", memory=memory)
    async with scene.organism, scene.organism.session() as session:
        await session.ask("bot", Task("one"))
        await session.ask("bot", Task("two"))
        assert texts(scene) == ["You are bot.", "two"]
        assert len(scene.memories()) == 0


@virtual
async def test_two_callers_share_no_session() -> None:
    scene = Scene("ok")
    async with scene.organism, scene.organism.session() as one, scene.organism.session() as two:
        await one.ask("bot", Task("mine"))
        await two.ask("bot", Task("yours"))
        assert texts(scene) == ["You are bot.", "yours"]
        assert len(scene.memories()) == 2
    assert len(scene.memories()) == 0


@virtual
async def test_a_conversation_is_remembered_over_its_threads() -> None:
    """Two workers call one agent: to the agent these are two sessions of one conversation."""

    def say(request: Any) -> Any:
        if request.messages[-1]["role"] == "tool":
            return "done"
        if request.agent == "bot":
            return calls(ToolCall.of("c", request.messages[-1]["content"], {"text": "x"}))
        return "heard"

    async def asked(memory: str) -> list[int]:
        scene = Scene(say, peers=["first", "second"])
        scene.agent("scribe", memory=memory)

        async def ask_scribe(payload: Task, metadata: HandlerMetadata) -> HandlerResponse:
            return HandlerResponse.delegate(payload, to="scribe")

        async def both(payload: Task, metadata: HandlerMetadata) -> HandlerResponse:
            return HandlerResponse(Task("first"), to="bot")

        scene.organism.listener(ask_scribe, name="first", hands_over_to=["scribe"])
        scene.organism.listener(ask_scribe, name="second", hands_over_to=["scribe"])
        seen: list[int] = []

        def count(request: Any) -> Any:
            if request.agent == "scribe":
                seen.append(len(request.messages))
            elif request.messages[-1]["role"] == "tool" and len(seen) == 1:
                return calls(ToolCall.of("c", "second", {"text": "y"}))
            return say(request)

        scene.model.lines[0] = count
        async with scene.organism:
            await scene.organism.ask("bot", Task("first"))
        assert len(scene.memories()) == 0
        return seen

    assert await asked("conversation") == [2, 4]
    assert await asked("session") == [2, 4]  # both calls are the bot's: it delegated
    assert await asked("call") == [2, 2]


@virtual
async def test_none_sees_the_task_and_the_latest_round_only() -> None:
    again = ToolCall.of("c2", "calculator_add", {"a": 1, "b": 1})
    scene = Scene(ADD, again, "done", memory="none")
    assert await scene.ask("the task") == Answer("done")
    _, task, call, result = scene.model.last.messages
    assert task["content"] == "the task"
    assert call["tool_calls"][0]["id"] == result["tool_call_id"] == "c2"


@virtual
async def test_a_failed_task_is_not_remembered() -> None:
    scene = Scene("", "", "", "fine")
    async with scene.organism, scene.organism.session() as session:
        with pytest.raises(AnswerError):
            await session.ask("bot", Task("bad"))
        await session.ask("bot", Task("good"))
        assert texts(scene) == ["You are bot.", "good"]


@virtual
async def test_two_tasks_of_one_session_at_once_keep_their_rounds_together() -> None:
    def say(request: Any) -> Any:
        first = next(m for m in reversed(request.messages) if m["role"] == "user")["content"]
        if request.messages[-1]["role"] == "tool":
            return f"{first} done"
        return calls(ToolCall.of(f"id-{first}", "wait", {"a": int(first), "b": 0}))

    scene = Scene(say, peers=["wait"])

    async def wait(payload: Add, metadata: HandlerMetadata) -> HandlerResponse:
        await asyncio.sleep(payload.a)
        return HandlerResponse.respond(Answer(str(payload.a)))

    scene.organism.listener(wait)
    async with scene.organism, scene.organism.session() as session:
        await asyncio.gather(*(session.ask("bot", Task(str(n))) for n in (3, 1, 2)))
        (memory,) = scene.memories()
        assert [
            (
                exchange.task["content"],
                exchange.rounds[0].results[0].text,
                exchange.rounds[-1].answer["content"],
            )
            for exchange in map(recalled, memory)
        ] == [(n, n, f"{n} done") for n in ("1", "2", "3")]


@virtual
async def test_a_task_that_outlives_its_closed_session_leaves_nothing() -> None:
    scene = Scene("ok")
    async with scene.organism:
        session = scene.organism.session()
        await session.send("bot", Task("late"))
        session.close()
        await asyncio.sleep(1)
        assert scene.model.requests
        assert len(scene.memories()) == 0


@virtual
async def test_cancelled_tasks_leave_nothing() -> None:
    scene = Scene(ToolCall.of("c", "never", {"a": 1, "b": 1}), peers=["never"])

    async def never(payload: Add, metadata: HandlerMetadata) -> None:
        await asyncio.Event().wait()

    scene.organism.listener(never)
    async with scene.organism:
        conversation = await scene.organism.send("bot", Task("x"))
        await asyncio.sleep(1)
        assert scene.open_tasks() == 1
        scene.organism.cancel(conversation)
        await asyncio.sleep(1)
        assert scene.open_tasks() == 0
        assert len(scene.memories()) == 0


@virtual
async def test_history_is_readable_by_session() -> None:
    scene = Scene("ok")
    sessions: list[str] = []

    async with scene.organism, scene.organism.session() as session:
        scene.organism.add_hook(
            lambda event: sessions.append(event.session_id) if isinstance(event, ThreadOpened) else None
        )
        await session.ask("bot", Task("hi"))
        (entry,) = scene.organism.remembered(sessions[0], RememberedTask)
        assert [message["content"] for message in entry.messages()] == ["hi", "ok"]
        assert scene.organism.remembered("unknown", RememberedTask) == ()


@virtual
async def test_an_error_of_the_agent_reaches_a_caller_that_takes_it() -> None:
    scene = Scene("")

    async def boss(payload: Task | SystemError, metadata: HandlerMetadata) -> HandlerResponse:
        if isinstance(payload, SystemError):
            return HandlerResponse.respond(Answer(f"it said {payload.code}: {payload.message}"))
        return HandlerResponse(payload, to="bot")

    scene.organism.listener(boss, peers=["bot"])
    async with scene.organism:
        answer = await scene.organism.ask("boss", Task("x"))
    assert answer == Answer("it said handler: the model's answer is empty")


@virtual
async def test_half_a_character_does_not_end_an_agent_s_session() -> None:
    """Every later request would hold it, and none could be encoded."""
    broken = ToolCall("1\ud800", "calculator.add\udc00", '{"a": 2, "b": 40, "x\ud800": "\\udc00"}')
    scene = Scene("fine \ud83d\ude00 \ud83d \x00", broken, ADD, "42", "43", memory="session", calls="native")
    async with scene.organism, scene.organism.session() as session:
        assert await session.ask("bot", Task("go")) == Answer("fine 😀 \ufffd \ufffd")
        assert await session.ask("bot", Task("add")) == Answer("42")
        assert await session.ask("bot", Task("again")) == Answer("43")
    for message in scene.model.last.messages:
        json.dumps(message, ensure_ascii=False).encode()
