"""What each key of organism.yaml changes in a running organism or in its router: one case a key.

A key without a case, or a case without a key, fails `test_every_key_has_a_case`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import sys
import time
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import keyring
import pytest
import yaml
from keyring.backends.fail import Keyring
from pydantic import BaseModel

from tests.config.running import (
    Project,
    Section,
    agent,
    ask,
    ask_at_door,
    chat,
    completed,
    llm,
    most_at_once,
    outcome,
    requests,
    run,
    scripted,
    seconds,
    streamed,
    text_of,
    tool,
    with_server,
)
from tests.console.organisms import Paper
from tests.emulators import Answer as Said
from tests.emulators import Fault, GeminiEmulator, OllamaEmulator, OpenAIEmulator, closed_port
from tests.journal.test_recovery import came_to
from tests.keys.backends import MemoryKeyring
from xml_pipeline import AnswerError, Organism
from xml_pipeline.agents import Answer, Bounds, Task
from xml_pipeline.arming.armed import Armed
from xml_pipeline.cases import Outcome, played
from xml_pipeline.cases.report import Told
from xml_pipeline.config import OrganismConfig, load
from xml_pipeline.console.session import Console
from xml_pipeline.errors import (
    BackendTimeoutError,
    ConfigError,
    ConnectionFailedError,
    NoBackendError,
    RateLimitedError,
    RoutingError,
    ServerError,
)
from xml_pipeline.events import BudgetWarning, LLMCalled, MessageDelivered
from xml_pipeline.llm import PROVIDER_CLASSES, Backend, LLMRequest, TextDelta, ToolSpec
from xml_pipeline.llm.providers import BUILTIN
from xml_pipeline.llm.providers.keys import keys_of
from xml_pipeline.pump.approvals import Approval
from xml_pipeline.testing import Recorder, run_in_virtual_time
from xml_pipeline.triggers.signature import signature

Case: TypeAlias = Callable[[Project], None]
CASES: dict[str, Case] = {}


def effect(*keys: str) -> Callable[[Case], Case]:
    """The function below shows what these keys do."""

    def add(case: Case) -> Case:
        CASES.update(dict.fromkeys(keys, case))
        return case

    return add


# --- organism ---


@effect("organism.name")
def _organism_name(project: Project) -> None:
    assert project.organism(tool("echo"), name="zoo").name == "zoo"


@effect("organism.format")
def _organism_format(project: Project) -> None:
    assert project.organism(tool("echo"), format=1).listeners
    with pytest.raises(ConfigError, match="is 2; this version of xml-pipeline reads format 1") as caught:
        project.organism({"name": "echo", "of": "the future"}, format=2)
    assert len(caught.value.problems) == 1


@effect("organism.description")
def _organism_description(project: Project) -> None:
    assert project.organism(tool("echo"), description="Talks back.").description == "Talks back."


@effect("organism.default")
def _organism_default(project: Project) -> None:
    organism, paper = project.organism(tool("echo"), tool("who"), default="echo"), Paper()

    async def main() -> None:
        async with organism, Console(organism, paper) as console:
            console.submit("to nobody by name")
            await console.settled()

    run(main())
    assert paper.rows == ["echo #1: to nobody by name"]


@effect("organism.thread_scheduling")
def _thread_scheduling(project: Project) -> None:
    for scheduling, order in (("breadth-first", ["a", "b", "c"]), ("depth-first", ["c", "b", "a"])):
        organism = project.organism(tool("echo"), thread_scheduling=scheduling)
        project.module.log.clear()

        async def main(organism: Organism = organism) -> None:
            async with organism:
                for text in "abc":
                    await organism.send("echo", project.word(organism, text))

        run(main())
        assert project.module.log == order


@effect("organism.max_in_flight")
def _organism_max_in_flight(project: Project) -> None:
    organism = project.organism(tool("slow"), max_in_flight=2)

    async def main() -> int:
        async with organism:
            sends = [asyncio.create_task(organism.send("slow", project.word(organism))) for _ in range(5)]
            await asyncio.sleep(1)
            accepted = sum(send.done() for send in sends)
            await asyncio.gather(*sends)
            return accepted

    assert run(main()) == 2


@effect("organism.max_concurrent_handlers")
def _organism_max_concurrent_handlers(project: Project) -> None:
    organism = project.organism(tool("slow"), tool("slow2", "slow"), max_concurrent_handlers=3)
    assert most_at_once(project, organism, "slow", "slow2") == 3


@effect("organism.max_concurrent_per_agent")
def _organism_max_concurrent_per_agent(project: Project) -> None:
    organism = project.organism(tool("slow"), tool("slow2", "slow"), max_concurrent_per_agent=2)
    assert most_at_once(project, organism, "slow", "slow2") == 4


@effect("organism.processes")
def _organism_processes(project: Project) -> None:
    organism = project.organism(tool("where", cpu_bound=True), processes=1)

    async def main() -> set[str]:
        async with organism:
            asks = (organism.ask("where", project.word(organism)) for _ in range(6))
            return {answer.text for answer in await asyncio.gather(*asks)}

    assert len(asyncio.run(main())) == 1


@effect("organism.journal.path", "organism.journal.synchronous")
def _organism_journal(project: Project) -> None:
    async def told(organism: Organism) -> Any:
        async with organism:
            return await organism.ask("echo", project.word(organism, "x"), key="k")

    for journal in ("state.db", {"path": "deep/full.db", "synchronous": "full"}):
        for known in (False, True):
            organism = project.organism(tool("echo"), journal=journal)
            project.module.log.clear()
            assert asyncio.run(told(organism)).text == "x"
            assert project.module.log == ([] if known else ["x"])
    assert (project.folder / "state.db").exists()
    assert (project.folder / "deep" / "full.db").exists()
    for none in ("", {"path": ""}, {"path": "", "keep": "7d"}, "${NO_SUCH_VARIABLE:-}"):
        assert project.organism(tool("echo"), journal=none)._journal is None


@effect("organism.journal.keep")
def _organism_journal_keep(project: Project) -> None:
    def known(keep: str) -> bool:
        journal = {"path": f"{keep}.db", "keep": keep}
        path = project.folder / f"{keep}.db"

        async def main() -> bool:
            organism = project.organism(tool("echo"), journal=journal)
            async with organism:
                await organism.ask("echo", project.word(organism, "x"), key="k")
            with sqlite3.connect(path) as long_ago:
                long_ago.execute("UPDATE conversations SET ended = ended - 7 * 86400 - 1")
            long_ago.close()
            async with project.organism(tool("echo"), journal=journal):
                pass
            with sqlite3.connect(path) as connection:
                (conversations,) = connection.execute("SELECT count(*) FROM conversations").fetchone()
            connection.close()
            return bool(conversations)

        return asyncio.run(main())

    assert [known(keep) for keep in ("1s", "7d", "8d")] == [False, False, True]
    for keep in ("7", "d", "0d", "7w", "-1d", "1.5h"):
        with pytest.raises(ConfigError, match=r"organism\.journal\.keep"):
            project.organism(tool("echo"), journal={"path": "x.db", "keep": keep})


@effect("organism.shutdown_seconds")
def _shutdown_seconds(project: Project) -> None:
    def answered(seconds: float) -> bool:
        organism = project.organism(tool("slow"), shutdown_seconds=seconds)

        async def main() -> bool:
            await organism.start()
            answer = asyncio.create_task(organism.ask("slow", project.word(organism)))
            await asyncio.sleep(0.5)
            await organism.stop()
            return bool((await asyncio.gather(answer, return_exceptions=True))[0] == project.word(organism))

        return bool(run(main()))

    assert answered(60)
    assert not answered(1)


@effect("organism.timeout_seconds")
def _organism_timeout_seconds(project: Project) -> None:
    organism = project.organism(tool("never"), timeout_seconds=5)
    with pytest.raises(AnswerError) as caught:
        ask(organism, "never", project.word(organism))
    assert caught.value.code == "timeout"


@effect("organism.limits.messages")
def _organism_limits_messages(project: Project) -> None:
    organism = project.organism(tool("again"), limits={"messages": 20})
    with pytest.raises(AnswerError, match="more than 20 messages") as caught:
        ask(organism, "again", project.word(organism))
    assert caught.value.code == "limit"


@effect("organism.limits.depth")
def _organism_limits_depth(project: Project) -> None:
    circle = [("round1", "round2"), ("round2", "round3"), ("round3", "round1")]
    organism = project.organism(*(tool(name, peers=[peer]) for name, peer in circle), limits={"depth": 7})
    with pytest.raises(AnswerError, match="deeper than 7") as caught:
        ask(organism, "round1", project.word(organism))
    assert caught.value.code == "limit"


@effect("organism.limits.seconds")
def _organism_limits_seconds(project: Project) -> None:
    organism = project.organism(tool("never"), limits={"seconds": 3})
    with pytest.raises(AnswerError, match="longer than 3 s") as caught:
        ask(organism, "never", project.word(organism))
    assert caught.value.code == "limit"


@effect("organism.limits.message_bytes")
def _organism_limits_message_bytes(project: Project) -> None:
    organism = project.organism(tool("echo"), limits={"message_bytes": 2000})
    assert ask(organism, "echo", project.word(organism, "x" * 100))
    organism = project.organism(tool("echo"), limits={"message_bytes": 2000})
    with pytest.raises(Exception, match=r"2,?000"):
        ask(organism, "echo", project.word(organism, "x" * 2000))


# --- listeners ---


@effect("listeners[].name")
def _listener_name(project: Project) -> None:
    organism = project.organism(tool("calc.echo", "echo"))
    assert ask(organism, "calc.echo", project.word(organism, "hi")).text == "hi"


@effect("listeners[].description")
def _listener_description(project: Project) -> None:
    organism = project.organism(tool("echo", description="Repeats."), tool("who", agent=True, peers=["echo"]))
    assert "Repeats." in organism.usage_instructions("who")


@effect("listeners[].handler")
def _listener_handler(project: Project) -> None:
    organism = project.organism(tool("x", "who"))
    assert ask(organism, "x", project.word(organism)).text == "None"


@effect("listeners[].agent")
def _listener_agent(project: Project) -> None:
    organism = project.organism(tool("who", agent=True))
    assert ask(organism, "who", project.word(organism)).text == "who"


@effect("listeners[].human")
def _listener_human(project: Project) -> None:
    organism = project.organism({"name": "boss", "human": True})

    async def main() -> Any:
        async with organism:
            answer = asyncio.create_task(organism.ask("boss", Task("May I?")))
            async for event in organism.events():
                if isinstance(event, MessageDelivered):
                    break
            organism.answer(organism.questions()[0].thread_id, Answer("yes"))
            return await answer

    assert run(main()) == Answer("yes")


@effect("listeners[].peers")
def _listener_peers(project: Project) -> None:
    organism = project.organism(tool("call_echo"), tool("echo"))
    with pytest.raises(AnswerError) as caught:
        ask(organism, "call_echo", project.word(organism))
    assert caught.value.code == "routing"
    organism = project.organism(tool("call_echo", peers=["echo"]), tool("echo"))
    assert ask(organism, "call_echo", project.word(organism, "hi")).text == "hi"


@effect("listeners[].hands_over_to")
def _listener_hands_over_to(project: Project) -> None:
    organism = project.organism(tool("front", peers=["echo"]), tool("echo"))
    with pytest.raises(AnswerError) as caught:
        ask(organism, "front", project.word(organism))
    assert caught.value.code == "routing"
    organism = project.organism(tool("front", hands_over_to=["echo"]), tool("echo"))
    assert ask(organism, "front", project.word(organism, "hi")).text == "hi"
    over = agent(accepts="words:Word", answers="words:Word", hands_over_to=["echo"])
    organism = project.organism(tool("echo"), over, llm=llm({"tool": "hand_over_to_echo"}))
    assert ask(organism, "bot", project.word(organism, "as it came")).text == "as it came"


@effect("listeners[].approve", "listeners[].asked_on")
def _listener_approve(project: Project) -> None:
    boss = {"name": "boss", "human": True, "asked_on": ["console", "gateway:boss"]}

    async def judged(channel: str, granted: bool) -> Any:
        organism = project.organism(tool("echo", approve="boss"), boss)
        async with organism:
            asking = asyncio.ensure_future(organism.ask("echo", project.word(organism, "hi")))
            while not organism.questions():  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0)
            (question,) = organism.questions()
            assert question.approver == "boss"
            with pytest.raises(RoutingError, match="asked on console, gateway:boss"):
                organism.answer(question.thread_id, Approval(True), channel="webhook")
            organism.answer(question.thread_id, Approval(granted, "no"), channel=channel)
            return await asking

    assert run_in_virtual_time(judged("console", True)).text == "hi"
    with pytest.raises(AnswerError, match="'boss' refused it: no"):
        run_in_virtual_time(judged("gateway:boss", False))


@effect("organism.limits.handovers")
def _organism_limits_handovers(project: Project) -> None:
    organism = project.organism(tool("hands_on"), limits={"handovers": 3})
    with pytest.raises(AnswerError, match="handed over 3 times") as caught:
        ask(organism, "hands_on", project.word(organism))
    assert caught.value.code == "limit"


@effect("listeners[].broadcast")
def _broadcast(project: Project) -> None:
    def organism(broadcast: bool) -> Organism:
        both = [tool(name, "echo", broadcast=broadcast) for name in ("echo", "echo2")]
        return project.organism(*both, tool("to_all", peers=["echo", "echo2"]))

    one = organism(True)
    assert ask(one, "to_all", project.word(one, "hi")).text == "hi"
    assert project.module.log == ["hi", "hi"]
    one = organism(False)
    with pytest.raises(AnswerError):
        ask(one, "to_all", project.word(one, "hi"))


@effect("listeners[].cpu_bound")
def _cpu_bound(project: Project) -> None:
    for cpu_bound in (True, False):
        organism = project.organism(tool("where", cpu_bound=cpu_bound))

        async def main(organism: Organism = organism) -> Any:
            async with organism:
                return await organism.ask("where", project.word(organism))

        assert (asyncio.run(main()).text != str(os.getpid())) is cpu_bound


@effect("listeners[].timeout_seconds")
def _listener_timeout_seconds(project: Project) -> None:
    organism = project.organism(tool("never", timeout_seconds=5))
    with pytest.raises(AnswerError) as caught:
        ask(organism, "never", project.word(organism))
    assert caught.value.code == "timeout"


@effect("listeners[].max_concurrent")
def _listener_max_concurrent(project: Project) -> None:
    organism = project.organism(tool("slow", max_concurrent=2))
    assert most_at_once(project, organism, "slow") == 2


def _said(project: Project, organism: Organism, *texts: str) -> list[str]:
    """The diary's answers within one session."""

    async def main() -> list[str]:
        async with organism, organism.session() as session:
            return [(await session.ask("diary", project.word(organism, text))).text for text in texts]

    return run(main())


