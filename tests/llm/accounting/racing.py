"""What races: agents that ask a model at random, and random budgets in all scopes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from tests.pump.scenes import Answer, Question, call, respond
from xml_pipeline import HandlerMetadata, SystemError
from xml_pipeline.errors import BudgetExceededError
from xml_pipeline.llm import Budget, Budgets, Price, Router, complete
from xml_pipeline.llm.accounting.budgets import Meter
from xml_pipeline.pump import Listener, listener

AGENTS = [f"agent-{number}" for number in range(64)]
PRICE = Price(3, 15)  # USD per million tokens: 3 and 15 micro-USD a token


def some_budgets(chance: random.Random) -> Budgets:
    def some() -> list[Budget]:
        found = []
        for _ in range(chance.randrange(3)):
            kind = chance.choice(["tokens", "input_tokens", "output_tokens", "usd"])
            limit: Any = chance.uniform(0.005, 0.2) if kind == "usd" else chance.randrange(2_000, 60_000)
            found.append(Budget(**{kind: limit}, per=chance.choice(["run", "hour", "day", "month"])))
        return found

    return Budgets(
        organism=[Budget(tokens=chance.randrange(20_000, 200_000), per="day")],
        agents={"agent-*": some(), "agent-7": some()},
        operations={"verify": some(), "*": some()},
        thread=some(),
        conversation=some(),
        default_max_tokens=300,
    )


def meters_of(router: Router) -> list[Meter]:
    book = router._book
    named = [meters for each in (book._agents, book._operations) for _, meters in each.all()]
    return [meter for meters in (book._organism, *named, *book._threads.values()) for meter in meters]


def passed_in(router: Router) -> list[str]:
    """The scopes whose budget is passed."""
    return [each.scope for each in meters_of(router) if each.spent + each.reserved > each.limit]


def racers(
    chance_of: Callable[[HandlerMetadata], random.Random], look: Callable[[], object]
) -> Sequence[Listener]:
    """The agents; `look` is called after each call."""

    async def work(payload: Question | Answer | SystemError, metadata: HandlerMetadata) -> Any:
        if not isinstance(payload, Question):
            return respond(Answer(getattr(payload, "text", "")))
        chance = chance_of(metadata)
        for _ in range(chance.randrange(1, 4)):
            options: dict[str, Any] = {"operation": "verify"} if chance.random() < 0.3 else {}
            if chance.random() < 0.5:
                options["max_tokens"] = chance.randrange(1, 500)
            try:
                await complete("m", "x" * chance.randrange(1, 400), **options)
            except BudgetExceededError:
                pass
            finally:
                look()
        if chance.random() < 0.3 and payload.text != "below":
            others = [name for name in AGENTS if name != metadata.own_name]
            return call(Question("below"), to=chance.choice(others))
        return respond(Answer("done"))

    return [
        listener(name, work, peers=[other for other in AGENTS if other != name], operation="write")
        for name in AGENTS
    ]
