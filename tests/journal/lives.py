"""Lives of one organism, one after the other, over the same journal file."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tests.pump.scenes import Answer, Go, Note, Question, call, gather, respond
from xml_pipeline import Gathered, HandlerMetadata, Keep, Organism, SystemError
from xml_pipeline.journal.file import opened
from xml_pipeline.journal.owner import Owner
from xml_pipeline.journal.space import fold
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import listener


def killed(path: Path) -> Path:
    """A journal as the death of its process would leave it now, under another name."""
    copy = path.with_name(f"after {path.name}")
    for end in ("", "-wal"):
        source = path.with_name(path.name + end)
        if source.exists():
            shutil.copy(source, copy.with_name(copy.name + end))
    return copy


@contextmanager
def written(path: Path) -> Iterator[sqlite3.Connection]:
    """The connection that writes, while nobody else has the journal."""
    owner = Owner(path)
    connection = opened(path, "full")
    try:
        yield connection
        fold(connection, path)
    finally:
        connection.close()
        owner.release()


class World:
    """What is outside of every life: what handlers did, and what holds them up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.idle = 5.0
        self.calls: list[tuple[str, str, int]] = []
        self.stuck: set[str] = set()
        self.later = 0.0  # seconds that passed for the journal beside those that passed
        self.jumped = 0.0  # seconds by which its clock was set
        self.keep: float | None = None

    def die(self) -> None:
        """From now on there is what is written down by now; the life that runs does nothing to it any more."""
        self.path = killed(self.path)

    def clock(self) -> float:
        return time.time() + self.later + self.jumped

    def elapsed(self) -> float:
        return time.monotonic() + self.later

    async def _called(self, metadata: HandlerMetadata, name: str, payload: Any) -> None:
        self.calls.append((name, type(payload).__name__, metadata.attempt))
        if name in self.stuck:
            await asyncio.Event().wait()

    async def top(
        self, payload: Go | Answer | Gathered | SystemError, metadata: HandlerMetadata, state: Note | None
    ) -> Any:
        await self._called(metadata, "top", payload)
        if isinstance(payload, Go):
            names = ["helper", "anna", "slow"]
            if payload.n >= 3:
                both = [call(Question(name), to=name) for name in names[: payload.n - 1]]
                return Keep(Note("gathers"), gather(both, timeout=30))
            return Keep(Note("calls"), call(Question("?"), to=names[payload.n]))
        if isinstance(payload, Gathered):
            texts = [getattr(each, "text", str(each)) for each in payload.answers]
            return respond(Answer(f"{state and state.text}: {', '.join(texts)}"))
        return respond(Answer(f"{state and state.text}: {getattr(payload, 'text', payload)}"))

    async def helper(self, payload: Question, metadata: HandlerMetadata) -> Any:
        await self._called(metadata, "helper", payload)
        return respond(Answer("helped"))

    async def slow(self, payload: Question, metadata: HandlerMetadata) -> Any:
        await self._called(metadata, "slow", payload)
        return respond(Answer("at last"))

    async def greeter(self, payload: Note, metadata: HandlerMetadata) -> Any:
        await self._called(metadata, "greeter", payload)
        before = [note.text for note in metadata.recall(Note)]
        return respond(Note("+".join([*before, payload.text])), remember=payload)

    def organism(self, **options: Any) -> Organism:
        organism = Organism(
            "world",
            [
                listener("top", self.top, peers=["helper", "anna", "slow"]),
                listener("helper", self.helper),
                listener("slow", self.slow),
                listener("greeter", self.greeter),
                listener("anna", None, human=True, accepts=[Question]),
            ],
            journal=SqliteJournal(
                self.path, keep=self.keep, clock=self.clock, elapsed=self.elapsed, idle=self.idle
            ),
            shutdown_seconds=options.pop("shutdown_seconds", 0.0),
            **options,
        )
        organism._pump.clock = self.clock
        return organism

    @asynccontextmanager
    async def life(self, **options: Any) -> AsyncIterator[Organism]:
        """An organism from its start to its stop, which suspends it."""
        async with self.organism(**options) as organism:
            yield organism
