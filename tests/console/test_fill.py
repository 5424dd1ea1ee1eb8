"""From what follows the name to a payload."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.console.organisms import AddPayload, Greeting, Order, Ping, Refund, build
from xml_pipeline.agents.contract import Answer, Task
from xml_pipeline.console.fill import accepted, fill, how_to_write, pairs
from xml_pipeline.console.parse import InputError
from xml_pipeline.errors import EnvelopeError, PayloadError
from xml_pipeline.payload import codec_of

LISTENERS = build().listeners


def filled(name: str, body: str) -> Any:
    return fill(name, accepted(LISTENERS[name]), body)


@pytest.mark.parametrize(
    ("name", "body", "payload"),
    [
        ("greeter", "Alice", Greeting("Alice")),
        ("greeter", "Alice and Bob", Greeting("Alice and Bob")),
        ("greeter", 'name="Alice and Bob"', Greeting("Alice and Bob")),
        ("greeter", "x=3", Greeting("x=3")),
        ("greeter", "<3", Greeting("<3")),
        ("greeter", "1 < 2 & 3 > 2", Greeting("1 < 2 & 3 > 2")),
        ("greeter", "<Greeting><name>Alice</name></Greeting>", Greeting("Alice")),
        ("greeter", "Greeting name=Alice", Greeting("Alice")),
        ("greeter", "Greeting", Greeting("Greeting")),
        ("calculator.add", "a=2 b=40", AddPayload(2, 40)),
        ("calculator.add", "b=40   a=-2", AddPayload(-2, 40)),
        ("calculator.add", "<AddPayload>\n <b>1</b> <a>2</a>\n</AddPayload>", AddPayload(2, 1)),
        ("shop", "item=tea quantity=2", Order("tea", 2)),
        ("shop", 'item=tea tags="hot, green"', Order("tea", 1, ["hot", "green"])),
        ("shop", "number=7 reason=cold", Refund(7, "cold")),
        ("shop", "Order item=tea", Order("tea")),
        ("shop", "Order tea", Order("tea")),
        ("shop", "Ping", Ping()),
        ("shop", "", Ping()),
        ("shop", "<Ping/>", Ping()),
        ("shop", '{"Order": {"item": "tea", "tags": ["hot"]}}', Order("tea", 1, ["hot"])),
        ("shop", '{ "Ping" : {} }', Ping()),
        ("greeter", '{"a": {}}', Greeting('{"a": {}}')),
        ("greeter", '{"Animal": {"legs": 4}}', Greeting('{"Animal": {"legs": 4}}')),
    ],
)
def test_what_is_typed_becomes_the_payload_that_is_meant(name: str, body: str, payload: object) -> None:
    assert filled(name, body) == payload


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("calculator.add", "2 40", "write @calculator.add a=<int> b=<int>"),
        ("calculator.add", "", "write @calculator.add a=<int> b=<int>"),
        ("calculator.add", "x=1 y=2", "has no field 'x'"),
        ("calculator.add", "a=1 a=2 b=3", "'a' is given twice"),
        ("calculator.add", "a=1 b=2 please", "'please' is no field=value"),
        ("greeter", "nam=Alice", "did you mean 'name'"),
        ("greeter", "name=Alice Smith", 'name="two words"'),
        ("greeter", "", "write @greeter <name>"),
        ("shop", "something", "@shop Refund number=<int> reason=<str>"),
        ("shop", "item=tea reason=cold", "has no message with item, reason"),
        ("shop", "<Oder><item>tea</item></Oder>", "did you mean 'Order'"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_way_to_write_it(name: str, body: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        filled(name, body)
    assert says in str(caught.value)


def test_text_for_several_classes_that_take_text_is_ambiguous() -> None:
    classes = (codec_of(Task), codec_of(Answer))
    with pytest.raises(InputError, match="write @x Task <text> or @x Answer <text>"):
        fill("x", classes, "hello")
    with pytest.raises(InputError, match="write !Task <text> or !Answer <text>"):
        fill("x", classes, "hello", sign="!")
    assert fill("x", classes, "Answer hello") == Answer("hello")


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("calculator.add", "a=2 b=x", "AddPayload.b"),
        ("calculator.add", "a=2", "AddPayload.b"),
        ("calculator.add", "a=1 c=2", "c"),
        ("calculator.add", "<AddPayload><a>2</a></AddPayload>", "AddPayload.b"),
        ("shop", "item=tea quantity=0", "Order.quantity"),
        ("greeter", "\x00", "Greeting.name"),
    ],
)
def test_a_value_that_does_not_fit_is_a_payload_error_with_its_field(
    name: str, body: str, field: str
) -> None:
    with pytest.raises(PayloadError) as caught:
        filled(name, body)
    assert field in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        "<Greeting><name>Alice</Greeting>",
        "<b>bold</b> and plain",
        '<!DOCTYPE x [<!ENTITY a "b">]><Greeting/>',
        "<Greeting>\ud800</Greeting>",
    ],
)
def test_bad_xml_is_refused_or_taken_as_text_but_never_repaired(body: str) -> None:
    if body.startswith("<!"):
        assert filled("greeter", body) == Greeting(body)
        return
    with pytest.raises(EnvelopeError, match="to send it as text, write name="):
        filled("greeter", body)


def test_nothing_can_be_sent_to_who_takes_only_system_messages() -> None:
    with pytest.raises(InputError, match="only messages of the system"):
        fill("x", (), "hello")


def test_usage_shows_required_fields_only() -> None:
    assert how_to_write("@shop", codec_of(Order)) == "@shop <item>"
    assert how_to_write("@shop", codec_of(Refund)) == "@shop number=<int> reason=<str>"
    assert how_to_write("@shop", codec_of(Ping)) == "@shop"


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
def test_pairs_of_any_text(text: str) -> None:
    pairs(text)
