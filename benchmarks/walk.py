"""How far one call walks: Python calls made in our own files, and the number of these files.

Calls are what `sys.setprofile` reports as such: resumed coroutines and generated methods (a dataclass's) included;
files are those that hold a function which was called. Everything is warm, and the HTTP server on loopback is real.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

from benchmarks.llm_stub import stub_server
from benchmarks.table import table
from xml_pipeline.llm import PROVIDER_CLASSES, Budget, Budgets, Router, complete, use_router

PACKAGE = "xml_pipeline"
MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "What is the capital of France?"},
]

Walk = Counter[tuple[str, str]]
"""(module or "" for generated code, function) → calls"""


async def walk(call: Callable[[], Awaitable[Any]]) -> Walk:
    """The calls in our own files that one `call` makes, when others have gone before it."""
    found: Walk = Counter()

    def count(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").partition(".")[0] == PACKAGE:
            written = frame.f_code.co_filename != "<string>"  # else a dataclass's generated method
            found[(frame.f_globals["__name__"] if written else "", frame.f_code.co_qualname)] += 1

    for _ in range(3):
        await call()
    sys.setprofile(count)
    try:
        await call()
    finally:
        sys.setprofile(None)
    return found


async def one_completion() -> Walk:
    """One `complete()` of the default kind: no tools, no budgets, no limits a minute."""
    with stub_server() as url:
        backend = PROVIDER_CLASSES["openai-compatible"](base_url=url, api_key="stub")
        async with Router([backend]) as router:
            with use_router(router):
                return await walk(lambda: complete("stub", MESSAGES))


async def everything_on() -> Walk:
    """The same with a price, a budget, limits a minute and an observer."""
    with stub_server() as url:
        backend = PROVIDER_CLASSES["openai"](
            base_url=url, api_key="stub", rate_limit_tpm=10**9, rate_limit_rpm=10**6
        )
        budgets = Budgets(organism=[Budget(tokens=10**9, usd=1000.0)])
        async with Router([backend], budgets=budgets, on_event=lambda event: None) as router:
            with use_router(router):
                return await walk(lambda: complete("gpt-4o", MESSAGES, agent_id="researcher"))


WALKS: dict[str, Callable[[], Awaitable[Walk]]] = {
    "complete()": one_completion,
    "complete() with price, budgets, limits and observer": everything_on,
}


def main() -> None:
    rows = []
    for name, made in WALKS.items():
        found = asyncio.run(made())  # type: ignore[arg-type]  # every one is a coroutine function
        rows.append((name, sum(found.values()), len({file for file, _ in found if file})))
        if "-v" in sys.argv:
            for (file, function), calls in sorted(found.items()):
                print(f"{calls:4} {file}:{function}")
    table("One call's way: Python calls in our own files", ("call", "calls", "files"), rows)


if __name__ == "__main__":
    main()
