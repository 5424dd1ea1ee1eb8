"""What `complete()` adds to one bare POST of the same HTTP client, beside what others cost, in the same run.

All ask the same stub server (its own process), so CPU seconds are the client's alone. Medians of several rounds.
"""

from __future__ import annotations

import asyncio
import importlib.util
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.llm_stub import CHUNKS, stub_server
from benchmarks.table import table
from xml_pipeline.llm import Router, TextDelta
from xml_pipeline.llm.backend import PROVIDER_CLASSES

IN_FLIGHT = (1, 16, 256)
CALLS = 1500
ROUNDS = 5
MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "What is the capital of France?"},
]
BODY = {"model": "stub", "messages": MESSAGES}

Call = Callable[[], Awaitable[Any]]


def router(url: str) -> Router:
    backend = PROVIDER_CLASSES["openai-compatible"](base_url=url, api_key="stub", max_concurrent=1024)
    return Router([backend])


async def measure(call: Call, in_flight: int, calls: int) -> tuple[float, float]:
    """(CPU, wall) microseconds per call with so many in flight."""

    async def work(number: int) -> None:
        for _ in range(number):
            await call()

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work(calls // in_flight) for _ in range(in_flight)))
    done = calls // in_flight * in_flight
    return (time.process_time() - cpu) / done * 1e6, (time.perf_counter() - wall) / done * 1e6


async def contenders(url: str) -> tuple[dict[str, Call], list[Callable[[], Awaitable[Any]]]]:
    """What is compared, and how to close it."""
    ours = router(url)
    await ours.complete("stub", MESSAGES)
    endpoint = ours._endpoints["openai-compatible"]
    client = await endpoint.client()

    async def bare() -> None:
        response = await client.post(
            f"{url}/chat/completions", json=BODY, headers={"Authorization": "Bearer stub"}
        )
        response.json()

    async def complete() -> None:
        await ours.complete("stub", MESSAGES)

    calls: dict[str, Call] = {"bare POST, same client": bare, "complete()": complete}
    closers: list[Callable[[], Awaitable[Any]]] = [ours.aclose]
    if importlib.util.find_spec("openai"):
        import openai

        sdk = openai.AsyncOpenAI(base_url=url, api_key="stub", max_retries=0)

        async def ask_openai() -> None:
            await sdk.chat.completions.create(model="stub", messages=MESSAGES)  # type: ignore[arg-type]  # dicts

        calls["openai SDK"] = ask_openai
        closers.append(sdk.close)
    if importlib.util.find_spec("litellm"):
        import litellm

        litellm.suppress_debug_info = True
        parameters = {"model": "openai/stub", "api_base": url, "api_key": "stub"}
        theirs = litellm.Router([{"model_name": "stub", "litellm_params": parameters}], num_retries=3)

        async def ask_litellm() -> None:
            await theirs.acompletion("stub", MESSAGES)

        calls["litellm Router"] = ask_litellm
    return calls, closers


async def overhead(url: str) -> None:
    calls, closers = await contenders(url)
    rows = []
    for in_flight in IN_FLIGHT:
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
        for round_number in range(ROUNDS + 1):
            for name, call in calls.items():
                slow = name in ("openai SDK", "litellm Router")
                number = max(in_flight, CALLS // 5 if slow else CALLS)
                result = await measure(call, in_flight, number)
                if round_number:  # the first one warms up
                    results[name].append(result)
        base = statistics.median(cpu for cpu, _ in results["bare POST, same client"])
        for name, measured in results.items():
            cpu = statistics.median(cpu for cpu, _ in measured)
            wall = statistics.median(wall for _, wall in measured)
            rows.append((in_flight, name, f"{cpu:.0f}", f"{cpu - base:+.0f}", f"{wall:.0f}"))
    table(
        "One call to a model: client CPU and wall, µs a call",
        ("in flight", "client", "CPU", "CPU over the bare POST", "wall"),
        rows,
    )
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

        contestants["openai SDK"] = ask_openai
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
    with stub_server() as url:
        asyncio.run(overhead(url))
        asyncio.run(streaming(url))


if __name__ == "__main__":
    main()
