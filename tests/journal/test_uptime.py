"""Time that passed is that in which an organism was alive, however often it died, and whatever its clock says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.journal.lives import World
from tests.journal.test_recovery import came_to
from tests.pump.scenes import Answer, Go, Note
from xml_pipeline import Organism
from xml_pipeline.journal import Uptime
from xml_pipeline.pump import ConversationLimits

NIGHT = 8 * 3600.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state.db")


async def gathering(world: World) -> str:
    """A life that ends while a gather of 30 seconds waits for a person and a handler."""
    world.stuck = {"helper"}
    async with world.life() as organism:
        sent = await organism.send("top", Go(3))
        await came_to(lambda: organism.questions())
    return sent


async def still(organism: Organism, conversation_id: str) -> bool:
    """Whether it is open, when it is back and what was due is done."""
    await came_to(lambda: not organism._pump.sleepers)
    await organism.send("greeter", Note("x"))
    return conversation_id in {each.conversation_id for each in organism.threads()} and bool(
        organism.questions()
    )


async def test_the_nights_between_several_lives_do_not_count(world: World) -> None:
    sent = await gathering(world)
    for _ in range(4):
        world.jumped += NIGHT
        async with world.life() as organism:
            assert await still(organism, sent)


@pytest.mark.parametrize("jump", [NIGHT, -NIGHT])
async def test_a_clock_that_is_set_while_a_gather_waits_costs_it_no_time(world: World, jump: float) -> None:
    sent = await gathering(world)
    async with world.life() as organism:
        world.jumped += jump
        assert await still(organism, sent)
    async with world.life() as organism:
        assert await still(organism, sent)
        later = await organism.send("top", Go(3))
        await came_to(lambda: len(organism.questions()) == 2)
    for _ in range(2):
        async with world.life() as organism:
            assert await still(organism, sent)
            assert await still(organism, later)


@pytest.mark.parametrize("idle", [0.005, 5.0])
async def test_time_in_which_nothing_happens_counts(world: World, idle: float) -> None:
    world.idle = idle
    sent = await gathering(world)
    async with world.life() as organism:
        assert await still(organism, sent)
        world.later += 20.0  # with signs of life on the way, or at the stop alone
    async with world.life() as organism:
        assert await still(organism, sent)
        world.later += 20.0
    async with world.life() as organism:
        await came_to(lambda: not organism.questions())


times = st.lists(st.integers(0, 1000), min_size=2, max_size=20, unique=True).map(sorted)


@given(times, st.integers(-10, 1010))
def test_uptime_is_what_lives_have_in_common_with_the_time_since(times: list[int], when: int) -> None:
    lives = list(zip(times[::2], times[1::2], strict=False))
    expected = sum(max(0, alive - max(began, when)) for began, alive in lives)
    assert Uptime(lives).since(when) == expected


async def test_a_night_for_which_a_person_is_waited_for_does_not_count(world: World) -> None:
    world.stuck = {"slow"}
    async with world.life() as organism:
        asked = await organism.send("top", Go(4), key="k")
        await came_to(lambda: organism.questions() and ("slow", "Question", 1) in world.calls)
        world.later += 20.0  # of 30 for the gather
        await organism.send("greeter", Note("x"))
    world.stuck = set()
    for _ in range(2):
        async with world.life() as organism:
            await came_to(lambda: organism.status().in_flight == 0 and organism.questions())
            world.later += NIGHT  # up, and nothing to do
            assert await still(organism, asked)
    async with world.life() as organism:
        await came_to(lambda: organism.questions())
        organism.answer(organism.questions()[0].thread_id, Answer("said"))
        assert await organism.ask("top", Go(4), key="k") == Answer("gathers: helped, said, at last")


async def test_the_time_of_a_conversation_counts_over_lives_while_it_works(world: World) -> None:
    limits = ConversationLimits(seconds=30)
    async with world.life(limits=limits) as organism:
        waits = await organism.send("top", Go(1))  # for a person
        await came_to(lambda: organism.questions())
        world.stuck = {"helper"}
        works = await organism.send("top", Go(0))
        await came_to(lambda: len(world.calls) == 3)
        world.later += 40.0
        await organism.send("greeter", Note("x"))
    async with world.life(limits=limits) as organism:
        assert await still(organism, waits)
        await came_to(lambda: works not in {each.conversation_id for each in organism.threads()})


spans = st.lists(st.tuples(st.integers(-10, 1010), st.none() | st.integers(-10, 1010)), max_size=5)


@given(times, spans)
def test_spans_hold_the_time_of_lives_that_lies_in_them(
    times: list[int], spans: list[tuple[float, float | None]]
) -> None:
    lives = list(zip(times[::2], times[1::2], strict=False))
    spans = [(begin, end) for begin, end in spans if end is None or end >= begin]
    expected = sum(
        max(0, min(alive, 2000 if end is None else end) - max(began, begin))
        for began, alive in lives
        for begin, end in spans
    )
    assert Uptime(lives).within(spans) == expected
