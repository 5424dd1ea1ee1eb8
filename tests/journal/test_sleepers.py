"""Conversations that only wait for people sleep, and are found, answered, joined and ended all the same."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.journal.lives import World
from tests.journal.test_recovery import came_to
from tests.pump.scenes import Answer, Go, Note, Question, at_rest
from xml_pipeline import Organism
from xml_pipeline.errors import JournalError, NoReply, RoutingError
from xml_pipeline.pump import ConversationLimits, listener


class Sleepy(World):
    """Of which at most one conversation that only waits is in memory."""

    most_idle = 1

    def organism(self, **options: Any) -> Organism:
        organism = super().organism(**options)
        assert organism._pump.sleepers is not None
        organism._pump.sleepers.most_idle = self.most_idle
        return organism


@pytest.fixture
def world(tmp_path: Path) -> Sleepy:
    return Sleepy(tmp_path / "state.db")


def in_memory(organism: Organism) -> int:
    return len(organism._pump.state.conversations)


def rows(world: World) -> int:
    connection = sqlite3.connect(f"{world.path.as_uri()}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM questions").fetchone()[0])
    finally:
        connection.close()


async def asking(organism: Organism, most: int) -> None:
    for n in range(most):
        await organism.send("top", Go(1), key=str(n))
    await came_to(lambda: len(organism.questions()) == most)
    await came_to(lambda: in_memory(organism) <= 1)


@pytest.mark.parametrize("life", ["the same", "another"])
async def test_who_only_waits_for_people_sleeps_and_is_answered(world: Sleepy, life: str) -> None:
    async with world.life() as organism:
        await asking(organism, 5)
        if life == "the same":
            await answered(organism)
    if life == "another":
        async with world.life() as organism:
            await came_to(lambda: not organism._pump.sleepers)
            assert in_memory(organism) == 1
            await answered(organism)
    assert rows(world) == 0


async def answered(organism: Organism) -> None:
    questions = organism.questions()
    assert [each.payload for each in questions] == [Question("?")] * 5
    assert organism.questions() == questions
    status = organism.status()
    assert (status.conversations, status.waiting_for_people) == (5, 5)
    for question in (questions[3], questions[0]):
        await organism.answer(question.thread_id, Answer(f"said {question.thread_id}"))
        with pytest.raises(RoutingError):
            organism.answer(question.thread_id, Answer("again"))
    assert organism.questions() == [questions[1], questions[2], questions[4]]
    assert await organism.cancel(questions[1].conversation_id)
    with pytest.raises(NoReply):
        await organism.ask("top", Go(1), key="1")
    asks = [asyncio.ensure_future(organism.ask("top", Go(1), key=str(n))) for n in range(5) if n != 1]
    await asyncio.sleep(0.05)
    assert organism.questions() == [questions[2], questions[4]]
    for question in organism.questions():
        await organism.answer(question.thread_id, Answer(f"said {question.thread_id}"))
    for question, answer in zip(
        [questions[n] for n in (0, 2, 3, 4)], await asyncio.gather(*asks), strict=True
    ):
        assert answer == Answer(f"calls: said {question.thread_id}")
    await came_to(lambda: at_rest(organism))


async def test_what_is_asked_is_listed_before_anything_is_brought_back(world: Sleepy) -> None:
    async with world.life() as organism:
        await asking(organism, 5)
    async with world.life() as organism:
        before = in_memory(organism)
        assert len(organism.questions()) == 5
        assert in_memory(organism) == before == 0
        await organism.answer(organism.questions()[4].thread_id, Answer("said"))
        assert await organism.ask("top", Go(1), key="4") == Answer("calls: said")


async def test_a_question_that_no_class_fits_any_more_is_buried_in_the_background(world: Sleepy) -> None:
    async with world.life() as organism:
        await asking(organism, 5)
    changed = [
        listener("top", world.top, peers=["anna"]),
        listener("anna", None, human=True, accepts=[Note]),
    ]
    organism = Sleepy(world.path).organism()
    organism._pump.listeners.clear()  # type: ignore[attr-defined]
    for each in changed:
        organism._add(each)
    async with organism:
        await came_to(lambda: len(organism.dead_letters()) == 5)
        assert organism.questions() == []
        answer = await organism.ask("top", Go(1), key="0")
        assert "does not take Question any more" in answer.text


@pytest.mark.parametrize("damage", ["x''", "x'00'", "x'8D'"])
async def test_a_row_that_cannot_be_read_costs_nothing(world: Sleepy, damage: str) -> None:
    async with world.life() as organism:
        await asking(organism, 3)
    connection = sqlite3.connect(world.path)
    connection.execute(f"UPDATE questions SET message = {damage}")
    connection.commit()
    connection.close()
    async with world.life() as organism:
        assert len(organism.questions()) == 3
        for question in organism.questions():
            await organism.answer(question.thread_id, Answer("said"))
        await came_to(lambda: at_rest(organism))


async def test_a_conversation_that_cannot_be_brought_back_asks_nobody(world: Sleepy) -> None:
    async with world.life() as organism:
        await asking(organism, 3)
    connection = sqlite3.connect(world.path)
    connection.execute("UPDATE steps SET events = x'00' WHERE conversation = 2 AND seq > 0")
    connection.commit()
    connection.close()
    async with world.life() as organism:
        second = organism.questions()[1]
        with pytest.raises(JournalError, match="cannot be brought back"):
            organism.answer(second.thread_id, Answer("said"))
        assert second not in organism.questions()
        assert len(organism.questions()) == 2


async def test_a_lasting_session_keeps_its_conversations_awake(world: Sleepy) -> None:
    async with world.life() as organism:
        alice = organism.session(id="alice")
        for _ in range(3):
            await alice.send("top", Go(1))
        await came_to(lambda: len(organism.questions()) == 3)
        assert in_memory(organism) == 3
    async with world.life() as organism:
        await came_to(lambda: in_memory(organism) == 3)


async def test_what_is_left_of_limits_is_kept_while_one_sleeps_and_goes_when_it_is_over(
    world: Sleepy,
) -> None:
    async with world.life(limits=ConversationLimits(seconds=100)) as organism:
        guards = organism._pump._guards
        for _ in range(3):
            await organism.send("top", Go(3))  # gathers, with a limit of 30 seconds
        await came_to(lambda: len(organism.questions()) == 3 and in_memory(organism) == 1)
        assert len(guards.watched) == 1
        assert sorted(guards._left.values()) == [30.0] * 3 + [100.0] * 3
        for question in organism.questions():
            await organism.answer(question.thread_id, Answer("said"))
        await came_to(lambda: at_rest(organism))
        assert not {*guards.due, *guards.watched, *guards._left}
        assert not organism._pump._deadlines._seconds


@pytest.mark.parametrize("seed", range(5))
async def test_whoever_sleeps_whenever_every_answer_comes_where_it_belongs(world: Sleepy, seed: int) -> None:
    """Gathers with people in them, over three lives, answered in any order; at most one is in memory."""
    source, given = random.Random(seed), dict[str, str]()
    for life in range(3):
        async with world.life() as organism:
            if not life:
                for n in range(12):
                    await organism.send("top", Go(source.choice([1, 3, 4])) if n % 2 else Go(1), key=str(n))
            await came_to(lambda life=life: len(organism.questions()) == 12 - 4 * life)  # type: ignore[misc]
            for question in source.sample(organism.questions(), 4):
                given[question.conversation_id] = f"{source.random()}"
                organism.answer(question.thread_id, Answer(given[question.conversation_id]))
                if source.random() < 0.5:
                    await asyncio.sleep(0.002)
            await came_to(lambda life=life: len(organism.questions()) == 8 - 4 * life)  # type: ignore[misc]
    connection = sqlite3.connect(world.path)
    assert connection.execute("SELECT count(*) FROM open").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM questions").fetchone() == (0,)
    connection.close()
    async with world.life() as organism:
        for conversation_id, text in given.items():
            journal: Any = organism._pump._durable
            assert text.encode() in journal.steps(conversation_id)[-1].events[-1].message.data
