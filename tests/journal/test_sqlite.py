"""The file, the thread that writes it, and what may be wrong with either."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.journal.lives import World
from tests.journal.test_recovery import came_to
from tests.pump.scenes import Answer, Note, Question
from xml_pipeline import AnswerError, Organism
from xml_pipeline.errors import ConfigError, JournalError, TaskFailed
from xml_pipeline.journal import Step
from xml_pipeline.journal.file import read_only
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import listener
from xml_pipeline.threads.record import Began, Handled, Over

BEGAN = Began("outside", "helper", "s", False, True)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state.db")


async def refused(path: Path) -> str:
    journal = SqliteJournal(path)
    with pytest.raises(JournalError) as error:
        await journal.start(lambda error: None)
    await journal.close()
    return str(error.value)


# --- files that are none ---


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE precious (x)")
    other.close()
    before = path.read_bytes()
    assert "a database of another program; name another file" in await refused(path)
    assert path.read_bytes() == before


async def test_a_format_that_this_version_does_not_know_is_refused(world: World) -> None:
    async with world.life():
        pass
    newer = sqlite3.connect(world.path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    assert "has format 99" in await refused(world.path)


async def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("These are my notes. " * 100)
    assert "cannot be used: file is not a database" in await refused(tmp_path / "text")
    (tmp_path / "folder").mkdir()
    assert "cannot be used" in await refused(tmp_path / "folder")
    (tmp_path / "file").write_text("")
    assert "cannot be used" in await refused(tmp_path / "file" / "below")


@pytest.mark.parametrize("bad", [5, "", b"x"])
def test_a_journal_is_named_by_a_path(bad: Any) -> None:
    with pytest.raises(ConfigError, match="journal is "):
        Organism.build(journal=bad)


async def test_an_organism_whose_journal_is_refused_is_closed(tmp_path: Path) -> None:
    organism = Organism.build(journal=tmp_path)
    with pytest.raises(JournalError):
        await organism.start()
    await organism.stop()
    assert not [each for each in threading.enumerate() if each.name == "xml-pipeline-journal"]


# --- the file ---


async def test_nobody_else_may_read_it(world: World) -> None:
    async with world.life() as organism:
        await organism.ask("helper", Question("x"))
        for file in world.path.parent.iterdir():
            mode = 0o700 if file.is_dir() else 0o600
            assert stat.S_IMODE(file.stat().st_mode) == mode, file


async def test_the_log_is_folded_into_the_database_when_nothing_happens(tmp_path: Path) -> None:
    world, log = World(tmp_path / "state.db"), tmp_path / "state.db-wal"
    organism = world.organism()
    assert isinstance(organism._pump._durable, SqliteJournal)
    organism._pump._durable._idle = 0.01
    async with organism:
        await organism.ask("helper", Question("x"))
        await came_to(lambda: log.stat().st_size == 0)
        await organism.ask("helper", Question("x"))
    assert not log.exists() or not log.stat().st_size


async def test_a_reader_that_holds_on_stops_nobody(world: World) -> None:
    async with world.life() as organism:
        await organism.ask("helper", Question("x"))
        reader = read_only(world.path)
        reader.execute("BEGIN")
        (before,) = reader.execute("SELECT count(*) FROM steps").fetchone()
        for _ in range(50):
            await organism.ask("helper", Question("x"))
        assert reader.execute("SELECT count(*) FROM steps").fetchone() == (before,)
        reader.close()
        with (
            closing(read_only(world.path)) as other,
            pytest.raises(sqlite3.OperationalError, match="readonly"),
        ):
            other.execute("DELETE FROM steps")


# --- the thread ---


async def opened(path: Path, failed: Callable[[BaseException], None] = lambda error: None) -> SqliteJournal:
    journal = SqliteJournal(path)
    await journal.start(failed)
    return journal


async def test_steps_become_durable_in_their_order(tmp_path: Path) -> None:
    journal = await opened(tmp_path / "j.db")
    told: list[int] = []
    every = asyncio.Event()

    def done(n: int) -> None:
        told.append(n)
        if n == 2999:
            every.set()

    for n in range(1000):
        name = f"c{n}"
        journal.append(name, 0, Step(name, 0, 1.0, [BEGAN]), lambda n=n: done(3 * n))  # type: ignore[misc]
        step = Step(name, 1, 2.0, [Handled("t", "m", "x"), Handled("t", "n", "x")])
        journal.append(name, 1, step, lambda n=n: done(3 * n + 1))  # type: ignore[misc]
        if n % 2:
            journal.append(name, 3, Step(name, 3, 3.0, [Over()]), lambda n=n: done(3 * n + 2))  # type: ignore[misc]
        else:
            journal.append(name, 3, Step(name, 3, 3.0, [Handled("t", "o", "x")]), lambda n=n: done(3 * n + 2))  # type: ignore[misc]
    await every.wait()
    assert told == list(range(3000))
    assert [step.seq for step in journal.steps("c7")] == [0, 1, 3]
    await journal.close()
    journal = SqliteJournal(tmp_path / "j.db")
    kept = await journal.start(lambda error: None)
    assert [each.id for each in kept.open] == [f"c{n}" for n in range(0, 1000, 2)]
    await journal.close()


async def test_steps_of_many_are_written_together(tmp_path: Path) -> None:
    world = World(tmp_path / "state.db")
    organism = world.organism()
    commits: list[str] = []

    class Watched(SqliteJournal):
        def _work(self, connection: sqlite3.Connection) -> None:
            connection.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
            super()._work(connection)

    organism._pump._journal = organism._pump._durable = None
    watched = Watched(world.path)
    organism = Organism("world", list(organism.listeners.values()), journal=watched)
    async with organism:
        await asyncio.gather(*(organism.ask("helper", Question("x")) for _ in range(300)))
    assert len(commits) < 300


async def test_an_append_with_another_number_is_refused_at_once(tmp_path: Path) -> None:
    journal = await opened(tmp_path / "j.db")
    with pytest.raises(JournalError, match="another number of events"):
        journal.append("c", 3, Step("c", 3, 1.0, [Handled("t", "m", "x")]), lambda: None)
    journal.append("c", 0, Step("c", 0, 1.0, [BEGAN]), lambda: None)
    with pytest.raises(JournalError, match="another number of events"):
        journal.append("c", 3, Step("c", 3, 1.0, [Handled("t", "m", "x")]), lambda: None)
    await journal.close()


class Full(SqliteJournal):
    """On a disk that is full until `room` is set."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.room = threading.Event()

    def _work(self, connection: Any) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 3}")
        super()._work(_Lifted(connection, self.room))  # type: ignore[arg-type]


