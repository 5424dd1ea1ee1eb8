"""Each call of an answer has an id of its own, whatever a model or its server gives, in every dialect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.emulators import Answer, ToolUse
from xml_pipeline.llm import Router, StreamEnd, ToolCall, ToolSpec
from xml_pipeline.llm.entrance import distinct

from .cases import CASES, Case

TOOL = ToolSpec("look_up", "Finds.", {"type": "object", "properties": {"q": {"type": "string"}}})


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_two_calls_of_one_id_are_told_apart_and_a_history_with_them_is_taken(case: Case) -> None:
    twice = Answer("", tuple(ToolUse("look_up", {"q": each}, id="call_1") for each in "ab"))
    async with (
        case.emulator() as server,
        Router([case.backend(server.base_url, server.key)], retries=0) as router,
    ):
        server.script.then(twice, twice, Answer("done"))
        whole = await router.complete(case.model, "Go", tools=[TOOL])
        *_, end = [event async for event in router.stream(case.model, "Go", tools=[TOOL])]
        assert isinstance(end, StreamEnd)
        for response in (whole, end.response):
            assert [call.arguments for call in response.tool_calls] == [{"q": "a"}, {"q": "b"}]
            assert len({call.id for call in response.tool_calls}) == 2
        results = [{"role": "tool", "tool_call_id": call.id, "content": call.id} for call in whole.tool_calls]
        history = [{"role": "user", "content": "Go"}, whole.message, *results]
        assert (await router.complete(case.model, history, tools=[TOOL])).content == "done"


calls = st.lists(
    st.builds(
        ToolCall, st.sampled_from(["", "a", "a-2", "call"]), st.sampled_from("xy"), st.sampled_from("12")
    )
)


@given(calls)
def test_ids_are_distinct_and_no_call_is_lost_but_one_that_was_said_twice(said: list[ToolCall]) -> None:
    found = list(distinct(said))
    assert len({call.id for call in found}) == len(found)
    assert all(call.id for call in found)
    wanted = {(call.id, call.name, call.arguments_text) for call in said if call.id}
    assert len(found) >= len(wanted)
    assert [(call.name, call.arguments_text) for call in distinct(found)] == [
        (call.name, call.arguments_text) for call in found
    ]
    assert list(distinct(found)) == found
