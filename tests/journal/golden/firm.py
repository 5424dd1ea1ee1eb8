"""The organism of the golden journals. What it does has to stay: journals of every format were written by it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.journal.test_answers import Model
from xml_pipeline import Gathered, HandlerMetadata, HandlerResponse, Keep, Organism, once, xmlify
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.llm import Router, complete
from xml_pipeline.pump import listener


@xmlify
@dataclass
class Order:
    number: int


@xmlify
@dataclass
class Task:
    text: str


@xmlify
@dataclass
class Done:
    text: str


class Firm:
    """Everything that a journal may hold: calls, gathers, states, memories, people, models, parts, dead letters.

    Attributes:
        closed: whether the shop waits for ever.
        charged: how often the till charged.
        model: what the shop asks.
    """

    def __init__(self, *, closed: bool) -> None:
        self.closed = closed
        self.charged = 0
        self.model = Model()

    async def desk(
        self, payload: Order | Gathered | Done, metadata: HandlerMetadata, state: Task | None
    ) -> Any:
        respond, call = HandlerResponse.respond, HandlerResponse
        if isinstance(payload, Order):
            calls = [call(Task(f"{name} {payload.number}"), to=name) for name in ("till", "shop", "boss")]
            return Keep(Task(f"order {payload.number}"), HandlerResponse.gather(calls, timeout=3600))
        assert isinstance(payload, Gathered)
        told = ", ".join(getattr(each, "text", repr(each)) for each in payload.answers)
        before = [entry.text for entry in metadata.recall(Task)]
        done = Done(f"{state and state.text}: {told}; before: {before}")
        return respond(done, remember=Task(f"{state and state.text}"))

    async def till(self, payload: Task, metadata: HandlerMetadata) -> Any:
        return HandlerResponse.respond(Done(await once("charge", self.charge)))

    async def charge(self) -> str:
        self.charged += 1
        return f"charged {self.charged}"

    async def shop(self, payload: Task, metadata: HandlerMetadata) -> Any:
        answer = (await complete("m", payload.text)).content
        part = await once("wrap", self.charge)
        if self.closed and payload.text != "shop 1":
            await asyncio.Event().wait()
        return HandlerResponse.respond(Done(f"{answer} {part}"))

    async def thief(self, payload: Task, metadata: HandlerMetadata) -> Any:
        raise RuntimeError("caught")

    def organism(self, path: Path) -> Organism:
        return Organism(
            "golden",
            [
                listener("desk", self.desk, peers=["till", "shop", "boss"]),
                listener("till", self.till, effects="once"),
                listener("shop", self.shop),
                listener("boss", None, human=True, accepts=[Task]),
                listener("thief", self.thief),
            ],
            journal=SqliteJournal(path),
            router=Router([self.model], retries=0),
            shutdown_seconds=0,
        )
