"""What each key of organism.yaml changes in a running organism; tests/config/test_effects.py holds the list."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import yaml

from xml_pipeline import AnswerError, Organism
from xml_pipeline.agents import Answer, Task
from xml_pipeline.config import load
from xml_pipeline.errors import RoutingError
from xml_pipeline.events import BudgetWarning, MessageDelivered
from xml_pipeline.testing import Recorder, run_in_virtual_time

HANDLERS = '''
import asyncio, os
from dataclasses import dataclass
from xml_pipeline import Gathered, HandlerResponse, SystemError, xmlify

@xmlify
@dataclass
class Word:
    """A word."""
    text: str = ""

@xmlify
@dataclass
class Other:
    """Another class."""
    text: str = ""

log = []
running = 0
most = 0

async def echo(payload: Word, metadata):
    """Says it again."""
    log.append(payload.text)
    return HandlerResponse.respond(payload)

async def slow(payload: Word, metadata):
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(10)
    running -= 1
    return HandlerResponse.respond(payload)

async def call_echo(payload: Word, metadata):
    if metadata.from_id == "echo":
        return HandlerResponse.respond(payload)
    return HandlerResponse(payload, to="echo")

async def again(payload: Word, metadata):
    return HandlerResponse(payload, to="again")

async def round1(payload: Word, metadata):
    return HandlerResponse(payload, to="round2")

async def round2(payload: Word, metadata):
    return HandlerResponse(payload, to="round3")

async def round3(payload: Word, metadata):
    return HandlerResponse(payload, to="round1")

async def to_all(payload: Word, metadata):
    if metadata.from_id != "outside":
        return HandlerResponse.respond(payload)
    return HandlerResponse(payload)

async def anything(payload, metadata):
    return HandlerResponse.respond(payload)

async def who(payload: Word, metadata):
    return HandlerResponse.respond(Word(f"{metadata.own_name}"))

def where(payload: Word, metadata):
    return HandlerResponse.respond(Word(str(os.getpid())))

async def never(payload: Word, metadata):
    await asyncio.Event().wait()
'''


class Project:
    """A directory with an organism.yaml and the handlers above."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "words.py").write_text(HANDLERS)

    def organism(
        self, *listeners: dict[str, Any], llm: dict[str, Any] | None = None, **organism: Any
    ) -> Organism:
        document: dict[str, Any] = {"organism": {"name": "demo", **organism}, "listeners": list(listeners)}
        if llm is not None:
            document["llm"] = llm
        file = self.folder / "organism.yaml"
        file.write_text(yaml.safe_dump(document))
        self.config = load(file, environ={})
        return Organism.from_config(self.config)

    @property
    def module(self) -> Any:
        """The handlers' module, as the organism imported it."""
        handler = self.config.resolved[self.config.listeners[0].handler or ""]
        return __import__("sys").modules[handler.__module__]

    def word(self, organism: Organism, text: str = "", name: str = "Word") -> Any:
        codec = next(
            codec
            for each in organism.listeners.values()
            for root, codec in each.accepts.items()
            if root == name
        )
        return codec.cls(text)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def tool(name: str, handler: str | None = None, **keys: Any) -> dict[str, Any]:
    return {"name": name, "handler": f"words.{handler or name}", **keys}


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return run_in_virtual_time(main)


def ask(organism: Organism, to: str, payload: Any, **options: Any) -> Any:
    async def main() -> Any:
        async with organism:
            return await organism.ask(to, payload, **options)

    return run(main())


# --- organism ---


def test_organism_name(project: Project) -> None:
    assert project.organism(tool("echo"), name="zoo").name == "zoo"


def test_organism_description(project: Project) -> None:
    assert project.organism(tool("echo"), description="Talks back.").description == "Talks back."


def test_organism_default(project: Project) -> None:
    assert project.organism(tool("echo"), default="echo").default == "echo"


