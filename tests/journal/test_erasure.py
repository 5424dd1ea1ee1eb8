"""What was said in a conversation is taken out of the file; that it took place stays, and the digests hold."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.journal.lives import World, written
from tests.journal.test_recovery import came_to
from tests.pump.scenes import Answer, Go, Note, Question, call, respond
from xml_pipeline import HandlerMetadata, Keep, Organism, once
from xml_pipeline.errors import JournalError
from xml_pipeline.journal.erasure import erase
from xml_pipeline.journal.file import looked_at, read_only
from xml_pipeline.journal.history import Wanted, conversations, faults, happenings
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import listener

SECRET = "secret 4711"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state.db")


def ids(path: Path) -> list[str]:
    connection = looked_at(path)
    try:
        return [each.id for each in conversations(connection, Wanted()).values()]
    finally:
        connection.close()


def told(path: Path) -> list[str]:
    connection = looked_at(path)
    try:
        return list(faults(connection))
    finally:
        connection.close()


def hidden(path: Path) -> bool:
    return not any(SECRET.encode() in each.read_bytes() for each in path.parent.iterdir() if each.is_file())


async def test_messages_states_memories_and_parts_go_and_the_structure_stays(tmp_path: Path) -> None:
    path = tmp_path / "j.db"

    async def part() -> str:
        return f"part {SECRET}"

    async def top(payload: Question | Answer, metadata: HandlerMetadata, state: Note | None) -> Any:
        if isinstance(payload, Question):
            return Keep(Note(f"state {SECRET}"), call(Question(f"inner {SECRET}"), to="low"))
        await once("part", part)
        return respond(Answer(SECRET), remember=Note(f"entry {SECRET}"))

    async def low(payload: Question, metadata: HandlerMetadata) -> Any:
        return respond(Answer(f"low {SECRET}"))

    listeners = [listener("top", top, peers=["low"]), listener("low", low)]
    async with Organism("x", listeners, journal=SqliteJournal(path), shutdown_seconds=0) as organism:
        await organism.session(id="s").ask("top", Question(SECRET))
    assert not hidden(path)
    (name,) = ids(path)
    journal = looked_at(path)
    before = [(each.at, each.what, each.from_id, each.to, each.name) for each in happenings(journal, name)]
    journal.close()
    with written(path) as writer:
        writer.execute(
            "INSERT INTO calls (number, conversation, message, run, nth, threads, agent, backend, model, priced,"
            " began, prompt, output) VALUES (1, ?, 'm', 0, 0, '', '', '', '', '', 1.0, 1, 1)",
            (name,),
        )
        writer.execute("INSERT INTO answers VALUES (1, x'', ?)", (SECRET.encode(),))
    with written(path) as writer:
        erase(writer, name)
    assert hidden(path)
    assert told(path) == []
    journal = looked_at(path)
    after = [each for each in happenings(journal, name) if each.what != "model"]
    assert [(each.at, each.what, each.from_id, each.to, each.name) for each in after] == before
    assert {each.content for each in after} == {"(erased)"}
    assert journal.execute("SELECT count(*), sum(length(value)) FROM parts").fetchall() == [(1, 0)]
    journal.close()


async def test_what_a_session_remembers_of_others_stays(world: World) -> None:
    async with world.life() as organism:
        for text in ("one", SECRET, "three"):
            await organism.session(id="s").ask("greeter", Note(text))
    with written(world.path) as journal:
        erase(journal, ids(world.path)[1])
        erase(journal, ids(world.path)[2])
    assert hidden(world.path)
    async with world.life() as organism:
        assert await organism.session(id="s").ask("greeter", Note("four")) == Note("one+four")
        assert await organism.session(id="s").ask("greeter", Note("five")) == Note("one+four+five")
    assert told(world.path) == []


async def test_a_session_of_the_same_name_keeps_what_it_remembers(world: World) -> None:
    async with world.life() as organism:
        async with organism.session(id="s") as session:
            await session.ask("greeter", Note("old"))
        organism.session(id="s").close()
        await organism.session(id="s").ask("greeter", Note("new"))
    with written(world.path) as journal:
        erase(journal, ids(world.path)[0])
    async with world.life() as organism:
        assert await organism.session(id="s").ask("greeter", Note("x")) == Note("new+x")


async def test_what_is_open_or_unknown_is_not_erased(world: World) -> None:
    async with world.life() as organism:
        await organism.send("top", Go(1))
        await came_to(lambda: organism._pump.questions)
    (name,) = ids(world.path)
    with written(world.path) as journal:
        with pytest.raises(JournalError, match="is not over"):
            erase(journal, name)
        with pytest.raises(JournalError, match="there is no conversation nobody"):
            erase(journal, "nobody")
    async with world.life() as organism:
        await came_to(lambda: organism._pump.questions)


async def test_a_row_that_cannot_be_read_stops_it_before_anything_is_changed(world: World) -> None:
    async with world.life() as organism:
        await organism.ask("helper", Question(SECRET))
    with sqlite3.connect(world.path) as vandal:
        vandal.execute("UPDATE steps SET events = x'00' WHERE seq > 1")
    vandal.close()
    (name,) = ids(world.path)
    with written(world.path) as journal, pytest.raises(JournalError, match="so nothing was erased"):
        erase(journal, name)
    assert not hidden(world.path)


async def test_a_reader_that_holds_on_is_told_of(world: World) -> None:
    async with world.life() as organism:
        await organism.ask("helper", Question(SECRET))
    (name,) = ids(world.path)
    reader = read_only(world.path)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM steps").fetchall()
    with pytest.raises(JournalError, match="because somebody reads it"), written(world.path) as journal:
        erase(journal, name)
    reader.close()
    with written(world.path) as journal:
        erase(journal, name)
    assert hidden(world.path)
    assert told(world.path) == []


async def test_an_erased_row_that_is_changed_or_moved_is_found(world: World) -> None:
    async with world.life() as organism:
        await organism.ask("top", Go(0))
    (name,) = ids(world.path)
    with written(world.path) as journal:
        erase(journal, name)
        journal.execute("UPDATE steps SET at = at + 1 WHERE seq = (SELECT max(seq) FROM steps)")
    (fault,) = told(world.path)
    assert "is changed" in fault
