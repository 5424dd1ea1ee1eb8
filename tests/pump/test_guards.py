"""Time limits of gathers and conversations count while somebody works below them, and rest while people think."""

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
    gather,
    respond,
    until,
    virtual,
)
from xml_pipeline import AnswerError, Gathered, HandlerMetadata, Organism, SystemError
from xml_pipeline.pump import ConversationLimits


def office(**options: Any) -> Organism:
    """`clerk` gathers for 60 seconds what the words it gets name: `anna`, `aide` (who asks anna), `slow:N`."""
    organism = Organism.build(**options)
    organism.human("anna", accepts=[Question], answers=[Answer])

    @organism.listener
    async def slow(payload: Question, metadata: HandlerMetadata) -> Any:
        await asyncio.sleep(float(payload.text))
        return respond(Answer(f"slept {payload.text}"))

    @organism.listener(peers=["anna"])
    async def aide(payload: Question | Answer, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Question):
            await asyncio.sleep(20)
            return call(Question("really?"), to="anna")
        await asyncio.sleep(30)
        return respond(payload)

    @organism.listener(peers=["anna", "aide", "slow"])
    async def clerk(payload: Note | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Gathered):
            return respond(Answer(" ".join(getattr(each, "text", "none") for each in payload.answers)))
        calls = [each.partition(":") for each in payload.text.split()]
        return gather([call(Question(text or "?"), to=name) for name, _, text in calls], timeout=60)

    return organism


async def said(organism: Organism, text: str) -> None:
    organism.answer(organism.questions()[0].thread_id, Answer(text))


@virtual
async def test_a_gather_rests_while_only_people_are_waited_for() -> None:
    async with office() as organism:
        asking = asyncio.ensure_future(organism.ask("clerk", Note("anna slow:10")))
        await asyncio.sleep(10_000)
        await said(organism, "well")
        assert await asking == Answer("well slept 10")
        assert at_rest(organism)


@virtual
async def test_a_gather_counts_while_others_work_below_it() -> None:
    async with office() as organism:
        loop = asyncio.get_running_loop()
        asking, began = asyncio.ensure_future(organism.ask("clerk", Note("anna slow:100"))), loop.time()
        assert await asking == Answer("none none")
        assert loop.time() - began == pytest.approx(60, abs=1)
        assert not organism.questions()


@virtual
async def test_a_gather_goes_on_where_it_was_when_a_person_has_answered() -> None:
    async with office() as organism:
        asking = asyncio.ensure_future(organism.ask("clerk", Note("aide")))
        await asyncio.sleep(10_000)
        await said(organism, "yes")
        assert await asking == Answer("yes")  # 50 seconds of work in all
        asking = asyncio.ensure_future(organism.ask("clerk", Note("aide anna slow:5")))
        await asyncio.sleep(10_000)
        both = organism.questions()
        organism.answer(
            next(each.thread_id for each in both if each.payload.text == "really?"), Answer("yes")
        )
        await asyncio.sleep(10_000)
        organism.answer(next(each.thread_id for each in both if each.payload.text == "?"), Answer("I"))
        assert await asking == Answer("yes I slept 5")
        assert at_rest(organism)


@virtual
async def test_a_gather_rests_whatever_goes_on_beside_it() -> None:
    """Two gathers of one conversation: one that waits for a person, and one that works for long."""
    organism = Organism.build()
    organism.human("anna", accepts=[Question], answers=[Answer])

    @organism.listener
    async def slow(payload: Question, metadata: HandlerMetadata) -> Any:
        await asyncio.sleep(1000)
        return respond(Answer("slow"))

    @organism.listener(peers=["anna", "slow"])
    async def clerk(payload: Go | Gathered | SystemError, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Gathered):
            first = payload.answers[0]
            return respond(first) if getattr(first, "text", "") == "well" else None
        return [
            gather([call(Question("?"), to="anna")], timeout=60),
            gather([call(Question("!"), to="slow")], timeout=2000),
        ]

    async with organism:
        asking = asyncio.ensure_future(organism.ask("clerk", Go()))
        await asyncio.sleep(5000)
        await said(organism, "well")
        assert await asking == Answer("well")
        assert at_rest(organism)


@virtual
async def test_a_conversation_rests_while_only_people_are_waited_for() -> None:
    async with office(limits=ConversationLimits(seconds=100)) as organism:
        asking = asyncio.ensure_future(organism.ask("aide", Question("?")))
        await asyncio.sleep(10_000)
        await said(organism, "yes")
        assert await asking == Answer("yes")
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(AnswerError, match="longer than 100 s"):
            await organism.ask("slow", Question("1000"))
        assert loop.time() - began == pytest.approx(100, abs=1)
        assert at_rest(organism)


@virtual
async def test_the_time_before_and_after_a_persons_answer_counts_together() -> None:
    async with office(limits=ConversationLimits(seconds=40)) as organism:
        asking = asyncio.ensure_future(organism.ask("aide", Question("?")))
        await asyncio.sleep(10_000)
        await said(organism, "yes")
        answered = asyncio.get_running_loop().time()
        with pytest.raises(AnswerError, match="longer than 40 s"):
            await asking
        assert asyncio.get_running_loop().time() - answered == pytest.approx(20, abs=1)


@virtual
async def test_the_timeout_of_an_ask_does_not_rest() -> None:
    async with office() as organism:
        with pytest.raises(TimeoutError):
            await organism.ask("aide", Question("?"), timeout=100)
        assert at_rest(organism)


@virtual
async def test_nothing_is_left_of_limits_whatever_ends_a_conversation() -> None:
    async with office(limits=ConversationLimits(seconds=500)) as organism:
        for text in ("anna", "anna slow:1", "aide slow:1000", "slow:5 slow:6"):
            sent = await organism.send("clerk", Note(text))
            await asyncio.sleep(30)
            organism.cancel(sent)
            await until(lambda: at_rest(organism))
        guards = organism._pump._guards
        assert not guards.due
        assert not guards.watched
        assert not guards._left
        assert not organism._pump._deadlines._seconds