@effect("listeners[].remembers")
def _listener_remembers(project: Project) -> None:
    assert _said(project, project.organism(tool("diary")), "a", "b") == ["a", "a b"]
    forgetful = project.organism(tool("diary", remembers="conversation"))
    assert _said(project, forgetful, "a", "b") == ["a", "b"]


@effect("listeners[].keep")
def _listener_keep(project: Project) -> None:
    assert _said(project, project.organism(tool("diary", keep=1)), "a", "b", "c") == ["a", "a b", "b c"]


@effect("listeners[].retries")
def _listener_retries(project: Project) -> None:
    organism = project.organism(tool("crash", retries=1))
    with pytest.raises(AnswerError):
        ask(organism, "crash", project.word(organism))
    assert len(project.module.log) == 2


@effect("listeners[].effects")
def _listener_effects(project: Project) -> None:
    for effects, code in (("repeat", "timeout"), ("once", "interrupted")):
        organism = project.organism(tool("slow", effects=effects, timeout_seconds=1))
        with pytest.raises(AnswerError) as error:
            ask(organism, "slow", project.word(organism))
        assert error.value.code == code


# --- agents ---


@effect("listeners[].model")
def _listener_model(project: Project) -> None:
    organism = project.organism(agent(model="fast"), llm=llm(models={"fast": "tiny-1"}))
    ask(organism, "bot", Task("hi"))
    assert requests(organism)[0].model == "tiny-1"


@effect("listeners[].prompt[].file")
def _listener_prompt(project: Project) -> None:
    organism = project.organism(agent(prompt="You are a lighthouse."), llm=llm())
    ask(organism, "bot", Task("hi"))
    assert "You are a lighthouse." in text_of(requests(organism)[0])
    (project.folder / "prompt.md").write_text("You are ${NO} variable.\n")
    organism = project.organism(agent(prompt={"file": "prompt.md"}), llm=llm())
    ask(organism, "bot", Task("hi"))
    assert "You are ${NO} variable." in text_of(requests(organism)[0])
    organism = project.organism(agent(prompt=["Be kind.", {"file": "prompt.md"}, "Be brief."]), llm=llm())
    ask(organism, "bot", Task("hi"))
    system = requests(organism)[0].messages[0]["content"]
    assert system == "Be kind.\n\nYou are ${NO} variable.\n\nBe brief."


@effect("listeners[].task")
def _listener_task(project: Project) -> None:
    payloads = {"Brief": {"fields": {"subject": {"type": "text", "max_length": 20}, "facts": "text"}}}
    told = {"Brief": "About {{subject}}:\n{{facts}}"}
    organism = project.organism(agent(accepts=["Brief", "Task"], task=told), llm=llm(), payloads=payloads)

    async def main() -> None:
        async with organism:
            brief = {"subject": "tea", "facts": "</facts>{{subject}}"}
            await organism.ask("bot", {"Brief": brief})
            await organism.ask("bot", Task("plain"))

    run(main())
    first, second = (request.messages[-1]["content"] for request in requests(organism))
    assert first == "About tea:\n<facts>&lt;/facts&gt;{{subject}}</facts>"
    assert second == "plain"


