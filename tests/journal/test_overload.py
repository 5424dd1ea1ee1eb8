"""More than there is room for, and readers that hold on: nothing is lost, and neither memory nor the log grows."""

from __future__ import annotations

import asyncio
import sqlite3
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.journal.births import SCALE
from tests.journal.test_recovery import came_to
from tests.pump.scenes import Answer, Question, at_rest, respond
from xml_pipeline import HandlerMetadata, Organism
from xml_pipeline.journal.file import looked_at, read_only
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import listener
from xml_pipeline.pump.settings import PumpSettings

MIB = 2**20


async def helper(payload: Question, metadata: HandlerMetadata) -> Any:
    await asyncio.sleep(0)
    return respond(Answer(str(len(payload.text))))


def organism(path: Path, *, idle: float, most: int = 1000) -> Organism:
    journal = SqliteJournal(path, idle=idle)
    return Organism(
        "busy", [listener("helper", helper)], journal=journal, settings=PumpSettings(max_in_flight=most)
    )


@contextmanager
def held(path: Path) -> Iterator[sqlite3.Connection]:
    """A reader that goes on seeing what was there when it began."""
    with closing(read_only(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM steps").fetchone()
        yield reader


async def asked(organism: Organism, count: int, size: int = 20_000) -> None:
    text = "x" * size
    answers = await asyncio.gather(*(organism.ask("helper", Question(text)) for _ in range(count)))
    assert answers == [Answer(str(size))] * count


async def test_the_log_is_bounded_again_when_a_reader_lets_go(tmp_path: Path) -> None:
    path, log = tmp_path / "state.db", tmp_path / "state.db-wal"
    async with organism(path, idle=60) as busy:  # it is never idle, as under a load that does not end
        await asked(busy, 1)
        with held(path):
            await asked(busy, 300)
        assert log.stat().st_size > 6 * MIB
        await asked(busy, 150)
        highest = log.stat().st_size
        for _ in range(5):
            await asked(busy, 150)
        assert log.stat().st_size <= highest + MIB  # what there is of it is written over
    assert not log.exists() or log.stat().st_size == 0
    async with organism(path, idle=0.01) as quiet:
        with held(path):
            await asked(quiet, 100)
        await came_to(lambda: log.stat().st_size == 0)


async def test_nobody_waits_while_a_reader_keeps_the_log_from_being_folded(tmp_path: Path) -> None:
    async with organism(tmp_path / "state.db", idle=0.001) as quiet:
        await asked(quiet, 1)
        with held(tmp_path / "state.db"):
            async with asyncio.timeout(10):  # SQLite's own patience with a reader is two seconds, each time
                for _ in range(20):
                    await asked(quiet, 1)
                    await asyncio.sleep(0.01)


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_ten_times_more_than_there_is_room_for_is_answered_in_constant_memory(tmp_path: Path) -> None:
    most = 50
    async with organism(tmp_path / "state.db", idle=0.5, most=most) as busy:
        highest = 0

        async def one(n: int) -> None:
            nonlocal highest
            assert await busy.ask("helper", Question("x" * n)) == Answer(str(n))
            highest = max(highest, busy.status().in_flight)

        async def wave() -> None:
            await asyncio.gather(*(one(n) for n in range(1000, 1000 + 10 * most)))

        await wave()
        tracemalloc.start()
        try:
            await wave()
            (before, _), waves = tracemalloc.get_traced_memory(), max(4, int(100 * SCALE))
            for _ in range(waves):
                await wave()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < MIB
        assert 0 < highest <= most
        await came_to(lambda: at_rest(busy))
    with closing(looked_at(tmp_path / "state.db")) as journal:
        assert journal.execute("SELECT count(*) FROM open").fetchone() == (0,)
        answered = "SELECT count(*) FROM conversations WHERE ended IS NOT NULL"
        assert journal.execute(answered).fetchone() == ((waves + 2) * 10 * most,)
