"""What is typed, and what it means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline.console.parse import Command, InputError, Say, Tell, parse


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", None),
        ("  \n ", None),
        ("@greeter Alice", Say("greeter", "Alice")),
        ("  @calculator.add   a=2 b=40  ", Say("calculator.add", "a=2 b=40")),
        ("@greeter", Say("greeter", "")),
        ("@greeter first\nsecond\n", Say("greeter", "first\nsecond")),
        ("@greeter\nfirst", Say("greeter", "first")),
        ("What is 2 + 40?", Say(None, "What is 2 + 40?")),
        ("mail me @home", Say(None, "mail me @home")),
        ("/help", Command("help", "")),
        ("/trace  on ", Command("trace", "on")),
        ("/", Command("", "")),
        ("!yes, do", Tell("yes, do")),
        ("!", Tell("")),
    ],
)
def test_a_line_is_a_message_a_command_an_answer_or_nothing(text: str, meaning: object) -> None:
    assert parse(text) == meaning


@pytest.mark.parametrize("text", ["@", "@ Alice"])
def test_an_at_sign_alone_says_what_to_write(text: str) -> None:
    with pytest.raises(InputError, match="@greeter Alice"):
        parse(text)


@given(st.text())
def test_no_line_is_too_strange(text: str) -> None:
    try:
        parse(text)
    except InputError:
        assert text.strip().startswith("@")
