"""The limiter under saturation: how much of a limit is used, whether it is ever passed, how long a large call waits.

Ten minutes of virtual time, 60 workers that never pause, answers of 100 tokens although `max_tokens` is 2,000.
Beside it: the same limiter when it reserves `max_tokens` for every call, as most do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.table import table
from xml_pipeline.llm.accounting.estimate import Estimator
from xml_pipeline.llm.limits.rate_limiter import RateLimiter
from xml_pipeline.testing import run_in_virtual_time

MINUTES = 10
TPM = 60_000
PROMPT, OUTPUT, MAX_TOKENS = 100, 100, 2_000  # tokens
LATENCY = 2.0  # seconds of one answer
WORKERS = 60
LARGE = 30_000  # tokens of the large call


@dataclass
class Result:
    used: int
    worst_minute: int
    large_wait: float


def worst_minute(log: list[tuple[float, int]]) -> int:
    most = start = total = 0
    for at, tokens in log:
        total += tokens
        while log[start][0] <= at - 60 + 1e-6:
            total -= log[start][1]
            start += 1
        most = max(most, total)
    return most


async def saturate(ask: Callable[[int, list[tuple[float, int]]], Awaitable[None]]) -> Result:
    loop = asyncio.get_running_loop()
    log: list[tuple[float, int]] = []
    waited = float("inf")

    async def work() -> None:
        while loop.time() < MINUTES * 60:
            await ask(0, log)

    async def large() -> None:
        nonlocal waited
        await asyncio.sleep(90)
        started = loop.time()
        await ask(LARGE, log)
        waited = loop.time() - started - LATENCY

    tasks = [asyncio.create_task(work()) for _ in range(WORKERS)]
    big = asyncio.create_task(large())
    await asyncio.sleep(MINUTES * 60)
    for task in (*tasks, big):
        task.cancel()
    await asyncio.gather(*tasks, big, return_exceptions=True)
    inside = sorted(one for one in log if one[0] < MINUTES * 60)
    return Result(sum(tokens for _, tokens in inside), worst_minute(inside), waited)


async def gate(learn: bool) -> Result:
    limiter = RateLimiter(max_concurrent=50, tokens_per_minute=TPM)
    estimator, loop = Estimator(), asyncio.get_running_loop()

    async def ask(extra: int, log: list[tuple[float, int]]) -> None:
        output = estimator.output_tokens(MAX_TOKENS) if learn else MAX_TOKENS
        with await limiter.acquire(PROMPT + extra + output) as permit:
            log.append((loop.time(), PROMPT + extra + OUTPUT))
            await asyncio.sleep(LATENCY)
            permit.settle(PROMPT + extra + OUTPUT)
            estimator.observe(0, PROMPT, OUTPUT)

    return await saturate(ask)


def main() -> None:
    rows = []
    for name, learn in (("reserves what answers use", True), ("reserves max_tokens", False)):
        cpu = time.process_time()
        result = run_in_virtual_time(gate(learn))
        cpu = time.process_time() - cpu
        rows.append(
            (
                name,
                f"{result.used / TPM / MINUTES:.1%}",
                f"{result.worst_minute / TPM:.1%}",
                "never" if result.large_wait == float("inf") else f"{result.large_wait:.0f} s",
                f"{cpu * 1e6 / (result.used / (PROMPT + OUTPUT)):.0f} µs",
            )
        )
    table(
        f"{TPM:,} tokens a minute, {MINUTES} saturated minutes, max_tokens 20 × the true output",
        ("limiter", "of the limit used", "worst minute", f"a call of {LARGE:,} tokens waited", "CPU a call"),
        rows,
    )


if __name__ == "__main__":
    main()
