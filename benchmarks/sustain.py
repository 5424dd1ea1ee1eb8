"""A journaled organism under load for long: its memory, the log beside the file, what becomes of all that is asked.

First as fast as it goes, with 1,000 conversations at once; then at 80 % of that, for ten minutes; then ten times as
many senders as it lets in, for a minute. Conversations that ended a minute ago are deleted, so the file is bounded
too. In the end each question has its answer, and the journal holds no open conversation. Linux only (reads /proc).

`python -m benchmarks.sustain MINUTES` for another time.
"""

from __future__ import annotations

import asyncio
import gc
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from benchmarks.hop import Ball, ball
from benchmarks.memory import resident
from benchmarks.table import table
from xml_pipeline import HandlerMetadata, HandlerResponse, Organism
from xml_pipeline.journal.file import read_only
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import ConversationLimits, PumpSettings

T = TypeVar("T")

MINUTES = 10.0
TOP_SECONDS = 20.0
OVERLOAD_SECONDS = 60.0
SHARE = 0.8
AT_ONCE = 1_000
HOPS = 12  # of a conversation, with its beginning and its end
TICK = 0.02  # seconds between two handfuls of newcomers
KEEP = 60.0


def _court(journal: SqliteJournal) -> Organism:
    settings = PumpSettings(max_in_flight=AT_ONCE)
    organism = Organism(
        "court", limits=ConversationLimits(handovers=10**9), settings=settings, journal=journal
    )

    @organism.listener(hands_over_to=["player"])
    async def player(payload: Ball, metadata: HandlerMetadata) -> HandlerResponse:
        if payload.left <= 0:
            return HandlerResponse.respond(payload)
        return HandlerResponse.delegate(Ball(payload.left - 1, "a", 1.5, True, payload.note), to="player")

    return organism


class Load:
    """Asks, and counts what comes of it.

    Args:
        organism: is asked.
        path: of its journal.
    """

    def __init__(self, organism: Organism, path: Path) -> None:
        self.organism, self.path = organism, path
        self.log = path.with_name(path.name + "-wal")
        self.asked = self.answered = self.held_back = 0
        self.largest = 0.0  # the log, in MB, since the last row
        self.took: list[float] = []  # by each conversation since the last row
        self.rows: list[list[str]] = []

    async def one(self) -> None:
        """One conversation."""
        self.asked += 1
        began = time.perf_counter()
        await self.organism.ask("player", ball(HOPS - 2, 400))
        self.took.append(time.perf_counter() - began)
        self.answered += 1

    async def senders(self, many: int, seconds: float) -> float:
        """So many, each asking again and again; conversations a second."""
        before, began = self.answered, time.perf_counter()

        async def sender() -> None:
            while time.perf_counter() - began < seconds:
                await self.one()

        await asyncio.gather(*(sender() for _ in range(many)))
        return (self.answered - before) / (time.perf_counter() - began)

    async def paced(self, rate: float, seconds: float) -> None:
        """So many conversations a second, whatever becomes of them."""
        began, started = time.perf_counter(), 0
        running: set[asyncio.Task[None]] = set()
        while (passed := time.perf_counter() - began) < seconds:
            due = int(passed * rate) - started
            started += due
            room = max(0, 2 * AT_ONCE - len(running))
            self.held_back += max(0, due - room)
            for _ in range(min(due, room)):
                task = asyncio.ensure_future(self.one())
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.sleep(TICK)
        await asyncio.gather(*running)

    async def watch(self, label: str, every: float) -> None:
        """A row each so many seconds, until it is cancelled."""
        before, since = self.answered, time.perf_counter()
        while True:
            await asyncio.sleep(0.05)
            if self.log.exists():
                self.largest = max(self.largest, self.log.stat().st_size / 2**20)
            if (passed := time.perf_counter() - since) >= every:
                self.row(label, (self.answered - before) / passed)
                before, since = self.answered, time.perf_counter()

    def row(self, label: str, rate: float) -> None:
        """What there is to see now."""
        gc.collect()
        took = sorted(self.took) or [0.0]
        self.rows.append(
            [
                label,
                f"{rate * HOPS:,.0f}",
                f"{statistics.median(took) * 1000:.0f}",
                f"{took[int(len(took) * 0.99)] * 1000:.0f}",
                f"{resident('VmRSS'):.1f}",
                f"{self.largest:.1f}",
                f"{self.path.stat().st_size / 2**20:,.0f}",
            ]
        )
        print(*self.rows[-1], file=sys.stderr, flush=True)
        self.largest, self.took = 0.0, []


async def _phase(load: Load, label: str, every: float, work: Awaitable[T]) -> T:
    watch = asyncio.ensure_future(load.watch(label, every))
    try:
        return await work
    finally:
        watch.cancel()


async def _run(path: Path, minutes: float) -> Load:
    async with _court(SqliteJournal(path, keep=KEEP)) as organism:
        load = Load(organism, path)
        top = await _phase(load, "", math.inf, load.senders(AT_ONCE, TOP_SECONDS))
        load.row("as fast as it goes", top)
        await _phase(load, f"{SHARE:.0%} of that", 60.0, load.paced(top * SHARE, minutes * 60 + 2.0))
        every = OVERLOAD_SECONDS / 4
        await _phase(load, "10 times too many", every, load.senders(10 * AT_ONCE, OVERLOAD_SECONDS))
    return load


def main(minutes: float = MINUTES) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state.db")
        load = asyncio.run(_run(path, minutes))
        connection = read_only(path)
        ((still_open,),) = connection.execute("SELECT count(*) FROM open")
        ((letters,),) = connection.execute("SELECT count(*) FROM letters")
        connection.close()
    header = ["load", "hops a second", "median ms", "p99 ms", "resident MB", "largest log MB", "file MB"]
    table(f"A journaled organism for {minutes:g} minutes", header, load.rows)
    print(
        f"{load.asked:,} asked, {load.answered:,} answered; {load.held_back:,} not begun because 2,000 were not done"
        f" yet; {still_open} open and {letters} dead letters in the journal\n"
    )


if __name__ == "__main__":
    main(*(float(each) for each in sys.argv[1:]))
