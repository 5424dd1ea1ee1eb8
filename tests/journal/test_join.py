"""The answer of a conversation, for whoever knows its id."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.journal.lives import World
from tests.journal.test_recovery import came_to
from tests.pump.scenes import Answer, Question
from xml_pipeline import Organism
from xml_pipeline.errors import ConfigError, JournalError, OrganismClosed


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state.db")


async def test_one_that_runs_one_of_an_earlier_life_and_one_that_is_over(world: World) -> None:
    world.stuck = {"helper"}
    async with world.life() as organism:
        conversation = await organism.send("helper", Question("x"))
        joined = asyncio.create_task(organism.join(conversation))
        await came_to(lambda: len(world.calls) == 1)
    with pytest.raises(OrganismClosed):
        await joined
    world.stuck = set()
    async with world.life() as organism:
        both = await asyncio.gather(organism.join(conversation), organism.join(conversation))
        assert both == [Answer("helped")] * 2
        assert await organism.join(conversation) == Answer("helped")
    async with world.life() as organism:
        assert await organism.join(conversation) == Answer("helped")
    assert [attempt for _, _, attempt in world.calls] == [1, 2]


async def test_whoever_stops_waiting_ends_nothing(world: World) -> None:
    world.stuck = {"helper"}
    async with world.life() as organism:
        conversation = await organism.send("helper", Question("x"))
        joined = asyncio.create_task(organism.join(conversation))
        await came_to(lambda: len(world.calls) == 1)
        joined.cancel()
        await asyncio.sleep(0)
        assert organism.status().conversations == 1


async def test_there_must_be_one(world: World) -> None:
    async with world.life() as organism:
        with pytest.raises(JournalError, match="there is no conversation nobody in the journal"):
            await organism.join("nobody")
    async with Organism.build() as organism:
        with pytest.raises(ConfigError, match="only with a journal"):
            await organism.join("nobody")


async def test_a_start_that_is_cancelled_lets_the_journal_go(world: World) -> None:
    for _ in range(3):
        starting = asyncio.create_task(world.organism().start())
        for _ in range(2):
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    async with world.life() as organism:
        assert await organism.ask("helper", Question("x")) == Answer("helped")
