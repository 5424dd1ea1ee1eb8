"""What becomes of open work is said before, and it is what happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.journal.lives import World
from tests.journal.test_recovery import came_to, finished
from tests.journal.test_replay import Stricter, counting, other, stateless
from tests.pump.scenes import Answer, Go, Note, Question, call
from xml_pipeline import HandlerMetadata, Keep, Organism, SystemError
from xml_pipeline.journal.file import kept_in, read_only, steps_of
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import ConversationLimits, Listener, Machine, listener
from xml_pipeline.pump.prospects import Prospects, prospects


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state.db")


def table(world: World, *changed: Listener, without: str = "") -> dict[str, Listener]:
    listeners = {**world.organism().listeners, **{each.name: each for each in changed}}
    listeners.pop(without, None)
    return listeners


def seen(world: World, listeners: dict[str, Listener], **limits: float) -> Prospects:
    journal = read_only(world.path)
    try:
        machine = Machine(listeners, ConversationLimits(**limits))  # type: ignore[arg-type]
        return prospects(kept_in(journal), lambda name: steps_of(journal, name), machine)
    finally:
        journal.close()


async def left_open(world: World) -> None:
    """A gather that has one answer, asks a person and waits for a slow one; a call that is stuck; two memories."""
    world.stuck = {"slow"}
    async with world.life() as organism:
        await organism.send("top", Go(4), key="gathers")
        await came_to(lambda: organism.questions() and ("slow", "Question", 1) in world.calls)
        await organism.send("top", Go(2), key="calls")
        await came_to(lambda: world.calls.count(("slow", "Question", 1)) == 2)
        for text in "ab":
            await organism.session(id="alice").ask("greeter", Note(text))
        await came_to(lambda: organism.status().in_flight == 2)


async def test_what_is_as_it_was_goes_on_unchanged(world: World) -> None:
    await left_open(world)
    found = seen(world, table(world))
    assert found.conversations == 2
    assert found.changed == []
    assert dict(found.unchanged) == {
        "entry": 2,
        "message": 2,
        "question": 1,
        "state": 2,
        "answer": 1,
        "call": 2,
        "timer": 1,
    }


async def keeping_nothing(payload: Note, metadata: HandlerMetadata) -> None: ...


async def stricter(payload: Stricter, metadata: HandlerMetadata) -> None: ...


@pytest.mark.parametrize(
    ("changed", "kinds", "why"),
    [
        (lambda w: listener("slow", other), ["message"] * 2, "'slow' does not take Question any more"),
        (lambda w: listener("slow", stricter), ["message"] * 2, "Question.number"),
        (lambda w: listener("anna", other), ["question"], "'anna' does not take Question any more"),
        (lambda w: listener("anna", None, human=True, accepts=[Stricter]), ["question"], "does not fit its class"),
        (lambda w: listener("top", stateless), ["state"] * 2, "'top' keeps no state any more"),
        (lambda w: listener("top", counting), ["state"] * 2, "does not fit Never any more"),
        (
            lambda w: listener("greeter", w.greeter, remembers="conversation"),
            ["entry"] * 2,
            "remembers per conversation now",
        ),
    ],
)  # fmt: skip
async def test_what_does_not_go_on_is_told_with_its_reason(
    world: World, changed: Callable[[World], Listener], kinds: list[str], why: str
) -> None:
    await left_open(world)
    found = seen(world, table(world, changed(world)))
    assert [each.kind for each in found.changed] == kinds
    assert found.lost == len(kinds)
    assert all(why in each.why for each in found.changed)


async def test_a_listener_that_is_gone_takes_all_with_it(world: World) -> None:
    await left_open(world)
    found = seen(world, table(world, without="top"))
    assert sorted(each.kind for each in found.changed) == ["answer", "call", "call", "state", "state"]
    assert all("no listener 'top' any more" in each.why for each in found.changed)
    found = seen(world, table(world, without="greeter"))
    assert [(each.kind, each.conversation_id) for each in found.changed] == [("entry", "outside/alice")] * 2


async def test_an_answer_in_a_gather_that_cannot_be_read_is_lost(world: World) -> None:
    await left_open(world)
    answers = [each for each in seen(world, table(world, without="top")).changed if each.kind == "answer"]
    assert [(each.listener, each.name) for each in answers] == [("top", "Answer")]


async def test_a_conversation_that_takes_too_long_is_ended(world: World) -> None:
    await left_open(world)
    async with world.life() as organism:
        await organism.ask("greeter", Note("early"))
        world.later = 1000.0
        await organism.ask("greeter", Note("late"))
    found = seen(world, table(world), seconds=500.0)
    assert [each.kind for each in found.changed] == ["conversation"] * 2
    assert all("organism.limits.seconds is 500" in each.why for each in found.changed)


async def test_what_was_begun_and_is_done_once_is_told(world: World) -> None:
    async def stuck(payload: Question, metadata: HandlerMetadata) -> Any:
        return await world.slow(payload, metadata)

    once = listener("slow", stuck, effects="once")
    world.stuck = {"slow"}
    async with Organism("x", [once], journal=SqliteJournal(world.path), shutdown_seconds=0.0) as organism:
        await organism.send("slow", Question("x"))
        await came_to(lambda: world.calls)
    found = seen(world, {"slow": once})
    assert [(each.kind, each.lost) for each in found.changed] == [("message", True)]
    assert "interrupted" in found.changed[0].why
    # One whose start is not written down was not begun for all that is known now: it is handled.
    assert seen(world, {"slow": listener("slow", world.slow)}).changed == []


async def test_what_ends_with_what_cannot_go_on_is_lost_too(world: World) -> None:
    async def boss(payload: Go | Note, metadata: HandlerMetadata, state: Note | None) -> Any:
        world.calls.append(("boss", type(payload).__name__, 1))
        if isinstance(payload, Go):
            return Keep(Note("kept"), [call(Question("x"), to="anna"), call(Note("y"), to="boss")])
        return await asyncio.Event().wait()

    def boss_of(handler: Any, **options: Any) -> dict[str, Listener]:
        anna = listener("anna", None, human=True, accepts=[Question])
        return {"boss": listener("boss", handler, peers=["anna"], **options), "anna": anna}

    journal = SqliteJournal(world.path)
    async with Organism("x", boss_of(boss).values(), journal=journal, shutdown_seconds=0.0) as organism:
        await organism.send("boss", Go(0))
        await came_to(lambda: organism.questions() and ("boss", "Note", 1) in world.calls)
    assert seen(world, boss_of(boss)).changed == []

    async def without(payload: Go, metadata: HandlerMetadata, state: Note | None) -> None: ...

    found = seen(world, boss_of(without))
    assert {(each.kind, each.name) for each in found.changed} == {
        ("message", "Note"),
        ("question", "Question"),
        ("state", "Note"),
    }
    assert found.lost == 3
    async with Organism("x", boss_of(without).values(), journal=SqliteJournal(world.path)) as organism:
        await finished(organism)
        assert {each.message.root for each in organism.dead_letters() if each.pending} == {"Note", "Question"}


async def test_a_conversation_that_cannot_be_read_is_told_and_the_others_are_looked_at(world: World) -> None:
    await left_open(world)
    journal = read_only(world.path)

    def steps(name: str) -> Any:
        found = steps_of(journal, name)
        return found[:1] + found[2:] if name == first else found

    kept = kept_in(journal)
    first = kept.open[0].id
    found = prospects(kept, steps, Machine(table(world)))
    journal.close()
    assert [(each.kind, each.conversation_id) for each in found.changed] == [("conversation", first)]
    assert found.unchanged["message"] == 1


async def test_what_is_said_is_what_happens(world: World) -> None:
    await left_open(world)

    async def top(payload: Go | Answer | SystemError, metadata: HandlerMetadata, state: Note | None) -> Any:
        return await world.top(payload, metadata, state)

    listeners = table(world, listener("slow", other), listener("top", top, peers=["slow"]))
    said = seen(world, listeners)
    assert said.lost == 2
    before = world.path.read_bytes()
    assert seen(world, listeners).changed == said.changed
    assert world.path.read_bytes() == before
    async with Organism("x", listeners.values(), journal=SqliteJournal(world.path)) as organism:
        await came_to(lambda: len(organism.dead_letters()) >= 2)
        organism.answer(organism.questions()[0].thread_id, Answer("said"))
        await finished(organism)
        letters = [(each.conversation_id, each.reason) for each in organism.dead_letters() if each.pending]
    assert sorted(letters) == sorted((each.conversation_id, each.why) for each in said.changed)
