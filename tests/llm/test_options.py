"""What a caller passes is checked before anybody is asked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.llm.backends import backend
from xml_pipeline.errors import InvalidRequestError
from xml_pipeline.llm import Router

WRONG: list[tuple[str, list[Any], str]] = [
    ("temperature", [-0.1, float("nan"), float("inf"), "1", True], "a number from 0"),
    ("top_p", [-1, 1.1, float("nan"), "x"], "from 0 to 1"),
    ("max_tokens", [0, -1, 1.5, "9", True], "whole number from 1"),
    ("seed", [1.5, "1", True], "whole number"),
    ("stop", ["", [""], ["a", 1], 5, b"x", {"a"}], "text that is not empty"),
    ("reasoning_effort", ["", 3], "a word"),
    ("cache_prompt", ["yes", 1], "True or False"),
    ("cache_key", [5, b"x"], "a text"),
    ("changing", [-1, 0.5, True, "1"], "a whole number from 0"),
    ("timeout", [0, -1, float("inf"), float("nan"), "5"], "above 0"),
    ("extra", [[], "x", {1: 2}], "a dict"),
    ("agent_id", [5, b"x"], "who is charged"),
]


@pytest.mark.parametrize(("name", "values", "said"), WRONG, ids=[case[0] for case in WRONG])
async def test_a_value_that_cannot_be_right_is_refused(name: str, values: list[Any], said: str) -> None:
    asked = backend("a")
    for value in values:
        with pytest.raises(InvalidRequestError, match=rf"^{name} is .*{said}"):
            await Router([asked]).complete("m", "Hello", **{name: value})  # type: ignore[arg-type]
    assert not asked.requests


async def test_values_that_are_right_pass() -> None:
    asked = backend("a")
    right: dict[str, Any] = {
        "temperature": 0, "top_p": 1, "max_tokens": 1, "seed": -1, "stop": ["a", "b"], "reasoning_effort": "low",
        "cache_prompt": True, "changing": 0, "cache_key": "k", "timeout": 0.5, "extra": {"a": None}, "agent_id": "me",
    }  # fmt: skip
    await Router([asked]).complete("m", "Hello", **right)
    await Router([asked]).complete("m", "Hello", **dict.fromkeys(right))
    assert asked.requests[0].stop == ["a", "b"]
