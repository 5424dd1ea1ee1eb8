"""Several processes ask 64 agents through the owner of one file, and owners and askers are killed in the middle."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.door.test_processes import begun
from tests.emulators import Answer
from tests.emulators.compatible import VLLMEmulator
from tests.emulators.script import Recorded, Script
from tests.llm.accounting.racing import some_budgets
from xml_pipeline.journal.file import looked_at
from xml_pipeline.llm import Budget, Budgets
from xml_pipeline.llm.accounting.budgets import amount_of

SCALE = float(os.environ.get("XP_SLOW_SCALE", "0.02"))  # of twenty races
RACES = range(max(1, round(20 * SCALE)))
ASKERS = 2
ASKS = 40  # of each


class Row(NamedTuple):
    """One try, as the ledger has it."""

    agent: str
    operation: str
    conversation: str
    threads: str
    at: float
    confirmed: int
    prompt: int
    output: int
    micro_usd: int

    def scopes(self, budgets: Budgets) -> Iterator[tuple[str, Budget]]:
        """The budgets that it belongs to, each with the name of its scope."""
        named = (("agent", self.agent, budgets.agents), ("operation", self.operation, budgets.operations))
        yield from (("organism", each) for each in budgets.organism)
        for kind, name, limits in named:
            globs = [each for glob, some in limits.items() if fnmatchcase(name, glob) for each in some]
            yield from ((f"{kind} {name}", each) for each in limits.get(name, globs))
        yield from ((f"conversation {self.conversation}", each) for each in budgets.conversation)
        for thread in self.threads.split():
            yield from ((f"thread {thread}", each) for each in budgets.thread)

    def period(self, budget: Budget) -> str:
        shape = {"run": "", "hour": "%Y-%m-%d %H", "day": "%Y-%m-%d", "month": "%Y-%m"}[budget.per]
        return time.strftime(shape, time.gmtime(self.at))


def rows_of(file: Path) -> list[Row]:
    with closing(looked_at(file)) as ledger:
        assert ledger.execute("SELECT count(*) FROM calls WHERE ended IS NULL").fetchone() == (0,)
        found = ledger.execute(
            "SELECT agent, operation, conversation, threads, coalesce(ended, began), confirmed, prompt, output,"
            " micro_usd FROM calls"
        )
        return [Row(*row) for row in found]


def passed(rows: list[Row], budgets: Budgets) -> list[str]:
    """The scopes for which the ledger has more than their budget."""
    spent: Counter[tuple[str, int, str, str]] = Counter()
    limits: dict[tuple[str, int, str, str], int] = {}
    for row in rows:
        for scope, budget in row.scopes(budgets):
            for unit, limit in budget.limits():
                key = (scope, id(budget), unit, row.period(budget))
                spent[key] += amount_of(unit, row.prompt, row.output, row.micro_usd)
                limits[key] = limit
    return [key[0] for key in spent if spent[key] > limits[key]]


class Provider:
    """What bills at random, and kills whoever is to die when so many have asked it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.asked = 0
        self.victims: dict[int, subprocess.Popen[str]] = {}
        self.server = VLLMEmulator(Script(default=self.answer))

    def answer(self, request: Recorded) -> Answer:
        self.asked += 1
        victim = self.victims.pop(self.asked, None)
        if victim is not None:
            victim.send_signal(signal.SIGKILL)
        limit = request.body["max_tokens"]
        return Answer("yes", completion_tokens=self.chance.randrange(1, limit + 1))

    def bill(self) -> list[tuple[int, int]]:
        """The tokens of all requests that it served, whoever got the answer."""
        return [
            (each.prompt_tokens, each.completion_tokens)
            for each in self.server.requests
            if each.completion_tokens
        ]


async def told(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process says until its end."""
    return await asyncio.to_thread(process.communicate, timeout=50)


@pytest.mark.slow
@pytest.mark.parametrize("seed", RACES)
@pytest.mark.parametrize("kind", ["journal", "ledger"])
async def test_no_scope_is_passed_whoever_asks_and_whoever_dies(tmp_path: Path, kind: str, seed: int) -> None:
    file, provider = tmp_path / "usage.db", Provider(seed)

    def process(*arguments: str) -> subprocess.Popen[str]:
        return gone.enter_context(begun(tmp_path, "-m", "tests.door.racing", *arguments))

    def owner() -> subprocess.Popen[str]:
        return process("own", str(file), kind, provider.server.base_url, str(seed))

    with ExitStack() as gone:
        async with provider.server:
            keyed = "keyed" if kind == "journal" else "unkeyed"
            dies = owner()
            askers = [process("ask", str(file), keyed, f"asker {n}", str(ASKS)) for n in range(ASKERS)]
            provider.victims = {10: askers[0], 20: dies}
            await asyncio.to_thread(dies.wait, timeout=50)
            owning = owner()
            ends = [await told(each) for each in askers]
            assert (await told(owning))[0] == "ready\nreserved 0\n"
    assert dies.communicate() == ("ready\n", "")
    assert ends[0] == ("", "")
    for said, errors in ends[1:]:
        assert errors == ""
        came = Counter(json.loads(said))
        assert came.pop("answered") + came.pop("went away", 0) == ASKS
        assert not came

    rows, bill = rows_of(file), Counter(provider.bill())
    budgets = some_budgets(random.Random(seed))
    assert passed(rows, budgets) == []
    confirmed = Counter((row.prompt, row.output) for row in rows if row.confirmed and row.output)
    unsure = [row for row in rows if not row.confirmed]
    assert confirmed <= bill
    lost = sorted((bill - confirmed).elements())
    assert 1 <= len(lost) <= len(unsure)
    for limit in ("prompt", "output"):
        most = sorted(getattr(row, limit) for row in unsure)[-len(lost) :]
        billed = sorted(each[limit == "output"] for each in lost)
        assert all(one <= other for one, other in zip(billed, most, strict=True))
    assert all(row.micro_usd == 3 * row.prompt + 15 * row.output for row in rows)
