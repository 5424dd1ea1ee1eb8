"""What `complete()` adds to one bare POST of the same HTTP client, beside what others cost, in the same run.

All ask the same stub server (its own process), so CPU seconds are the client's alone. The bare POST and `complete()`
use one aiohttp session, so one pool; the second baseline is httpx over aiohttp's pool, which a backend with I/O of
its own gets. Every measurement finds its connections open; what is compared runs in turn, round by round.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from httpx_aiohttp import AiohttpTransport

from benchmarks.llm_stub import CHUNKS, stub_server
from benchmarks.table import table
from xml_pipeline.journal.ledger_file import LedgerFile
from xml_pipeline.llm import PROVIDER_CLASSES, Router, TextDelta

IN_FLIGHT = (1, 16, 256)
CALLS = 1600  # of a fast client in one round; an eighth of it for the slow ones
ROUNDS = 5
BARE, HTTPX, OURS = "bare POST, same client", "bare POST, httpx over aiohttp", "complete()"
WRITTEN = "complete(), with a ledger"
OPENAI, LITELLM = "openai SDK", "litellm Router"
SLOW = (OPENAI, LITELLM)
MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "What is the capital of France?"},
]
BODY = {"model": "stub", "messages": MESSAGES}

Call = Callable[[], Awaitable[Any]]


def router(url: str, ledger: LedgerFile | None = None) -> Router:
    backend = PROVIDER_CLASSES["openai-compatible"](base_url=url, api_key="stub", max_concurrent=1024)
    return Router([backend], ledger=ledger)


async def measure(call: Call, in_flight: int, calls: int) -> tuple[float, float]:
    """(CPU, wall) microseconds per call with so many in flight, over connections that are open already."""

    async def work(number: int) -> None:
        for _ in range(number):
            await call()

    each = max(1, calls // in_flight)
    await asyncio.gather(*(call() for _ in range(in_flight)))
    gc.collect()
    gc.freeze()  # nobody pays for walking what the others have imported
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work(each) for _ in range(in_flight)))
    done = each * in_flight
    measured = (time.process_time() - cpu) / done * 1e6, (time.perf_counter() - wall) / done * 1e6
    gc.unfreeze()
    return measured


async def contenders(url: str) -> tuple[dict[str, Call], list[Callable[[], Awaitable[Any]]]]:
    """What is compared, and how to close it."""
    ours = router(url)
    await ours.complete("stub", MESSAGES)
    session = ours._endpoints["openai-compatible"].transport.client().session
    client = httpx.AsyncClient(transport=AiohttpTransport(limits=httpx.Limits(max_connections=1024)))
    address, headers = f"{url}/chat/completions", {"Authorization": "Bearer stub"}

    async def bare() -> None:
        async with session.post(address, json=BODY, headers=headers) as response:
            await response.json()

    async def bare_httpx() -> None:
        (await client.post(address, json=BODY, headers=headers)).json()

    async def complete() -> None:
        await ours.complete("stub", MESSAGES)

    folder = tempfile.TemporaryDirectory()
    written = router(url, LedgerFile(Path(folder.name) / "usage.db"))

    async def complete_written() -> None:
        await written.complete("stub", MESSAGES)

    async def clean() -> None:
        folder.cleanup()

    calls: dict[str, Call] = {BARE: bare, OURS: complete, WRITTEN: complete_written, HTTPX: bare_httpx}
    closers: list[Callable[[], Awaitable[Any]]] = [ours.aclose, written.aclose, clean, client.aclose]
    if importlib.util.find_spec("openai"):
        import openai

        sdk = openai.AsyncOpenAI(base_url=url, api_key="stub", max_retries=0)

        async def ask_openai() -> None:
            await sdk.chat.completions.create(model="stub", messages=MESSAGES)  # type: ignore[arg-type]  # dicts

        calls[OPENAI] = ask_openai
        closers.append(sdk.close)
    if importlib.util.find_spec("litellm"):
        calls[LITELLM] = litellm_router(url)
    return calls, closers


def litellm_router(url: str) -> Call:
    """LiteLLM's Router, from its local price list and without its log lines."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    litellm.suppress_debug_info = True
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.ERROR)
    parameters = {"model": "openai/stub", "api_base": url, "api_key": "stub"}
    theirs = litellm.Router([{"model_name": "stub", "litellm_params": parameters}], num_retries=3)

    async def ask() -> None:
        await theirs.acompletion("stub", MESSAGES)

    return ask


