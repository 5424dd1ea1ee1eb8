"""What a model writes can go into the next request, a payload and a file, whatever it is: in every dialect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.emulators import Answer, ToolUse
from xml_pipeline.errors import InvalidRequestError, MalformedAnswerError
from xml_pipeline.llm import (
    Backend,
    LLMRequest,
    LLMResponse,
    ReasoningDelta,
    Router,
    StreamEnd,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolSpec,
)
from xml_pipeline.llm.entrance import carriable_json
from xml_pipeline.payload.text import carriable, carried

from .cases import CASES, Case

FACE = "\ud83d\ude00"  # one character in two halves, as servers send it that cut tokens apart
BROKEN = f"a{FACE}b \ud83d c\ude00 d\x00e\x0c\ufffe"
MENDED = "a😀b \ufffd c\ufffd d\ufffde\ufffd\ufffd"
TOOL = ToolSpec("look_up", "Finds.", {"type": "object", "properties": {"q": {"type": "string"}}})


def texts(value: Any) -> Iterator[str]:
    """Every text in a message."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts(inner)


def answer(response: LLMResponse) -> tuple[Any, ...]:
    calls = [(call.name, call.arguments) for call in response.tool_calls]
    return response.content, response.reasoning, calls


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_broken_answer_does_not_poison_the_history(case: Case) -> None:
    scripted = Answer(BROKEN, (ToolUse("look_up", {"q": BROKEN}, id="call_1"),), reasoning=BROKEN)
    async with (
        case.emulator() as server,
        Router([case.backend(server.base_url, server.key)], retries=0) as router,
    ):
        server.script.then(scripted, scripted)
        whole = await router.complete(case.model, "Go", tools=[TOOL])
        *pieces, end = [event async for event in router.stream(case.model, "Go", tools=[TOOL])]
        assert isinstance(end, StreamEnd)
        for response in (whole, end.response):
            assert response.content == MENDED
            assert response.reasoning in (MENDED, "")
            (call,) = response.tool_calls
            assert call.arguments == {"q": MENDED}
            json.dumps(response.message, ensure_ascii=False).encode()
            assert response.repairs
            result = {"role": "tool", "tool_call_id": call.id, "content": BROKEN}
            history = [{"role": "user", "content": f"Go {BROKEN}"}, response, result]
            server.script.say("Fine.")
            assert (await router.complete(case.model, history, tools=[TOOL])).content == "Fine."
            for text in texts(server.requests[-1].body):
                text.encode()
        assert "".join(piece.text for piece in pieces if isinstance(piece, TextDelta)) == MENDED
        reasoning = "".join(piece.text for piece in pieces if isinstance(piece, ReasoningDelta))
        assert reasoning == end.response.reasoning
        written = "".join(piece.arguments for piece in pieces if isinstance(piece, ToolCallDelta))
        written.encode()


class Odd(Backend):
    """Somebody's own backend, which gives what it got."""

    offline = True

    def serves_model(self, model: str) -> bool:
        return True

    async def _do_completion(self, client: Any, request: LLMRequest) -> LLMResponse:
        json.dumps(request.messages, ensure_ascii=False).encode()
        calls = [
            ToolCall("id\ud800", "to\udfffol", r'{"q": "\ud83d\ude00 \ud800 \\ud800 \u0000"}'),
            ToolCall("id2", "x", BROKEN),
        ]
        return LLMResponse(
            BROKEN,
            "m\ud800",
            finish_reason="st\ud800op",
            tool_calls=calls,
            request_id="\udc80",
            provider_data={"odd": {"sig\ud800": [BROKEN, 1]}},
        )


