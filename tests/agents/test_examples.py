"""The example organisms of agents: they answer offline, and the same files work over real providers' APIs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.emulators import Answer as Written
from tests.emulators import OllamaEmulator, OpenAIEmulator, ToolUse
from xml_pipeline import Organism
from xml_pipeline.agents import Answer, Task
from xml_pipeline.config import OrganismConfig, load
from xml_pipeline.events import MessageDelivered
from xml_pipeline.testing import Recorder, run_in_virtual_time

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(
    [*(EXAMPLES / "patterns").glob("*/organism.yaml"), EXAMPLES / "research_team" / "organism.yaml"]
)
OFFLINE = " (Offline rules answered, not a model.)"


def with_backends(name: str, environ: dict[str, str] | None = None, **addresses: str) -> Organism:
    """An example as it is, except that only these backends (at these addresses) and the offline one are there."""
    config: OrganismConfig = load(EXAMPLES / name / "organism.yaml", environ=environ or {})
    backends = tuple(
        each.model_copy(update={"base_url": addresses.get(each.provider, "")})
        for each in config.llm.backends
        if each.provider in addresses or each.provider == "scripted"
    )
    return Organism.from_config(
        config.model_copy(update={"llm": config.llm.model_copy(update={"backends": backends})})
    )


def chat(name: str, *texts: str) -> tuple[list[str], Recorder]:
    """The answers of an example's default listener, offline."""

    async def main() -> tuple[list[str], Recorder]:
        organism = with_backends(name)
        recorder = Recorder(organism)
        assert organism.default is not None
        async with organism, organism.session() as session:
            answers = [await session.ask(organism.default, Task(text)) for text in texts]
        return [answer.text for answer in answers], recorder

    return run_in_virtual_time(main())


def way(recorder: Recorder) -> list[str]:
    """Who was called, in order, by listeners."""
    return [event.to for event in recorder.of(MessageDelivered) if isinstance(event.payload, Task)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.parent.name))
def test_examples_need_no_python(path: Path) -> None:
    assert [each.name for each in path.parent.iterdir()] == ["organism.yaml"]
    config = load(path, environ={})
    assert all(listener.kind != "tool" for listener in config.listeners)


def test_the_research_team_works_in_parallel_and_then_edits() -> None:
    (first, second), recorder = chat("research_team", "Why validate messages?", "What is love?")
    assert "refused where it is wrong" in first
    assert "But mind: A valid message can still be untrue." in first
    assert first.endswith(OFFLINE)
    assert '"What is love?"' in second
    assert way(recorder) == ["lead", "researcher", "skeptic", "editor"] * 2
    used = {event.listener for event in recorder.events if hasattr(event, "listener")}
    assert used >= {"lead", "researcher", "skeptic", "editor"}


def test_a_cost_line_for_each_agent_follows() -> None:
    async def main() -> Any:
        organism = with_backends("research_team")
        async with organism:
            await organism.ask("lead", Task("Why validate messages?"))
            return organism.router.get_all_usage()

    usage = run_in_virtual_time(main())
    assert {name: totals.request_count for name, totals in usage.items()} == {
        "lead": 3, "researcher": 1, "skeptic": 1, "editor": 1,
    }  # fmt: skip
    assert all(totals.total_tokens > 0 and totals.cost == 0.0 for totals in usage.values())


@pytest.mark.parametrize(
    ("question", "specialist"),
    [
        ("My invoice is wrong.", "billing"),
        ("It says error 7.", "technical"),
        ("Where is my parcel?", "shipping"),
    ],
)
def test_the_router_asks_one_specialist(question: str, specialist: str) -> None:
    (answer,), recorder = chat("patterns/router", question)
    assert way(recorder) == ["front_desk", specialist]
    assert answer.endswith(OFFLINE)


def test_the_router_says_when_nobody_fits() -> None:
    (answer,), recorder = chat("patterns/router", "Who won?")
    assert way(recorder) == ["front_desk"]
    assert answer.startswith("No colleague")


def test_the_critic_is_asked_until_it_accepts() -> None:
    (answer,), recorder = chat("patterns/critic", "The water is off on Monday")
    assert answer == f"The water is off on Monday. Questions? Call 555-0100.{OFFLINE}"
    assert way(recorder) == ["planner", "facts", "audience", "critic", "critic"]


def test_the_map_keeps_the_order_of_the_list() -> None:
    (answer,), recorder = chat("patterns/map", "Oslo, Atlantis and Rome")
    assert [line.split(":")[0] for line in answer.splitlines()[:3]] == ["- Oslo", "- Atlantis", "- Rome"]
    assert way(recorder) == ["guide", "scout", "scout", "scout"]


@pytest.mark.parametrize(
    ("said", "told"), [("yes, do", "approved"), ("too late", "supervisor says: too late")]
)
def test_a_person_decides(said: str, told: str) -> None:
    async def main() -> str:
        organism = with_backends("patterns/approval")
        async with organism:
            asked = asyncio.create_task(organism.ask("clerk", Task("Refund order 17.")))
            await asyncio.sleep(40_000)
            (question,) = organism.questions()
            assert question.listener == "supervisor"
            assert "Refund order 17." in question.payload.text
            organism.answer(question.thread_id, Answer(said))
            return str((await asked).text)

    assert told in run_in_virtual_time(main())


MODELS = {OpenAIEmulator: "gpt-6.1-terra", OllamaEmulator: "llama3.3"}


@pytest.mark.parametrize("emulator", MODELS)
async def test_the_same_file_works_with_a_key_or_a_local_ollama(emulator: Any) -> None:
    def answer(request: Any) -> Written:
        """What each agent's model says, by its own prompt."""
        sent = str(request.body)
        if "You collect facts" in sent:
            return Written("Facts: it is so.")
        if "You doubt" in sent:
            return Written("Doubts: is it?")
        if "readers in a hurry" in sent:
            return Written("It is so, perhaps.")
        if "It is so, perhaps." in sent:
            return Written("It is so, perhaps.")
        if "Facts: it is so." in sent:
            return Written("", tools=(ToolUse("editor", {"text": "Facts: …"}),))
        uses = [ToolUse(name, {"text": "Is it?"}) for name in ("researcher", "skeptic")]
        return Written("", tools=tuple(uses))

    async with emulator() as server:
        server.script.default = answer
        environ = {"OPENAI_API_KEY": server.key}
        organism = with_backends("research_team", environ, **{server.provider: server.base_url})
        async with organism:
            assert await organism.ask("lead", Task("Is it?"), timeout=20) == Answer("It is so, perhaps.")
        assert len(server.requests) == 6
        assert {request.outcome for request in server.requests} == {"answered"}
        assert {request.model for request in server.requests} == {MODELS[emulator]}
