"""Agents over every provider's emulator, which checks histories as strictly as the provider does."""

from __future__ import annotations

import pytest

from tests.emulators import Answer as Written
from tests.emulators import Emulator, ToolUse
from tests.llm.providers.cases import CASES, Case
from xml_pipeline import HandlerMetadata, HandlerResponse, Organism
from xml_pipeline.agents import AgentSettings, Answer, LLMAgent, Skill, Task, agent_listener
from xml_pipeline.llm import Router
from xml_pipeline.pump import listener
from xml_pipeline.testing import Recorder

from .scenes import Add, add

TASKS = ("What are 2+40 and 1+1?", "And what is 3+3?")


def native(*numbers: tuple[int, int], without_b: bool = False) -> Written:
    """A model's answer that adds; with a field missing if told so."""
    uses = [ToolUse("calculator_add", {"a": a, "b": b}) for a, b in numbers]
    if without_b:
        uses.append(ToolUse("calculator_add", {"a": 5}))
    return Written(text="", tools=tuple(uses))


def in_text(*numbers: tuple[int, int], without_b: bool = False) -> Written:
    """The same as XML in prose."""
    documents = [f"<Add><a>{a}</a><b>{b}</b></Add>" for a, b in numbers]
    if without_b:
        documents.append("<Add><a>5</a></Add>")
    return Written(
        text="Let me see.\n" + "\n".join(f'<call to="calculator.add">{each}</call>' for each in documents)
    )


def organism(case: Case, server: Emulator, mode: str) -> Organism:
    backend = case.backend(server.base_url, server.key, name=case.name)
    made = Organism.build(router=Router([backend], retries=0))
    agent = LLMAgent("bot", AgentSettings(case.model, "You are careful.", calls=mode))
    made.listener(agent, name="bot", accepts=agent.accepts, agent=True, peers=["calculator.add"])
    made.listener(add, name="calculator.add", accepts=[Add], description="Adds two integers.")
    return made


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("mode", ["native", "xml"])
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_chat_with_parallel_calls_and_a_correction(case: Case, mode: str, streamed: bool) -> None:
    write = native if mode == "native" else in_text
    async with case.emulator() as server:
        server.script.then(
            write(without_b=True),
            write((2, 40), (1, 1)),
            Written("42 and 2."),
            write((3, 3), without_b=True),
            Written("6."),
        )
        made = organism(case, server, mode)
        recorder = Recorder(made) if streamed else None
        async with made, made.session() as session:
            first = await session.ask("bot", Task(TASKS[0]), timeout=20)
            second = await session.ask("bot", Task(TASKS[1]), timeout=20)
        assert (first, second) == (Answer("42 and 2."), Answer("6."))
        assert [request.outcome for request in server.requests] == ["answered"] * 5
        assert [request.stream for request in server.requests] == [streamed] * 5
        sent = str(server.last.body)
        for part in ("<huh>", "Add.b", "<value>42</value>", "<value>2</value>", "<value>6</value>", *TASKS):
            assert part in sent
        assert ("tools" in server.last.body) is (mode == "native")
        usage = made.router.get_agent_usage("bot")
        tally = server.tally
        assert (usage.prompt_tokens, usage.completion_tokens) == (
            tally.prompt_tokens,
            tally.completion_tokens,
        )
        assert recorder is None or recorder.events


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_auto_is_native_where_the_provider_can(case: Case) -> None:
    async with case.emulator() as server:
        made = organism(case, server, "auto")
        can = made.router.supports("tools", case.model)
        server.script.then((native if can else in_text)((2, 40)), Written("42."))
        async with made:
            assert await made.ask("bot", Task(TASKS[0]), timeout=20) == Answer("42.")
        assert ("tools" in server.last.body) is can


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_task_is_handed_over_and_remembered_and_a_skill_read_at_every_provider(case: Case) -> None:
    """Tools with and without arguments; the history of a task that was handed over ends with a result."""

    async def desk(payload: Task, metadata: HandlerMetadata) -> HandlerResponse:
        return HandlerResponse.respond(Answer(f"desk: {payload.text}"))

    async with case.emulator() as server:
        backend = case.backend(server.base_url, server.key, name=case.name)
        settings = AgentSettings(
            case.model, calls="native", skills=(Skill("tone", "How we write.", "Be kind."),)
        )
        agent = agent_listener("bot", settings, hands_over_to=["desk"])
        server.script.then(
            Written(text="", tools=(ToolUse("read_skill", {"name": "tone"}),)),
            Written(text="", tools=(ToolUse("hand_over_to_desk", {}),)),
            Written("That was for the desk."),
        )
        table = [agent, listener("desk", desk)]
        made = Organism("with.desk", table, router=Router([backend], retries=0))
        async with made, made.session() as session:
            first = await session.ask("bot", Task(TASKS[0]), timeout=20)
            second = await session.ask("bot", Task(TASKS[1]), timeout=20)
        assert (first, second) == (Answer(f"desk: {TASKS[0]}"), Answer("That was for the desk."))
        assert [request.outcome for request in server.requests] == ["answered"] * 3
        sent = str(server.last.body)
        for part in ("Be kind.", "handed over to desk, who answers it", *TASKS):
            assert part in sent
