"""Conversations that ended long ago are deleted, whole; nothing else is."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from tests.journal.lives import World
from tests.journal.test_recovery import came_to
from tests.pump.scenes import Answer, Go, Note, Question, respond
from xml_pipeline import HandlerMetadata, Organism, once
from xml_pipeline.errors import ConfigError, XmlPipelineError
from xml_pipeline.journal.file import looked_at
from xml_pipeline.journal.history import faults
from xml_pipeline.journal.retention import MOST
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import listener


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "state.db")
    world.keep = 3600.0
    return world


def counted(path: Path, *tables: str) -> list[int]:
    connection = looked_at(path)
    try:
        assert list(faults(connection)) == []
        return [connection.execute(f"SELECT count(*) FROM {each}").fetchone()[0] for each in tables]
    finally:
        connection.close()


async def a_later_life(world: World, seconds: float) -> None:
    world.later = seconds
    async with world.life():
        pass


async def test_what_ended_longer_ago_goes_with_all_its_steps(world: World) -> None:
    async with world.life() as organism:
        for _ in range(3):
            await organism.ask("top", Go(0))
    await a_later_life(world, 3500)
    assert counted(world.path, "conversations") == [3]
    await a_later_life(world, 3700)
    assert counted(world.path, "conversations", "steps", "open") == [0, 0, 0]


async def test_without_a_time_all_is_kept(world: World) -> None:
    world.keep = None
    async with world.life() as organism:
        await organism.ask("helper", Question("x"))
    await a_later_life(world, 1e9)
    assert counted(world.path, "conversations") == [1]


async def test_what_is_open_and_what_is_remembered_stays(world: World) -> None:
    async with world.life() as organism:
        await organism.send("top", Go(1))
        await organism.session(id="s").ask("greeter", Note("one"))
        await came_to(lambda: organism._pump.questions)
    await a_later_life(world, 1e8)
    assert counted(world.path, "conversations", "open", "memories") == [1, 1, 1]
    world.later = 1e8
    async with world.life() as organism:
        assert await organism.session(id="s").ask("greeter", Note("two")) == Note("one+two")
        await came_to(lambda: organism._pump.questions)
        (question,) = organism._pump.questions.values()
        assert question.listener == "anna"


async def test_a_dead_letter_holds_its_conversation(world: World) -> None:
    world.stuck = {"helper"}
    async with world.life() as organism:
        with pytest.raises(XmlPipelineError):
            await organism.ask("helper", Question("x"), timeout=0.05)
        await came_to(lambda: organism.dead_letters)
        world.stuck = set()
        await organism.ask("helper", Question("y"))
    assert counted(world.path, "conversations", "letters") == [2, 1]
    await a_later_life(world, 1e8)
    assert counted(world.path, "conversations", "letters") == [1, 1]


async def test_parts_and_answers_go_with_their_conversation(tmp_path: Path) -> None:
    async def part() -> int:
        return 7

    async def worker(payload: Question, metadata: HandlerMetadata) -> object:
        return respond(Answer(str(await once("part", part))))

    later = 0.0

    def organism() -> Organism:
        journal = SqliteJournal(tmp_path / "j.db", keep=10, clock=lambda: later)
        return Organism("x", [listener("worker", worker)], journal=journal, shutdown_seconds=0)

    async with organism() as one:
        await one.ask("worker", Question("x"))
    with sqlite3.connect(tmp_path / "j.db") as given:
        columns = (
            "(number, conversation, message, run, nth, threads, agent, backend, model, priced, began, prompt"
        )
        rest = "'m', 0, 0, '', '', '', '', '', 1.0, 1, 1"
        given.execute(f"INSERT INTO calls {columns}, output) SELECT 1, id, {rest} FROM conversations")
        given.execute(f"INSERT INTO calls {columns}, output) VALUES (2, 'another', {rest})")
        given.execute("INSERT INTO answers VALUES (1, x'', x'00'), (2, x'', x'00')")
    given.close()
    later = 1e11
    async with organism():
        pass
    assert counted(tmp_path / "j.db", "parts", "answers", "calls", "conversations") == [0, 1, 2, 0]


async def test_a_key_is_known_as_long_as_its_conversation_is_kept(world: World) -> None:
    for seconds, calls in ((0, 1), (3500, 1), (3700, 2)):
        await a_later_life(world, seconds)
        async with world.life() as organism:
            assert await organism.ask("helper", Question("x"), key="k") == Answer("helped")
        assert len(world.calls) == calls


async def test_many_go_in_small_batches_while_others_work(world: World) -> None:
    many = 3 * MOST + 7
    async with world.life() as organism:
        await asyncio.gather(*(organism.ask("helper", Question("x")) for _ in range(many)))
    world.later = 3700
    async with world.life() as organism:
        assert await organism.ask("helper", Question("y")) == Answer("helped")
        await came_to(
            lambda: counted(world.path, "conversations") <= [1]
        )  # the new one is as old by this clock
        assert await organism.ask("helper", Question("z")) == Answer("helped")
    assert counted(world.path, "letters") == [0]


async def test_it_goes_while_the_organism_is_never_idle(tmp_path: Path) -> None:
    later = [0.0]
    world = World(tmp_path / "state.db")
    journal = SqliteJournal(world.path, keep=1, clock=lambda: later[0], idle=0.02)
    listeners = list(world.organism().listeners.values())
    async with Organism("x", listeners, journal=journal, shutdown_seconds=0) as organism:
        await organism.ask("helper", Question("first"))
        later[0] = 1e12
        for _ in range(5000):
            await organism.ask("helper", Question("x"))
            if not began_first(journal):
                break
        else:
            pytest.fail("it is still there")


def began_first(journal: SqliteJournal) -> bool:
    connection = looked_at(journal.path)
    try:
        return bool(connection.execute("SELECT 1 FROM conversations WHERE number = 1").fetchall())
    finally:
        connection.close()


async def test_a_program_says_how_long_as_a_file_does(tmp_path: Path) -> None:
    organism = Organism.build("x", journal=tmp_path / "state.db", keep="12h")
    assert organism._pump._durable.keep == 43_200.0  # type: ignore[union-attr]
    for bad in ("soon", "0d", "7", "", 7, 7.0):
        with pytest.raises(ConfigError, match=r"keep is .*90s, 15m, 12h or 7d"):
            Organism.build("x", journal=tmp_path / "state.db", keep=bad)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="name its file"):
        Organism.build("x", keep="7d")
