"""What the console says of models at its start, while it runs, and on its toolbar."""

from __future__ import annotations

import pytest

from tests.console.organisms import Paper, Task, build
from tests.emulators import Failure, OllamaEmulator, OpenAIEmulator, closed_port
from xml_pipeline import HandlerMetadata, HandlerResponse, Organism, complete
from xml_pipeline.agents import AgentSettings, Answer, agent_listener
from xml_pipeline.console import overview
from xml_pipeline.console.reachable import absent
from xml_pipeline.console.session import Console
from xml_pipeline.console.styled import plain
from xml_pipeline.llm import Budget, Budgets, Router
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.providers.ollama import OllamaBackend
from xml_pipeline.llm.providers.openai import OpenAIBackend
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend


async def banner(*backends: Backend) -> str:
    organism = Organism.build(name="demo", description="Shows.\nMore.", router=Router(backends))
    missing = await absent(organism.router.describe())
    return "\n".join(map(plain, overview.banner(organism, missing)))


async def test_a_local_server_that_runs_is_live() -> None:
    async with OllamaEmulator() as server:
        text = await banner(OllamaBackend(base_url=server.base_url), ScriptedBackend(name="rules"))
    assert "models live: ollama\n" in text
    assert "backend 'rules' answers when no other backend can" in text
    assert text.startswith("demo  Shows.\n")


async def test_a_local_server_that_does_not_run_is_named_with_its_address() -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    text = await banner(OllamaBackend(base_url=url))
    assert f"not running: ollama ({url})" in text
    assert "no model can answer" in text


async def test_a_key_is_live_and_never_shown_and_a_missing_one_is_named() -> None:
    assert "models live: openai\n" in await banner(OpenAIBackend(api_key="sk-0123456789abcdef"))
    assert "sk-" not in await banner(OpenAIBackend(api_key="sk-0123456789abcdef"))
    text = await banner(OpenAIBackend(api_key_env="WORK_KEY"))
    assert "without a key: openai (set WORK_KEY)" in text


async def test_an_organism_without_models_says_nothing_of_them() -> None:
    assert "model" not in await banner()


async def test_no_backend_elsewhere_is_contacted_at_the_start() -> None:
    assert await absent(Router([OpenAIBackend(api_key="sk-0123456789abcdef")]).describe()) == frozenset()


async def test_a_dead_key_and_a_used_up_budget_are_said_aloud() -> None:
    async with OpenAIEmulator() as server:
        server.script.fail(Failure.BAD_KEY)
        router = Router(
            [
                OpenAIBackend(api_key=server.key, base_url=server.base_url, priority=0),
                ScriptedBackend(rules=[Rule(reply="four words are here")]),
            ],
            budgets=Budgets(organism=(Budget(tokens=5000, warn_at=(0.0001,)),), default_max_tokens=100),
        )
        organism = Organism.build(name="demo", router=router)

        @organism.listener
        async def thinker(payload: Task, metadata: HandlerMetadata) -> HandlerResponse:
            return HandlerResponse.respond(Answer((await complete("gpt-4o", payload.text)).content))

        paper = Paper()
        async with organism, Console(organism, paper) as console:
            console.submit("@thinker Hello")
            await console.settled()
            console.submit("/usage")
            assert "tokens" in overview.toolbar(organism)
    notes = "\n".join(paper.notes)
    assert "backend openai is out: " in notes
    assert "budget: organism has used" in notes
    assert paper.rows[0] == "thinker #1: four words are here"
    assert paper.rows[1].startswith("thinker  ")
    assert "1 call" in paper.rows[1]


async def test_an_agent_writes_calls_and_remembers_over_several_messages() -> None:
    rules = ScriptedBackend(
        rules=[
            Rule("sum", reply="Let me see.", tool="calculator.add", arguments='{"a": 2, "b": 40}'),
            Rule(on="tool", match="42", reply="It is 42."),
            Rule(
                reply=lambda request: f"I have {sum(m['role'] == 'user' for m in request.messages)} of yours."
            ),
        ]
    )
    donor = build()
    organism = Organism(
        "house",
        [
            donor.listeners["calculator.add"],
            agent_listener("thinker", AgentSettings(model="any"), peers=["calculator.add"]),
        ],
        default="thinker",
        router=Router([rules]),
    )
    paper = Paper()
    async with organism, Console(organism, paper) as console:
        for text in ("What is the sum?", "Well?", "And now?"):
            console.submit(text)
            await console.settled()
    assert paper.rows == [
        "thinker #1: Let me see.",
        "thinker #1: It is 42.",
        "thinker #2: I have 2 of yours.",
        "thinker #3: I have 3 of yours.",
    ]
    assert paper.notes == ["  thinker → calculator.add  AddPayload"]


@pytest.mark.parametrize("waiting", [0, 1])
async def test_the_toolbar_counts_what_goes_on(waiting: int) -> None:
    paper = Paper()
    async with build() as organism, Console(organism, paper) as console:
        for _ in range(waiting):
            console.submit("@boss Well?")
            await paper.until("Well?")
        text = overview.toolbar(organism)
        assert text.startswith("house · ")
        assert ("1 question for you" in text) == bool(waiting)
