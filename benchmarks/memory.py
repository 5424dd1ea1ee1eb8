"""Resident memory: idle, after many messages, and under ten times more messages than an organism takes at once.

Linux only (reads /proc). Each figure is from a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from pathlib import Path

from benchmarks.table import table

CASES = {
    "idle organism": 0,
    "after 10⁵ messages": 100_000,
    "after 10⁶ messages": 1_000_000,
    "peak, 1,000 × max_in_flight=100": -1_000,
    "peak, 10,000 × max_in_flight=100": -10_000,
}


def resident(field: str = "VmRSS") -> float:
    """Megabytes of this process, by a field of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field} in /proc/self/status")


async def _run(messages: int) -> float:
    from benchmarks.hop import ball, court

    async with court() as organism:
        if messages < 0:
            return await _overload(-messages)
        batch = 100
        for _ in range(messages // (batch * 10)):
            await asyncio.gather(*(organism.ask("ping", ball(8, 400)) for _ in range(batch)))
        gc.collect()
        return resident()


async def _overload(messages: int) -> float:
    """`messages` of 100 KB each, sent as fast as the organism takes them, which is 100 at once."""
    from benchmarks.hop import Ball, ball
    from xml_pipeline import HandlerMetadata, HandlerResponse, Organism

    organism = Organism.build("full", max_in_flight=100)

    @organism.listener
    async def slow(payload: Ball, metadata: HandlerMetadata) -> HandlerResponse:
        await asyncio.sleep(0.01)
        return HandlerResponse.respond(payload)

    async with organism:
        for number in range(messages):
            await organism.send("slow", ball(number, 100_000))
    return resident("VmHWM")


def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] == "case":
        print(asyncio.run(_run(int(sys.argv[2]))))
        return
    rows = []
    for label, messages in CASES.items():
        command = [sys.executable, "-m", "benchmarks.memory", "case", str(messages)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append([label, f"{float(done.stdout):.1f}"])
    table("Resident memory", ["when", "MB"], rows)


if __name__ == "__main__":
    main()
