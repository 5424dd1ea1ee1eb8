"""Whatever was said in a conversation: the case that is recorded from it passes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cases.desk import ORGANISM, project
from xml_pipeline import AnswerError, Organism
from xml_pipeline.agents import Answer
from xml_pipeline.cases import played
from xml_pipeline.cases.recording import recorded
from xml_pipeline.composition import listeners_of
from xml_pipeline.config import OrganismConfig, load
from xml_pipeline.config.cases import CaseSection
from xml_pipeline.errors import ConfigError, InvalidRequestError
from xml_pipeline.events import Event, QuestionAsked
from xml_pipeline.journal import Step
from xml_pipeline.llm import LLMRequest, LLMResponse
from xml_pipeline.llm.types import ToolCall
from xml_pipeline.testing import Rule, scripted_router

TEXTS = st.text("aé7&$ \"'\\:#-\n", min_size=2, max_size=12).filter(lambda text: len(text.strip()) > 1)
CALLS = st.one_of(
    st.tuples(st.just("anna"), st.fixed_dictionaries({"text": TEXTS})),
    st.tuples(st.sampled_from(["double", "charge"]), st.fixed_dictionaries({"cents": st.integers(0, 99)})),
    st.tuples(st.just("triage"), st.fixed_dictionaries({"text": TEXTS, "order": st.integers(1, 9)})),
)
TURNS = st.lists(st.lists(CALLS, min_size=1, max_size=3, unique_by=str), max_size=3)


class Memory:
    """A journal that keeps its steps, and is quick."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def append(self, conversation_id: str, expected_seq: int, step: Step, done: Callable[[], None]) -> None:
        self.steps.append(step)
        asyncio.get_running_loop().call_soon(done)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> OrganismConfig:
    organism = ORGANISM.replace("double]", "double, triage]")
    return load(project(tmp_path_factory.mktemp("desk"), organism=organism), environ={})


def lived(config: OrganismConfig, turns: list[Any], end: str | None, said: list[str]) -> list[Step]:
    """The steps of a conversation with `clerk`, whose model makes these calls and then ends so, or fails."""
    left, answers, asked = [*turns], [*said], set[str]()

    def model(request: LLMRequest) -> str | LLMResponse:
        if request.agent == "triage":
            return f"<Triage><kind>{'billing' if len(request.messages) % 2 else 'other'}</kind></Triage>"
        if not left and end is None:
            raise InvalidRequestError("it does not want to")
        if not left:
            return str(end)
        made = [ToolCall.of(f"{len(left)}-{n}", name, given) for n, (name, given) in enumerate(left.pop(0))]
        return LLMResponse("", "m", tool_calls=made, finish_reason="tool_calls")

    memory = Memory()
    router = scripted_router(Rule(reply=model), Rule(reply=model, on="tool"))
    organism = Organism("lived", listeners_of(config), router=router, journal=memory)

    def people() -> None:
        for question in organism.questions():
            if question.thread_id not in asked:
                asked.add(question.thread_id)
                organism.answer(question.thread_id, Answer(answers.pop()))

    def hook(event: Event) -> None:
        if isinstance(event, QuestionAsked):
            asyncio.get_running_loop().call_soon(people)

    async def main() -> None:
        organism.add_hook(hook)
        async with organism:
            with suppress(AnswerError):
                await organism.ask("clerk", {"Task": {"text": "Do it."}})

    asyncio.run(main())
    return memory.steps


@settings(max_examples=25, deadline=None)
@given(TURNS, st.none() | TEXTS, st.lists(TEXTS, min_size=9, max_size=9))
def test_what_is_recorded_passes(
    config: OrganismConfig, turns: list[Any], end: str | None, said: list[str]
) -> None:
    case = recorded(config, lived(config, turns, end, said), {"clerk", "triage"})
    outcome = played(config, CaseSection.model_validate(case))
    assert outcome.passed, "\n".join((*outcome.problems, *outcome.trace))
    called = [name for turn in turns for name, _ in turn]
    assert len(case.get("script", {}).get("anna", ())) == called.count("anna")
    assert len(case.get("script", {}).get("charge", ())) == called.count("charge")
    assert "double" not in case.get("script", {})


def test_a_conversation_that_is_open_is_no_case(config: OrganismConfig) -> None:
    steps = lived(config, [[("anna", {"text": "May I"})]], "No.", ["no"])
    with pytest.raises(ConfigError, match="it is not over"):
        recorded(config, steps[:-1], {"clerk"})
    with pytest.raises(ConfigError, match="nothing was sent in it"):
        recorded(config, [], set())


def test_a_handler_that_asked_models_becomes_a_stand_in(config: OrganismConfig, tmp_path: Path) -> None:
    steps = lived(config, [[("double", {"cents": 4})]], "ok", [])
    case = recorded(config, steps, {"clerk", "double"}, "it")
    assert case["name"] == "it"
    assert case["script"]["double"] == [{"answer": {"Sum": {"cents": 8}}}]
    assert played(config, CaseSection.model_validate(case)).passed