@effect("listeners[].skills")
def _listener_skills(project: Project) -> None:
    folder = project.folder / "skills" / "tea"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text("---\nname: tea\ndescription: How tea is made.\n---\nBoil ${WATER}.\n")
    read = {"on": "user", "tool": "read_skill", "arguments": {"name": "tea"}}
    organism = project.organism(agent(skills=["skills/tea"]), llm=llm(read, {"on": "tool", "reply": "ok"}))
    assert ask(organism, "bot", Task("hi")) == Answer("ok")
    first, last = map(text_of, requests(organism))
    assert "tea: How tea is made." in first
    assert "Boil" not in first
    assert "Boil ${WATER}." in last


USUAL: dict[str, tuple[Any, Any, Any]] = {
    "model": ("tiny-1", "tiny-2", None),
    "calls": ("xml", "native", "auto"),
    "max_turns": (3, 4, 8),
    "max_tokens": (77, 78, None),
    "temperature": (0.25, 0.5, None),
    "memory": ("none", "call", "session"),
    "peer_timeout_seconds": (7.0, 8.0, 300.0),
    "timeout_seconds": (9.0, 10.0, None),
    "max_concurrent": (1, 2, None),
}
"""Key: what `defaults.agents` says, what an agent says itself, and what holds when nobody says anything."""


@effect(*(f"defaults.agents.{key}" for key in USUAL))
def _defaults(project: Project) -> None:
    for key, (usual, own, nothing) in USUAL.items():
        model = {} if key == "model" else {"model": "tiny-1"}
        silent = {"name": "silent", "agent": True, **model}
        project.organism(
            silent,
            {**silent, "name": "own", key: own},
            tool("echo"),
            llm=llm(routing={"default": "tiny-1"}),
            defaults={"agents": {key: usual}},
        )
        config = load(project.folder / "organism.yaml", environ={})
        assert [getattr(each, key) for each in config.listeners] == [usual, own, nothing]
        made = Organism.from_config(config).listeners["silent"]
        settings = made.handler.settings  # type: ignore[union-attr]
        assert getattr(made if hasattr(made, key) else settings, key) == usual


@effect("defaults.agents.history.messages", "defaults.agents.history.tokens")
def _defaults_of_history(project: Project) -> None:
    for history, own in (({"messages": 2}, {"tokens": 60}), ({"tokens": 60}, {"messages": 2})):
        organism = project.organism(
            agent(), agent(name="own", history=own), llm=llm(), defaults={"agents": {"history": history}}
        )
        bounds = {name: each.handler.settings.history for name, each in organism.listeners.items()}  # type: ignore[union-attr]
        assert bounds["bot"] == Bounds(**history)
        assert bounds["own"] == Bounds(**own), "whole, and not merged"


CALLS_FOR_EVER: list[Section] = [
    {"tool": "echo", "arguments": '{"text": "x"}'},
    {"on": "tool", "tool": "echo", "arguments": '{"text": "x"}'},
]


@effect("listeners[].max_turns")
def _listener_max_turns(project: Project) -> None:
    organism = project.organism(tool("echo"), agent(peers=["echo"], max_turns=3), llm=llm(*CALLS_FOR_EVER))
    with pytest.raises(AnswerError) as caught:
        ask(organism, "bot", Task("hi"))
    assert caught.value.code == "limit"
    assert len(requests(organism)) == 3


@effect("listeners[].max_tokens")
def _listener_max_tokens(project: Project) -> None:
    organism = project.organism(agent(max_tokens=77), llm=llm())
    ask(organism, "bot", Task("hi"))
    assert requests(organism)[0].max_tokens == 77


@effect("listeners[].temperature")
def _listener_temperature(project: Project) -> None:
    organism = project.organism(agent(temperature=0.25), llm=llm())
    ask(organism, "bot", Task("hi"))
    assert requests(organism)[0].temperature == 0.25


@effect("listeners[].accepts")
def _listener_accepts(project: Project) -> None:
    organism = project.organism(tool("anything", accepts=["words:Word", "words:Other"]))
    assert ask(organism, "anything", project.word(organism, "o", "Other")).text == "o"
    organism = project.organism(agent(accepts=["words:Word"]), llm=llm())
    assert ask(organism, "bot", project.word(organism, "hi")) == Answer("plain")
    organism = project.organism(agent(accepts=["words:Word"]), llm=llm())
    with pytest.raises(RoutingError):
        ask(organism, "bot", Task("hi"))


@effect("listeners[].answers")
def _listener_answers(project: Project) -> None:
    organism = project.organism(tool("echo", answers="words:Word"), tool("who"))
    assert [each.answers for each in organism.listeners.values()] == [(project.module.Word,), None]
    rules = [{"reply": '{"text": "typed"}'}]
    organism = project.organism(tool("echo"), agent(answers="words:Word"), llm=llm(*rules))
    assert ask(organism, "bot", Task("hi")) == project.word(organism, "typed")


@effect("payloads")
def _payloads(project: Project) -> None:
    declared = {"Note": {"fields": {"text": "text", "urgent": {"type": "boolean", "default": False}}}}
    listener = tool("anything", accepts="Note")
    organism = project.organism(listener, payloads=declared)
    note = organism.payloads["Note"](text="hi")
    assert ask(organism, "anything", note) == note
    assert not note.urgent


@effect("listeners[].history.messages")
def _listener_history_messages(project: Project) -> None:
    organism = project.organism(agent(history={"messages": 2}), llm=llm())
    chat(organism, "first", "second", "third")
    last = text_of(requests(organism)[-1])
    assert "first" not in last
    assert "second" in last


@effect("listeners[].history.tokens")
def _listener_history_tokens(project: Project) -> None:
    organism = project.organism(agent(history={"tokens": 60}), llm=llm())
    chat(organism, "first " + "x" * 400, "second", "third")
    last = text_of(requests(organism)[-1])
    assert "first" not in last
    assert "second" in last


@effect("listeners[].calls")
def _calls(project: Project) -> None:
    for calls, native in (("native", True), ("xml", False)):
        organism = project.organism(tool("echo"), agent(peers=["echo"], calls=calls), llm=llm())
        ask(organism, "bot", Task("hi"))
        request = requests(organism)[0]
        assert bool(request.tools) is native
        assert ("<Word>" in text_of(request)) is not native


@effect("listeners[].memory")
def _memory(project: Project) -> None:
    for memory, remembers in (("session", True), ("call", False), ("none", False)):
        organism = project.organism(agent(memory=memory), llm=llm())
        chat(organism, "the word is swordfish", "again?")
        assert ("swordfish" in text_of(requests(organism)[-1])) is remembers


@effect("listeners[].peer_timeout_seconds")
def _listener_peer_timeout_seconds(project: Project) -> None:
    rules = [
        {"tool": "never", "arguments": '{"text": "x"}'},
        {"on": "tool", "match": "(?s).*", "reply": r"saw \g<0>"},
    ]
    organism = project.organism(
        tool("never"), agent(peers=["never"], peer_timeout_seconds=5), llm=llm(*rules)
    )
    assert "timeout" in ask(organism, "bot", Task("hi")).text


# --- budgets: a listener's, and those of the section ---


def _with_budget(project: Project, place: str, budget: Section) -> Organism:
    """`bot` asks a model, and answers with the budget that refuses it."""
    prices = {"m": {"input": 1, "output": 1}}
    if place.startswith("llm.budgets.operations"):
        section = llm(budgets={"operations": {"t*": budget}}, prices=prices)
        return project.organism(tool("bot", "think", operation="talk"), llm=section)
    if place == "listeners[].budget[]":
        return project.organism(tool("bot", "think", budget=budget), llm=llm(prices=prices))
    if place == "organism.doors.NAME.budget[]":
        doors = {"bot": {"budget": budget}}
        return project.organism(tool("bot", "think"), llm=llm(prices=prices), doors=doors)
    if place == "triggers[].budget[]":
        entry = trigger(every="1h", budget=[budget, {"usd": 1000}])
        return project.organism(tool("bot", "think"), llm=llm(prices=prices), doors=["bot"], triggers=[entry])
    scope = place.removeprefix("llm.budgets.").removesuffix("[]")
    budgets = {"agents": {"b*": budget}} if scope.startswith("agents") else {scope: [budget]}
    return project.organism(tool("bot", "think"), llm=llm(budgets=budgets, prices=prices))


