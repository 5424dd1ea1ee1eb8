"""What is offered at the cursor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.console.organisms import build
from xml_pipeline.console.complete import complete

HOUSE = build()


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("@calc", ["@calculator.add"]),
        ("  @sh", ["@shouter", "@shop"]),
        ("@nobody", []),
        ("/tr", ["/trace"]),
        ("/th", ["/threads", "/thread"]),
        ("/trace ", ["on", "off"]),
        ("/describe calc", ["calculator.add"]),
        ("/describe greeter x", []),
        ("/nonsense x", []),
        ("@calculator.add ", ["a=", "b="]),
        ("@calculator.add a=2 ", ["b="]),
        ("@calculator.add a=2 b=3 ", []),
        ("@greeter ", []),
        ("@greeter na", ["name="]),
        ("@shop item=tea ", ["quantity=", "tags="]),
        ("@nobody a", []),
        ("hello @calc", []),
        ("", []),
    ],
)
def test_names_commands_and_fields_are_offered(text: str, offered: list[str]) -> None:
    found = list(complete(HOUSE, text))
    assert [each.text for each in found] == offered
    for each in found:
        assert each.text.startswith(text[len(text) - each.replaces :])


@given(st.text(st.characters(codec="utf-8")).map(lambda text: f"@shop {text}") | st.text())
def test_no_text_is_too_strange(text: str) -> None:
    for each in complete(HOUSE, text):
        assert 0 <= each.replaces <= len(text)
