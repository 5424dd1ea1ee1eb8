"""Yesterday's conversations under today's rules: real files, real handlers, and what was changed since."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.journal.lives import World
from tests.journal.test_recovery import came_to, finished
from tests.pump.scenes import Answer, Go, Never, Note, Question, call, respond
from xml_pipeline import Gathered, HandlerMetadata, Organism, SystemError, xmlify
from xml_pipeline.journal import Step
from xml_pipeline.journal.file import read_only, steps_of
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import ConversationLimits, Listener, Machine, listener
from xml_pipeline.pump.replay import Replay, replayed
from xml_pipeline.threads.record import Redelivered


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state.db")


def recorded(path: Path) -> dict[str, list[Step]]:
    """All conversations, in their order."""
    journal = read_only(path)
    try:
        names = [name for (name,) in journal.execute("SELECT id FROM conversations ORDER BY number")]
        return {name: steps_of(journal, name) for name in names}
    finally:
        journal.close()


def replay(world: World, *changed: Listener, without: str = "", **limits: int) -> list[Replay]:
    """Each conversation again, with some listeners of another kind."""
    table = {**world.organism().listeners, **{each.name: each for each in changed}}
    table.pop(without, None)
    return [
        replayed(steps, Machine(table, ConversationLimits(**limits)))
        for steps in recorded(world.path).values()
    ]


async def lived(world: World) -> None:
    """A life with calls, gathers, a person and memory; a helper that is cut off; a second life that ends it all."""
    world.stuck = {"helper"}
    async with world.life() as organism:
        for n in (0, 2, 3):
            await organism.send("top", Go(n), key=str(n))
        await came_to(lambda: organism.questions() and ("helper", "Question", 1) in world.calls)
        await organism.session(id="alice").ask("greeter", Note("a"))
    world.stuck = set()
    async with world.life() as organism:
        await came_to(lambda: organism.questions())
        organism.answer(organism.questions()[0].thread_id, Answer("said"))
        for n in (0, 2, 3):
            await organism.ask("top", Go(n), key=str(n))
        await organism.session(id="alice").ask("greeter", Note("b"))
        await organism.session(id="alice").ask("greeter", Note("c"))
        organism.session(id="alice").close()
        await finished(organism)


async def test_what_is_as_it_was_makes_no_difference_and_calls_nobody(world: World) -> None:
    await lived(world)
    calls = list(world.calls)
    found = replay(world)
    assert [each.difference for each in found] == [None] * 6
    assert [each.gaps for each in found] == [[]] * 6
    assert all(each.compared == each.steps > 1 for each in found)
    assert world.calls == calls


async def test_what_a_death_and_what_a_stop_cut_off_is_replayed(world: World) -> None:
    world.stuck = {"helper"}
    for life in (1, 2, 3, 4):
        async with world.life() as organism:
            if life == 1:
                await organism.send("helper", Question("x"), key="k")
            await came_to(lambda: len(world.calls) == life)  # noqa: B023 - within this life
            if life != 3:
                world.die()
    world.stuck = set()
    async with world.life() as organism:
        assert await organism.ask("helper", Question("x"), key="k") == Answer("helped")
    (found,) = replay(world)
    assert (found.difference, found.gaps) == (None, [])
    (steps,) = recorded(world.path).values()
    again = [event for step in steps for event in step.events if isinstance(event, Redelivered)]
    assert [each.interrupted for each in again] == [1, 2, 2, 3]


async def other(payload: Note, metadata: HandlerMetadata) -> None: ...


async def quiet(payload: Go, metadata: HandlerMetadata, state: Note | None) -> None: ...


async def stateless(payload: Go | Answer | Gathered | SystemError, metadata: HandlerMetadata) -> None: ...


async def counting(
    payload: Go | Answer | Gathered | SystemError, metadata: HandlerMetadata, state: Never | None
) -> None: ...


@pytest.mark.parametrize(
    ("changed", "step", "field", "was", "now"),
    [
        (lambda w: listener("helper", other), 2, "event", "Question of 'top' is sent to 'helper'", "is not valid"),
        (lambda w: listener("top", w.top, peers=["slow"]), 2, "event", "Question of 'top'", "could not be delivered"),
        (lambda w: listener("top", stateless, peers=["helper"]), 2, "state", "<text>calls</text>", "no state"),
        (lambda w: listener("top", counting, peers=["helper"]), 2, "state.Never", "<text>calls</text>", "Never"),
        (lambda w: listener("helper", None, human=True, accepts=[Question]), 3, "event", "Redelivered", "Asked"),
        (lambda w: listener("helper", w.helper, effects="once"), 3, "event", "Redelivered", "interrupted"),
        (lambda w: listener("helper", w.helper, remembers="conversation"), 2, "opens.memory", "-8", "/helper"),
        (
            lambda w: listener("top", quiet, peers=["helper"]), 6, "how", "returned", "passed on",
        ),
    ],
)  # fmt: skip
async def test_the_first_difference_is_named(
    world: World, changed: Callable[[World], Listener], step: int, field: str, was: str, now: str
) -> None:
    await lived(world)
    found = replay(world, changed(world))[0]
    assert found.difference is not None
    assert found.difference.step == step
    assert found.difference.field == field
    assert was in found.difference.was
    assert now in found.difference.now
    assert found.compared == step - 1


async def test_a_listener_that_is_gone_is_one_that_nothing_can_be_sent_to(world: World) -> None:
    await lived(world)
    difference = replay(world, without="top")[0].difference
    assert difference is not None
    assert "no listener 'top'" in difference.now
    difference = replay(world, without="helper")[0].difference
    assert difference is not None
    assert (difference.step, difference.listener) == (2, "top")
    assert "is refused" in difference.now


async def test_limits_are_rules_too(world: World) -> None:
    await lived(world)
    assert [each.difference is None for each in replay(world, depth=1)] == [False] * 3 + [True] * 3
    difference = replay(world, messages=1)[0].difference
    assert difference is not None
    assert "dead letter" in difference.now
    assert difference.was == "nothing"


@xmlify(name="Question")
@dataclass
class Longer:
    """With a field that was not there, and has a usual value."""

    text: str
    urgent: bool = False


@xmlify(name="Question")
@dataclass
class Stricter:
    """With a field that has to be there."""

    text: str
    number: int


async def test_a_class_that_has_changed_is_told_by_its_field(world: World) -> None:
    await lived(world)

    async def longer(payload: Longer, metadata: HandlerMetadata) -> None: ...
    async def stricter(payload: Stricter, metadata: HandlerMetadata) -> None: ...

    difference = replay(world, listener("helper", longer))[0].difference
    assert difference is not None
    assert (difference.step, difference.field) == (2, "message.Question.urgent")
    assert difference.was == "nothing"
    assert "<urgent>false</urgent>" in difference.now
    difference = replay(world, listener("helper", stricter))[0].difference
    assert difference is not None
    assert (difference.step, difference.field) == (2, "message.Question.number")
    assert difference.was == "<Question><text>?</text></Question>"
    assert "does not fit its class any more" in difference.now


async def test_what_was_refused_is_a_gap_and_the_replay_goes_on(tmp_path: Path) -> None:
    async def clumsy(payload: Go | SystemError, metadata: HandlerMetadata) -> Any:
        return call(Question("x"), to="nobody") if isinstance(payload, Go) else respond(Answer("well"))

    clumsy_one = listener("clumsy", clumsy)
    async with Organism("x", [clumsy_one], journal=SqliteJournal(tmp_path / "state.db")) as organism:
        assert await organism.ask("clumsy", Go(0)) == Answer("well")
    (steps,) = recorded(tmp_path / "state.db").values()
    found = replayed(steps, Machine({"clumsy": clumsy_one}))
    assert found.difference is None
    assert found.compared == len(steps) - 1
    (gap,) = found.gaps
    assert (gap.step, gap.listener) == (2, "clumsy")
    assert "what is refused is not kept" in gap.why
    assert "could not be delivered" in gap.why


async def test_failures_and_retries_are_replayed(tmp_path: Path) -> None:
    async def failing(payload: Go, metadata: HandlerMetadata) -> None:
        raise ValueError("no")

    async def slow(payload: Go, metadata: HandlerMetadata) -> None:
        await asyncio.Event().wait()

    def nonsense(payload: Go, metadata: HandlerMetadata) -> Any:
        return 5

    table = [
        listener("failing", failing),
        listener("slow", slow, timeout_seconds=0.01),
        listener("nonsense", nonsense),
        listener("silent", other),
    ]
    async with Organism("x", table, journal=SqliteJournal(tmp_path / "state.db")) as organism:
        for name in ("failing", "slow", "nonsense"):
            await organism.send(name, Go(0))
        await organism.send("silent", Note("x"))
        await finished(organism)
    listeners = {each.name: each for each in table}
    recordings = list(recorded(tmp_path / "state.db").values())
    found = [replayed(steps, Machine(listeners)) for steps in recordings]
    assert [each.difference for each in found] == [None] * 4
    assert [len(each.gaps) for each in found] == [0, 0, 1, 0]
    assert "returned something" not in found[2].gaps[0].why
    assert "a int" in found[2].gaps[0].why
    listeners["failing"] = listener("failing", failing, retries=2)
    difference = replayed(recordings[0], Machine(listeners)).difference
    assert difference is not None
    assert "failed (handler): ValueError: no" in difference.was
    assert "Redelivered" in difference.now
