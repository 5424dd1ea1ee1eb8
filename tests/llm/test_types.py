"""The shapes that callers hold in their hands."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from xml_pipeline.llm import LLMResponse, ToolCall, ToolSpec, Usage
from xml_pipeline.llm.types import token_count


def test_usage_is_attributes_and_a_read_only_mapping() -> None:
    usage = Usage(100, 20, cached_tokens=60, cache_write_tokens=5, reasoning_tokens=7)
    assert isinstance(usage, Mapping)
    assert dict(usage) == {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "cached_tokens": 60,
        "cache_write_tokens": 5,
        "reasoning_tokens": 7,
        "cache_write_1h_tokens": 0,
    }
    assert usage["total_tokens"] == usage.total_tokens == 120
    assert usage.get("nothing") is None
    with pytest.raises(KeyError):
        usage["estimated"]
    with pytest.raises(TypeError):
        usage["prompt_tokens"] = 1  # type: ignore[index]  # that is the point


def test_usage_is_made_of_what_a_custom_backend_has() -> None:
    assert Usage.of(None) == Usage.of({}) == Usage()
    assert Usage.of({"prompt_tokens": 3, "total_tokens": 10}) == Usage(3, 7)
    assert Usage.of({"prompt_tokens": 3, "completion_tokens": None, "cached_tokens": None}) == Usage(3, 0)
    usage = Usage(1, 2)
    assert Usage.of(usage) is usage
    assert LLMResponse("x", "m", {"prompt_tokens": 1, "completion_tokens": 2}).usage == usage


def test_a_response_becomes_the_assistant_message_of_the_next_turn() -> None:
    call = ToolCall("c1", "add", '{"a": 1}', {"gemini": "signature"})
    response = LLMResponse(
        "text", "m", tool_calls=(call,), provider_data={"anthropic": [{"type": "thinking"}]}
    )
    assert response.message == {
        "role": "assistant",
        "content": "text",
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "add", "arguments": '{"a": 1}'},
                "provider_data": {"gemini": "signature"},
            }
        ],
        "provider_data": {"anthropic": [{"type": "thinking"}]},
    }
    assert LLMResponse("text", "m").message == {"role": "assistant", "content": "text"}


def test_a_tool_without_parameters_takes_an_empty_object() -> None:
    assert ToolSpec("now").parameters == {"type": "object", "properties": {}}
    assert ToolSpec("a").parameters is not ToolSpec("b").parameters


@pytest.mark.parametrize(
    "value", [-1, 10**400, 1.5, True, "many", "1" * 400, float("nan"), float("inf"), [], {}]
)
def test_what_cannot_be_a_count_of_tokens(value: object) -> None:
    assert token_count(value) is None
    assert Usage.of({"prompt_tokens": value, "completion_tokens": 3}) == Usage()
    assert Usage.of({"prompt_tokens": 3, "completion_tokens": value}) == Usage()
    assert Usage.of({"prompt_tokens": 3, "completion_tokens": 4, "cached_tokens": value}) == Usage(3, 4)


@pytest.mark.parametrize(("value", "count"), [(None, 0), (0, 0), (7, 7), (7.0, 7), ("7", 7), (10**9, 10**9)])
def test_counts_of_tokens_as_providers_write_them(value: object, count: int) -> None:
    assert token_count(value) == count
