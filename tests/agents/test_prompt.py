"""Prompts: frozen at start, hashed, shown exactly as they are sent."""

from __future__ import annotations

import pytest

from xml_pipeline import Organism
from xml_pipeline.agents import AgentSettings, LLMAgent, Prompt, Task
from xml_pipeline.llm import Router, ToolSpec
from xml_pipeline.llm.providers.scripted import ScriptedBackend

from .scenes import Add, Report, Scene, add, virtual


@pytest.mark.parametrize("mode", ["native", "xml"])
@pytest.mark.parametrize("answer", [None, Report])
@virtual
async def test_the_prompt_that_is_shown_is_the_prompt_that_is_sent(mode: str, answer: type | None) -> None:
    extra = {"answers": answer} if answer else {}
    line = "<Report><title>x</title><score>1</score></Report>" if answer else "ok"
    scene = Scene(line, calls=mode, **extra)
    shown = scene.bot.prompt_as_sent(scene.organism.listeners, scene.organism.router)
    await scene.ask()
    system = scene.model.last.messages[0]
    assert system == {"role": "system", "content": shown.system}
    assert tuple(scene.model.last.tools) == shown.tools
    assert bool(shown.tools) is (mode == "native")
    assert shown.system in str(shown)
    assert shown.sha256 in str(shown)
    assert f"about {shown.tokens} tokens" in str(shown)
    if mode == "xml":
        assert '<call to="PEER">' in shown.system
        assert scene.organism.usage_instructions("bot") in shown.system
    else:
        assert '"maximum": 1000' in str(shown)


def test_the_hash_changes_with_everything_the_model_sees() -> None:
    tool = ToolSpec("t", "does", {"type": "object", "properties": {}})
    prompts = [
        Prompt("native", "a"),
        Prompt("native", "b"),
        Prompt("native", "a", (tool,)),
        Prompt("native", "a", (ToolSpec("t", "does more", tool.parameters),)),
        Prompt("native", "a", (ToolSpec("t", "does", {"type": "object"}),)),
    ]
    assert len({prompt.sha256 for prompt in prompts}) == len(prompts)
    assert Prompt("native", "a").sha256 == Prompt("native", "a").sha256
    assert len({prompt.tokens for prompt in prompts[:3]}) > 1


def organism(backend: ScriptedBackend) -> tuple[Organism, LLMAgent]:
    made = Organism.build(router=Router([backend]))
    agent = LLMAgent("bot", AgentSettings("m", "Be brief."))
    made.listener(agent, name="bot", accepts=agent.accepts, agent=True, peers=["add"])
    made.listener(add, accepts=[Add])
    return made, agent


def test_auto_follows_what_the_backends_can() -> None:
    for native, mode in ((True, "native"), (False, "xml")):
        made, agent = organism(ScriptedBackend(native_tools=native))
        assert agent.prompt_as_sent(made.listeners, made.router).mode == mode


def test_a_model_that_nobody_serves_has_a_prompt_all_the_same() -> None:
    made, agent = organism(ScriptedBackend(supported_models=["other"]))
    assert agent.prompt_as_sent(made.listeners, made.router).system == "Be brief."


@virtual
async def test_without_a_prompt_no_system_message_is_sent() -> None:
    scene = Scene("ok", prompt="", peers=())
    await scene.ask("hi")
    assert scene.model.last.messages == [{"role": "user", "content": "hi"}]


@virtual
async def test_prompts_are_the_same_for_every_call() -> None:
    scene = Scene("ok")
    async with scene.organism:
        for text in ("one", "two"):
            await scene.organism.ask("bot", Task(text))
    first, second = scene.model.requests
    assert first.messages[0] == second.messages[0]
    assert first.tools == second.tools


def test_an_agent_without_a_description_is_described_by_what_it_takes_alone() -> None:
    scene = Scene("ok", peers=["helper"])
    scene.agent("helper")
    (tool,) = scene.bot.prompt_as_sent(scene.organism.listeners, scene.organism.router).tools
    assert tool.description == "Something to do or to answer, in words."
