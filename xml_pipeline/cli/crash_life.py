"""One life of an organism in a crash test: `python -m xml_pipeline.cli.crash_life ORDER`, a process of its own.

The order is a JSON object. A life that comes to its end prints what happened in it; one that is to die does so by
its own hand, at the place and the time that the order says.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xml_pipeline import events
from xml_pipeline.config import load
from xml_pipeline.console.fill import accepted, fill
from xml_pipeline.errors import AnswerError, NoReply
from xml_pipeline.journal import Step
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.organism import Organism
from xml_pipeline.payload import codec_of

PLACES = ("handler", "append", "durable")
"""Before a handler is called; before what follows is written down; when it is, before it leaves."""


class Fate:
    """Counts how often a life came to each place, and ends it at one of them."""

    def __init__(self, place: str, nth: int) -> None:
        self.place = place
        self.nth = nth
        self.counts: Counter[str] = Counter()

    def at(self, place: str) -> None:
        if place == self.place and self.counts[place] == self.nth:
            os.kill(os.getpid(), signal.SIGKILL)
        self.counts[place] += 1


class Doomed(SqliteJournal):
    """A journal with places to die in; `options` are those of a `SqliteJournal`."""

    def __init__(self, path: Path, fate: Fate, **options: Any) -> None:
        super().__init__(path, **options)
        self.fate = fate

    def append(self, conversation_id: str, expected_seq: int, step: Step, done: Callable[[], None]) -> None:
        self.fate.at("append")

        def durable() -> None:
            self.fate.at("durable")
            done()

        super().append(conversation_id, expected_seq, step, durable)


async def _live(organism: Organism, order: dict[str, Any], fate: Fate) -> dict[str, Any]:
    calls: list[tuple[str, int]] = []

    def watch(event: events.Event) -> None:
        if isinstance(event, events.MessageDelivered) and event.to in organism.listeners:
            calls.append((event.to, event.attempt))
            fate.at("handler")

    organism.add_hook(watch)
    name = order["listener"]
    payload = fill(name, accepted(organism.listeners[name]), order["message"])
    async with organism:
        try:
            given = await organism.ask(name, payload, key="crash-test", timeout=order["timeout"])
            answer = codec_of(type(given)).encode(given).decode()
        except (AnswerError, NoReply) as error:
            answer = f"{type(error).__name__}: {error}"
    return {"answer": answer, "calls": calls, "counts": fate.counts}


def main() -> None:
    order = json.loads(sys.argv[1])
    config = load(order["file"], root=order["root"], llm=order["llm"])
    config = config.model_copy(update={"llm": config.llm.model_copy(update={"offline": True})})
    fate = Fate(order["place"], order["nth"])
    organism = Organism.from_config(config, journal=Doomed(Path(order["journal"]), fate))
    print(json.dumps(asyncio.run(_live(organism, order, fate))))


if __name__ == "__main__":
    main()
