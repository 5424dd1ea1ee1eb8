"""How far one call walks: Python calls made in our own files, and the number of these files.

Calls are what `sys.setprofile` reports as such: resumed coroutines and generated methods (a dataclass's) included;
files are those that hold a function which was called. Everything is warm, and the HTTP server on loopback is real.
`tests/test_walk.py` holds docs/architecture.md and the goals against these walks.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeAlias

from benchmarks.llm_stub import stub_server
from benchmarks.table import table
from xml_pipeline import HandlerMetadata, HandlerResponse, Organism, xmlify
from xml_pipeline.llm import PROVIDER_CLASSES, Budget, Budgets, Router, complete, use_router

PACKAGE = "xml_pipeline"
MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "What is the capital of France?"},
]

Walk: TypeAlias = list[tuple[str, str]]
"""(module or "" for generated code, function) of each call, in order"""


@xmlify
@dataclass
class Task:
    """What is asked."""

    number: int


@xmlify
@dataclass
class Result:
    """What is answered."""

    number: int


async def walk(call: Callable[[], Awaitable[Any]]) -> Walk:
    """The calls in our own files that one `call` makes, when others have gone before it."""
    found: Walk = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").partition(".")[0] == PACKAGE:
            written = frame.f_code.co_filename != "<string>"  # else a dataclass's generated method
            found.append((frame.f_globals["__name__"] if written else "", frame.f_code.co_qualname))

    for _ in range(3):
        await call()
    sys.setprofile(note)
    try:
        await call()
    finally:
        sys.setprofile(None)
    return found


def length(found: Walk) -> tuple[int, int]:
    """Calls and files of a walk."""
    return len(found), len({file for file, _ in found if file})


async def worker(payload: Task, metadata: HandlerMetadata) -> HandlerResponse:
    """Answers."""
    return HandlerResponse.respond(Result(payload.number))


async def boss(payload: Task | Result, metadata: HandlerMetadata) -> HandlerResponse:
    """Asks the worker, and answers what that answers."""
    if isinstance(payload, Task):
        return HandlerResponse(payload, to="worker")
    return HandlerResponse.respond(payload)


async def asked(name: str) -> Walk:
    """An `ask` of one of the two above."""
    organism = Organism.build()
    organism.listener(worker)
    organism.listener(boss, peers=["worker"])
    async with organism:
        return await walk(lambda: organism.ask(name, Task(1)))


async def one_ask() -> Walk:
    """An `ask` and its answer."""
    return await asked("worker")


async def one_call() -> Walk:
    """The same, where the listener calls a peer first."""
    return await asked("boss")


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


WALKS: dict[str, Callable[[], Coroutine[Any, Any, Walk]]] = {
    "ask and its answer": one_ask,
    "ask and its answer, with a call of a peer and its answer in between": one_call,
    "complete()": one_completion,
    "complete() with price, budgets, limits and observer": everything_on,
}


def main() -> None:
    rows = []
    for name, made in WALKS.items():
        found = asyncio.run(made())
        rows.append((name, *length(found)))
        if "-v" in sys.argv:
            print(name)
            for file, function in found:
                print(f"    {file}:{function}")
    table("One call's way: Python calls in our own files", ("call", "calls", "files"), rows)


if __name__ == "__main__":
    main()
