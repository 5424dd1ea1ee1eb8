"""Gives birth to organisms that are to die: `python -m tests.journal.nursery FOLDER`, a life for each line of stdin.

A line is a JSON object: `failpoint` (`append`, `durable`, `handler`, `returned`, `statement`) and `nth` say where the
life ends by its own hand; `milliseconds` say when it is killed from outside. For each life the way it ended is a line
of stdout: the exit code, negative for a signal. Everything is imported before, so a birth is a fork.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.pump.scenes import Answer, Go, Note, Question, call, gather, respond
from xml_pipeline import Gathered, HandlerMetadata, Keep, Organism
from xml_pipeline.cli.crash_life import Doomed, Fate
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import listener

KEYS = [f"order-{n}" for n in range(8)]


class Watched(Doomed):
    """A journal with a place to die in before each of its statements, too."""

    def __init__(self, path: Path, fate: Fate) -> None:
        super().__init__(path, fate, idle=0.01)

    def _work(self, connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(lambda statement: self.fate.at("statement"))
        super()._work(connection)


class Firm:
    """Handlers that write into a file what they do."""

    def __init__(self, folder: Path, fate: Fate) -> None:
        self.fate = fate
        self.diary = os.open(folder / "diary", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, what: str, metadata: HandlerMetadata) -> None:
        os.write(self.diary, f"{what} {metadata.message_id} {metadata.attempt}\n".encode())

    async def front(
        self, payload: Go | Gathered | Answer, metadata: HandlerMetadata, state: Note | None
    ) -> Any:
        self.fate.at("handler")
        self.note(f"front-{type(payload).__name__}", metadata)
        if isinstance(payload, Go):
            calls = [call(Question(f"{payload.n}.{part}"), to="worker") for part in range(3)]
            return Keep(Note(str(payload.n)), gather(calls, timeout=600))
        assert state is not None
        if isinstance(payload, Gathered):
            texts = "+".join(each.text for each in payload.answers)
            return Keep(Note(f"{state.text}: {texts}"), call(Question("seal"), to="worker"))
        self.fate.at("returned")
        return respond(Answer(f"{state.text} {payload.text}"), remember=Note(state.text))

    async def worker(self, payload: Question, metadata: HandlerMetadata) -> Any:
        self.fate.at("handler")
        self.note("worker", metadata)
        await asyncio.sleep(0)
        self.fate.at("returned")
        return respond(Answer(payload.text.upper()))

    def organism(self, journal: SqliteJournal) -> Organism:
        front = listener("front", self.front, peers=["worker"])
        return Organism("firm", [front, listener("worker", self.worker)], journal=journal, shutdown_seconds=0)


def expected(n: int) -> Answer:
    return Answer(f"{n}: {n}.0+{n}.1+{n}.2 SEAL")


async def live(folder: Path, fate: Fate) -> None:
    """Ask for everything, and write down what came."""
    async with Firm(folder, fate).organism(Watched(folder / "state.db", fate)) as organism:
        session = organism.session(id="customer")
        answers = await asyncio.gather(
            *(session.ask("front", Go(n), key=key) for n, key in enumerate(KEYS)),
        )
    (folder / "answers").write_text(json.dumps([answer.text for answer in answers]))


def _kill(child: int) -> None:
    with suppress(ProcessLookupError):  # it came to its end just now
        os.kill(child, signal.SIGKILL)


def lives(live: Callable[[dict[str, Any], Fate], Coroutine[Any, Any, None]]) -> None:
    """Live once for each order on stdin, in a process that may be killed."""
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            try:
                asyncio.run(live(order, Fate(order.get("failpoint", ""), order.get("nth", 0))))
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        killer = None
        if "milliseconds" in order:
            killer = threading.Timer(order["milliseconds"] / 1000, _kill, (child,))
            killer.start()
        _, status = os.waitpid(child, 0)
        if killer is not None:
            killer.cancel()
            killer.join()
        print(os.waitstatus_to_exitcode(status), flush=True)


def main() -> None:
    lives(lambda order, fate: live(Path(sys.argv[1]), fate))


if __name__ == "__main__":
    main()
