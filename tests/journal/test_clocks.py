"""A clock that is set by eight hours, and a death: no time limit notices, and nobody is forgotten.

A budget's day does (`tests/llm/accounting`), and `keep`, which is a time by the clock.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from tests.journal.lives import World
from tests.journal.test_recovery import came_to, finished
from tests.pump.scenes import Answer, Go, Note, Question
from xml_pipeline.errors import AskTimeout, NoReply
from xml_pipeline.journal.file import looked_at
from xml_pipeline.journal.history import faults

HOURS = 8 * 3600.0
jumps = pytest.mark.parametrize("jump", [HOURS, -HOURS], ids=["forward", "back"])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state.db")


@jumps
@pytest.mark.parametrize("back_again", [False, True])
async def test_a_jump_and_a_kill_take_time_from_nobody(world: World, jump: float, back_again: bool) -> None:
    """A gather of 30 seconds, a person who is asked, a message that pauses until it is tried again."""
    world.stuck, world.fails = {"slow"}, 1
    async with world.life() as organism:
        gathering = await organism.send("top", Go(4), key="gather")
        pausing = await organism.send("flaky", Question("?"), key="pause")
        await came_to(lambda: organism.questions() and len(world.calls) == 4 and not world.fails)
        world.jumped += jump
        assert await organism.ask("greeter", Note("written by the new time")) == Note(
            "written by the new time"
        )
        world.die()
    if back_again:
        world.jumped -= jump
    async with world.life() as organism:
        await came_to(lambda: organism.questions())
        world.jumped += jump
        assert await organism.ask("greeter", Note("again")) == Note("again")
        assert {gathering, pausing} >= {each.conversation_id for each in organism.threads()} >= {gathering}
        assert await organism.ask("flaky", Question("?"), key="pause", timeout=20) == Answer("after all")
        world.die()
    world.stuck = set()
    async with world.life() as organism:
        await came_to(lambda: organism.questions())
        organism.answer(organism.questions()[0].thread_id, Answer("said"))
        answer = await organism.ask("top", Go(4), key="gather", timeout=20)
        assert answer == Answer("gathers: helped, said, at last")
        await finished(organism)
        assert organism.dead_letters() == []
    with closing(looked_at(world.path)) as journal:
        assert list(faults(journal)) == []


@jumps
async def test_an_asks_own_deadline_is_by_no_clock_that_is_set(world: World, jump: float) -> None:
    world.stuck = {"helper", "slow"}
    async with world.life() as organism:
        patient = asyncio.ensure_future(organism.ask("helper", Question("x"), key="patient", timeout=600))
        hasty = asyncio.ensure_future(organism.ask("slow", Question("x"), key="hasty", timeout=0.1))
        await came_to(lambda: len(world.calls) == 2)
        world.jumped += jump
        await organism.ask("greeter", Note("x"))
        with pytest.raises(AskTimeout):
            await hasty
        await organism.send(
            "greeter", Note("behind it")
        )  # one is written after the other: the end is durable
        assert not patient.done()
        world.die()
        patient.cancel()
    world.stuck = set()
    async with world.life() as organism:
        assert await organism.ask("helper", Question("x"), key="patient", timeout=20) == Answer("helped")
        with pytest.raises(NoReply):  # it ended then, for good
            await organism.ask("slow", Question("x"), key="hasty", timeout=20)


async def test_a_gather_ends_when_its_time_is_over_though_the_clock_was_set(world: World) -> None:
    """Set back, it is another matter: time is counted from dates, and what had passed before is counted anew."""
    world.stuck = {"helper"}
    async with world.life() as organism:
        await organism.send("top", Go(3), key="gather")
        await came_to(lambda: organism.questions())
        world.jumped += HOURS
        await organism.ask("greeter", Note("x"))
        world.die()
    for _ in range(2):
        async with world.life() as organism:
            await came_to(lambda: organism.questions())
            await organism.ask("greeter", Note("the life is written down"))
            world.later += 20.0
            await organism.ask("greeter", Note("x"))
            world.die()
    async with world.life() as organism:
        answer = await organism.ask("top", Go(3), key="gather", timeout=20)
        assert answer.text.count("timeout") == 2
