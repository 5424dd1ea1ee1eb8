"""Dead letters are sent again as `send` would have sent them, or are dropped."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.journal.lives import World, written
from tests.journal.test_recovery import came_to
from tests.pump.scenes import Answer, Go, Note, Question, respond
from xml_pipeline import HandlerMetadata, Organism
from xml_pipeline.door import alone
from xml_pipeline.door.requests import Drop, Retry
from xml_pipeline.errors import JournalError, XmlPipelineError
from xml_pipeline.journal.file import looked_at, steps_of
from xml_pipeline.journal.history import Wanted, conversations, dead_letters, faults
from xml_pipeline.journal.letters import numbers
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import listener
from xml_pipeline.threads.record import Accepted


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state.db")


async def retried(path: Path, number: int) -> str:
    """Sent again; the id of the new conversation."""
    told = await alone(path, Retry(number))
    return told.rows[0].split()[-1]


def letters(path: Path) -> list[int]:
    connection = looked_at(path)
    try:
        assert list(faults(connection)) == []
        return [each.number for each in dead_letters(connection, most=100)]
    finally:
        connection.close()


async def bury(world: World, to: str, payload: Any) -> None:
    """A dead letter: a handler that is stuck until its caller has gone."""
    world.stuck = {to}
    async with world.life() as organism:
        with pytest.raises(XmlPipelineError):
            await organism.ask(to, payload, timeout=0.05)
        await came_to(lambda: organism.dead_letters)
    world.stuck = set()


async def test_the_same_listener_gets_the_same_payload(world: World) -> None:
    await bury(world, "helper", Question("<&> lost"))
    world.calls.clear()
    conversation_id = await retried(world.path, 1)
    assert letters(world.path) == []
    async with world.life() as organism:
        await came_to(lambda: world.calls and not organism._pump.state.conversations)
    assert world.calls == [("helper", "Question", 1)]
    journal = looked_at(world.path)
    steps = steps_of(journal, conversation_id)
    journal.close()
    sent, answered = (event.message for step in steps for event in step.events if isinstance(event, Accepted))
    assert b"<text>&lt;&amp;&gt; lost</text>" in sent.data
    assert (answered.from_id, answered.to) == ("helper", "outside")
    assert letters(world.path) == []


async def test_what_is_written_is_what_send_writes(world: World) -> None:
    world.stuck = {"helper"}
    async with world.life() as organism:
        await organism.send("helper", Question("x"))
    await bury(world, "helper", Question("x"))
    await retried(world.path, numbers_of(world)[0])
    journal = looked_at(world.path)
    found = [each.id for each in conversations(journal, Wanted()).values()]
    first, last = steps_of(journal, found[0])[0], steps_of(journal, found[-1])[0]
    journal.close()
    began, accepted = last.events
    assert isinstance(accepted, Accepted)
    assert accepted.opens is not None
    assert accepted.opens.posted
    sent = replace(accepted, opens=replace(accepted.opens, posted=False))
    assert known(first.events) == known([began, sent])


def numbers_of(world: World) -> list[int]:
    connection = looked_at(world.path)
    try:
        return numbers(connection)
    finally:
        connection.close()


def known(events: Any) -> list[Any]:
    """Events with their ids in the order in which they appear, and without their times."""
    began, accepted = events
    message, opens = accepted.message, accepted.opens
    ids = [message.conversation_id, message.thread_id, message.message_id, opens.session_id]
    assert len(set(ids)) == 4
    names = {each: str(position) for position, each in enumerate(ids)}
    text = message.data.decode()
    for each, name in names.items():
        text = text.replace(each, name)
    return [
        replace(began, session=names[began.session]),
        (message.from_id, message.to, message.root, message.attempt, text),
        replace(
            opens,
            opening_id=names[opens.opening_id],
            session_id="",
            memory=names.get(opens.memory, opens.memory),
        ),
    ]


async def test_a_letter_from_inside_comes_from_the_outside_caller(world: World) -> None:
    world.stuck = {"slow"}
    async with world.life() as organism:
        with pytest.raises(XmlPipelineError):
            await organism.ask("top", Go(2), timeout=0.2)
        await came_to(lambda: organism.dead_letters)
    world.stuck = set()
    world.calls.clear()
    assert letters(world.path) == [1]
    await retried(world.path, 1)
    async with world.life() as organism:
        await came_to(lambda: world.calls and not organism._pump.state.conversations)
    assert [name for name, _, _ in world.calls] == ["slow"]


async def test_two_letters_about_one_message_are_sent_once(tmp_path: Path) -> None:
    deaf = asyncio.Event()

    async def slow(payload: Question, metadata: HandlerMetadata) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await deaf.wait()
        return respond(Answer("late"))

    async def top(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        return respond(Answer("never"))

    organism = Organism(
        "x",
        [listener("slow", slow), listener("top", top)],
        journal=SqliteJournal(tmp_path / "j.db"),
        shutdown_seconds=0,
    )
    async with organism:
        with pytest.raises(XmlPipelineError):
            await organism.ask("slow", Question("x"), timeout=0.05)
        await came_to(lambda: organism.dead_letters)
        deaf.set()
    with written(tmp_path / "j.db") as journal:
        journal.execute(
            "INSERT INTO letters SELECT NULL, conversation, message, at, sender, receiver, root, 'twice' FROM letters"
        )
        assert len(numbers(journal)) == 2
    told = await alone(tmp_path / "j.db", Retry())
    assert (told.rows[-1], told.failed) == ("1 message sent", False)
    assert letters(tmp_path / "j.db") == []


async def test_an_answer_is_not_sent_again(world: World) -> None:
    async with world.life() as organism:
        await organism.send("top", Go(0))
        await came_to(lambda: not organism._pump.state.conversations)
    with written(world.path) as journal:
        (answer,) = (
            event.message
            for step in steps_of(journal, next(iter(conversations(journal, Wanted()).values())).id)
            for event in step.events
            if isinstance(event, Accepted) and event.leaves
        )
        journal.execute(
            "INSERT INTO letters VALUES (NULL, 1, ?, 1.0, 'top', 'outside', 'Answer', '')",
            (answer.message_id,),
        )
    told = await alone(world.path, Retry(1))
    assert told.failed
    assert "it is an answer" in told.rows[0]
    assert letters(world.path) == [1]
    await alone(world.path, Drop(1))
    with pytest.raises(JournalError, match="there is no dead letter 1"):
        await alone(world.path, Drop(1))


async def test_a_listener_that_has_gone_makes_it_a_dead_letter_again(world: World) -> None:
    await bury(world, "helper", Question("x"))
    await retried(world.path, 1)
    others = [each for name, each in world.organism().listeners.items() if name not in ("helper", "top")]
    async with Organism("x", others, journal=SqliteJournal(world.path), shutdown_seconds=0) as organism:
        await came_to(lambda: not organism._pump.state.conversations and organism.dead_letters)
    found = letters(world.path)
    assert found
    assert min(found) > 1


async def test_what_a_listener_remembers_by_conversation_is_found_by_it(tmp_path: Path) -> None:
    stuck = asyncio.Event()

    async def greeter(payload: Note, metadata: HandlerMetadata) -> Any:
        await stuck.wait()
        return respond(payload, remember=payload)

    def organism() -> Organism:
        one = listener("greeter", greeter, remembers="conversation")
        return Organism("x", [one], journal=SqliteJournal(tmp_path / "j.db"), shutdown_seconds=0)

    async with organism() as first:
        with pytest.raises(XmlPipelineError):
            await first.ask("greeter", Note("x"), timeout=0.05)
        await came_to(lambda: first.dead_letters)
    conversation_id = await retried(tmp_path / "j.db", 1)
    journal = looked_at(tmp_path / "j.db")
    accepted = steps_of(journal, conversation_id)[0].events[1]
    journal.close()
    assert isinstance(accepted, Accepted)
    assert accepted.opens is not None
    assert accepted.opens.memory == f"{conversation_id}/greeter"


async def test_a_retry_that_is_interrupted_comes_as_the_next_attempt(world: World) -> None:
    await bury(world, "helper", Question("x"))
    world.calls.clear()
    await retried(world.path, 1)
    world.stuck = {"helper"}
    for _ in range(2):
        async with world.life() as organism:
            await came_to(lambda: organism.status().running)
    world.stuck = set()
    async with world.life() as organism:
        await came_to(lambda: len(world.calls) == 3 and not organism.status().conversations)
    assert world.calls == [("helper", "Question", 1), ("helper", "Question", 2), ("helper", "Question", 3)]
