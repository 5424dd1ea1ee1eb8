"""What a listener says it answers is what its callers get, or an error."""

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
    delegate,
    echo,
    respond,
    until,
    virtual,
)
from xml_pipeline import AnswerError, ConfigError, HandlerMetadata, Organism, SystemError
from xml_pipeline.errors import RoutingError


@virtual
async def test_another_class_is_an_error_for_who_answered_and_never_passes_on() -> None:
    organism = Organism.build()

    @organism.listener(answers=Answer, peers=["notes"])
    async def sly(payload: Question | SystemError, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, SystemError):
            assert (payload.code, payload.message) == ("validation", "'sly' answers Answer, not Note")
            return respond(Answer("mended"))
        return respond(Note("other")) if payload.text == "own" else call(Question("x"), to="notes")

    @organism.listener(answers=Note)
    async def notes(payload: Question, metadata: HandlerMetadata) -> Any:
        return respond(Note("passed on by whoever does not take it"))

    async with organism:
        assert await organism.ask("sly", Question("own")) == Answer("mended")
        assert await organism.ask("sly", Question("notes")) == Answer("mended")
        assert at_rest(organism)


@virtual
async def test_who_does_not_hear_of_it_has_failed_its_caller() -> None:
    organism = Organism.build()

    @organism.listener(answers=Answer)
    async def deaf(payload: Question, metadata: HandlerMetadata) -> Any:
        return respond(Note("other"))

    async with organism:
        with pytest.raises(AnswerError, match="'deaf' answers Answer, not Note") as caught:
            await organism.ask("deaf", Question("x"))
        assert caught.value.code == "validation"
        assert at_rest(organism)


@virtual
async def test_errors_always_pass() -> None:
    organism = Organism.build()

    @organism.listener(answers=Answer)
    async def failing(payload: Question, metadata: HandlerMetadata) -> Any:
        return respond(SystemError("handler", "no"))

    async with organism:
        with pytest.raises(AnswerError, match="no"):
            await organism.ask("failing", Question("x"))


@virtual
async def test_who_takes_a_call_over_is_held_to_what_its_first_listener_said() -> None:
    organism = Organism.build()

    @organism.listener(answers=Note, hands_over_to=["middle"])
    async def front(payload: Go, metadata: HandlerMetadata) -> Any:
        return delegate(Question("x"), to="middle")

    @organism.listener(hands_over_to=["echo"])
    async def middle(payload: Question, metadata: HandlerMetadata) -> Any:
        return delegate(payload, to="echo")

    organism.listener(echo)
    async with organism:
        with pytest.raises(AnswerError, match="answers Note, not Answer"):
            await organism.ask("front", Go())
        assert await organism.ask("middle", Question("y")) == Answer("y")


def test_a_hand_over_to_somebody_who_answers_more_is_refused_before_the_start() -> None:
    organism = Organism.build()

    @organism.listener(answers=Note, hands_over_to=["echo"])
    async def front(payload: Question, metadata: HandlerMetadata) -> Any:
        return delegate(payload, to="echo")

    organism.listener(echo, answers=[Note, Answer])
    with pytest.raises(
        ConfigError, match="'front' answers Note, and hands over to 'echo', which may answer Answer too"
    ):
        asyncio.run(organism.start())


@virtual
async def test_a_person_is_told_at_once_and_the_question_stays() -> None:
    organism = Organism.build()
    organism.human("anna", accepts=[Question], answers=[Answer])
    async with organism:
        await organism.send("anna", Question("?"))
        await until(organism.questions)
        (question,) = organism.questions()
        with pytest.raises(RoutingError, match="'anna' answers Answer, not Note"):
            organism.answer(question.thread_id, Note("x"))
        assert organism.questions() == [question]
        organism.answer(question.thread_id, Answer("x"))
        assert organism.questions() == []
