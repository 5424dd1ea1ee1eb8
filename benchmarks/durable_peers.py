"""A durable hop beside those of DBOS on SQLite, LangGraph with `durability="sync"`, and huey, in one run.

Each hands a text of 400 bytes on, so many times in so many conversations at once, and has it in its SQLite file
before it goes on. Each is measured in a process of its own. What a hop is differs: ours is a validated message
between two listeners with the sender's step; DBOS stores the output of a step, LangGraph the whole state, huey a
task in its queue, which is gone when it runs.

Peers are measured when they are installed:
`pip install dbos langgraph langgraph-checkpoint-sqlite huey`.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.table import table

CONVERSATIONS = 100
HOPS = 20
ROUNDS = 3
NOTE = "x" * 400

CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "xml-pipeline, synchronous: normal": ("xml_pipeline", "", {"synchronous": "normal"}),
    "xml-pipeline, synchronous: full": ("xml_pipeline", "", {"synchronous": "full"}),
    "DBOS workflow, SQLite": ("dbos", "durable_dbos", {}),
    "LangGraph, AsyncSqliteSaver, sync": ("langgraph.checkpoint.sqlite", "durable_langgraph", {}),
    "huey, SQLite, fsync": ("huey", "durable_huey", {"fsync": True}),
    "huey, SQLite, no fsync": ("huey", "durable_huey", {"fsync": False}),
}


def _ours(path: Path, synchronous: Any) -> tuple[float, float]:
    from benchmarks.hop import ball, court
    from xml_pipeline.journal.sqlite import SqliteJournal

    async def play() -> tuple[float, float]:
        async with court(SqliteJournal(path, synchronous=synchronous)) as organism:
            await organism.ask("ping", ball(1, len(NOTE)))
            start, began = time.process_time(), time.perf_counter()
            asked = (organism.ask("ping", ball(HOPS - 2, len(NOTE))) for _ in range(CONVERSATIONS))
            await asyncio.gather(*asked)
            return time.perf_counter() - began, time.process_time() - start

    return asyncio.run(play())


def _case(name: str) -> tuple[float, float]:
    _, module, options = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state.db")
        if not module:
            return _ours(path, **options)
        measure = importlib.import_module(f"benchmarks.{module}").measure
        found: tuple[float, float] = measure(path, CONVERSATIONS, HOPS, NOTE, **options)
        return found


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] == "case":
        print(json.dumps(_case(sys.argv[2])))
        return
    names = [name for name, (package, _, _) in CASES.items() if _installed(package)]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name in names:  # in turn: what else the machine does hits all alike
            command = [sys.executable, "-m", "benchmarks.durable_peers", "case", name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name].append(tuple(json.loads(done.stdout.splitlines()[-1])))
    hops, rows = CONVERSATIONS * HOPS, []
    ours = statistics.median(spent for _, spent in found[names[0]])
    for name in names:
        took, spent = (statistics.median(each[column] for each in found[name]) for column in range(2))
        rows.append([name, f"{hops / took:,.0f}", f"{spent / hops * 1e6:,.0f}", f"{spent / ours:.1f}"])
    header = ["what", "hops a second", "CPU µs a hop", "over ours"]
    table(f"A durable hop of peers, {CONVERSATIONS} conversations at once", header, rows)


if __name__ == "__main__":
    main()
