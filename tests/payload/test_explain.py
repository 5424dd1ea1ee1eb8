"""What an element must be: every mistake named with its path, value and what is allowed."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Le, MinLen
from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline import hardened
from xml_pipeline.errors import EnvelopeError, PayloadError, Violation
from xml_pipeline.payload import codec_of, xmlify


@xmlify
@dataclass
class Item:
    name: str
    price: Annotated[float, Ge(0)]
    kind: Literal["book", "disc"] = "book"


@xmlify
@dataclass
class Order:
    """What somebody buys."""

    number: int
    items: Annotated[list[Item], MinLen(1)]
    notes: dict[str, str] = field(default_factory=dict)
    key: int | str = 0
    pair: tuple[int, str] = (1, "")
    gift: bool | None = True

    def __post_init__(self) -> None:
        if self.number == 13:
            raise ValueError("13 brings bad luck")


CODEC = codec_of(Order)
ITEM = "<item><name>x</name><price>1</price></item>"
ENTRY = "<entry><key>a</key><value/></entry>"
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def document(
    number: str = "<number>1</number>", items: str = f"<items>{ITEM}</items>", more: str = ""
) -> str:
    return f"<Order>{number}{items}{more}</Order>"


def violations(text: str) -> tuple[Violation, ...]:
    with pytest.raises(PayloadError) as caught:
        CODEC.decode_bytes(text.encode())
    return caught.value.violations


@pytest.mark.parametrize(
    ("text", "path", "rule"),
    [
        (document("<number>x</number>"), "Order.number", "is not a whole number"),
        (document("<number>1.5</number>"), "Order.number", "is not a whole number"),
        (document("<number>1_0</number>"), "Order.number", "is not a whole number"),
        (document("<number></number>"), "Order.number", "is not a whole number"),
        (document(""), "Order.number", "is missing"),
        (document("<number>1</number><number>2</number>"), "Order.number", "is there more than once"),
        (document("<Number>1</Number>"), "Order.Number", "is not a field"),
        (document("<number><b/></number>"), "Order.number", "holds <b> where text is needed"),
        (document("<number a='1'>1</number>"), "Order.number", "has the attribute 'a'"),
        (document(f"<number {XSI} xsi:nil='true'/>"), "Order.number", "may not be xsi:nil"),
        (document(more="text"), "Order", "holds text between its elements"),
        (document(items="<items/>"), "Order.items", "too few"),
        (document(items=f"<items>{ITEM}<price>1</price></items>"), "Order.items[1]", "is <price>"),
        (document(items=f"<items>{ITEM}<item><name>x</name></item></items>"), "Order.items[1].price", "is missing"),
        (document(items=f"<items>{ITEM * 2}{ITEM.replace('1', '-1')}</items>"), "Order.items[2].price", "too small"),
        (document(items=f"<items>{ITEM.replace('1', 'NaN')}</items>"), "Order.items[0].price", "too small"),
        (document(more="<notes><entry><key>a</key></entry></notes>"), "Order.notes[0]", "is <entry>"),
        (document(more=f"<notes>{ENTRY}{ENTRY}</notes>"), "Order.notes[1].key", "is there more than once"),
        (document(more="<key>5</key>"), "Order.key", "needs exactly one element that names the type"),
        (document(more="<key><float>5</float></key>"), "Order.key", "needs exactly one element that names the type"),
        (document(more="<key><int>x</int></key>"), "Order.key", "is not a whole number"),
        (document(more="<pair><item1>1</item1></pair>"), "Order.pair", "needs 2 values"),
        (document(more=f"<gift {XSI} xsi:nil='true'>true</gift>"), "Order.gift", "is xsi:nil and has content"),
        (document("<number>13</number>"), "Order", "refused by its class: 13 brings bad luck"),
        (document(f"<number>{'9' * 5000}</number>"), "Order.number", "has more digits than Python reads"),
        ("<Other/>", "Order", "is another element"),
        ("<Order xmlns='u'/>", "Order", "is another element"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(text: str, path: str, rule: str) -> None:
    assert (path, rule) in [(violation.field, violation.rule) for violation in violations(text)]


def test_a_violation_shows_the_value_cut_and_what_is_allowed() -> None:
    bad = ITEM.replace("<price>", "<kind>" + "y" * 500 + "</kind><price>")
    [violation] = violations(document(items=f"<items>{bad}</items>"))
    assert violation.field == "Order.items[0].kind"
    assert violation.allowed == "book, disc"
    assert violation.value is not None
    assert violation.value.startswith("y" * 80 + "…")
    assert len(violation.value) < 120


def test_at_most_five_are_shown() -> None:
    assert len(violations(document(items="<items>" + "<item/>" * 20 + "</items>"))) == 5


def test_an_element_inside_a_larger_document_is_read_where_it_stands() -> None:
    inner = document().replace("<Order>", '<Order xmlns="">')
    tree = hardened.parse(f'<m xmlns="u"><x/>{inner}<y/></m>'.encode())
    assert CODEC.decode(tree[1]) == Order(1, [Item("x", 1.0)])
    broken = hardened.parse(f'<m xmlns="u">{inner.replace(">1<", ">z<")}</m>'.encode())
    with pytest.raises(PayloadError) as caught:
        CODEC.decode(broken[0])
    assert [violation.field for violation in caught.value.violations] == [
        "Order.number",
        "Order.items[0].price",
    ]


def test_a_refusal_inside_a_larger_document_has_the_payloads_own_path() -> None:
    @xmlify
    @dataclass
    class Shop:
        orders: list[Order]

    orders = (document() + document("<number>13</number>")).replace("Order", "item")
    tree = hardened.parse(f"<m><Shop><orders>{orders}</orders></Shop></m>".encode())
    with pytest.raises(PayloadError) as caught:
        codec_of(Shop).decode(tree[0])
    assert caught.value.violations[0].field == "Shop.orders[1]"


def test_blanks_around_values_mean_nothing_except_in_text() -> None:
    item = "<item> <name> x </name> <price>\t1 </price><kind>\n disc </kind></item>"
    text = f"<Order> <number> 7\n</number>\n<items>\n{item} </items>"
    order = CODEC.decode_bytes(f"{text}<gift> 1 </gift></Order>\n".encode())
    assert order == Order(7, [Item(" x ", 1.0, "disc")], gift=True)


def test_a_class_without_fields_takes_nothing_but_blanks() -> None:
    @xmlify
    @dataclass
    class Ping:
        pass

    ping = codec_of(Ping)
    assert ping.encode(Ping()) == b"<Ping></Ping>"
    assert ping.decode_bytes(b"<Ping>\n  </Ping>") == Ping()
    for bad in (b"<Ping>x</Ping>", b"<Ping><a/></Ping>", b"<Ping a='1'/>"):
        with pytest.raises(PayloadError):
            ping.decode_bytes(bad)


def test_the_schema_works_with_xmllint(tmp_path: Path) -> None:
    if shutil.which("xmllint") is None:
        pytest.skip("xmllint is not installed")
    (tmp_path / "order.xsd").write_text(CODEC.xsd, "utf-8")
    for name, text, code in (("good", CODEC.example, 0), ("bad", document(""), 3)):
        (tmp_path / name).write_text(text, "utf-8")
        run = subprocess.run(
            ["xmllint", "--noout", "--schema", tmp_path / "order.xsd", tmp_path / name], check=False
        )
        assert run.returncode == code


VALID = CODEC.encode(
    Order(1, [Item("a & b", 2.5), Item("", 0.0, "disc")], {"k": "v"}, "x", (2, "b"), None)
).decode()


@given(st.data())
def test_mutations_are_valid_or_refused_and_nothing_else(data: st.DataObject) -> None:
    text = VALID
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        other = data.draw(st.integers(0, len(text)))
        pieces = st.sampled_from(
            ["", "<", ">", "&", "&#0;", "<item>", "</item>", "<!DOCTYPE a>", "]]>", "\ud800", "é", " a='1'"]
        )
        piece = data.draw(pieces | st.just(text[other : other + 20]) | st.text(max_size=3))
        text = text[:start] + piece + text[end:]
    try:
        order = CODEC.decode_bytes(text.encode("utf-8", "surrogatepass"))
    except (EnvelopeError, PayloadError):
        return
    assert CODEC.decode_bytes(CODEC.encode(order)) == order


def test_bounds_hold_both_ways() -> None:
    @xmlify
    @dataclass
    class Bound:
        n: Annotated[int, Ge(1), Le(5)]

    with pytest.raises(PayloadError, match="too large"):
        codec_of(Bound).encode(Bound(6))
    with pytest.raises(PayloadError, match=r"Bound\.n: too large \(got '6'\); allowed: <= 5"):
        codec_of(Bound).decode_bytes(b"<Bound><n>6</n></Bound>")


@xmlify
@dataclass
class Line:
    text: str = ""
    note: str | None = None


@xmlify
@dataclass
class Ledger:
    numbers: list[Annotated[int, Ge(1)]] = field(default_factory=list)
    names: list[Annotated[str, MinLen(2)]] = field(default_factory=list)
    days: list[dt.datetime] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    pairs: list[tuple[int, str]] = field(default_factory=list)
    either: list[int | str] = field(default_factory=list)
    maps: list[dict[str, int]] = field(default_factory=list)
    colours: list[Literal["red", "blue"]] = field(default_factory=list)
    spins: list[bool] = field(default_factory=list)


@pytest.mark.parametrize(
    ("name", "item"),
    [
        ("numbers", "<item>0</item>"),
        ("numbers", "<item>1_0</item>"),
        ("numbers", "<item a='1'>1</item>"),
        ("numbers", "<item><b/></item>"),
        ("numbers", f"<item {XSI} xsi:nil='true'/>"),
        ("names", "<item>x</item>"),
        ("days", "<item>20260131T120000</item>"),
        ("days", "<item>2026-01-31</item>"),
        ("lines", "<item>x</item>"),
        ("lines", "<item><x/></item>"),
        ("lines", "<item><text/><text/></item>"),
        ("lines", "<item a='1'/>"),
        ("pairs", "<item><item1>1</item1></item>"),
        ("pairs", "<item><item1>1</item1><item2/><item3/></item>"),
        ("either", "<item><int>1</int><int>1</int></item>"),
        ("either", "<item><float>1</float></item>"),
        ("maps", "<item><entry><key/></entry></item>"),
        ("maps", "<item><x/></item>"),
        ("colours", "<item>green</item>"),
        ("spins", "<item>yes</item>"),
    ],
)
def test_thousands_of_mistakes_in_one_message_cost_no_more_than_five(name: str, item: str) -> None:
    codec = codec_of(Ledger)
    text = f"<Ledger><{name}>{item * (600_000 // len(item))}</{name}></Ledger>"
    element = hardened.parse(text.encode(), hardened.Limits(max_elements=10**6, max_attributes=10**6))
    start = time.process_time()
    with pytest.raises(PayloadError) as caught:
        codec.decode(element, size=len(text))
    assert time.process_time() - start < 1.0  # libxml2 alone takes seconds for each of these
    assert 1 <= len(caught.value.violations) <= 5


def test_a_large_message_in_any_order_is_read() -> None:
    items = "<item><note/><text>x</text></item>" * 4_000
    text = f"<Ledger><lines>{items}</lines><numbers> <item>1</item> </numbers></Ledger>"
    found = codec_of(Ledger).decode_bytes(text.encode())
    assert (len(found.lines), found.numbers) == (4_000, [1])