async def test_every_part_of_an_answer_is_made_carriable_also_of_a_backend_of_ones_own() -> None:
    response = await Router([Odd()]).complete("m", f"x \udc00 {FACE}")
    assert response.model == "m\ufffd"
    assert response.finish_reason == "st\ufffdop"
    assert response.request_id == "\ufffd"
    assert response.provider_data == {"odd": {"sig\ufffd": ["a😀b \ufffd c\ufffd d\x00e\x0c\ufffe", 1]}}
    first, second = response.tool_calls
    assert (first.id, first.name) == ("id\ufffd", "to\ufffdol")
    assert first.arguments == {"q": "😀 \ufffd \\ud800 \ufffd"}
    assert first.arguments_text == r'{"q": "\ud83d\ude00 \ufffd \\ud800 \ufffd"}'
    assert second.arguments_text == MENDED
    again = await Router([Odd()]).complete("m", ["x", response][1:])
    assert again.content == MENDED


async def test_an_answer_that_needs_nothing_is_left_as_it_is() -> None:
    class Fine(Odd):
        async def _do_completion(self, client: Any, request: LLMRequest) -> LLMResponse:
            return LLMResponse("日本 🎉\n", "m", tool_calls=[ToolCall("1", "t", '{"a": "\\n"}')])

    response = await Router([Fine()]).complete("m", "x")
    assert (response.content, response.repairs) == ("日本 🎉\n", ())
    assert response.tool_calls == [ToolCall("1", "t", '{"a": "\\n"}')]


anything = st.text(st.characters(), max_size=30) | st.sampled_from([FACE, BROKEN, "\ud83d", "\\ud83d", "\\"])


@given(anything)
def test_carriable_text_is_carried_and_stays(text: str) -> None:
    mended = carriable(text)
    mended.encode()
    assert carried(mended)
    assert carriable(mended) == mended
    if carried(text):
        assert mended is text


@given(st.lists(anything | st.integers() | st.lists(anything, max_size=3), max_size=3))
def test_json_is_mended_as_its_texts_are(value: Any) -> None:
    call = ToolCall("1", "t", carriable_json(json.dumps({"a": value})))
    assert call.arguments == replace(call, arguments_text=json.dumps({"a": value})).arguments
    assert json.loads(call.arguments_text) == call.arguments
    assert all(carried(text) for text in texts(call.arguments))


@given(st.lists(anything, max_size=6))
def test_pieces_join_as_the_whole(parts: list[str]) -> None:
    from xml_pipeline.llm.entrance import Carrier

    carrier = Carrier()
    pieces = [piece for part in parts for piece in carrier.feed(TextDelta(part))]
    pieces += carrier.close()
    assert "".join(piece.text for piece in pieces if isinstance(piece, TextDelta)) == carriable(
        "".join(parts)
    )


class Deep(Odd):
    """Gives what no backend should."""

    async def _do_completion(self, client: Any, request: LLMRequest) -> LLMResponse:
        nested: Any = "x"
        for _ in range(5000):
            nested = [nested]
        return LLMResponse("x", "m", provider_data={"odd": nested})


async def test_what_is_nested_without_end_is_a_failure_of_its_backend() -> None:
    router = Router([Deep()], retries=0)
    with pytest.raises(MalformedAnswerError, match="nested too deep"):
        await router.complete("m", "x")
    assert router.describe()[0].in_flight == 0
    assert router.get_total_usage().failure_count == 1


async def test_a_message_within_itself_is_refused() -> None:
    message: dict[str, Any] = {"role": "user", "content": "x"}
    message["again"] = message
    with pytest.raises(InvalidRequestError, match=r"messages\[0\].*within itself"):
        await Router([Odd()]).complete("m", [message])


async def test_what_is_no_text_in_an_answer_is_left_to_its_backend() -> None:
    class Untyped(Odd):
        async def _do_completion(self, client: Any, request: LLMRequest) -> LLMResponse:
            calls: Any = [ToolCall(None, "t", {"a": 1}), {"name": "t"}]  # type: ignore[arg-type]
            return LLMResponse("x", "m", tool_calls=calls)

    assert len((await Router([Untyped()]).complete("m", "x")).tool_calls) == 2