def _budget_cases(place: str, scope: str) -> None:
    by_a_trigger = place.startswith(("organism.doors", "triggers"))

    def asked(project: Project, organism: Organism) -> str:
        word = project.word(organism, "hi")
        given = (
            ask_at_door(organism, "bot", "trigger:t", word) if by_a_trigger else ask(organism, "bot", word)
        )
        return str(given.text)

    def refused(project: Project, said: str, **budget: Any) -> None:
        organism = _with_budget(project, place, budget)
        text = asked(project, organism)
        assert text.startswith(scope)
        assert text.endswith(f": {said}")
        assert not requests(organism)

    @effect(f"{place}.tokens")
    def tokens(project: Project) -> None:
        refused(project, "10 tokens per run", tokens=10)

    @effect(f"{place}.input_tokens")
    def input_tokens(project: Project) -> None:
        refused(project, "10 input_tokens per run", input_tokens=10)

    @effect(f"{place}.output_tokens")
    def output_tokens(project: Project) -> None:
        refused(project, "10 output_tokens per run", output_tokens=10)

    @effect(f"{place}.soft")
    def soft(project: Project) -> None:
        organism = _with_budget(project, place, {"tokens": 1, "soft": True})
        assert asked(project, organism) == "plain"

    @effect(f"{place}.usd")
    def usd(project: Project) -> None:
        refused(project, "1e-06 usd per run", usd=0.000001)

    @effect(f"{place}.per")
    def per(project: Project) -> None:
        refused(project, "10 tokens per month", tokens=10, per="month")

    @effect(f"{place}.warn_at")
    def warn_at(project: Project) -> None:
        organism = _with_budget(project, place, {"tokens": 100_000, "warn_at": [0.00001]})
        recorder = Recorder(organism)
        assert asked(project, organism) == "plain"
        assert recorder.of(BudgetWarning)[0].fraction == 0.00001


for _place, _scope in (
    ("listeners[].budget[]", "agent bot"),
    ("llm.budgets.organism[]", "organism"),
    ("llm.budgets.agents.NAME[]", "agent bot"),
    ("llm.budgets.thread[]", "thread"),
    ("llm.budgets.conversation[]", "conversation"),
    ("llm.budgets.operations.NAME[]", "operation talk"),
    ("organism.doors.NAME.budget[]", "door bot"),
    ("triggers[].budget[]", "caller trigger:t"),
):
    _budget_cases(_place, _scope)


# --- what comes in by itself ---


def trigger(**keys: Any) -> Section:
    """A trigger that sends `bot` a word once an hour, if nothing else is said."""
    if not {"cron", "every", "webhook"} & keys.keys():
        keys["every"] = "1h"
    if "webhook" not in keys:
        keys.setdefault("send", {"Word": {"text": "hi"}})
    return {"name": "t", "to": "bot", "budget": {"usd": 1, "per": "day"}, **keys}


def _heard(project: Project, *entries: Section, seconds: float, start: float = 0.0, **keys: Any) -> list[str]:
    """What `bot` heard in so many seconds."""
    organism = project.organism(
        tool("bot", keys.pop("handler", "echo")), tool("who"), doors=["bot"], triggers=list(entries), **keys
    )
    project.module.log.clear()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with organism, Armed(organism, clock=lambda: start + loop.time()):
            await asyncio.sleep(seconds)

    run(main())
    return list(project.module.log)


def _posted(
    project: Project, entry: Section, body: str = '{"text": "x"}', **keys: Any
) -> tuple[int, list[str]]:
    """The status of a signed delivery to /a, and what `bot` heard."""
    secret = keys.pop("secret", "SHOP")
    organism = project.organism(
        tool("bot", "echo"), tool("other", "anything", accepts="words:Other"),
        doors=["bot"], triggers=[entry], journal="state.db", environ={secret: "s" * 24}, **keys,
    )  # fmt: skip
    project.module.log.clear()
    webhooks = {**dict(project.config.organism.webhooks), "port": 0}

    async def main() -> int:
        async with organism, Armed(organism, **webhooks) as armed, aiohttp.ClientSession() as http:
            url, sent = armed.rows()[0][2].removeprefix("POST "), str(int(time.time()))
            signed = signature("msg", sent, body.encode(), b"s" * 24)
            headers = {"webhook-id": "msg", "webhook-timestamp": sent, "webhook-signature": signed}
            async with http.post(url, data=body, headers=headers) as response:
                status = response.status
            await came_to(lambda: not organism.status().conversations)
            return status

    return asyncio.run(main()), list(project.module.log)


HOOK = {"path": "/a", "secret_env": "SHOP"}


@effect("triggers[].name")
def _trigger_name(project: Project) -> None:
    organism = project.organism(tool("bot", "echo"), doors=["bot"], triggers=[trigger(name="nightly")])
    assert organism.triggers["nightly"].caller == "trigger:nightly"


@effect("triggers[].every", "triggers[].send", "triggers[].to")
def _trigger_every(project: Project) -> None:
    assert _heard(project, trigger(every="90s"), seconds=200) == ["hi", "hi"]
    said = {"Word": {"text": "${SAID:-good morning}"}}
    assert _heard(project, trigger(send=said), seconds=3601) == ["good morning"]
    organism = project.organism(agent(), doors=["bot"], triggers=[trigger(send="to a model")], llm=llm())
    assert organism.triggers["t"].said == {"Task": {"text": "to a model"}}


@effect("triggers[].cron", "triggers[].zone")
def _trigger_cron(project: Project) -> None:
    assert _heard(project, trigger(cron="30 * * * *"), seconds=7200) == ["hi", "hi"]
    assert _heard(project, trigger(cron="0 6 * * *"), seconds=3600) == []
    kathmandu = trigger(cron="0 6 * * *", zone="Asia/Kathmandu")  # midnight UTC was 5:30 there
    assert _heard(project, kathmandu, seconds=3600) == ["hi"]


@effect("triggers[].if_running")
def _trigger_if_running(project: Project) -> None:
    for if_running, most in (("skip", 1), ("queue", 1), ("also", 2)):
        _heard(project, trigger(every="6s", if_running=if_running), seconds=30, handler="slow")
        assert project.module.most == most


@effect("triggers[].missed")
def _trigger_missed(project: Project) -> None:
    for missed, heard in (("skip", 0), ("once", 1)):
        path = project.folder / f"{missed}.db"
        for now in (100.0, 86_400.0 + 1800):
            organism = project.organism(
                tool("bot", "echo"), doors=["bot"], triggers=[trigger(missed=missed)], journal=str(path)
            )
            project.module.log.clear()

            async def main(organism: Organism = organism, now: float = now) -> None:
                kept = organism.triggered
                assert kept is not None
                async with organism, Armed(organism, clock=lambda: now):
                    seen_to = now // 86_400 * 86_400 + (100 if now < 3600 else 0)
                    await came_to(lambda: (row := kept.seen("t")) and row.sent and row.until >= seen_to)
                    await came_to(lambda: not organism.status().conversations)

            asyncio.run(main())
        assert len(project.module.log) == heard


@effect("triggers[].webhook.path", "triggers[].webhook.secret_env")
def _webhook(project: Project) -> None:
    assert _posted(project, trigger(webhook=HOOK)) == (202, ["x"])
    with pytest.raises(ConfigError, match="no secret: set the environment variable SHOP"):
        _posted(project, trigger(webhook=HOOK), secret="ANOTHER")


@effect("triggers[].webhook.payload")
def _webhook_payload(project: Project) -> None:
    entry = trigger(webhook={**HOOK, "payload": "Word"})
    assert _posted(project, entry) == (202, ["x"])
    with pytest.raises(ConfigError, match="'bot' takes no Other; it takes Word"):
        _posted(project, trigger(webhook={**HOOK, "payload": "Other"}))


@effect("organism.webhooks.max_bytes")
def _webhooks_max_bytes(project: Project) -> None:
    for size, status in ((13, 202), (12, 413)):
        (project.folder / "state.db").unlink(missing_ok=True)
        assert _posted(project, trigger(webhook=HOOK), webhooks={"max_bytes": size})[0] == status


@effect("organism.webhooks.host", "organism.webhooks.port")
def _webhooks_place(project: Project) -> None:
    organism = project.organism(
        tool("bot", "echo"), doors=["bot"], triggers=[trigger(webhook=HOOK)], journal="state.db",
        environ={"SHOP": "s" * 24}, webhooks={"host": "localhost", "port": closed_port()},
    )  # fmt: skip
    webhooks = project.config.organism.webhooks

    async def main() -> str:
        async with organism, Armed(organism, **dict(webhooks)) as armed:
            return armed.rows()[0][2]

    assert asyncio.run(main()).endswith(f":{webhooks.port}/a")


@effect("listeners[].operation")
def _operation(project: Project) -> None:
    organism = _with_budget(project, "llm.budgets.operations.NAME[]", {"tokens": 10})
    assert ask(organism, "bot", project.word(organism, "hi")).text.startswith("operation talk")


@effect("llm.budgets.operations.NAME.of", "llm.budgets.operations.NAME.times")
def _multiples(project: Project) -> None:
    operations = {"write": {"tokens": 1000}, "talk": {"of": "write", "times": 0.01}}
    organism = project.organism(
        tool("bot", "think", operation="talk"), llm=llm(budgets={"operations": operations})
    )
    assert ask(organism, "bot", project.word(organism, "hi")).text.endswith(": 10 tokens per run")


@effect("llm.budgets.zone")
def _zone(project: Project) -> None:
    budgets = {"zone": "Asia/Kathmandu", "organism": {"tokens": 10, "per": "day"}}
    organism = project.organism(llm=llm(budgets=budgets))
    (meter,) = organism.router._book._organism
    meter.turn(1_790_000_000)
    assert meter._period.start % 86_400 == 18.25 * 3600


@effect("llm.budgets.default_max_tokens")
def _default_max_tokens(project: Project) -> None:
    organism = project.organism(llm=llm(budgets={"organism": {"tokens": 1000}, "default_max_tokens": 50}))
    completed(organism)
    assert requests(organism)[0].max_tokens == 50


