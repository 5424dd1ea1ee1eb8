"""Many at once, random budgets in all scopes, random true costs: nothing passes, nothing stays, the books agree."""

from __future__ import annotations

import asyncio
import random
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.journal.test_recovery import came_to
from tests.pump.scenes import Answer, Question, call, respond
from xml_pipeline import HandlerMetadata, Organism, SystemError
from xml_pipeline.errors import AnswerError, BudgetExceededError
from xml_pipeline.journal.file import read_only
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.llm import Budget, Budgets, LLMRequest, LLMResponse, Price, Router, complete
from xml_pipeline.llm.accounting.budgets import Meter
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.pump import listener

AGENTS = 64
PRICE = Price(3, 15)  # USD per million tokens: 3 and 15 micro-USD a token


class Biller(Backend):
    """Bills at random what it may."""

    offline = True

    def __init__(self, chance: random.Random) -> None:
        super().__init__(provider="biller", name="biller", supported_models=["m"], max_concurrent=200)
        self.chance = chance
        self.bill: list[tuple[int, int]] = []

    async def _do_completion(self, client: Any, request: LLMRequest) -> LLMResponse:
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)
        assert request.max_tokens is not None
        text = len(str(request.messages[-1]["content"]))
        used = (text + self.chance.randrange(40), self.chance.randrange(1, request.max_tokens + 1))
        self.bill.append(used)
        return LLMResponse("yes", "m", {"prompt_tokens": used[0], "completion_tokens": used[1]})


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


@pytest.mark.parametrize("seed", range(6))
async def test_no_scope_is_passed_and_the_ledger_is_the_bill(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    biller = Biller(chance)
    passed: list[str] = []

    async def work(payload: Question | Answer | SystemError, metadata: HandlerMetadata) -> Any:
        if not isinstance(payload, Question):
            return respond(Answer(getattr(payload, "text", "")))
        for _ in range(chance.randrange(1, 4)):
            options: dict[str, Any] = {"operation": "verify"} if chance.random() < 0.3 else {}
            if chance.random() < 0.5:
                options["max_tokens"] = chance.randrange(1, 500)
            try:
                await complete("m", "x" * chance.randrange(1, 400), **options)
            except BudgetExceededError:
                pass
            finally:
                passed.extend(each.scope for each in meters_of(router) if each.spent > each.limit)
        if chance.random() < 0.3 and payload.text != "below":
            return call(Question("below"), to=f"agent-{chance.randrange(AGENTS)}")
        return respond(Answer("done"))

    names = [f"agent-{number}" for number in range(AGENTS)]
    router = Router([biller], budgets=some_budgets(chance), prices={"m": PRICE})
    organism = Organism(
        "race",
        [
            listener(name, work, peers=[other for other in names if other != name], operation="write")
            for name in names
        ],
        journal=SqliteJournal(tmp_path / "state.db"),
        router=router,
    )
    async with organism:
        answers = await asyncio.gather(
            *(organism.ask(chance.choice(names), Question("go")) for _ in range(150)), return_exceptions=True
        )
        assert not [
            each for each in answers if isinstance(each, BaseException) and not isinstance(each, AnswerError)
        ]
        await came_to(lambda: not organism.status().in_flight)
        assert not passed
        assert not [meter.scope for meter in meters_of(router) if meter.reserved]
        total = router.get_total_usage()
    prompt, output = (sum(each[kind] for each in biller.bill) for kind in (0, 1))
    assert (total.prompt_tokens, total.completion_tokens) == (prompt, output)
    with closing(read_only(tmp_path / "state.db")) as file:
        rows = file.execute("SELECT count(*), sum(prompt), sum(output), sum(micro_usd) FROM calls").fetchone()
    assert rows == (len(biller.bill), prompt, output, 3 * prompt + 15 * output)
    assert len(biller.bill) > 20