@pytest.mark.parametrize(
    ("scheduling", "order"), [("breadth-first", ["a", "b", "c"]), ("depth-first", ["c", "b", "a"])]
)
def test_organism_thread_scheduling(project: Project, scheduling: str, order: list[str]) -> None:
    organism = project.organism(tool("echo"), thread_scheduling=scheduling)

    async def main() -> None:
        async with organism:
            for text in "abc":
                await organism.send("echo", project.word(organism, text))

    run(main())
    assert project.module.log == order


def test_organism_max_in_flight(project: Project) -> None:
    organism = project.organism(tool("slow"), max_in_flight=2)

    async def main() -> int:
        async with organism:
            sends = [asyncio.create_task(organism.send("slow", project.word(organism))) for _ in range(5)]
            await asyncio.sleep(1)
            accepted = sum(send.done() for send in sends)
            await asyncio.gather(*sends)
            return accepted

    assert run(main()) == 2


def most_at_once(project: Project, organism: Organism, *names: str) -> int:
    async def main() -> None:
        async with organism:
            word = project.word(organism)
            await asyncio.gather(*(organism.ask(name, word) for name in names for _ in range(6)))

    run(main())
    return int(project.module.most)


def test_organism_max_concurrent_handlers(project: Project) -> None:
    organism = project.organism(tool("slow"), tool("slow2", "slow"), max_concurrent_handlers=3)
    assert most_at_once(project, organism, "slow", "slow2") == 3


def test_organism_max_concurrent_per_agent(project: Project) -> None:
    organism = project.organism(tool("slow"), tool("slow2", "slow"), max_concurrent_per_agent=2)
    assert most_at_once(project, organism, "slow", "slow2") == 4


@pytest.mark.parametrize(("seconds", "answered"), [(60, True), (1, False)])
def test_organism_shutdown_seconds(project: Project, seconds: float, answered: bool) -> None:
    organism = project.organism(tool("slow"), shutdown_seconds=seconds)

    async def main() -> bool:
        await organism.start()
        answer = asyncio.create_task(organism.ask("slow", project.word(organism)))
        await asyncio.sleep(0.5)
        await organism.stop()
        return (await asyncio.gather(answer, return_exceptions=True))[0] == project.word(organism)

    assert run(main()) is answered


def test_organism_timeout_seconds(project: Project) -> None:
    organism = project.organism(tool("never"), timeout_seconds=5)
    with pytest.raises(AnswerError) as caught:
        ask(organism, "never", project.word(organism))
    assert caught.value.code == "timeout"


def test_organism_limits_messages(project: Project) -> None:
    organism = project.organism(tool("again"), limits={"messages": 20})
    with pytest.raises(AnswerError, match="more than 20 messages") as caught:
        ask(organism, "again", project.word(organism))
    assert caught.value.code == "limit"


def test_organism_limits_depth(project: Project) -> None:
    circle = [("round1", "round2"), ("round2", "round3"), ("round3", "round1")]
    organism = project.organism(*(tool(name, peers=[peer]) for name, peer in circle), limits={"depth": 7})
    with pytest.raises(AnswerError, match="deeper than 7") as caught:
        ask(organism, "round1", project.word(organism))
    assert caught.value.code == "limit"


def test_organism_limits_seconds(project: Project) -> None:
    organism = project.organism(tool("never"), limits={"seconds": 3})
    with pytest.raises(AnswerError, match="longer than 3 s") as caught:
        ask(organism, "never", project.word(organism))
    assert caught.value.code == "limit"


def test_organism_limits_message_bytes(project: Project) -> None:
    organism = project.organism(tool("echo"), limits={"message_bytes": 2000})
    assert ask(organism, "echo", project.word(organism, "x" * 100))
    organism = project.organism(tool("echo"), limits={"message_bytes": 2000})
    with pytest.raises(Exception, match=r"2,?000"):
        ask(organism, "echo", project.word(organism, "x" * 2000))


# --- listeners ---


def test_listener_name(project: Project) -> None:
    organism = project.organism(tool("calc.echo", "echo"))
    assert ask(organism, "calc.echo", project.word(organism, "hi")).text == "hi"


def test_listener_description(project: Project) -> None:
    organism = project.organism(tool("echo", description="Repeats."), tool("who", agent=True, peers=["echo"]))
    assert "Repeats." in organism.usage_instructions("who")


