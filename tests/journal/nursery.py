"""Gives birth to organisms that are to die: `python -m tests.journal.nursery FOLDER DISK`, a life for each line.

A line is a JSON object: `failpoint` (`append`, `durable`, `handler`, `returned`, `statement`) and `nth` say where
the life ends by its own hand, or what else happens there (`does`: `fill` the disk, `bar` the process from writing,
`forbid` it, or `stop`); `poison` is another scene; `synchronous` and `idle` are the journal's; `signals` are sent
from outside, each after so many milliseconds. How it ended is a line of stdout: the exit code, negative for a
signal, also for one that stopped it; the next line may then have signals for the `same` life. `ballast` fills the
disk or makes room again, and is answered with 0, as is `wipe`, which deletes all. All is imported before, so a
birth is a fork.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tests.journal import poison
from tests.pump.scenes import Answer, Go, Note, Question, call, gather, respond
from xml_pipeline import Gathered, HandlerMetadata, Keep, Organism
from xml_pipeline.cli.crash_life import Doomed, Fate
from xml_pipeline.errors import JournalError
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import listener

KEYS = [f"order-{n}" for n in range(8)]
REFUSED = 3  # how a life ends whose journal can take nothing


def fill(disk: Path) -> None:
    """Leave no room on a disk."""
    ballast = os.open(disk / "ballast", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (4096, 1):
        try:
            while True:
                os.write(ballast, bytes(size))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    os.close(ballast)


def bar(disk: Path) -> None:
    """From now on the journal can be read and not be written, as on a disk that was found to be broken."""
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            file = each.readlink()
            if file.parent == disk and file.name in ("state.db", "state.db-wal"):
                os.dup2(os.open(file, os.O_RDONLY), int(each.name))


def forbid(disk: Path) -> None:
    """Take away the permission to write the journal, and what is beside it."""
    for each in (*disk.iterdir(), disk):
        each.chmod(0o500 if each == disk else 0o400)


class Trouble(Fate):
    """Something that happens at a place, and is no death."""

    def __init__(self, place: str, nth: int, does: Callable[[], None]) -> None:
        super().__init__(place, nth)
        self.does = does

    def at(self, place: str) -> None:
        if place == self.place and self.counts[place] == self.nth:
            self.place = ""
            self.does()
        super().at(place)


class Watched(Doomed):
    """A journal with a place to die in before each of its statements, too."""

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


async def live(folder: Path, disk: Path, fate: Fate, **options: Any) -> int:
    """Ask for everything, and write down what came."""
    journal = Watched(disk / "state.db", fate, **options)
    try:
        async with Firm(folder, fate).organism(journal) as organism:
            session = organism.session(id="customer")
            answers = await asyncio.gather(
                *(session.ask("front", Go(n), key=key) for n, key in enumerate(KEYS)),
            )
    except JournalError as error:
        (folder / "refusal").write_text(str(error))
        return REFUSED
    (folder / "answers").write_text(json.dumps([answer.text for answer in answers]))
    return 0


def forked(doing: Callable[[], Coroutine[Any, Any, int | None]]) -> int:
    """The process of a new life."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        code = asyncio.run(doing()) or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    os._exit(code)


def scene(folder: Path, disk: Path, order: dict[str, Any]) -> Coroutine[Any, Any, int]:
    """What a life does."""
    place, nth, does = order.get("failpoint", ""), order.get("nth", 0), order.get("does", "")
    troubles = {
        "fill": lambda: fill(disk),
        "bar": lambda: bar(disk),
        "forbid": lambda: forbid(disk),
        "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    }
    fate = Trouble(place, nth, troubles[does]) if does else Fate(place, nth)
    options = {"synchronous": order.get("synchronous", "normal"), "idle": order.get("idle", 0.01)}
    if "poison" in order:
        return poison.live(folder, disk, fate, order["poison"], **options)
    return live(folder, disk, fate, **options)


def ended(child: int, signals: list[tuple[float, int]]) -> int:
    """How a life ended, or by which signal it was stopped."""

    def send(number: int) -> None:
        with suppress(ProcessLookupError):  # it came to its end just now
            os.kill(child, number)

    timers = [threading.Timer(after / 1000, send, (number,)) for after, number in signals]
    for timer in timers:
        timer.start()
    _, status = os.waitpid(child, os.WUNTRACED)
    for timer in timers:
        timer.cancel()
        timer.join()
    return -os.WSTOPSIG(status) if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)


def lives(live: Callable[[dict[str, Any], Fate], Coroutine[Any, Any, None]]) -> None:
    """Live once for each order on stdin, in a process that may be killed after so many `milliseconds`."""
    for line in sys.stdin:
        order = json.loads(line)
        fate = Fate(order.get("failpoint", ""), order.get("nth", 0))
        signals = [(order["milliseconds"], signal.SIGKILL)] if "milliseconds" in order else []
        print(ended(forked(partial(live, order, fate)), signals), flush=True)


def main() -> None:
    folder, disk = map(Path, sys.argv[1:])
    child = 0
    for line in sys.stdin:
        order = json.loads(line)
        if "ballast" in order:
            fill(disk) if order["ballast"] else (disk / "ballast").unlink(missing_ok=True)
            print(0, flush=True)
            continue
        if "wipe" in order:
            for file in {*folder.rglob("*"), *disk.rglob("*")}:
                if file.is_file():
                    file.unlink()
            print(0, flush=True)
            continue
        if "same" not in order:
            child = forked(partial(scene, folder, disk, order))
        print(ended(child, order.get("signals", [])), flush=True)


if __name__ == "__main__":
    main()
