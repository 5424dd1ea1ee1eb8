"""Agents whose answers are of one of several classes: the prompt tells which, and the model chooses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.agents.scenes import Add, Note, Report, Scene, virtual
from xml_pipeline import AnswerError, xmlify
from xml_pipeline.agents import AgentSettings, Answer, Task, agent_listener


@xmlify
@dataclass
class Sums:
    """As many fields as Add."""

    a: int
    b: int


REPORT = "<Report><title>All well</title><score>9</score></Report>"
NOTE = "<Note><text>mind the gap</text><tags/></Note>"


@pytest.mark.parametrize("mode", ["native", "xml"])
@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (REPORT, Report("All well", 9)),
        (f"Here it is:\n```xml\n{NOTE}\n```", Note("mind the gap", [])),
        ('{"title": "All well", "score": 9}', Report("All well", 9)),
        ('{"text": "mind the gap", "tags": []}', Note("mind the gap", [])),
        ('```json\n{"Note": {"text": "x", "tags": ["a"]}}\n```', Note("x", ["a"])),
    ],
)
@virtual
async def test_each_of_the_classes_is_an_answer(said: str, answer: Any, mode: str) -> None:
    scene = Scene(said, answers=[Report, Note], calls=mode)
    assert await scene.ask() == answer
    system = scene.model.last.messages[0]["content"]
    assert "exactly one XML document of one of these kinds and nothing else." in system
    assert "<Report>" in system
    assert "<Note>" in system


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("It is all well.", "your answer holds no <Report> or <Note> document"),
        (f"{REPORT}{NOTE}", "there are 2 documents; one is wanted"),
        ("<Report><title>x</title><score>11</score></Report>", "score"),
        ('{"title": "x", "score": 11}', "score"),
        ('{"colour": "red"}', "your answer holds no <Report> or <Note> document"),
        ("{}", "your answer holds no <Report> or <Note> document"),
        ('{"Note": {"txt": "x"}}', "txt"),
    ],
)
@virtual
async def test_what_is_none_of_them_is_mended_by_the_model(said: str, told: str) -> None:
    scene = Scene(said, REPORT, answers=[Report, Note], peers=[])
    assert await scene.ask() == Report("All well", 9)
    complaint = scene.model.last.messages[-1]["content"]
    assert "<huh>" in complaint
    assert told in complaint
    assert "A valid example:" in complaint


@virtual
async def test_json_that_may_be_one_of_two_is_asked_for_as_xml() -> None:
    scene = Scene('{"text": "x"}', "<Task><text>x</text></Task>", answers=[Task, Note], peers=[])
    assert await scene.ask() == Task("x")
    scene = Scene('{"a": 1, "b": 2}', REPORT, answers=[Add, Sums, Report], peers=[])
    assert await scene.ask() == Report("All well", 9)
    assert "may be one of Add, Sums; write it as XML" in scene.model.seen()


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("I do not know.", Answer("I do not know.")),
        (REPORT, Report("All well", 9)),
        (f"So be it.\n{REPORT}", Report("All well", 9)),
        ("<Answer><text>a &amp; b</text></Answer>", Answer("a & b")),
        ('{"title": "All well", "score": 9}', Report("All well", 9)),
        ('{"unknown": 1}', Answer('{"unknown": 1}')),
        ("{so it is}", Answer("{so it is}")),
    ],
)
@virtual
async def test_text_is_an_answer_where_answer_is_one_of_the_classes(said: str, answer: Any) -> None:
    scene = Scene(said, answers=[Report, Answer], peers=[])
    assert await scene.ask() == answer
    assert "write plain text instead" in scene.model.last.messages[0]["content"]
    assert "<Answer>" not in scene.model.last.messages[0]["content"]


@pytest.mark.parametrize(
    "said", ["<Report><title>x</title><score>11</score></Report>", '{"title": "x", "score": 11}']
)
@virtual
async def test_a_document_that_does_not_fit_is_no_text(said: str) -> None:
    scene = Scene(said, REPORT, answers=[Report, Answer], peers=[])
    assert await scene.ask() == Report("All well", 9)
    assert "score" in scene.model.seen()


@virtual
async def test_a_model_that_never_answers_as_declared_is_given_up() -> None:
    scene = Scene("words", answers=[Report, Note])
    with pytest.raises(AnswerError, match="holds no <Report> or <Note> document") as caught:
        await scene.ask()
    assert caught.value.code == "validation"


def test_an_agent_says_what_it_takes_and_answers_as_every_listener_does() -> None:
    plain = agent_listener("bot", AgentSettings("m"))
    assert (list(plain.requests), plain.answers) == (["Task"], (Answer,))
    typed = agent_listener("bot", AgentSettings("m"), accepts=Note, answers=[Report, Note])
    assert (list(typed.requests), typed.answers) == (["Note"], (Report, Note))
