"""Organisms from YAML that run: handlers to name in it, and what is asked of them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from tests.emulators import Emulator
from xml_pipeline import Organism
from xml_pipeline.agents import Task
from xml_pipeline.config import load
from xml_pipeline.errors import LLMError
from xml_pipeline.testing import run_in_virtual_time

Section: TypeAlias = dict[str, Any]

HANDLERS = '''
import asyncio, os
from dataclasses import dataclass
from xml_pipeline import BudgetExceededError, HandlerResponse, complete, xmlify

@xmlify
@dataclass
class Word:
    """A word."""
    text: str = ""

@xmlify
@dataclass
class Other:
    """Another class."""
    text: str = ""

log = []
running = 0
most = 0

async def echo(payload: Word, metadata):
    """Says it again."""
    log.append(payload.text)
    return HandlerResponse.respond(payload)

async def crash(payload: Word, metadata):
    log.append(payload.text)
    raise ValueError("as it does")

async def slow(payload: Word, metadata):
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(10)
    running -= 1
    return HandlerResponse.respond(payload)

async def diary(payload: Word, metadata):
    before = [word.text for word in metadata.recall(Word)]
    return HandlerResponse.respond(Word(" ".join([*before, payload.text])), remember=payload)

async def call_echo(payload: Word, metadata):
    if metadata.from_id == "echo":
        return HandlerResponse.respond(payload)
    return HandlerResponse(payload, to="echo")

async def front(payload: Word, metadata):
    return HandlerResponse.delegate(payload, to="echo")

async def hands_on(payload: Word, metadata):
    return HandlerResponse.delegate(payload, to="hands_on")

async def again(payload: Word, metadata):
    return HandlerResponse(payload, to="again")

async def round1(payload: Word, metadata):
    return HandlerResponse(payload, to="round2")

async def round2(payload: Word, metadata):
    return HandlerResponse(payload, to="round3")

async def round3(payload: Word, metadata):
    return HandlerResponse(payload, to="round1")

async def to_all(payload: Word, metadata):
    if metadata.from_id != "outside":
        return HandlerResponse.respond(payload)
    return HandlerResponse(payload)

async def anything(payload, metadata):
    return HandlerResponse.respond(payload)

async def who(payload: Word, metadata):
    return HandlerResponse.respond(Word(f"{metadata.own_name}"))

def where(payload: Word, metadata):
    return HandlerResponse.respond(Word(str(os.getpid())))

async def never(payload: Word, metadata):
    await asyncio.Event().wait()

async def think(payload: Word, metadata):
    try:
        return HandlerResponse.respond(Word((await complete("m", payload.text)).content))
    except BudgetExceededError as error:
        return HandlerResponse.respond(Word(f"{error.scope}: {error.limit:g} {error.unit} per {error.period}"))
'''


class Project:
    """A directory with an organism.yaml and the handlers above."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "words.py").write_text(HANDLERS)

    def organism(
        self,
        *listeners: Section,
        llm: Section | None = None,
        environ: dict[str, str] | None = None,
        payloads: Section | None = None,
        defaults: Section | None = None,
        triggers: list[Section] | None = None,
        **organism: Any,
    ) -> Organism:
        """What becomes of these sections of an organism.yaml."""
        document: Section = {"organism": {"name": "demo", **organism}, "listeners": list(listeners)}
        if llm is not None:
            document["llm"] = llm
        if payloads is not None:
            document["payloads"] = payloads
        if defaults is not None:
            document["defaults"] = defaults
        if triggers is not None:
            document["triggers"] = triggers
        file = self.folder / "organism.yaml"
        file.write_text(yaml.safe_dump(document))
        self.config = load(file, environ=environ or {})
        return Organism.from_config(self.config)

    @property
    def module(self) -> Any:
        """The handlers' module, as the organism imported it."""
        handler = self.config.resolved[self.config.listeners[0].handler or ""]
        return sys.modules[handler.__module__]

    def word(self, organism: Organism, text: str = "", name: str = "Word") -> Any:
        codec = next(
            codec
            for each in organism.listeners.values()
            for root, codec in each.accepts.items()
            if root == name
        )
        return codec.cls(text)


