"""An organism to talk to, and a screen that keeps what it shows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from xml_pipeline import HandlerMetadata, HandlerResponse, Organism, SystemError, xmlify
from xml_pipeline.agents.contract import Answer, Task
from xml_pipeline.events import TextGenerated
from xml_pipeline.pump import Surroundings
from xml_pipeline.terminal import Line, plain


@xmlify
@dataclass
class Greeting:
    """Somebody to greet."""

    name: str


@xmlify
@dataclass
class Shout:
    """A loud text."""

    text: str


@xmlify
@dataclass
class AddPayload:
    """Two integers to add."""

    a: int
    b: int


@xmlify
@dataclass
class Sum:
    """What came out."""

    value: int


@xmlify
@dataclass
class Order:
    """Something to buy."""

    item: str
    quantity: Annotated[int, Field(ge=1)] = 1
    tags: list[str] | None = None


@xmlify
@dataclass
class Refund:
    """Something to give back."""

    number: int
    reason: str


@xmlify
@dataclass
class Ping:
    """Are you there?"""


@xmlify
@dataclass
class Verdict:
    """A person's decision."""

    decision: Literal["yes", "no"]


@xmlify
@dataclass
class Wanted:
    """Something that somebody has to allow."""

    what: str


class Slow:
    """Answers when it is let, or when it is called again, and tells when it was called and cancelled."""

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.go = asyncio.Event()
        self.cancelled = 0

    async def __call__(self, payload: Task, metadata: HandlerMetadata) -> HandlerResponse:
        self.called.set()
        try:
            if metadata.attempt == 1:
                await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return HandlerResponse.respond(Answer(payload.text))


class Writer:
    """An agent that writes its answer in pieces, as one with a model does; `|` in its task divides them."""

    def __init__(self) -> None:
        self.go: asyncio.Queue[None] = asyncio.Queue()

    def attach(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings

    async def __call__(self, payload: Task, metadata: HandlerMetadata) -> HandlerResponse:
        for piece in payload.text.split("|"):
            await self.go.get()
            self._surroundings.emit(
                TextGenerated(metadata.conversation_id, metadata.thread_id, "writer", piece)
            )
        return HandlerResponse.respond(Answer(payload.text.replace("|", "")))


class Typist:
    """An agent that writes without end; called again, it answers."""

    def attach(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings

    async def __call__(self, payload: Task, metadata: HandlerMetadata) -> HandlerResponse:
        while metadata.attempt == 1:
            await asyncio.sleep(0.01)
            self._surroundings.emit(
                TextGenerated(metadata.conversation_id, metadata.thread_id, "typist", f"{payload.text} ")
            )
        return HandlerResponse.respond(Answer(f"{payload.text}, at last"))


async def stubborn(payload: Task, metadata: HandlerMetadata) -> HandlerResponse:
    """Blocks the event loop, for ever."""
    while metadata.attempt == 1:
        pass
    return HandlerResponse.respond(Answer(payload.text))


async def greeter(payload: Greeting, metadata: HandlerMetadata) -> HandlerResponse:
    """Greets.

    And shouts.
    """
    return HandlerResponse(Shout(f"Hello, {payload.name}!"), to="shouter")


async def shouter(payload: Shout, metadata: HandlerMetadata) -> HandlerResponse:
    return HandlerResponse.respond(Shout(payload.text.upper()))


async def add(payload: AddPayload, metadata: HandlerMetadata) -> HandlerResponse:
    """Adds."""
    return HandlerResponse.respond(Sum(payload.a + payload.b))


async def shop(payload: Order | Refund | Ping | SystemError, metadata: HandlerMetadata) -> HandlerResponse:
    return HandlerResponse.respond(payload)


async def broken(payload: Task, metadata: HandlerMetadata) -> HandlerResponse:
    raise ValueError("the secret of the house")


async def silent(payload: Task, metadata: HandlerMetadata) -> None:
    return None


async def asker(payload: Wanted | Verdict, metadata: HandlerMetadata) -> HandlerResponse:
    if isinstance(payload, Wanted):
        return HandlerResponse(Task(f"May I {payload.what}?"), to="boss")
    return HandlerResponse.respond(Answer(f"the boss says {payload.decision}"))


async def counter(payload: Ping, metadata: HandlerMetadata) -> HandlerResponse:
    """Which session this is."""
    return HandlerResponse.respond(Answer(metadata.session_id))


async def diary(payload: Task, metadata: HandlerMetadata) -> HandlerResponse:
    """All that it was ever told."""
    texts = [each.text for each in metadata.recall(Task)]
    return HandlerResponse.respond(Answer(", ".join([*texts, payload.text])), remember=payload)


def build(slow: Slow | None = None, writer: Writer | None = None, **options: Any) -> Organism:
    organism = Organism.build(name="house", **{"default": "greeter", "shutdown_seconds": 0.0, **options})
    organism.listener(greeter, peers=["shouter"])
    organism.listener(shouter)
    organism.listener(add, name="calculator.add")
    for handler in (shop, broken, silent, counter, stubborn, diary):
        organism.listener(handler)
    organism.listener(asker, peers=["boss"])
    organism.human("boss", accepts=[Task], answers=[Verdict, Answer], description="Decides.")
    organism.listener(slow or Slow(), name="slow")
    organism.listener(writer or Writer(), name="writer", agent=True, peers=["calculator.add"])
    organism.listener(Typist(), name="typist", agent=True)
    return organism


class Paper:
    """A screen that keeps what is shown."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.errors: list[str] = []
        self.notes: list[str] = []
        self.growing = ""
        self.changed = asyncio.Event()

    def show(self, lines: Iterable[Line]) -> None:
        self._add(self.rows, lines)

    def complain(self, lines: Iterable[Line]) -> None:
        self._add(self.errors, lines)

    def note(self, lines: Iterable[Line]) -> None:
        self._add(self.notes, lines)

    def _add(self, rows: list[str], lines: Iterable[Line]) -> None:
        rows.extend(map(plain, lines))
        self.changed.set()

    def live(self, text: Line) -> None:
        self.growing = plain(text)
        self.changed.set()

    async def until(self, text: str) -> None:
        """Wait until it says so somewhere."""
        while not any(text in row for row in (*self.rows, *self.errors, *self.notes, self.growing)):
            self.changed.clear()
            await self.changed.wait()