# --- llm ---


@effect("llm.ledger.path")
def _ledger(project: Project) -> None:
    spent = []
    for _ in range(2):
        section = llm(ledger="usage.db", budgets={"organism": {"tokens": 10_000, "per": "month"}})
        organism = project.organism(llm=section)
        completed(organism)
        spent.append(organism.router._book._organism[0].spent)
    assert 0 < spent[0] == spent[1] / 2


@effect("llm.ledger.lines", "llm.ledger.errors")
def _lines(project: Project) -> None:
    ledger = {"lines": "usage.jsonl", "errors": "errors.jsonl"}
    backend = {**scripted("a"), "rules": [{"error": "ServerError", "times": 1}, {"reply": "yes"}]}
    completed(project.organism(llm={"ledger": ledger, "retry_base_delay": 0.01, "backends": [backend]}))
    for name in ("usage.jsonl", "errors.jsonl"):
        assert (project.folder / name).read_text().count("\n") == 1


FAILS_ONCE: Section = {"error": "ServerError", "times": 1}


@effect("llm.strategy")
def _strategy(project: Project) -> None:
    for strategy, order in (("round-robin", ["a", "b"]), ("failover", ["a", "a"])):
        section = {"strategy": strategy, "backends": [scripted("a"), scripted("b")]}
        assert [each.backend for each in completed(project.organism(llm=section), "x", "y")] == order


@effect("llm.retries")
def _retries(project: Project) -> None:
    assert isinstance(completed(project.organism(llm=llm(FAILS_ONCE, retries=0))), ServerError)
    assert completed(project.organism(llm=llm(FAILS_ONCE, {"reply": "x"}, retries=1))).content == "x"


@effect("llm.retry_base_delay")
def _retry_base_delay(project: Project) -> None:
    fails = llm({"error": "ServerError"}, retries=3)
    assert seconds(project.organism(llm={**fails, "retry_base_delay": 0.0001})) < 0.01
    assert seconds(project.organism(llm={**fails, "retry_base_delay": 8})) > 0.01


@effect("llm.retry_max_delay")
def _retry_max_delay(project: Project) -> None:
    limited = llm({"error": "RateLimitedError", "retry_after": 30, "times": 1}, retries=1)
    assert seconds(project.organism(llm={**limited, "retry_max_delay": 60})) == 30
    assert seconds(project.organism(llm={**limited, "retry_max_delay": 5})) == 5


@effect("llm.request_timeout")
def _request_timeout(project: Project) -> None:
    section = llm({"latency": 9}, request_timeout=3)
    assert isinstance(completed(project.organism(llm=section)), BackendTimeoutError)
    assert seconds(project.organism(llm=section)) == 3


@effect("llm.attempt_timeout")
def _attempt_timeout(project: Project) -> None:
    slow_once = llm({"latency": 9, "times": 1}, {"reply": "x"}, retries=1, retry_base_delay=0.001)
    assert seconds(project.organism(llm={**slow_once, "attempt_timeout": 2})) == pytest.approx(2, abs=0.1)


@effect("llm.connect_timeout")
def _connect_timeout(project: Project) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]  # they fill the queue of connections
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        backend = {
            "provider": "ollama",
            "base_url": f"http://127.0.0.1:{address[1]}",
            "supported_models": ["m"],
        }
        section = {"backends": [backend], "retries": 0, "connect_timeout": 0.2, "request_timeout": 20}
        found = asyncio.run(outcome(project.organism(llm=section)))
        for one in waiting:
            one.close()
    assert isinstance(found, BackendTimeoutError)
    assert "connect" in str(found)


@effect("llm.first_token_timeout")
def _first_token_timeout(project: Project) -> None:
    slow = llm({"latency": 9, "reply": "x"}, first_token_timeout=4)
    assert "no content within 4 s" in streamed(project.organism(llm=slow))[1]


def _server_section(server: OpenAIEmulator, **keys: Any) -> Section:
    backend = {"provider": "openai", "base_url": server.base_url, "supported_models": ["*"]}
    return {"backends": [backend], "retries": 0, **keys}


@effect("llm.idle_timeout")
def _idle_timeout(project: Project) -> None:
    server = OpenAIEmulator()
    server.script.then(Said("one two three", fault=Fault.STALL))

    async def main() -> str:
        section = _server_section(server, idle_timeout=0.2)
        organism = project.organism(llm=section, environ={"OPENAI_API_KEY": server.key})
        with pytest.raises(BackendTimeoutError) as caught:
            async for _ in organism.router.stream("gpt-4o", "hi"):
                pass
        await organism.router.aclose()
        return str(caught.value)

    assert "0.2 s" in with_server(server, main)


@effect("llm.hedge_after")
def _hedge_after(project: Project) -> None:
    slow = scripted("a", rules=[{"latency": 50, "reply": "slow"}])
    quick = scripted("b", rules=[{"latency": 1, "reply": "quick"}], priority=2)
    section = {"hedge_after": 2, "backends": [slow, quick]}
    assert completed(project.organism(llm=section)).content == "quick"
    assert seconds(project.organism(llm=section)) == 3


@effect("llm.proxy")
def _proxy(project: Project) -> None:
    server = OpenAIEmulator()
    server.script.say("through the proxy")

    async def main() -> Any:
        section = _server_section(server, proxy=server.origin)
        section["backends"][0]["base_url"] = "http://nowhere.invalid/v1"
        organism = project.organism(llm=section, environ={"OPENAI_API_KEY": server.key})
        return await outcome(organism, model="gpt-4o")

    assert with_server(server, main).content == "through the proxy"


@effect("llm.trust_env")
def _trust_env(project: Project) -> None:
    server = OpenAIEmulator()
    server.script.say("through the proxy")

    async def main() -> list[Any]:
        found = []
        for trust_env in (True, False):
            section = _server_section(server, trust_env=trust_env)
            section["backends"][0]["base_url"] = f"http://localhost:{closed_port()}/v1"
            organism = project.organism(llm=section, environ={"OPENAI_API_KEY": server.key})
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("HTTP_PROXY", server.origin)
                environment.setenv("http_proxy", server.origin)
                found.append(await outcome(organism, model="gpt-4o"))
            await organism.router.aclose()
        return found

    trusting, alone = with_server(server, main)
    assert trusting.content == "through the proxy"
    assert isinstance(alone, ConnectionFailedError)


@effect("llm.ca_file")
def _ca_file(project: Project) -> None:
    backend = {"provider": "ollama", "base_url": "https://127.0.0.1:1", "supported_models": ["m"]}
    organism = project.organism(llm={"backends": [backend], "ca_file": "/no/such/file.pem", "retries": 0})
    assert "ca_file '/no/such/file.pem' cannot be read as PEM" in str(asyncio.run(outcome(organism)))


@effect("llm.offline")
def _offline(project: Project) -> None:
    section = {"backends": [{"provider": "openai"}]}
    assert isinstance(completed(project.organism(llm=section), model="gpt-4o"), NoBackendError)
    answer = completed(project.organism(llm={**section, "offline": True}), model="gpt-4o")
    assert answer.backend == "offline"


@effect("llm.models.NAME.chain")
def _models(project: Project) -> None:
    backend = scripted(supported_models=["small"])
    section = {"models": {"smart": ["big", "small"], "s": "small"}, "backends": [backend]}
    assert completed(project.organism(llm=section), model="smart").model == "small"
    assert completed(project.organism(llm=section), model="s").model == "small"
    section["models"] = {"smart": {"chain": ["big", "small"]}}
    assert completed(project.organism(llm=section), model="smart").model == "small"


@effect(
    "llm.models.NAME.temperature",
    "llm.models.NAME.max_output_tokens",
    "llm.models.NAME.reasoning_effort",
    "llm.models.NAME.cache_ttl",
)
def _presets(project: Project) -> None:
    preset: Section = {"chain": ["m"], "temperature": 0.5, "max_output_tokens": 7, "cache_ttl": "1h"}
    preset["reasoning_effort"] = "low"
    organism = project.organism(llm=llm(models={"smart": preset}))
    completed(organism, model="smart")
    (request,) = requests(organism)
    assert (request.model, request.temperature, request.max_tokens) == ("m", 0.5, 7)
    assert (request.reasoning_effort, request.cache_ttl) == ("low", "1h")


@effect("llm.models.NAME.thinking")
def _thinking(project: Project) -> None:
    organism = project.organism(llm=llm(models={"smart": {"chain": "m", "thinking": "off"}}))
    completed(organism, model="smart")
    assert requests(organism)[0].reasoning_effort == "none"


@effect(*(f"llm.models.NAME.timeouts.{name}" for name in ("request", "attempt", "first_token", "idle")))
def _own_times(project: Project) -> None:
    times = {"request": 1, "attempt": 2, "first_token": 3, "idle": 4}
    organism = project.organism(llm=llm(models={"smart": {"chain": "m", "timeouts": times}}))
    found = organism.router._how["smart"].timeouts
    assert found is not None
    assert (found.request, found.attempt, found.first_token, found.idle) == (1, 2, 3, 4)


