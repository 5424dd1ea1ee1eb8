"""What a ledger says was spent: sums that hold whatever they are taken by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xml_pipeline.errors import JournalError
from xml_pipeline.journal.file import read_only
from xml_pipeline.journal.spending import BY, Span, Spending, calls, conversation_called, spending, together
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.ledger import Came, Try

DAY = 86_400.0
NOW = 1_790_000_000.0


def attempt(
    at: float = NOW,
    *,
    agent: str = "a",
    operation: str = "",
    conversation: str = "c1",
    backend: str = "b",
    model: str = "m",
    expected: tuple[int, int, int | None] = (500, 500, 900),
) -> Try:
    return Try(agent, operation, conversation, (), None, backend, model, "p/m", at, *expected)


def came(
    at: float = NOW + 1,
    *,
    outcome: str = "answered",
    prompt: int = 100,
    output: int = 10,
    cached: int = 0,
    estimated: bool = False,
    confirmed: bool = True,
    micro_usd: int | None = 50,
) -> Came:
    error = "ServerError" if outcome == "failed" else ""
    counts = (prompt, output, cached, 0, 0, estimated, confirmed, micro_usd)
    return Came(outcome, at, *counts, None, "m", "stop", 0, error)


async def written(path: Path, rows: Sequence[tuple[Try, Came | None]], organism: str = "") -> None:
    """A ledger of these tries; None for one that never came to anything. The process dies then."""
    journal = SqliteJournal(path, organism=organism)
    await journal.start(lambda error: None)
    for started, end in rows:
        number, durable = journal.ledger.begin(started)
        await durable
        if end is not None:
            journal.ledger.end(number, end)
    await journal.close()


def read(path: Path, *arguments: Any) -> list[Spending]:
    with closing(read_only(path)) as connection:
        return spending(connection, *arguments)


async def test_what_is_sure_and_what_is_not_are_told_apart(tmp_path: Path) -> None:
    rows = [
        (attempt(), came(cached=40)),
        (attempt(), came(estimated=True)),
        (attempt(), came(micro_usd=None)),
        (attempt(), came(outcome="failed", confirmed=False, estimated=True, prompt=70, output=30)),
        (attempt(), None),
    ]
    await written(tmp_path / "u.db", rows)
    (one,) = read(tmp_path / "u.db", "agent", Span())
    assert one[:6] == ("a", 3, 1, 300, 40, 0)
    assert (one.output, one.micro_usd, one.estimated, one.unpriced) == (30, 100, 110, 1)
    assert one.unconfirmed == (1, 100, 50)
    assert one.open == (1, 1000, 900)
    assert one.unknown == (0, 0, 0)
    assert one.saved is None


async def test_what_a_death_cut_off_is_unknown_in_the_next_life(tmp_path: Path) -> None:
    await written(tmp_path / "u.db", [(attempt(), None)])
    with closing(_writable(tmp_path / "u.db")) as connection:
        connection.execute("UPDATE runs SET ended = NULL")
    await written(tmp_path / "u.db", [])
    (one,) = read(tmp_path / "u.db", "agent", Span())
    assert (one.unknown, one.open.tries) == ((1, 1000, 900), 0)


async def test_what_caches_saved_is_told_of_the_calls_that_know_it(tmp_path: Path) -> None:
    await written(tmp_path / "u.db", [(attempt(), came()), (attempt(), came()), (attempt(), came())])
    with closing(_writable(tmp_path / "u.db")) as connection:
        connection.execute("UPDATE calls SET plain = 80 WHERE number = 1")
        connection.execute("UPDATE calls SET plain = 40 WHERE number = 2")
    (one,) = read(tmp_path / "u.db", "model", Span())
    assert one.saved == 20


async def test_a_time_and_a_conversation_choose_calls(tmp_path: Path) -> None:
    rows = [
        (attempt(NOW - DAY, conversation="c1"), came(NOW - DAY + 5)),
        (attempt(NOW - 5, conversation="c2"), came(NOW + 5)),
        (attempt(NOW + DAY, conversation="d1"), came(NOW + DAY)),
    ]
    await written(tmp_path / "u.db", rows)
    path = tmp_path / "u.db"
    assert [each.name for each in read(path, "conversation", Span(NOW))] == ["c2", "d1"]
    assert [each.name for each in read(path, "conversation", Span(NOW, NOW + DAY))] == ["c2"]
    assert [each.name for each in read(path, "conversation", Span(conversation="c1"))] == ["c1"]
    days = [time.strftime("%Y-%m-%d", time.localtime(at)) for at in (NOW - DAY + 5, NOW + 5, NOW + DAY)]
    assert [each.name for each in read(path, "day", Span())] == days
    with closing(read_only(path)) as connection:
        assert [each.number for each in calls(connection, Span(), most=2)] == [2, 3]
        assert conversation_called(connection, "d") == "d1"
        with pytest.raises(JournalError, match="several conversations with calls begin with 'c'"):
            conversation_called(connection, "c")
        with pytest.raises(JournalError, match="no conversation with calls begins with '%'"):
            conversation_called(connection, "%")


names = st.sampled_from(["", "x", "y", "z"])
tries = st.tuples(
    st.builds(
        attempt,
        st.floats(NOW, NOW + 3 * DAY),
        agent=names,
        operation=names,
        conversation=names,
        backend=names,
        model=names,
    ),
    st.none()
    | st.builds(
        came,
        st.floats(NOW + 3 * DAY, NOW + 4 * DAY),
        outcome=st.sampled_from(["answered", "dropped", "failed", "cancelled"]),
        prompt=st.integers(0, 10**9),
        output=st.integers(0, 10**9),
        estimated=st.booleans(),
        confirmed=st.booleans(),
        micro_usd=st.none() | st.integers(0, 10**12),
    ),
)


@settings(max_examples=15, deadline=None)
@given(st.lists(tries, max_size=12))
def test_whatever_it_is_taken_by_the_total_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Try, Came | None]]
) -> None:
    path = tmp_path_factory.mktemp("sums") / "u.db"
    asyncio.run(written(path, rows))
    totals = {together("total", read(path, by, Span())) for by in BY}
    assert len(totals) == 1
    (total,) = totals
    ends = [end for _, end in rows if end is not None]
    sure = [end for end in ends if end.confirmed]
    assert total.prompt == sum(end.prompt for end in sure)
    assert total.micro_usd == sum(end.micro_usd or 0 for end in sure)
    assert total.unconfirmed.micro_usd == sum(end.micro_usd or 0 for end in ends if not end.confirmed)
    assert total.answered + total.failed + total.open.tries == len(rows)


def _writable(path: Path) -> Any:
    import sqlite3

    return sqlite3.connect(path, isolation_level=None)
