"""Tens of thousands of conversations that wait for a person, each with a budget of its own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tests.journal.test_recovery import came_to
from tests.pump.scenes import Answer, Question, call, respond
from xml_pipeline import HandlerMetadata, Organism, SystemError
from xml_pipeline.errors import AnswerError
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.llm import Budget, Budgets, Router, complete
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.pump import listener

SCALE = float(os.environ.get("XP_SLOW_SCALE", "0.02"))  # of 70,000 conversations
USAGE = {"prompt_tokens": 400, "completion_tokens": 100}


async def worker(payload: Question | Answer | SystemError, metadata: HandlerMetadata) -> Any:
    """Asks a model, then a person, then the model again, which the conversation's budget allows every second one."""
    if isinstance(payload, Question):
        await complete("m", payload.text, max_tokens=100)
        return call(Question(payload.text), to="anna")
    said = await complete("m", getattr(payload, "text", ""), max_tokens=100)
    return respond(Answer(said.content))


def organism(path: Path, tokens: int) -> Organism:
    backend = ScriptedBackend(rules=(Rule(reply="yes", usage=USAGE),), max_concurrent=1000)
    return Organism(
        "many",
        [
            listener("worker", worker, peers=["anna"]),
            listener("anna", None, human=True, accepts=[Question]),
        ],
        journal=SqliteJournal(path),
        router=Router([backend], budgets=Budgets(conversation=[Budget(tokens=tokens)])),
        shutdown_seconds=0,
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fits", [True, False])
async def test_each_of_many_that_wait_has_its_own_budget_in_the_next_life(tmp_path: Path, fits: bool) -> None:
    many = int(70_000 * SCALE)
    tokens = 1200 if fits else 900  # a call holds some 250 before it is answered, and comes to 500
    async with organism(tmp_path / "state.db", tokens) as first:
        for start in range(0, many, 500):
            some = range(start, min(many, start + 500))
            await asyncio.gather(*(first.send("worker", Question(str(n)), key=str(n)) for n in some))
        await came_to(lambda: first.status().waiting_for_people == many, seconds=600)
    async with organism(tmp_path / "state.db", tokens if fits else tokens - 200) as second:
        questions = second.questions()
        assert len(questions) == many
        for question in questions:
            second.answer(question.thread_id, Answer("go on"))
        answers = await asyncio.gather(
            *(second.ask("worker", Question(str(n)), key=str(n)) for n in range(many)), return_exceptions=True
        )
        if fits:
            assert answers == [Answer("yes")] * many
        else:
            assert {type(answer) for answer in answers} == {AnswerError}
            assert {answer.code for answer in answers if isinstance(answer, AnswerError)} == {"budget"}
        assert second.router.get_total_usage().request_count == (many if fits else 0)