Results = dict[str, list[tuple[float, float]]]


async def rounds(calls: dict[str, Call], in_flight: int) -> Results:
    """Every contender in every round, in turning order; the first round only warms up."""
    results: Results = {name: [] for name in calls}
    for number in range(ROUNDS + 1):
        names = list(calls) if number % 2 else list(reversed(calls))
        for name in names:
            count = max(2 * in_flight, CALLS // 8) if name in SLOW else max(8 * in_flight, CALLS)
            result = await measure(calls[name], in_flight, count)
            if number:
                results[name].append(result)
    return results


async def overhead(url: str) -> None:
    calls, closers = await contenders(url)
    rows, ratios = [], []
    for in_flight in IN_FLIGHT:
        results = await rounds(calls, in_flight)
        bare = [cpu for cpu, _ in results[BARE]]
        for name, measured in results.items():
            cpus = [cpu for cpu, _ in measured]
            added = statistics.median(mine - its for mine, its in zip(cpus, bare, strict=True))
            wall = statistics.median(wall for _, wall in measured)
            share = added / statistics.median(bare)
            cells = (f"{statistics.median(cpus):.0f}", f"{added:+.0f}", f"{share:+.2f} ×", f"{wall:.0f}")
            rows.append((in_flight, name, *cells))
        if LITELLM in results:
            theirs, ours = (statistics.median(cpu for cpu, _ in results[name]) for name in (LITELLM, OURS))
            ratios.append((in_flight, f"{theirs / ours:.1f} ×"))
    table(
        f"One call to a model: client CPU and wall, µs a call (medians of {ROUNDS} rounds)",
        ("in flight", "client", "CPU", "CPU over the bare POST", "as a share", "wall"),
        rows,
    )
    if ratios:
        table("CPU of LiteLLM's Router beside complete()", ("in flight", "ratio"), ratios)
    for close in closers:
        await close()


async def streaming(url: str) -> None:
    ours = router(url)
    rows = []

    async def ask_ours() -> int:
        return sum([isinstance(event, TextDelta) async for event in ours.stream("stub", MESSAGES)])

    contestants: dict[str, Callable[[], Awaitable[int]]] = {"stream()": ask_ours}
    closers: list[Callable[[], Awaitable[Any]]] = [ours.aclose]
    if importlib.util.find_spec("openai"):
        import openai

        sdk = openai.AsyncOpenAI(base_url=url, api_key="stub", max_retries=0)

        async def ask_openai() -> int:
            chunks = await sdk.chat.completions.create(model="stub", messages=MESSAGES, stream=True)  # type: ignore[arg-type]  # dicts
            return sum([bool(chunk.choices and chunk.choices[0].delta.content) async for chunk in chunks])

        contestants[OPENAI] = ask_openai
        closers.append(sdk.close)
    for name, ask in contestants.items():
        rates = []
        for round_number in range(ROUNDS + 1):
            cpu = time.process_time()
            chunks = await ask()
            if round_number:
                rates.append(chunks / (time.process_time() - cpu))
        rows.append((name, f"{statistics.median(rates):,.0f}"))
    table(
        f"Streaming: chunks a second of client CPU (answers of {CHUNKS} chunks)", ("client", "chunks/s"), rows
    )
    for close in closers:
        await close()


def main() -> None:
    with stub_server() as url, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the others' own
        asyncio.run(overhead(url))
        asyncio.run(streaming(url))


if __name__ == "__main__":
    main()
