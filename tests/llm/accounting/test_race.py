"""Many at once, random budgets in all scopes, random true costs: nothing passes, nothing stays, the books agree."""

from __future__ import annotations

import asyncio
import random
from contextlib import closing
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from tests.journal.test_recovery import came_to
from tests.llm.accounting.racing import AGENTS, PRICE, meters_of, passed_in, racers, some_budgets
from tests.pump.scenes import Question
from xml_pipeline import Organism
from xml_pipeline.errors import AnswerError
from xml_pipeline.journal.file import read_only
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.llm import LLMRequest, LLMResponse, Router
from xml_pipeline.llm.http.backend import Backend


class Biller(Backend):
    """Bills at random what it may, as providers do: a template around each prompt, and no more tokens than bytes."""

    offline = True

    def __init__(self, chance: random.Random) -> None:
        super().__init__(provider="biller", name="biller", supported_models=["m"], max_concurrent=200)
        self.chance = chance
        self.template = chance.randrange(40)
        self.bill: list[tuple[int, int]] = []

    async def _do_completion(self, client: Any, request: LLMRequest) -> LLMResponse:
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)
        assert request.max_tokens is not None
        text = str(request.messages[-1]["content"])
        marks = crc32(text.encode()) % 25  # as JSON they are 28 bytes
        prompt = self.template + len(text) + marks
        used = (prompt, self.chance.randrange(1, request.max_tokens + 1))
        self.bill.append(used)
        return LLMResponse("yes", "m", {"prompt_tokens": used[0], "completion_tokens": used[1]})


@pytest.mark.parametrize("seed", range(6))
async def test_no_scope_is_passed_and_the_ledger_is_the_bill(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    biller = Biller(chance)
    passed: list[str] = []
    router = Router([biller], budgets=some_budgets(chance), prices={"m": PRICE})
    organism = Organism(
        "race",
        racers(lambda metadata: chance, lambda: passed.extend(passed_in(router))),
        journal=SqliteJournal(tmp_path / "state.db"),
        router=router,
    )
    async with organism:
        answers = await asyncio.gather(
            *(organism.ask(chance.choice(AGENTS), Question("go")) for _ in range(150)), return_exceptions=True
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