@effect("llm.routing")
def _routing(project: Project) -> None:
    section = llm(routing={"talk": "small", "default": "big"})
    organism = project.organism(agent("bot", operation="talk", model=None), llm=section)
    ask(organism, "bot", Task("hi"))
    assert requests(organism)[0].model == "small"


def _price_case(key: str, **usage: int) -> None:
    @effect(f"llm.prices.NAME.{key}")
    def price(project: Project) -> None:
        prices = {"input": 0, "output": 0, "cached": 0, "cache_write": 0, key: 1e6}
        organism = project.organism(llm=llm({"reply": "x", "usage": usage}, prices={"m*": prices}))
        assert completed(organism, model="m1").cost == 3


_price_case("input", prompt_tokens=3)
_price_case("output", completion_tokens=3)
_price_case("cached", prompt_tokens=5, cached_tokens=3)
_price_case("cache_write", prompt_tokens=5, cache_write_tokens=3)
_price_case("cache_write_1h", prompt_tokens=5, cache_write_tokens=4, cache_write_1h_tokens=3)


@effect("llm.prices.NAME.cache_storage", "llm.backends[].cached_content")
def _stored(project: Project) -> None:
    server = GeminiEmulator()

    async def main() -> float:
        backend = {"provider": "gemini", "base_url": f"{server.origin}/v1beta", "cached_content": True}
        prices = {"input": 0.1, "output": 0, "cached": 0, "cache_storage": 1e6}
        section = {"backends": [backend], "prices": {"gemini-*": prices}}
        environ = {"GEMINI_API_KEY": server.key}
        organism = project.organism(llm=section, environ=environ)
        messages = [{"role": "system", "content": "rules " * 9000}, {"role": "user", "content": "Hi"}]
        async with organism:
            await organism.router.complete("gemini-3.5-flash", messages, cache_prompt=True)
            return organism.router.get_total_usage().known_cost

    cost = with_server(server, main)
    (made,) = [each for each in server.requests if each.path == "/v1beta/cachedContents"]
    assert cost > 1000
    assert made.outcome == "answered"


# --- llm.backends ---


def _sent_to_openai(project: Project, environ: dict[str, str] | None = None, **keys: Any) -> Any:
    """What an OpenAI backend with these keys sends."""
    server = OpenAIEmulator()
    server.script.say("served")

    async def main() -> Any:
        section = _server_section(server)
        section["backends"][0].update(keys)
        organism = project.organism(llm=section, environ=environ or {"OPENAI_API_KEY": server.key})
        assert (await outcome(organism, model="gpt-4o")).content == "served"
        return server.last

    return with_server(server, main)


@effect("llm.backends[].provider", "llm.backends[].base_url")
def _provider(project: Project) -> None:
    assert _sent_to_openai(project).path == "/v1/chat/completions"


@effect("llm.backends[].name")
def _name(project: Project) -> None:
    assert completed(project.organism(llm={"backends": [scripted("mine")]})).backend == "mine"


@effect("llm.backends[].api_key_env")
def _api_key_env(project: Project) -> None:
    environ = {"OTHER": OpenAIEmulator.default_key, "OPENAI_API_KEY": "not this"}
    _sent_to_openai(project, environ, api_key_env="OTHER")


@effect("llm.backends[].api_key_ref")
def _api_key_ref(project: Project) -> None:
    environ = {"XML_PIPELINE_KEY_WORK": OpenAIEmulator.default_key, "OPENAI_API_KEY": "not this"}
    _sent_to_openai(project, environ, api_key_ref="work")
    keyring.set_keyring(held := MemoryKeyring())
    try:
        held.set_password("xml-pipeline", "work", OpenAIEmulator.default_key)
        _sent_to_openai(project, {"OPENAI_API_KEY": "not this"}, api_key_ref="work")
    finally:
        keyring.set_keyring(Keyring())
    assert held.asked == ["work"]


@effect("llm.backends[].headers")
def _headers(project: Project) -> None:
    sent = _sent_to_openai(project, headers={"X-Team": "blue"}).headers
    assert {name.lower(): value for name, value in sent.items()}["x-team"] == "blue"


@effect("llm.backends[].priority")
def _priority(project: Project) -> None:
    section = {"backends": [scripted("a", priority=2), scripted("b", priority=1)]}
    assert completed(project.organism(llm=section)).backend == "b"


def _rules(*rules: Section, **keys: Any) -> Section:
    return {"backends": [scripted(rules=list(rules), **keys)], "retries": 0}


@effect("llm.backends[].rate_limit_rpm")
def _rate_limit_rpm(project: Project) -> None:
    assert seconds(project.organism(llm=_rules(rate_limit_rpm=2)), calls=3) > 10
    assert seconds(project.organism(llm=_rules(rate_limit_rpm=3)), calls=3) == 0


@effect("llm.backends[].rate_limit_tpm")
def _rate_limit_tpm(project: Project) -> None:
    fifty_tokens = {"reply": "word " * 40}
    assert (
        seconds(project.organism(llm=_rules(fifty_tokens, rate_limit_tpm=200)), calls=6, max_tokens=90) > 10
    )


@effect("llm.backends[].max_concurrent")
def _max_concurrent(project: Project) -> None:
    for most, whole in ((1, 30), (3, 10)):
        organism = project.organism(llm=_rules({"latency": 10, "reply": "x"}, max_concurrent=most))
        assert seconds(organism, calls=3) == pytest.approx(whole)


@effect("llm.backends[].supported_models")
def _supported_models(project: Project) -> None:
    section = {"backends": [scripted(supported_models=["llama*"])]}
    assert completed(project.organism(llm=section), model="llama3").model == "llama3"
    assert isinstance(completed(project.organism(llm=section), model="gpt"), NoBackendError)


@effect("llm.backends[].model_map")
def _model_map(project: Project) -> None:
    organism = project.organism(llm={"backends": [scripted(model_map={"here": "there"})]})
    completed(organism, model="here")
    assert requests(organism)[0].model == "there"


@effect("llm.backends[].preset")
def _preset(project: Project) -> None:
    organism = project.organism(llm={"backends": [{"provider": "openai-compatible", "preset": "vllm"}]})
    assert organism.router.describe()[0].base_url == "http://localhost:8000/v1"


@effect("llm.backends[].keep_alive", "llm.backends[].num_ctx")
def _ollama(project: Project) -> None:
    server = OllamaEmulator()
    server.script.say("served")

    async def main() -> Any:
        backend = {"provider": "ollama", "base_url": server.base_url, "keep_alive": "30m", "num_ctx": 8192}
        answer = await outcome(project.organism(llm={"backends": [backend]}), model="llama3.3")
        assert answer.content == "served"
        return server.last.body

    body = with_server(server, main)
    assert body["keep_alive"] == "30m"
    assert body["options"]["num_ctx"] == 8192


def _wire(project: Project, request: LLMRequest, **backend: Any) -> Any:
    """What a backend of this entry would send."""
    made = next(iter(project.organism(llm={"backends": [backend]}).router.backends.values()))
    assert made.dialect is not None
    return made.dialect.encode(request, stream=False)


HI = LLMRequest("m", [{"role": "user", "content": "Hi"}])


@effect("llm.backends[].min_num_ctx", "llm.backends[].max_num_ctx")
def _context_lengths(project: Project) -> None:
    for least, tokens, length in ((4096, 1, 4096), (4096, 6000, 8192)):
        request = replace(HI, prompt_tokens_estimate=tokens)
        keys = {"min_num_ctx": least, "max_num_ctx": 8192}
        assert _wire(project, request, provider="ollama", **keys).body["options"]["num_ctx"] == length


@effect("llm.backends[].max_tokens", "llm.backends[].cache_ttl")
def _anthropic_body(project: Project) -> None:
    request = replace(HI, model="claude-x", cache_prompt=True, changing=0)
    body = _wire(project, request, provider="anthropic", max_tokens=77, cache_ttl="1h").body
    assert body["max_tokens"] == 77
    assert body["messages"][-1]["content"][-1]["cache_control"]["ttl"] == "1h"


@effect("llm.backends[].api_version", "llm.backends[].beta")
def _anthropic_headers(project: Project) -> None:
    headers = _wire(project, HI, provider="anthropic", api_version="2023-06-01", beta="x").headers
    assert headers == {"anthropic-version": "2023-06-01", "anthropic-beta": "x"}


@effect("llm.backends[].organization", "llm.backends[].project")
def _openai_headers(project: Project) -> None:
    section = {"backends": [{"provider": "openai", "organization": "o", "project": "p"}]}
    backend = project.organism(llm=section).router.backends["openai"]
    assert backend._auth_headers() == {"OpenAI-Organization": "o", "OpenAI-Project": "p"}


@effect("llm.backends[].background")
def _background(project: Project) -> None:
    section = {"backends": [{"provider": "openai", "background": True}]}
    backend = project.organism(llm=section).router.backends["openai"]
    assert backend.detached
    assert _wire(project, HI, provider="openai", background=True).path == "/responses"


@effect("llm.backends[].api")
def _api(project: Project) -> None:
    assert _wire(project, HI, provider="openai", api="responses").path == "/responses"