def test_listener_handler(project: Project) -> None:
    organism = project.organism(tool("x", "who"))
    assert ask(organism, "x", project.word(organism)).text == "None"


def test_listener_payload_class(project: Project) -> None:
    organism = project.organism(tool("anything", payload_class=["words.Word", "words.Other"]))
    assert ask(organism, "anything", project.word(organism, "o", "Other")).text == "o"


def test_listener_agent(project: Project) -> None:
    organism = project.organism(tool("who", agent=True))
    assert ask(organism, "who", project.word(organism)).text == "who"


def test_listener_human(project: Project) -> None:
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


def test_listener_peers(project: Project) -> None:
    organism = project.organism(tool("call_echo"), tool("echo"))
    with pytest.raises(AnswerError) as caught:
        ask(organism, "call_echo", project.word(organism))
    assert caught.value.code == "routing"
    organism = project.organism(tool("call_echo", peers=["echo"]), tool("echo"))
    assert ask(organism, "call_echo", project.word(organism, "hi")).text == "hi"


@pytest.mark.parametrize("broadcast", [True, False])
def test_listener_broadcast(project: Project, broadcast: bool) -> None:
    organism = project.organism(
        tool("echo", broadcast=broadcast),
        tool("echo2", "echo", broadcast=broadcast),
        tool("to_all", peers=["echo", "echo2"]),
    )
    if broadcast:
        assert ask(organism, "to_all", project.word(organism, "hi")).text == "hi"
        assert project.module.log == ["hi", "hi"]
    else:
        with pytest.raises(AnswerError):
            ask(organism, "to_all", project.word(organism, "hi"))


@pytest.mark.parametrize("cpu_bound", [True, False])
def test_listener_cpu_bound(project: Project, cpu_bound: bool) -> None:
    organism = project.organism(tool("where", cpu_bound=cpu_bound))

    async def main() -> Any:
        async with organism:
            return await organism.ask("where", project.word(organism))

    assert (asyncio.run(main()).text != str(os.getpid())) is cpu_bound


def test_listener_timeout_seconds(project: Project) -> None:
    organism = project.organism(tool("never", timeout_seconds=5))
    with pytest.raises(AnswerError) as caught:
        ask(organism, "never", project.word(organism))
    assert caught.value.code == "timeout"


def test_listener_max_concurrent(project: Project) -> None:
    organism = project.organism(tool("slow", max_concurrent=2))
    assert most_at_once(project, organism, "slow") == 2


# --- agents ---

SCRIPT: list[dict[str, Any]] = [{"reply": "plain"}]


def agent(name: str = "bot", **keys: Any) -> dict[str, Any]:
    return {"name": name, "agent": True, "description": "A bot.", "model": "m", **keys}


def llm(rules: list[dict[str, Any]] = SCRIPT, **keys: Any) -> dict[str, Any]:
    return {"backends": [{"provider": "scripted", "rules": rules}], "retries": 0, **keys}


def requests(organism: Organism) -> list[Any]:
    """What the scripted model was asked."""
    backend: Any = next(iter(organism.router.backends.values()))
    return list(backend.requests)


def text_of(request: Any) -> str:
    return "\n".join(str(message) for message in request.messages)


def test_listener_model(project: Project) -> None:
    organism = project.organism(agent(model="fast"), llm=llm(models={"fast": "tiny-1"}))
    ask(organism, "bot", Task("hi"))
    assert requests(organism)[0].model == "tiny-1"


def test_listener_prompt(project: Project) -> None:
    organism = project.organism(agent(prompt="You are a lighthouse."), llm=llm())
    ask(organism, "bot", Task("hi"))
    assert "You are a lighthouse." in text_of(requests(organism)[0])


CALLS_FOR_EVER: list[dict[str, Any]] = [
    {"tool": "echo", "arguments": '{"text": "x"}'},
    {"on": "tool", "tool": "echo", "arguments": '{"text": "x"}'},
]


