"""A stream, cut anywhere, says the same as the whole answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.emulators import Answer, Emulator, Recorded, ToolUse
from xml_pipeline.llm import (
    LLMRequest,
    LLMResponse,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolSpec,
)
from xml_pipeline.llm.http.dialect import Dialect
from xml_pipeline.llm.http.framing import LineFramer, SSEFramer
from xml_pipeline.llm.types import StreamEvent, StreamFinished, UsageReport

from .cases import CASES, Case

TOOL = ToolSpec("look.up", "Finds.", {"type": "object", "properties": {"q": {"type": "string"}}})

texts = st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(
    ["a\u2028b\u2029c\x85d", "data: x\n\ndata: y", "\r\n\r\n", "event: error\n\n", "[DONE]", " \n", "日本🎉"]
)
answers = st.builds(
    Answer,
    text=texts,
    reasoning=texts,
    tools=st.lists(
        st.builds(ToolUse, name=st.just("look_up"), arguments=st.dictionaries(texts, texts, max_size=2)),
        max_size=3,
    ).map(tuple),
    finish=st.sampled_from(["stop", "length", "content_filter"]),
    cached_tokens=st.integers(0, 5),
)


def assembled(dialect: Dialect, request: LLMRequest, stream: bytes, size: int) -> LLMResponse:
    """The whole answer of a stream that arrives in pieces of `size` bytes."""
    framer = LineFramer() if dialect.framing == "ndjson" else SSEFramer()
    decoder = dialect.stream_decoder(request)
    frames = [
        frame for start in range(0, len(stream), size) for frame in framer.feed(stream[start : start + size])
    ]
    events: list[StreamEvent] = []
    for data, name in [*frames, *framer.close()]:
        events += decoder.feed(data, name)
    (finished,) = [event for event in events if isinstance(event, StreamFinished)]
    pieces: dict[int, list[Any]] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            known = pieces.setdefault(event.index, [event.id, event.name, "", {}])
            known[2] += event.arguments
            known[3] |= event.provider_data
    return LLMResponse(
        content="".join(event.text for event in events if isinstance(event, TextDelta)),
        model=finished.model,
        usage=[event.usage for event in events if isinstance(event, UsageReport)][-1],
        finish_reason=finished.finish_reason,
        tool_calls=tuple(ToolCall(*pieces[index]) for index in sorted(pieces)),
        reasoning="".join(event.text for event in events if isinstance(event, ReasoningDelta)),
        provider_data=finished.provider_data,
    )


def recorded(case: Case, emulator: Emulator, body: dict[str, Any]) -> Recorded:
    path = "/v1/responses" if "input" in body else "/v1/chat/completions"
    return Recorded("POST", path, {}, {}, body, model=case.model, prompt_tokens=50, completion_tokens=40)


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=60, deadline=None)
@given(answer=answers, size=st.integers(1, 400))
def test_the_stream_says_what_the_answer_says(case: Case, answer: Answer, size: int) -> None:
    request = LLMRequest(case.model, [{"role": "user", "content": "Hi"}], tools=[TOOL])
    dialect = case.backend("http://127.0.0.1:1", "k").dialect
    assert dialect is not None
    body = dialect.encode(request, stream=True).body
    # Ids are counted up: two emulators give the same ones.
    one, other = case.emulator(), case.emulator()
    whole = dialect.decode(one.render(answer, recorded(case, one, body)), request)
    stream = b"".join(frame.data for frame in other.frames(answer, recorded(case, other, body)))
    streamed = assembled(dialect, request, stream, size)
    assert (streamed.content, streamed.reasoning) == (whole.content, whole.reasoning)
    assert [(call.name, call.arguments) for call in streamed.tool_calls] == [
        (call.name, call.arguments) for call in whole.tool_calls
    ]
    assert [call.provider_data for call in streamed.tool_calls] == [
        call.provider_data for call in whole.tool_calls
    ]
    assert (streamed.finish_reason, streamed.usage, streamed.model) == (
        whole.finish_reason,
        whole.usage,
        whole.model,
    )
    assert streamed.provider_data == whole.provider_data
    assert whole.content == answer.text
