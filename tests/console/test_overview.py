"""What the console says of models while it runs, of costs, and on its toolbar."""

from __future__ import annotations

import pytest

from tests.console.organisms import Paper, Task, build
from tests.emulators import Failure, OpenAIEmulator
from xml_pipeline import HandlerMetadata, HandlerResponse, Organism, complete
from xml_pipeline.agents import AgentSettings, Answer, agent_listener
from xml_pipeline.console import overview
from xml_pipeline.console.session import Console
from xml_pipeline.llm import Budget, Budgets, Router, UsageTotals
from xml_pipeline.llm.providers.openai import OpenAIBackend
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend


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


@pytest.mark.parametrize(
    ("totals", "text"),
    [
        (UsageTotals(), "$0"),
        (UsageTotals(known_cost=0.00123), "$0.0012"),
        (UsageTotals(known_cost=1234.5), "$1,234.50"),
        (UsageTotals(unpriced_count=1), "cost unknown"),
        (UsageTotals(known_cost=0.5, unpriced_count=1), "$0.5000 + unpriced"),
    ],
)
def test_an_unknown_cost_is_not_shown_as_nothing(totals: UsageTotals, text: str) -> None:
    assert overview.cost(totals) == text
