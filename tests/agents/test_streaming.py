"""The text of an answer is told as it is written; calls and thinking are not text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline.agents import Answer
from xml_pipeline.agents.prose import Prose
from xml_pipeline.events import TextGenerated
from xml_pipeline.llm import LLMResponse, ToolCall
from xml_pipeline.testing import Recorder

from .scenes import Report, Scene, virtual

ADD = ToolCall.of("c1", "calculator_add", {"a": 2, "b": 40})


@virtual
async def test_an_answer_is_told_in_pieces() -> None:
    scene = Scene("It is forty-two, of course.")
    recorder = Recorder(scene.organism)
    assert await scene.ask() == Answer("It is forty-two, of course.")
    pieces = [event.text for event in recorder.of(TextGenerated)]
    assert "".join(pieces) == "It is forty-two, of course."
    assert len(pieces) > 1
    assert {event.listener for event in recorder.of(TextGenerated)} == {"bot"}


@virtual
async def test_native_calls_stream_too() -> None:
    scene = Scene(LLMResponse("Let me see.", "m", tool_calls=[ADD]), "42")
    recorder = Recorder(scene.organism)
    assert await scene.ask() == Answer("42")
    assert "".join(event.text for event in recorder.of(TextGenerated)) == "Let me see.42"


@virtual
async def test_calls_in_text_are_not_told() -> None:
    text = 'One moment. <call to="calculator.add"><Add><a>2</a><b>40</b></Add></call> then I go on'
    scene = Scene(text, "It is 42 < 43.", calls="xml")
    recorder = Recorder(scene.organism)
    assert await scene.ask() == Answer("It is 42 < 43.")
    assert "".join(event.text for event in recorder.of(TextGenerated)) == "One moment. It is 42 < 43."


@virtual
async def test_an_answer_that_is_a_document_is_not_told() -> None:
    scene = Scene("<Report><title>x</title><score>1</score></Report>", answers=Report)
    recorder = Recorder(scene.organism)
    assert await scene.ask() == Report("x", 1)
    assert not recorder.of(TextGenerated)


def shown(pieces: list[str], *elements: str) -> str:
    prose = Prose(elements)
    return "".join([*(prose.feed(piece) for piece in pieces), prose.close()])


@given(st.text("<ab/>thinkcl ", max_size=60), st.data())
def test_pieces_make_no_difference(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert shown(pieces, "call") == shown([text], "call")


@given(st.text(max_size=60).filter(lambda text: "<" not in text))
def test_text_without_markup_is_shown_whole(text: str) -> None:
    assert shown(list(text), "call") == text


def test_what_is_shown() -> None:
    cases = {
        "a <b>c</b>": "a <b>c</b>",
        "a <think>hm</think>b": "a b",
        "<think>never ends": "",
        "<thinking>x</thinking>y<reasoning>z</reasoning>!": "y!",
        "a <call to='x'>": "a ",
        "a <cal": "a <cal",
        "a <callous> b": "a <callous> b",
        "1 < 2 <": "1 < 2 <",
    }
    assert {text: shown([text], "call") for text in cases} == cases
    assert {text: shown(list(text), "call") for text in cases} == cases