@effect("llm.modules", "llm.on_event")
def _modules_and_on_event(project: Project) -> None:
    OBSERVED.clear()
    name = "tests.config.test_effects"
    completed(project.organism(llm=llm(modules=[name], on_event=f"{name}:observe")))
    assert [type(event) for event in sys.modules[name].OBSERVED] == [LLMCalled]
    with pytest.raises(ConfigError, match="no_such_module"):
        project.organism(llm=llm(modules=["no_such_module"]))


OBSERVED: list[Any] = []


def observe(event: Any) -> None:
    OBSERVED.append(event)


@effect("llm.backends[].native_tools")
def _native_tools(project: Project) -> None:
    for native in (True, False):
        organism = project.organism(llm=_rules({"reply": "x"}, native_tools=native))
        completed(organism, tools=[ToolSpec("add", "Adds.", {"type": "object", "properties": {}})])
        assert bool(requests(organism)[0].tools) is native


@effect("llm.backends[].native_schema")
def _native_schema(project: Project) -> None:
    for native in (True, False):
        reply = '{"text": "x"}' if native else "<Answer><text>x</text></Answer>"
        organism = project.organism(llm=_rules({"reply": reply}, native_schema=native))
        assert completed(organism, response_type=Answer).parsed == Answer("x")
        assert bool(requests(organism)[0].response_schema) is native


@dataclass
class Coloured(Backend):
    """A provider of one's own."""

    provider: str = "coloured"
    colour: str = "red"


@effect("llm.backends[].options")
def _options(project: Project) -> None:
    with pytest.MonkeyPatch.context() as registry:
        registry.setitem(typing.cast(dict[str, Any], PROVIDER_CLASSES), "coloured", Coloured)
        section = {"backends": [{"provider": "coloured", "options": {"colour": "blue"}}]}
        backend = project.organism(llm=section).router.backends["coloured"]
    assert isinstance(backend, Coloured)
    assert backend.colour == "blue"


# --- llm.backends[].rules ---


@effect("llm.backends[].rules[].match", "llm.backends[].rules[].reply")
def _match(project: Project) -> None:
    organism = project.organism(llm=_rules({"match": "hi (.*)", "reply": r"hello \1"}, {"reply": "other"}))
    assert [each.content for each in completed(organism, "hi Bob", "bye")] == ["hello Bob", "other"]


@effect("llm.backends[].rules[].on")
def _on(project: Project) -> None:
    section = _rules({"on": "tool", "reply": "a result"}, {"reply": "a question"})
    result = [{"role": "tool", "tool_call_id": "1", "content": "2"}]
    found = completed(project.organism(llm=section), "x", typing.cast(str, result))
    assert [each.content for each in found] == ["a question", "a result"]


@effect("llm.backends[].rules[].model")
def _rule_model(project: Project) -> None:
    section = _rules({"model": "b*", "reply": "big"}, {"reply": "other"})
    assert completed(project.organism(llm=section), model="big").content == "big"
    assert completed(project.organism(llm=section), model="small").content == "other"


@effect("llm.backends[].rules[].agent")
def _rule_agent(project: Project) -> None:
    rules = [{"agent": "b*", "reply": "for bot"}, {"reply": "other"}]
    organism = project.organism(agent(), agent("other"), llm=_rules(*rules))
    assert ask(organism, "bot", Task("hi")) == Answer("for bot")
    organism = project.organism(agent(), agent("other"), llm=_rules(*rules))
    assert ask(organism, "other", Task("hi")) == Answer("other")


@effect(
    "llm.backends[].rules[].tool",
    "llm.backends[].rules[].arguments",
    "llm.backends[].rules[].calls[].tool",
    "llm.backends[].rules[].calls[].arguments",
)
def _rule_calls(project: Project) -> None:
    further = {"tool": "say", "arguments": {"text": r"\g<0>"}}
    rule = {"match": "B.b", "tool": "add", "arguments": {"a": 1}, "calls": [further]}
    calls = completed(project.organism(llm=_rules(rule)), "hi Bob")[0].tool_calls
    assert [(call.name, call.arguments) for call in calls] == [("add", {"a": 1}), ("say", {"text": "Bob"})]


@effect("llm.backends[].rules[].error", "llm.backends[].rules[].retry_after")
def _rule_error(project: Project) -> None:
    rule = {"error": "RateLimitedError", "retry_after": 900}
    found = completed(project.organism(llm=_rules(rule)))
    assert isinstance(found, RateLimitedError)
    assert found.retry_after == 900


@effect("llm.backends[].rules[].latency")
def _rule_latency(project: Project) -> None:
    assert seconds(project.organism(llm=_rules({"latency": 7}))) == 7


@effect("llm.backends[].rules[].chunks", "llm.backends[].rules[].fail_after")
def _rule_chunks(project: Project) -> None:
    rule = {"reply": "abc", "chunks": ["a", "bc"]}
    pieces, error = streamed(project.organism(llm=_rules(rule)))
    assert [each.text for each in pieces if isinstance(each, TextDelta)] == ["a", "bc"]
    assert not error
    pieces, error = streamed(project.organism(llm=_rules({**rule, "error": "ServerError", "fail_after": 1})))
    assert [each.text for each in pieces if isinstance(each, TextDelta)] == ["a"]
    assert error


@effect("llm.backends[].rules[].usage")
def _rule_usage(project: Project) -> None:
    assert (
        completed(project.organism(llm=_rules({"usage": {"prompt_tokens": 5}}))).usage["prompt_tokens"] == 5
    )


@effect("llm.backends[].rules[].finish_reason")
def _rule_finish_reason(project: Project) -> None:
    assert completed(project.organism(llm=_rules({"finish_reason": "length"}))).finish_reason == "length"


@effect("llm.backends[].rules[].times")
def _rule_times(project: Project) -> None:
    organism = project.organism(llm=_rules({"reply": "once", "times": 1}, {"reply": "then"}))
    assert [each.content for each in completed(organism, "a", "b", "c")] == ["once", "then", "then"]


# --- other organisms ---


@effect("listeners[].use", "listeners[].tools", "listeners[].models", "listeners[].people")
def _box(project: Project) -> None:
    inner = {
        "organism": {"name": "inner", "doors": ["desk"]},
        "listeners": [
            {"name": "desk", "agent": True, "model": "cheap", "prompt": "Hm.", "peers": ["boss"]},
            {"name": "boss", "human": True},
        ],
    }
    (project.folder / "inner.yaml").write_text(yaml.safe_dump(inner))
    box = {
        "name": "box",
        "use": "inner.yaml",
        "tools": ["desk"],
        "models": {"cheap": "m"},
        "people": {"boss": "anna"},
    }
    anna = {"name": "anna", "human": True, "asked_on": ["gateway:anna"]}
    organism = project.organism(box, anna, tool("call_echo", peers=["box"]), llm=llm({"reply": "said"}))
    assert ask(organism, "box.desk", Task("hi")).text == "said"
    assert organism.listeners["call_echo"].peers == ("box.desk",)
    assert organism.listeners["box.boss"].asked_on == ("gateway:anna",)


# --- flows ---

_LIST = {"Words": {"fields": {"items": {"list": "text"}}}, "Flag": {"fields": {"sure": "boolean"}}}


def _desk(project: Project, *steps: Section, accepts: str = "words:Word") -> Organism:
    """A flow `desk`, with tools beside it."""
    tools = [tool(name, answers="words:Word") for name in ("echo", "crash", "slow", "diary")]
    listener = {"name": "desk", "accepts": accepts, "flow": [*steps]}
    return project.organism(*tools, listener, payloads=_LIST)


def _word(text: str) -> Section:
    return {"Word": {"text": text}}


def _called(name: str, text: str = "{{input.text}}!", **keys: Any) -> Section:
    return {"call": name, "send": _word(text), **keys}


@effect(
    "listeners[].flow[].call", "listeners[].flow[].send", "listeners[].flow[].as", "listeners[].flow[].answer"
)
def _flow_calls(project: Project) -> None:
    organism = _desk(project, _called("echo", **{"as": "said"}), {"answer": _word("{{said.text}}?")})
    assert ask(organism, "desk", project.word(organism, "hi")).text == "hi!?"
    assert project.module.log == ["hi!"]


@effect("listeners[].flow[].together")
def _flow_together(project: Project) -> None:
    both = [_called("echo", "a", **{"as": "one"}), _called("echo", "b", **{"as": "two"})]
    organism = _desk(project, {"together": both}, {"answer": _word("{{one.text}}{{two.text}}")})
    assert ask(organism, "desk", project.word(organism)).text == "ab"


@effect(
    "listeners[].flow[].repeat",
    "listeners[].flow[].until",
    "listeners[].flow[].at_most",
    "listeners[].flow[].otherwise",
)
def _flow_repeats(project: Project) -> None:
    def organism(**keys: Any) -> Organism:
        rounds = [_called("diary", "x", **{"as": "said"})]
        return _desk(project, {"repeat": rounds, **keys}, {"answer": "{{said}}"})

    built = organism(until={"said.text": "x x"}, at_most=5)
    assert ask(built, "desk", project.word(built)).text == "x x"
    built = organism(until={"said.text": "never"}, at_most=3, otherwise="go_on")
    assert ask(built, "desk", project.word(built)).text == "x x x"
    built = organism(until={"said.text": "never"}, at_most=3)
    with pytest.raises(AnswerError, match="after 3 rounds"):
        ask(built, "desk", project.word(built))


