"""A hop whose message is written down before it goes on, beside the same hop in memory; and how fast a start is.

CPU is of the process; of it, that of the thread that writes is told beside. What is compared takes turns. Seconds are
wall time, so they count what the disk takes: `synchronous: full` waits for it with each commit, and shares a commit
among all that wait. A start folds conversations that wait for a person, after some hops each.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import Literal

from benchmarks.hop import Ball, ball, court
from benchmarks.table import table
from xml_pipeline import HandlerMetadata, HandlerResponse, Organism
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import ConversationLimits

CONVERSATIONS = (1, 100, 1_000)
HOPS = 10_000
SIZE = 400
ROUNDS = 5
ASLEEP = 2_000
HOPS_EACH = 10

_Kind = Literal["normal", "full"]


async def _hops(conversations: int, total: int, journal: SqliteJournal | None) -> tuple[float, float, float]:
    """Hops a second, and CPU microseconds a hop: all, and those of the thread that writes."""
    each = max(8, total // conversations)
    async with court(journal) as organism:
        start, own, began = time.process_time(), time.thread_time(), time.perf_counter()
        await asyncio.gather(*(organism.ask("ping", ball(each, SIZE)) for _ in range(conversations)))
        own, spent = time.thread_time() - own, time.process_time() - start
        took = time.perf_counter() - began
    hops = (each + 2) * conversations
    return hops / took, spent / hops * 1e6, max(0.0, spent - own) / hops * 1e6


def _measured(conversations: int, kind: _Kind | None) -> tuple[float, float, float]:
    total = HOPS // 10 if kind and conversations == 1 else HOPS
    with tempfile.TemporaryDirectory() as folder:
        journal = None if kind is None else SqliteJournal(Path(folder, "state.db"), synchronous=kind)
        return asyncio.run(_hops(conversations, total, journal))


def _umpired(path: Path) -> Organism:
    """Players who ask the umpire in the end, a person."""
    limits = ConversationLimits(handovers=10**9)
    organism = Organism.build("court", journal=path, max_in_flight=20_000, limits=limits)
    organism.human("umpire", accepts=Ball)

    @organism.listener(hands_over_to=["player", "umpire"])
    async def player(payload: Ball, metadata: HandlerMetadata) -> HandlerResponse:
        ahead = Ball(payload.left - 1, "a", 1.5, True, payload.note)
        return HandlerResponse.delegate(ahead, to="player" if payload.left > 1 else "umpire")

    return organism


async def _recovery(path: Path) -> tuple[float, float, float]:
    """Seconds until newcomers are let in, until all are back, and events a second."""
    async with _umpired(path) as organism:
        await asyncio.gather(*(organism.send("player", ball(HOPS_EACH, SIZE)) for _ in range(ASLEEP)))
        while len(organism.questions()) < ASLEEP:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
    connection = sqlite3.connect(path)
    (events,) = connection.execute("SELECT sum(size) FROM steps").fetchone()
    connection.close()
    began = time.perf_counter()
    async with _umpired(path) as organism:
        await organism.send("umpire", ball(1, SIZE))
        ready = time.perf_counter() - began
        for question in organism.questions():
            organism._pump.wake(question.conversation_id)
        took = time.perf_counter() - began
    return ready, took, events / took


def main() -> None:
    kinds: dict[str, _Kind | None] = {
        "none": None,
        "synchronous: normal": "normal",
        "synchronous: full": "full",
    }
    rows = []
    for conversations in CONVERSATIONS:
        rounds = [[_measured(conversations, kind) for kind in kinds.values()] for _ in range(ROUNDS)]
        for number, label in enumerate(kinds):
            rate, cost, writing = (statistics.median(each[number][k] for each in rounds) for k in range(3))
            ratio = statistics.median(each[number][1] / each[0][1] for each in rounds)
            figures = (f"{rate:,.0f}", f"{cost:.1f}", f"{writing:.1f}", f"{ratio:.2f}")
            rows.append([f"{conversations:,}", label, *figures])
    header = [
        "conversations",
        "journal",
        "hops a second",
        "CPU µs a hop",
        "thread that writes",
        "over memory",
    ]
    table("One durable hop, 1 KB", header, rows)

    found = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            found.append(asyncio.run(_recovery(Path(folder, "state.db"))))
    ready, took, rate = (statistics.median(each[column] for each in found) for column in range(3))
    table(
        f"A start on {ASLEEP:,} conversations that wait for a person",
        ["newcomers after ms", "all back after s", "events a second"],
        [[f"{ready * 1000:.0f}", f"{took:.2f}", f"{rate:,.0f}"]],
    )


if __name__ == "__main__":
    main()