def tool(name: str, handler: str | None = None, **keys: Any) -> Section:
    """A listener with a handler of the project."""
    return {"name": name, "handler": f"words:{handler or name}", **keys}


def agent(name: str = "bot", **keys: Any) -> Section:
    """The built-in agent."""
    return {"name": name, "agent": True, "description": "A bot.", "model": "m", **keys}


def scripted(name: str = "a", **keys: Any) -> Section:
    """A backend that needs no network."""
    return {"provider": "scripted", "name": name, **keys}


def llm(*rules: Section, **keys: Any) -> Section:
    """A section with one scripted backend, which answers `plain` when no rule is given."""
    return {"backends": [scripted(rules=list(rules) or [{"reply": "plain"}])], "retries": 0, **keys}


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return run_in_virtual_time(main)


def ask(organism: Organism, to: str, payload: Any, **options: Any) -> Any:
    """The answer of an organism that is started for it and stopped after it."""

    async def main() -> Any:
        async with organism:
            return await organism.ask(to, payload, **options)

    return run(main())


def ask_at_door(organism: Organism, door: str, caller: str, payload: Any) -> Any:
    """The answer to somebody who comes through a door of an organism that is started for it."""

    async def main() -> Any:
        async with organism:
            return await organism.doors.visitor(door, caller).ask(payload)

    return run(main())


def chat(organism: Organism, *texts: str) -> None:
    """One session with the agent `bot`."""

    async def main() -> None:
        async with organism, organism.session() as session:
            for text in texts:
                await session.ask("bot", Task(text))

    run(main())


def most_at_once(project: Project, organism: Organism, *names: str) -> int:
    """How many of six calls of each ran at once."""

    async def main() -> None:
        async with organism:
            word = project.word(organism)
            await asyncio.gather(*(organism.ask(name, word) for name in names for _ in range(6)))

    run(main())
    return int(project.module.most)


async def outcome(organism: Organism, text: str = "hi", model: str = "m", **options: Any) -> Any:
    """The response of the organism's router, or the error."""
    try:
        return await organism.router.complete(model, text, **options)
    except LLMError as error:
        return error


def completed(organism: Organism, *texts: str, **options: Any) -> Any:
    """Outcome of a call (of several: a list of them), in virtual time."""

    async def main() -> Any:
        async with organism:
            found = [await outcome(organism, text, **options) for text in texts or ("hi",)]
        return found if texts else found[0]

    return run(main())


def seconds(organism: Organism, calls: int = 1, **options: Any) -> float:
    """How long so many calls at once take in virtual time."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with organism:
            started = loop.time()
            await asyncio.gather(*(outcome(organism, **options) for _ in range(calls)))
            return loop.time() - started

    return float(run(main()))


def streamed(organism: Organism, text: str = "hi", model: str = "m") -> tuple[list[Any], str]:
    """The pieces of a streamed answer in virtual time, and how it failed, or ""."""
    pieces: list[Any] = []

    async def main() -> str:
        async with organism:
            try:
                async for piece in organism.router.stream(model, text):
                    pieces.append(piece)
            except LLMError as error:
                return str(error)
            return ""

    return pieces, run(main())


def with_server(server: Emulator, main: Callable[[], Awaitable[Any]]) -> Any:
    """Run `main` while the provider serves on loopback."""

    async def served() -> Any:
        async with server:
            return await main()

    return asyncio.run(served())


def requests(organism: Organism) -> list[Any]:
    """What the first backend, a scripted one, was asked."""
    backend: Any = next(iter(organism.router.backends.values()))
    return list(backend.requests)


def text_of(request: Any) -> str:
    return "\n".join(str(message) for message in request.messages)
