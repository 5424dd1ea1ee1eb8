"""What a person approves before it is done, and what happens to an approval when something else changes."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.journal.lives import killed
from tests.journal.test_recovery import came_to
from tests.pump.scenes import (
    Answer,
    Go,
    Note,
    Question,
    at_rest,
    call,
    delegate,
    gather,
    respond,
    until,
    virtual,
)
from xml_pipeline import AnswerError, Approval, ConfigError, Gathered, HandlerMetadata, Organism, SystemError
from xml_pipeline.door import alone
from xml_pipeline.door.requests import Reply
from xml_pipeline.errors import RoutingError
from xml_pipeline.events import CallApproved, QuestionAsked
from xml_pipeline.journal.asked import waiting
from xml_pipeline.journal.file import looked_at
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.payload import codec_of
from xml_pipeline.pump import Machine, listener
from xml_pipeline.testing import Recorder

DONE: list[str] = []


async def charge(payload: Question, metadata: HandlerMetadata) -> Any:
    """Takes money."""
    DONE.append(payload.text)
    return respond(Answer(f"charged {payload.text}"))


async def refund(payload: Question, metadata: HandlerMetadata) -> Any:
    """Another thing to do."""
    DONE.append(f"refund {payload.text}")
    return respond(Answer(f"refunded {payload.text}"))


async def clerk(payload: Go | Answer | SystemError, metadata: HandlerMetadata) -> Any:
    """Wants to charge."""
    if isinstance(payload, Go):
        return call(Question(str(payload.n)), to="charge")
    return respond(
        Note(f"{payload.code}: {payload.message}" if isinstance(payload, SystemError) else payload.text)
    )


def shop(handler: Any = charge, journal: Path | None = None, **options: Any) -> Organism:
    DONE.clear()
    return Organism(
        "shop",
        [
            listener("clerk", clerk, peers=["charge"]),
            listener("charge", handler, approve="boss"),
            listener("boss", None, human=True, accepts=[Note], **options),
        ],
        journal=None if journal is None else SqliteJournal(journal),
        shutdown_seconds=0,
    )


@virtual
async def test_nothing_is_done_before_it_is_approved() -> None:
    organism = shop()
    recorder = Recorder(organism)
    async with organism:
        asking = asyncio.ensure_future(organism.ask("clerk", Go(5)))
        await until(organism.questions)
        (question,) = organism.questions()
        assert (question.listener, question.approver, question.payload) == ("charge", "boss", Question("5"))
        assert DONE == []
        organism.answer(question.thread_id, Approval(True))
        assert await asking == Note("charged 5")
        assert DONE == ["5"]
        assert organism.questions() == []
        assert at_rest(organism)
    assert len(recorder.of(QuestionAsked)) == 1
    assert [each.by for each in recorder.of(CallApproved)] == ["boss"]


@virtual
async def test_who_is_refused_is_told_why_and_nothing_is_done() -> None:
    organism = shop()
    async with organism:
        asking = asyncio.ensure_future(organism.ask("clerk", Go(5)))
        await until(organism.questions)
        organism.answer(organism.questions()[0].thread_id, Approval(False, "too much"))
        assert await asking == Note("refused: 'boss' refused it: too much")
        assert DONE == []
        asking = asyncio.ensure_future(organism.ask("charge", Question("direct")))
        await until(organism.questions)
        organism.answer(organism.questions()[0].thread_id, Approval(False))
        with pytest.raises(AnswerError, match="'boss' refused it") as caught:
            await asking
        assert caught.value.code == "refused"
        assert at_rest(organism)


@virtual
async def test_only_an_approval_on_its_channel_is_one() -> None:
    organism = shop(asked_on=["gateway:boss"])
    async with organism:
        asking = asyncio.ensure_future(organism.ask("clerk", Go(5)))
        await until(organism.questions)
        (question,) = organism.questions()
        with pytest.raises(RoutingError, match="'boss' is asked on gateway:boss, and not on 'console'"):
            organism.answer(question.thread_id, Approval(True))
        with pytest.raises(RoutingError, match="is no Approval"):
            organism.answer(question.thread_id, Note("yes"), channel="gateway:boss")
        assert organism.questions() == [question]
        organism.answer(question.thread_id, Approval(True), channel="gateway:boss")
        with pytest.raises(RoutingError):
            organism.answer(question.thread_id, Approval(True), channel="gateway:boss")
        assert await asking == Note("charged 5")
    assert DONE == ["5"]


@virtual
async def test_what_is_wanted_together_is_approved_one_by_one_and_a_hand_over_too() -> None:
    organism = Organism.build()
    DONE.clear()

    @organism.listener(peers=["charge", "front"])
    async def both(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Go):
            return gather([call(Question("a"), to="charge"), call(Question("b"), to="front")])
        return respond(
            Note(
                " ".join(
                    each.code if isinstance(each, SystemError) else each.text for each in payload.answers
                )
            )
        )

    @organism.listener(hands_over_to=["charge"])
    async def front(payload: Question, metadata: HandlerMetadata) -> Any:
        return delegate(payload, to="charge")

    organism.listener(charge, approve="boss")
    organism.human("boss")
    async with organism:
        asking = asyncio.ensure_future(organism.ask("both", Go()))
        await until(lambda: len(organism.questions()) == 2)
        for question in organism.questions():
            organism.answer(question.thread_id, Approval(question.payload.text == "b"))
        assert await asking == Note("refused charged b")
    assert DONE == ["b"]


@virtual
async def test_what_nobody_approved_in_time_is_not_done_later() -> None:
    organism = shop()
    async with organism:
        conversation = await organism.send("clerk", Go(5))
        await until(organism.questions)
        (question,) = organism.questions()
        organism.cancel(conversation)
        with pytest.raises(RoutingError):
            organism.answer(question.thread_id, Approval(True))
        assert organism.questions() == []
        assert at_rest(organism)
    assert DONE == []


def test_who_approves_is_a_person() -> None:
    organism = Organism(
        "x", [listener("charge", charge, approve="bos"), listener("boss", None, human=True, accepts=Note)]
    )
    with pytest.raises(
        ConfigError, match="'bos' approves what 'charge' does, and is no person; people are boss"
    ):
        asyncio.run(organism.start())


def after(path: Path) -> Path:
    """The journal as a death at this moment leaves it."""
    return killed(path)


async def test_an_approval_outlives_a_death_and_is_of_what_was_shown(tmp_path: Path) -> None:
    first = tmp_path / "first.db"
    organism = shop(journal=first)
    async with organism:
        await organism.send("clerk", Go(5), key="k")
        await came_to(organism.questions)
        asked = after(first)
        await organism.answer(organism.questions()[0].thread_id, Approval(True))
        await organism.ask("clerk", Go(5), key="k")
    assert DONE == ["5"]

    organism = shop(journal=asked)  # died before the answer: asked still, and done once it is approved
    async with organism:
        (question,) = organism.questions()
        assert (question.listener, question.approver) == ("charge", "boss")
        assert DONE == []
        await organism.answer(question.thread_id, Approval(True))
        assert await organism.ask("clerk", Go(5), key="k") == Note("charged 5")
    assert DONE == ["5"]


async def test_what_was_approved_and_is_something_else_now_is_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    stuck = asyncio.Event()

    async def waits(payload: Question, metadata: HandlerMetadata) -> Any:
        stuck.set()
        await asyncio.Event().wait()

    organism = shop(waits, path)
    async with organism:
        await organism.send("clerk", Go(5), key="k")
        await came_to(organism.questions)
        await organism.answer(organism.questions()[0].thread_id, Approval(True))
        await stuck.wait()
        same, other = after(path), tmp_path / "other.db"
    organism = shop(waits, same)  # the same handler: approved already
    stuck.clear()
    async with organism:
        await stuck.wait()
        assert organism.questions() == []
        other = after(same)
    organism = shop(refund, other)  # another one: nobody has approved that
    async with organism:
        await came_to(organism.questions)
        assert DONE == []
        await organism.answer(organism.questions()[0].thread_id, Approval(True))
        assert await organism.ask("clerk", Go(5), key="k") == Note("refunded 5")


async def test_what_was_approved_and_not_begun_is_no_interruption(tmp_path: Path) -> None:
    """Also what is done once at most is done when its approval was all that had happened."""
    path = tmp_path / "state.db"

    def once() -> Organism:
        DONE.clear()
        listeners = [
            listener("clerk", clerk, peers=["charge"]),
            listener("charge", charge, approve="boss", effects="once"),
            listener("boss", None, human=True, accepts=[Note]),
        ]
        return Organism("shop", listeners, journal=SqliteJournal(path), shutdown_seconds=0)

    async with once() as organism:
        await organism.send("clerk", Go(5), key="k")
        await came_to(organism.questions)
        (question,) = organism.questions()
    machine = Machine(once().listeners)
    document = codec_of(Approval).encode(Approval(True)).decode()
    told = await alone(path, Reply(question.conversation_id, question.thread_id, document), machine)
    assert not told.failed
    with closing(looked_at(path)) as journal:
        assert list(waiting(journal)) == []
    async with once() as organism:
        assert await organism.ask("clerk", Go(5), key="k") == Note("charged 5")
    assert DONE == ["5"]
