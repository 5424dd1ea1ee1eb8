"""Listeners behind which a person sits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.pump.scenes import (
    Answer,
    Go,
    Note,
    Question,
    at_rest,
    call,
    echo,
    respond,
    settled,
    until,
    virtual,
)
from xml_pipeline import HandlerMetadata, Organism
from xml_pipeline.errors import OrganismClosed, PayloadError, RoutingError
from xml_pipeline.events import ConversationEnded
from xml_pipeline.testing import Recorder


def with_a_person(**options: Any) -> Organism:
    organism = Organism.build(**options)
    organism.human("anna", accepts=[Question], answers=[Answer, Note])
    organism.listener(echo)

    @organism.listener(peers=["anna", "echo"])
    async def clerk(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Answer):
            return respond(payload)
        both = [call(Question("?"), to="anna"), call(Question("machine"), to="echo")]
        return (both[0], both)[payload.n]

    return organism


async def asked(organism: Organism) -> None:
    await until(lambda: organism.questions())


@virtual
async def test_a_person_answers_in_its_own_time() -> None:
    organism = with_a_person(max_in_flight=1, max_concurrent_handlers=1, timeout_seconds=5)
    async with organism:
        asking = asyncio.ensure_future(organism.ask("clerk", Go(0)))
        await asyncio.sleep(1000)
        (question,) = organism.questions()
        assert (question.listener, question.payload) == ("anna", Question("?"))
        assert await organism.ask("echo", Question("x")) == Answer("x")  # a waiting person holds no slot
        organism.answer(question.thread_id, Answer("from anna"))
        assert await asking == Answer("from anna")
        assert at_rest(organism)
        with pytest.raises(RoutingError):
            organism.answer(question.thread_id, Answer("again"))


@pytest.mark.parametrize("bad", ["text", None, Answer(5), Answer("\x00")])  # type: ignore[arg-type]
@virtual
async def test_a_person_that_answers_nonsense_is_told_and_may_try_again(bad: Any) -> None:
    organism = with_a_person()
    async with organism:
        asking = asyncio.ensure_future(organism.ask("clerk", Go(0)))
        await asked(organism)
        (question,) = organism.questions()
        with pytest.raises(PayloadError):
            organism.answer(question.thread_id, bad)
        assert organism.questions() == [question]
        organism.answer(question.thread_id, Answer("better"))
        assert await asking == Answer("better")
        assert at_rest(organism)


@virtual
async def test_a_question_that_nobody_waits_for_any_more_is_withdrawn() -> None:
    organism = with_a_person()
    recorder = Recorder(organism)
    async with organism:
        assert await organism.ask("clerk", Go(1)) == Answer("machine")
        await settled(organism)
        assert organism.questions() == []
        assert at_rest(organism)
        assert [fact.answered for fact in recorder.of(ConversationEnded)] == [True]


@virtual
async def test_a_question_ends_with_its_conversation() -> None:
    organism = with_a_person()
    async with organism:
        conversation = await organism.send("clerk", Go(0))
        await asked(organism)
        assert organism.cancel(conversation)
        assert organism.questions() == []
        assert at_rest(organism)


@virtual
async def test_a_stop_does_not_wait_for_people() -> None:
    organism = with_a_person()
    loop = asyncio.get_running_loop()
    async with organism:
        asking = asyncio.ensure_future(organism.ask("clerk", Go(0)))
        await asked(organism)
        started = loop.time()
    assert loop.time() == started
    with pytest.raises(OrganismClosed):
        await asking
    assert organism.questions() == []


@virtual
async def test_an_answer_of_another_kind_passes_on() -> None:
    organism = with_a_person()
    async with organism:
        asking = asyncio.ensure_future(organism.ask("clerk", Go(0)))
        await asked(organism)
        organism.answer(organism.questions()[0].thread_id, Note("clerk does not take this"))
        assert await asking == Note("clerk does not take this")
