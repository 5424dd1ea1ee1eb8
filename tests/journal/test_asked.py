"""The journal tells the same questions as the organism."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.journal.lives import World, written
from tests.journal.test_recovery import came_to
from tests.pump.scenes import Answer, Go, Question
from xml_pipeline import Organism
from xml_pipeline.errors import JournalError
from xml_pipeline.journal.asked import Waiting, waiting, waiting_named
from xml_pipeline.journal.file import looked_at


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state.db")


def told(path: Path) -> list[Waiting]:
    journal = looked_at(path)
    try:
        return list(waiting(journal))
    finally:
        journal.close()


def agrees(organism: Organism, path: Path) -> bool:
    known = {(each.thread_id, each.listener, each.conversation_id) for each in organism.questions()}
    return {(each.thread, each.listener, each.conversation) for each in told(path)} == known


async def test_what_waits_for_a_person_is_what_the_organism_says(world: World) -> None:
    async with world.life() as organism:
        for n in (1, 1, 3):
            await organism.send("top", Go(n))
        direct = await organism.send("anna", Question("from outside"))
        await came_to(lambda: len(organism.questions()) == 4)
        assert agrees(organism, world.path)
        found = {each.content: each for each in told(world.path)}
        assert found["<Question><text>from outside</text></Question>"].caller == "outside"
        asked = found["<Question><text>?</text></Question>"]
        assert (asked.caller, asked.name) == ("top", "Question")
        organism.cancel(direct)
        organism.answer(asked.thread, Answer("yes"))
        await came_to(lambda: agrees(organism, world.path) and len(told(world.path)) == 2)
    before = told(world.path)
    async with world.life() as organism:
        await came_to(lambda: len(organism.questions()) == 2)
        assert agrees(organism, world.path)
        assert told(world.path) == before
        for each in before:
            organism.answer(each.thread, Answer("yes"))
        await came_to(lambda: told(world.path) == [] and not organism.questions())


async def test_one_is_named_by_how_its_thread_begins(world: World) -> None:
    async with world.life() as organism:
        for _ in range(2):
            await organism.send("anna", Question("?"))
        await came_to(lambda: len(organism.questions()) == 2)
    journal = looked_at(world.path)
    try:
        first, _ = waiting(journal)
        assert waiting_named(journal, first.thread) == first
        with pytest.raises(JournalError, match="several questions begin with ''"):
            waiting_named(journal, "")
        with pytest.raises(JournalError, match="no question begins with 'x'"):
            waiting_named(journal, "x")
    finally:
        journal.close()


async def test_one_is_found_without_reading_what_else_is_open(world: World) -> None:
    async with world.life() as organism:
        for _ in range(3):
            await organism.send("anna", Question("?"))
        await came_to(lambda: len(told(world.path)) == 3)
    wanted, other, _ = told(world.path)
    with written(world.path) as journal:  # a damaged conversation keeps nobody from another one's question
        journal.execute(
            "UPDATE steps SET events = x'00' WHERE conversation ="
            " (SELECT number FROM conversations WHERE id = ?)",
            (other.conversation,),
        )
    with closing(looked_at(world.path)) as journal:
        assert waiting_named(journal, wanted.thread) == wanted
        with pytest.raises(JournalError, match="is changed"):
            waiting_named(journal, other.thread)


async def test_what_waited_before_questions_had_rows_is_found_too(world: World) -> None:
    async with world.life() as organism:
        await organism.send("anna", Question("?"))
        await came_to(lambda: told(world.path))
    (wanted,) = told(world.path)
    with written(world.path) as journal:
        journal.execute("DELETE FROM questions")
    with closing(looked_at(world.path)) as journal:
        assert waiting_named(journal, wanted.thread) == wanted
