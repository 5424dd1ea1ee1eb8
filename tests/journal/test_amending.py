"""What is put right and what is forgiven: the meters that go on and those that a start rebuilds agree."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.journal.test_spending import NOW, attempt, came, read
from xml_pipeline.door import Desk
from xml_pipeline.door.requests import Amend, Forgive
from xml_pipeline.errors import JournalError
from xml_pipeline.journal.amending import Cap, forgive
from xml_pipeline.journal.spending import Span
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.llm import Budget, Budgets
from xml_pipeline.llm.accounting.budgets import BudgetBook, Meter, Most
from xml_pipeline.llm.accounting.usage import Charge

DAILY = (
    Budget(tokens=10**9, usd=10**6, per="day"),
    Budget(tokens=10**9, per="hour"),
    Budget(tokens=10**9, per="run"),
)
BUDGETS = Budgets(
    organism=DAILY,
    agents={"a": DAILY, "b*": DAILY},
    conversation=[Budget(tokens=10**9)],
    thread=[Budget(tokens=10**9)],
    operations={"o": DAILY},
)

OWN = (Budget(output_tokens=10**9), Budget(tokens=10**9, per="day"), Budget(usd=10**6, per="hour"))
"""Limits that a handler sets for its thread."""

_OPEN = """
INSERT OR IGNORE INTO conversations VALUES (1, 'c', '', '', '', 0, NULL);
INSERT OR IGNORE INTO open VALUES (1, 1);
"""


class _Holder:
    """Who has the ledger: meters, and nothing else."""

    def __init__(self, book: BudgetBook) -> None:
        self.forgiven = book.forgive
        self.amended = book.amend


class Life:
    """A ledger and the meters of one life, without a model."""

    def __init__(self, path: Path, now: float) -> None:
        self.journal = SqliteJournal(path, clock=lambda: self.now)
        self.now = now
        self.book = BudgetBook(BUDGETS, lambda: self.now, lambda event: None, lambda: None)
        self.desk = Desk(self.journal, _Holder(self.book), str, lambda: self.now)  # type: ignore[arg-type]

    async def begin(self) -> None:
        await self.journal.start(lambda error: None)
        await self.journal.change(lambda connection: connection.executescript(_OPEN))
        self.book.take_up(self.journal.ledger, await self.journal.ledger.spent_since(self.book.since()))

    async def spend(self, agent: str, operation: str, prompt: int, micro_usd: int) -> None:
        meters = self.book.meters(Charge(agent, "t", "c", ("t",), operation=operation))
        held = self.book.reserve(meters, Most(prompt, 10, micro_usd))
        begun = attempt(self.now, agent=agent, operation=operation, conversation="c")
        number, durable = self.journal.ledger.begin(begun._replace(threads=("t",)))
        await durable
        held._end(prompt, 10, micro_usd)
        self.journal.ledger.end(number, came(self.now, prompt=prompt, output=10, micro_usd=micro_usd))

    async def forgive(self, scope: str, per: Any) -> None:
        await self.desk.serve(Forgive(scope, per))

    async def amend(self, number: int, tokens: tuple[int, int] | None, micro_usd: int | None) -> None:
        await self.desk.serve(Amend(number, tokens, None if micro_usd is None else micro_usd / 1_000_000))

    async def limit(self, *limits: Budget) -> None:
        self.book.set_thread_budget("t", *limits, conversation_id="c")

    def spent(self) -> dict[tuple[str, str, str], int]:
        charges = [Charge(agent=agent, operation=op) for agent in ("a", "bb") for op in ("", "o")]
        charges.append(Charge(conversation_id="c", threads=("t",)))
        return {_name(meter): meter.spent for charge in charges for meter in self.book.meters(charge)}


def _name(meter: Meter) -> tuple[str, str, str]:
    return meter.scope, meter.budget.per, meter.unit


numbers = st.integers(0, 1000)
scopes = st.sampled_from(["organism", "agent a", "agent bb", "operation o", "conversation c", "thread t"])
acts = st.one_of(
    st.tuples(
        st.just("spend"), st.sampled_from(["a", "bb", "c"]), st.sampled_from(["", "o"]), numbers, numbers
    ),
    st.tuples(st.just("forgive"), scopes, st.sampled_from(["run", "hour", "day"])),
    st.tuples(
        st.just("amend"), st.integers(1, 4), st.none() | st.tuples(numbers, numbers), st.none() | numbers
    ),
    st.sets(st.sampled_from(OWN)).map(lambda some: ("limit", *some)),
    st.tuples(st.just("tomorrow")),
    st.tuples(st.just("die")),
    st.tuples(st.just("stop")),
)


SPEND = ("spend", "a", "", 100, 5)


@settings(max_examples=60, deadline=None)
@example([SPEND, ("limit", *OWN), SPEND, ("forgive", "thread t", "run"), SPEND])
@example([SPEND, ("forgive", "thread t", "run"), ("limit", *OWN), SPEND, ("forgive", "thread t", "day")])
@example([SPEND, ("limit", *OWN), SPEND, ("amend", 1, (500, 500), 50), ("amend", 2, (7, 7), 7)])
@example(
    [("limit", *OWN), SPEND, ("die",), ("limit", OWN[0]), SPEND, ("limit",), SPEND, ("limit", *OWN), SPEND]
)
@given(st.lists(acts, max_size=14))
def test_the_meters_of_the_next_life_are_those_of_this_one(
    tmp_path_factory: pytest.TempPathFactory, story: list[tuple[Any, ...]]
) -> None:
    asyncio.run(_told(tmp_path_factory.mktemp("story") / "u.db", story))


async def _told(path: Path, story: list[tuple[Any, ...]]) -> None:
    life, calls = Life(path, NOW), 0
    await life.begin()
    try:
        for act, *rest in [*story, ("die",)]:
            life.now += 61.37
            if act == "tomorrow":
                life.now += 86_400
            elif act in ("die", "stop"):
                before = life.spent()
                if act == "die":
                    life.journal.ledger.stop = _nothing  # type: ignore[method-assign]
                await life.journal.close()
                life = Life(path, life.now)
                await life.begin()
                after = life.spent()
                ends = {
                    name
                    for name in before
                    if act == "stop" and name[1] == "run" and name[0] not in ("conversation c", "thread t")
                }
                assert {**after, **dict.fromkeys(ends, 0)} == {**before, **dict.fromkeys(ends, 0)}
            elif act == "amend":
                if rest[0] <= calls:
                    await life.amend(*rest)
            else:
                calls += act == "spend"
                await getattr(life, act)(*rest)
    finally:
        await life.journal.close()


def _nothing(connection: object, now: float) -> None:
    """As a death leaves it."""


@pytest.fixture
async def life(tmp_path: Path) -> Any:
    one = Life(tmp_path / "u.db", NOW)
    await one.begin()
    yield one
    await one.journal.close()


async def test_a_reset_is_of_one_scope_and_one_period(life: Life) -> None:
    await life.spend("a", "", 100, 5)
    await life.forgive("agent a", "day")
    spent = life.spent()
    assert spent["agent a", "day", "tokens"] == spent["agent a", "day", "usd"] == 0
    assert spent["agent a", "run", "tokens"] == spent["agent a", "hour", "tokens"] == 110
    assert spent["organism", "day", "tokens"] == 110


async def test_what_is_on_its_way_is_not_forgiven(life: Life) -> None:
    _, durable = life.journal.ledger.begin(attempt(life.now, agent="a"))
    await durable
    made = await life.journal.change(lambda c: forgive(c, Cap("agent a", "run", 0.0), life.now))
    assert made[4:] == (0, 0, 0)
    with pytest.raises(JournalError, match="call 1 is on its way"):
        await life.amend(1, (1, 1), None)


async def test_a_report_follows_and_says_nothing_of_caches_any_more(life: Life, tmp_path: Path) -> None:
    await life.spend("a", "", 100, 5)
    await life.amend(1, (40, 4), 7)
    (one,) = read(tmp_path / "u.db", "agent", Span())
    assert (one.prompt, one.output, one.micro_usd, one.saved) == (40, 4, 7, None)
    with pytest.raises(JournalError, match="there is no call 2"):
        await life.amend(2, None, 1)


@pytest.mark.parametrize("scope", ["", "organisation", "agent", "agent ", "organism x", "key x"])
async def test_a_scope_that_is_none_is_refused(life: Life, scope: str) -> None:
    with pytest.raises(JournalError, match="there is no scope"):
        await life.journal.change(lambda c: forgive(c, Cap(scope, "run", 0.0), life.now))


@pytest.mark.parametrize("dies", [False, True])
async def test_a_visit_ends_no_run(life: Life, tmp_path: Path, dies: bool) -> None:
    """Whoever only changes something after a death lifts no budget of a run."""
    await life.spend("a", "", 100, 5)
    if dies:
        life.journal.ledger.stop = _nothing  # type: ignore[method-assign]
    await life.journal.close()
    visit = SqliteJournal(tmp_path / "u.db", visits=True)
    await visit.start(lambda error: None)
    await visit.close()
    after = Life(tmp_path / "u.db", NOW + 5)
    await after.begin()
    assert after.spent()["organism", "run", "tokens"] == (110 if dies else 0)
    await after.journal.close()


def test_nothing_is_written_by_whoever_looks() -> None:
    from xml_pipeline.journal.looking import Looking

    looking: Callable[..., Any] = Looking(None).written  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="only looks"):
        looking("", ())
