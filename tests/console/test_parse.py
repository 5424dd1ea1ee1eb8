"""What is typed, and what it means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline.console.parse import Command, InputError, Say, Tell, pairs, parse


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


@pytest.mark.parametrize(
    ("body", "found", "rest"),
    [
        ("a=2 b=40", [("a", "2"), ("b", "40")], ""),
        ('text="two words" n=1', [("text", "two words"), ("n", "1")], ""),
        ("text='it is \\n' n=1", [("text", "it is \\n"), ("n", "1")], ""),
        (r'text="a \"b\" \\ \n"', [("text", 'a "b" \\ \n')], ""),
        ("a=", [("a", "")], ""),
        ("a=2 and more", [("a", "2")], "and more"),
        ("no pairs", [], "no pairs"),
        ("url=http://x/?a=b", [("url", "http://x/?a=b")], ""),
        ('a="open', [], 'a="open'),
        ('a="x"y', [], 'a="x"y'),
        ("2=3", [], "2=3"),
        ("größe=3", [("größe", "3")], ""),
    ],
)
def test_pairs_are_read_with_their_quotes(body: str, found: list[tuple[str, str]], rest: str) -> None:
    assert pairs(body) == (found, rest)


@given(st.dictionaries(st.from_regex(r"[a-z_]\w{0,5}", fullmatch=True), st.text(), max_size=4))
def test_any_text_can_be_quoted(texts: dict[str, str]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    body = " ".join(f"{key}={quoted(text)}" for key, text in texts.items())
    assert pairs(body) == (list(texts.items()), "")


@given(st.text())
def test_no_line_is_too_strange(text: str) -> None:
    try:
        parse(text)
    except InputError:
        assert text.strip().startswith("@")
    pairs(text)
