"""The same rally as steps of DBOS workflows, on its SQLite system database: each step's output is stored."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from dbos import DBOS


@DBOS.step()
async def hit(left: int, note: str) -> tuple[int, str]:
    return left - 1, note


@DBOS.workflow()
async def rally(left: int, note: str) -> int:
    while left > 0:
        left, note = await hit(left, note)
    return left


async def _play(conversations: int, hops: int, note: str) -> None:
    await asyncio.gather(*(rally(hops, note) for _ in range(conversations)))


async def _measured(conversations: int, hops: int, note: str) -> tuple[float, float]:
    await _play(1, 1, note)
    start, began = time.process_time(), time.perf_counter()
    await _play(conversations, hops, note)
    return time.perf_counter() - began, time.process_time() - start


def measure(path: Path, conversations: int, hops: int, note: str) -> tuple[float, float]:
    """Seconds of wall time, and of CPU."""
    DBOS(config={"name": "rally", "system_database_url": f"sqlite:///{path}", "log_level": "ERROR"})
    DBOS.launch()
    try:
        return asyncio.run(_measured(conversations, hops, note))
    finally:
        DBOS.destroy()