@effect("listeners[].flow[].choose", "listeners[].flow[].ways")
def _flow_chooses(project: Project) -> None:
    ways = {"true": [{"answer": _word("sure")}], "false": [{"answer": _word("not sure")}]}
    for sure, text in ((True, "sure"), (False, "not sure")):
        organism = _desk(project, {"choose": "input.sure", "ways": ways}, accepts="Flag")
        assert ask(organism, "desk", organism.payloads["Flag"](sure=sure)).text == text


@effect("listeners[].flow[].delegate")
def _flow_delegates(project: Project) -> None:
    organism = _desk(project, {"delegate": "echo", "send": "{{input}}"})
    assert ask(organism, "desk", project.word(organism, "hi")).text == "hi"


@effect("listeners[].flow[].timeout_seconds")
def _flow_times_out(project: Project) -> None:
    organism = _desk(project, _called("slow", timeout_seconds=3), {"answer": "{{input}}"})
    with pytest.raises(AnswerError) as caught:
        ask(organism, "desk", project.word(organism))
    assert caught.value.code == "timeout"


@effect("listeners[].flow[].if_fails")
def _flow_goes_on(project: Project) -> None:
    for if_fails, said in (("absent", "none"), (_word("instead"), "instead")):
        text = '{{said.text or "none"}}' if if_fails == "absent" else "{{said.text}}"
        call = _called("crash", if_fails=if_fails, **{"as": "said"})
        organism = _desk(project, call, {"answer": _word(text)})
        assert ask(organism, "desk", project.word(organism)).text == said


@effect(
    "listeners[].flow[].for_each",
    "listeners[].flow[].of",
    "listeners[].flow[].at_once",
    "listeners[].flow[].max_items",
)
def _flow_goes_through_lists(project: Project) -> None:
    each = {"for_each": "item", "of": "{{input.items}}", "as": "said", "at_once": 2, "max_items": 3}
    step = {"call": "slow", "send": _word("{{item}}"), **each}
    end = {"answer": {"Words": {"items": "{{said.text}}"}}}
    organism = _desk(project, step, end, accepts="Words")
    words = organism.payloads["Words"]
    assert ask(organism, "desk", words(items=["a", "b", "c"])) == words(items=["a", "b", "c"])
    assert project.module.most == 2
    organism = _desk(project, step, end, accepts="Words")
    with pytest.raises(AnswerError, match="4 items; at most 3"):
        ask(organism, "desk", words(items=["a", "b", "c", "d"]))


# --- tests ---


def _case(project: Project, **keys: Any) -> Outcome:
    """What comes of a case for `bot`, whose peers are a person and a handler."""
    paul = {"name": "paul", "human": True}
    project.organism(agent(peers=["paul", "echo"]), paul, tool("echo"), payloads=None)
    document = yaml.safe_load((project.folder / "organism.yaml").read_text())
    document["llm"] = {"prices": {"m": {"input": 1_000_000, "output": 0}}}
    document["tests"] = [{"name": "it", "to": "bot", "send": "hi", **keys}]
    (project.folder / "organism.yaml").write_text(yaml.safe_dump(document))
    config = load(project.folder / "organism.yaml", environ={})
    assert config.tests[0].name == "it"
    return played(config, config.tests[0])


@effect("tests[].name", "tests[].send", "tests[].script.NAME[].reply", "tests[].expect.answer")
def _tests_reply(project: Project) -> None:
    said = {"bot": {"reply": "hello"}}
    assert _case(project, script=said, expect={"answer": "hello"}).passed
    outcome = _case(project, script=said, send="good morning", expect={"answer": "hi"})
    assert len(outcome.problems) == 1
    assert outcome.trace[0] == "outside → bot  Task text: good morning"


@effect("tests[].to", "tests[].script.NAME[].answer")
def _tests_to(project: Project) -> None:
    assert _case(project, to="paul", script={"paul": {"answer": "no"}}, expect={"answer": "no"}).passed


@effect("tests[].script.NAME[].match", "tests[].script.NAME[].times")
def _tests_match(project: Project) -> None:
    bye = {"match": "bye", "reply": "then"}
    assert _case(
        project, script={"bot": [{**bye, "times": "any"}, {"reply": "ok"}]}, expect={"answer": "ok"}
    ).passed
    assert not _case(project, script={"bot": [bye, {"reply": "ok"}]}).passed


@effect(
    "tests[].script.NAME[].call",
    "tests[].script.NAME[].with",
    "tests[].expect.calls",
)
def _tests_call(project: Project) -> None:
    said = [{"call": "echo", "with": {"Word": {"text": "a"}}}, {"match": "^a$|>a<", "reply": "ok"}]
    assert _case(project, script={"bot": said}, expect={"calls": ["echo"]}).passed
    assert not _case(project, script={"bot": said}, expect={"calls": ["echo", "echo"]}).passed


@effect("tests[].script.NAME[].calls[].call", "tests[].script.NAME[].calls[].with", "tests[].expect.never")
def _tests_calls(project: Project) -> None:
    both = {"calls": [{"call": "paul", "with": "a"}, {"call": "paul", "with": "b"}]}
    script = {"bot": [both, {"reply": "ok"}], "paul": [{"match": "b", "answer": "1"}, {"answer": "2"}]}
    assert _case(project, script=script, expect={"never": ["echo"]}).passed
    assert not _case(project, script=script, expect={"never": ["paul"]}).passed


@effect(
    "tests[].script.NAME[].fail.code",
    "tests[].script.NAME[].fail.message",
    "tests[].expect.error.code",
    "tests[].expect.error.message.contains",
    "tests[].expect.error.message.matches",
)
def _tests_fail(project: Project) -> None:
    said = {"echo": {"fail": {"code": "limit", "message": "that is enough"}}}
    keys = {"to": "echo", "send": {"Word": {"text": "a"}}, "script": said}
    for message in ("that is enough", {"contains": "enough"}, {"matches": "^that"}):
        assert _case(project, **keys, expect={"error": {"code": "limit", "message": message}}).passed
    assert not _case(project, **keys, expect={"error": {"code": "limit", "message": "enough"}}).passed


@effect("tests[].expect.usd_at_most", "tests[].expect.tokens_at_most")
def _tests_cost(project: Project) -> None:
    said = {"bot": {"reply": "hello"}}
    assert _case(project, script=said, expect={"usd_at_most": 1000, "tokens_at_most": 1000}).passed
    assert not _case(project, script=said, expect={"usd_at_most": 1}).passed
    assert not _case(project, script=said, expect={"tokens_at_most": 1}).passed


@effect("tests[].live.times", "tests[].live.at_least")
def _tests_live(project: Project) -> None:
    """How often it runs with real models is shown in tests/cli/test_cases.py."""
    document: Section = {"organism": {"name": "demo"}, "listeners": [agent()]}
    document["tests"] = [{"name": "it", "to": "bot", "send": "hi", "live": {"times": 3, "at_least": 2}}]
    (project.folder / "organism.yaml").write_text(yaml.safe_dump(document))
    live = load(project.folder / "organism.yaml", environ={}).tests[0].live
    runs = [Outcome((), ()), Outcome(("no",), ()), Outcome((), ())]
    assert live.times == len(runs)
    assert Told("it", "demo", "f", 1, runs, live.at_least or 3).status == "passed"
    assert Told("it", "demo", "f", 1, runs, live.times).status == "failed"


# --- every key has one ---


def keys(model: type[BaseModel], path: str = "", around: tuple[type[BaseModel], ...] = ()) -> Iterator[str]:
    """Every key of the file that holds no section; `[]` stands for a list's parts, `NAME` for a mapping's.

    A section that holds sections of its own kind is gone through once.
    """
    for name, field in model.model_fields.items():
        here = f"{path}.{field.alias or name}".removeprefix(".")
        within = (*around, model)
        below = [each for each in _sections(field.annotation, here) if each[1] not in within]
        if not below:
            yield here
        for inner, section in below:
            yield from keys(section, inner, within)


def _sections(annotation: Any, path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """The sections that a key may hold, and their paths."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield path, annotation
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is tuple:
        yield from _sections(inner[0], f"{path}[]")
    elif origin is dict:
        yield from _sections(inner[1], f"{path}.NAME")
    elif origin in (typing.Union, types.UnionType, typing.Annotated):
        for option in inner:
            yield from _sections(option, path)


def test_every_key_has_a_case() -> None:
    own = {key for name in BUILTIN for key in keys(keys_of(PROVIDER_CLASSES[name]), "llm.backends[]")}
    assert sorted(CASES) == sorted({*keys(OrganismConfig), *own})


@pytest.mark.parametrize("key", CASES)
def test_effect(key: str, tmp_path: Path) -> None:
    CASES[key](Project(tmp_path))
