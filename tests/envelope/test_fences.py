"""Code fences around a text, and in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline.envelope.fences import unfenced, without_quotations


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("```json\n{}\n```", "{}"),
        (" \n```xml  \n<a/>\n  ``` \n", "<a/>"),
        ("```\na\n\nb```", "a\n\nb"),
        ("```\n```", ""),
        ("plain ", "plain"),
        ("```", "```"),
        ("``````", "``````"),
        ("```c++ x\na\n```", "```c++ x\na\n```"),
        ("```a\nb\n``` and more", "```a\nb\n``` and more"),
    ],
)
def test_a_fence_around_the_whole_is_taken_off(text: str, inside: str) -> None:
    assert unfenced(text) == inside


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("a\n```py\nb\n```\nc", "a\n\nc"),
        ("a\n  ```\nb\n\t``` c\nd", "a\n c\nd"),
        ("a\n```\nb", "a\n```\nb"),
        ("```tool_code\nf()\n```\nx", "```tool_code\nf()\n```\nx"),
        ("```\na\n```\n```\nb\n```\n", "\n\n"),
        ("a ``` b", "a ``` b"),
    ],
)
def test_what_stands_in_a_fence_is_left_out(text: str, rest: str) -> None:
    assert without_quotations(text) == rest


@given(st.lists(st.sampled_from(["a", "\n", "```", "```x", " ", "```tool_code"]), max_size=12).map("".join))
def test_nothing_is_invented(text: str) -> None:
    rest = iter(text)
    assert all(character in rest for character in without_quotations(text))
    assert unfenced(text) in text
