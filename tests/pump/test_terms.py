"""What messages may cost together: the answers to a gather are one message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.pump.scenes import Go, Question, call, gather, respond, virtual
from xml_pipeline import AnswerError, Gathered, HandlerMetadata, Organism, xmlify
from xml_pipeline.hardened import Limits
from xml_pipeline.pump import ConversationLimits
from xml_pipeline.pump.terms import MOST_GATHERED


@xmlify
@dataclass
class Many:
    """An answer of many elements."""

    numbers: list[int]


async def plenty(payload: Question, metadata: HandlerMetadata) -> Any:
    return respond(Many([1] * 1_000))


async def collects(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
    if isinstance(payload, Gathered):
        return respond(Go(sum(len(answer.numbers) for answer in payload.answers)))
    return gather([call(Question("x"), to="plenty") for _ in range(payload.n)])


@virtual
async def test_answers_that_fit_one_by_one_fit_together() -> None:
    organism = Organism.build()
    organism.listener(collects, peers=["plenty"])
    organism.listener(plenty)
    async with organism:
        assert await organism.ask("collects", Go(60)) == Go(60_000)  # elements; one message may hold 50,000


@virtual
async def test_a_gather_of_too_many_calls_is_refused_before_any_is_made() -> None:
    organism = Organism.build(limits=ConversationLimits(messages=1_000_000), max_in_flight=1_000_000)
    organism.listener(collects, peers=["plenty"])
    organism.listener(plenty)
    async with organism:
        with pytest.raises(AnswerError, match="100,001 calls; at most 100,000") as caught:
            await organism.ask("collects", Go(MOST_GATHERED + 1))
        assert caught.value.code == "limit"
        assert organism.status().handled == 1  # the question; no call


@virtual
async def test_answers_that_are_too_large_together_say_what_to_raise() -> None:
    organism = Organism("small", wire_limits=Limits(max_bytes=50_000))
    organism.listener(collects, peers=["plenty"])
    organism.listener(plenty)
    async with organism:
        with pytest.raises(AnswerError, match=r"raise organism\.limits\.message_bytes, or"):
            await organism.ask("collects", Go(20))