class _Lifted:
    def __init__(self, connection: sqlite3.Connection, room: threading.Event) -> None:
        self._connection = connection
        self._room = room

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, text: str, *values: Any) -> Any:
        if text == "BEGIN IMMEDIATE" and self._room.is_set():
            self._connection.execute("PRAGMA max_page_count = 1000000")
        return self._connection.execute(text, *values)


async def test_on_a_full_disk_nothing_new_is_let_in_and_nothing_is_lost(world: World) -> None:
    journal = Full(world.path)
    organism = Organism("world", list(world.organism().listeners.values()), journal=journal)
    async with organism:
        asking = [asyncio.ensure_future(organism.ask("helper", Question("x" * 500))) for _ in range(100)]
        await came_to(lambda: journal.trouble)
        with pytest.raises(
            JournalError, match=r"cannot be written \(database or disk is full\); it is tried again"
        ):
            await organism.ask("helper", Question("one more"))
        accepted = [task for task in asking if not task.done() or task.exception() is None]
        assert any(not task.done() for task in accepted)
        journal.room.set()
        assert await asyncio.gather(*accepted) == [Answer("helped")] * len(accepted)
        assert await organism.ask("helper", Question("again")) == Answer("helped")


async def test_a_stop_on_a_full_disk_ends(world: World) -> None:
    journal = Full(world.path)
    organism = Organism(
        "world", list(world.organism().listeners.values()), journal=journal, shutdown_seconds=0.1
    )
    async with organism:
        asking = [asyncio.ensure_future(organism.ask("helper", Question("x" * 500))) for _ in range(100)]
        await came_to(lambda: journal.trouble)
    told = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(each, Answer | JournalError) or "stopped" in str(each) for each in told)


async def test_a_journal_that_fails_for_good_stops_the_organism_and_tells_all(world: World) -> None:
    world.stuck = {"slow"}
    async with world.life() as organism:
        waiting = asyncio.ensure_future(organism.ask("slow", Question("x")))
        await came_to(lambda: world.calls)
        vandal = sqlite3.connect(world.path)
        vandal.execute("DROP TABLE steps")
        vandal.close()
        with pytest.raises(JournalError, match="no such table"):
            await organism.ask("helper", Question("x"))
        with pytest.raises(JournalError, match="no such table"):
            await waiting
        with pytest.raises(JournalError, match="no such table"):
            await organism.send("greeter", Note("x"))


async def test_texts_that_cannot_be_written_are_written_as_well_as_they_can_be(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # pytest's own workers cannot write such a trace

    async def failing(payload: Question, metadata: object) -> None:
        raise RuntimeError("half of a \ud83d face")

    async def giving_up(payload: Question, metadata: object) -> None:
        raise TaskFailed("half", "of a \ud83d face")

    for _ in range(2):
        handlers = [listener("failing", failing), listener("giving-up", giving_up)]
        async with Organism("x", handlers, journal=SqliteJournal(world.path)) as organism:
            for name in ("failing", "giving-up"):
                with pytest.raises(AnswerError):
                    await organism.ask(name, Question("x"), key=name)
                await organism.send(name, Question("nobody waits"), key=f"{name} 2")
            await came_to(lambda: not organism.threads())
    with closing(read_only(world.path)) as reader:
        assert reader.execute("SELECT count(*) FROM open").fetchone() == (0,)


async def test_one_process_at_a_time_by_whatever_name_it_calls_the_file(world: World) -> None:
    async with world.life() as organism:
        link, folder = world.path.with_name("link.db"), world.path.parent / "folder"
        link.symlink_to(world.path)
        folder.symlink_to(world.path.parent)
        for name in (link, folder / world.path.name, folder / link.name):
            assert "in use by process" in await refused(name)
        assert await organism.ask("helper", Question("x")) == Answer("helped")


async def test_a_second_organism_of_the_same_process_does_not_let_go_its_locks(world: World) -> None:
    async with world.life() as organism:
        await organism.ask("helper", Question("x"))
        await refused(world.path)
        other = "c = __import__('sqlite3').connect('state.db', timeout=0); c.execute('PRAGMA journal_mode=DELETE')"
        stranger = await asyncio.create_subprocess_exec(
            sys.executable, "-c", other, cwd=world.path.parent, stderr=asyncio.subprocess.PIPE
        )
        _, told = await stranger.communicate()
        assert b"database is locked" in told
        assert await organism.ask("helper", Question("x")) == Answer("helped")