def test_listener_max_turns(project: Project) -> None:
    organism = project.organism(tool("echo"), agent(peers=["echo"], max_turns=3), llm=llm(CALLS_FOR_EVER))
    with pytest.raises(AnswerError) as caught:
        ask(organism, "bot", Task("hi"))
    assert caught.value.code == "limit"
    assert len(requests(organism)) == 3


def test_listener_max_tokens(project: Project) -> None:
    organism = project.organism(agent(max_tokens=77), llm=llm())
    ask(organism, "bot", Task("hi"))
    assert requests(organism)[0].max_tokens == 77


def test_listener_temperature(project: Project) -> None:
    organism = project.organism(agent(temperature=0.25), llm=llm())
    ask(organism, "bot", Task("hi"))
    assert requests(organism)[0].temperature == 0.25


def test_listener_accepts(project: Project) -> None:
    organism = project.organism(agent(accepts=["words.Word"]), llm=llm())
    assert ask(organism, "bot", project.word(organism, "hi")) == Answer("plain")
    organism = project.organism(agent(accepts=["words.Word"]), llm=llm())
    with pytest.raises(RoutingError):
        ask(organism, "bot", Task("hi"))


def test_listener_answer_class(project: Project) -> None:
    rules = [{"reply": '{"text": "typed"}'}]
    organism = project.organism(tool("echo"), agent(answer_class="words.Word"), llm=llm(rules))
    assert ask(organism, "bot", Task("hi")) == project.word(organism, "typed")


def chat(organism: Organism, *texts: str) -> None:
    async def main() -> None:
        async with organism, organism.session() as session:
            for text in texts:
                await session.ask("bot", Task(text))

    run(main())


def test_listener_history_messages(project: Project) -> None:
    organism = project.organism(agent(history={"messages": 2}), llm=llm())
    chat(organism, "first", "second", "third")
    last = text_of(requests(organism)[-1])
    assert "first" not in last
    assert "second" in last


def test_listener_history_tokens(project: Project) -> None:
    organism = project.organism(agent(history={"tokens": 60}), llm=llm())
    chat(organism, "first " + "x" * 400, "second", "third")
    last = text_of(requests(organism)[-1])
    assert "first" not in last
    assert "second" in last


@pytest.mark.parametrize(("tools", "native"), [("native", True), ("xml", False)])
def test_listener_tools(project: Project, tools: str, native: bool) -> None:
    organism = project.organism(tool("echo"), agent(peers=["echo"], tools=tools), llm=llm())
    ask(organism, "bot", Task("hi"))
    request = requests(organism)[0]
    assert bool(request.tools) is native
    assert ("<Word>" in text_of(request)) is not native


@pytest.mark.parametrize(("memory", "remembers"), [("session", True), ("call", False), ("none", False)])
def test_listener_memory(project: Project, memory: str, remembers: bool) -> None:
    organism = project.organism(agent(memory=memory), llm=llm())
    chat(organism, "the word is swordfish", "again?")
    assert ("swordfish" in text_of(requests(organism)[-1])) is remembers


def test_listener_peer_timeout_seconds(project: Project) -> None:
    rules = [
        {"tool": "never", "arguments": '{"text": "x"}'},
        {"on": "tool", "match": "(?s).*", "reply": r"saw \g<0>"},
    ]
    organism = project.organism(tool("never"), agent(peers=["never"], peer_timeout_seconds=5), llm=llm(rules))
    assert "timeout" in ask(organism, "bot", Task("hi")).text


@pytest.mark.parametrize(
    "budget", [{"tokens": 10}, {"usd": 0.000001, "per": "day"}, {"tokens": 100_000, "warn_at": [0.00001]}]
)
def test_listener_budget(project: Project, budget: dict[str, Any]) -> None:
    prices = {"m": {"input": 1.0, "output": 1.0}}
    organism = project.organism(agent(budget=budget), llm=llm(prices=prices))
    recorder = Recorder(organism)
    if "warn_at" in budget:
        ask(organism, "bot", Task("hi"))
        assert recorder.of(BudgetWarning)[0].fraction == 0.00001
    else:
        with pytest.raises(AnswerError) as caught:
            ask(organism, "bot", Task("hi"))
        assert caught.value.code == "budget"
        assert not requests(organism)
