"""Hostile bytes: refused by name, never a crash, never a handler call with data that was not validated."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xml_pipeline import HandlerResponse, Organism, xmlify
from xml_pipeline.envelope import ENVELOPE_NS, META_NS, decode
from xml_pipeline.errors import EnvelopeError, PayloadError, RoutingError

THREAD = "2f1c0000-0000-4000-8000-0123456789ab"
XSI = "http://www.w3.org/2001/XMLSchema-instance"


@xmlify
@dataclass
class Order:
    """What somebody wants."""

    item: str
    count: int = 1
    notes: list[str] | None = None
    parts: dict[str, int] | None = None


GOOD = (
    f'<message xmlns="{ENVELOPE_NS}"><meta><from>shop</from><to>till</to><thread>{THREAD}</thread>'
    f'<id xmlns="{META_NS}">m-1</id></meta><Order xmlns=""><item>tea &amp; milk</item><count>2</count>'
    "<notes><item>a</item><item>b</item></notes><parts><entry><key>k</key><value>3</value></entry></parts>"
    "</Order></message>"
).encode()


def with_payload(payload: str) -> bytes:
    return GOOD.split(b'<Order xmlns="">')[0] + payload.encode("utf-8", "surrogatepass") + b"</message>"


def after(prologue: str) -> bytes:
    return prologue.encode() + GOOD


LOLS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
HOSTILE: dict[str, bytes] = {
    "billion laughs": after(f'<!DOCTYPE message [<!ENTITY l0 "lol">{LOLS}]>').replace(b"tea", b"&l9;"),
    "quadratic blowup": after(f'<!DOCTYPE message [<!ENTITY a "{"x" * 50_000}">]>').replace(
        b"tea", b"&a;" * 5_000
    ),
    "external entity": after('<!DOCTYPE message [<!ENTITY x SYSTEM "file:///etc/passwd">]>').replace(
        b"tea", b"&x;"
    ),
    "parameter entity": after('<!DOCTYPE message [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x">%x;]>'),
    "external DTD": after('<!DOCTYPE message SYSTEM "http://127.0.0.1:9/x.dtd">'),
    "DOCTYPE alone": after("<!DOCTYPE message>"),
    "doctype in small letters": after("<!doctype message>"),
    "undeclared entity": GOOD.replace(b"tea", b"&nbsp;"),
    "XInclude": with_payload(
        '<Order xmlns=""><item><x:include xmlns:x="http://www.w3.org/2001/XInclude" href="/etc/passwd"'
        ' parse="text"/></item></Order>'
    ),
    "xsi:type": with_payload(f'<Order xmlns="" xmlns:xsi="{XSI}" xsi:type="x"><item>x</item></Order>'),
    "schemaLocation": with_payload(
        f'<Order xmlns="" xmlns:xsi="{XSI}" xsi:noNamespaceSchemaLocation="http://127.0.0.1:9/x"><item>x</item></Order>'
    ),
    "depth": with_payload('<Order xmlns=""><item>' + "<a>" * 5_000 + "</a>" * 5_000 + "</item></Order>"),
    "depth, never closed": with_payload('<Order xmlns="">' + "<a>" * 300_000),
    "many elements": with_payload('<Order xmlns=""><notes>' + "<item/>" * 200_000 + "</notes></Order>"),
    "many attributes": with_payload('<Order xmlns="" ' + " ".join(f'a{n}=""' for n in range(60_000)) + "/>"),
    "many namespaces": with_payload(
        '<Order xmlns="" ' + " ".join(f'xmlns:n{n}="u:{n}"' for n in range(60_000)) + "/>"
    ),
    "many references": with_payload('<Order xmlns=""><item>' + "&amp;" * 2_600_000 + "</item></Order>"),
    "long name": with_payload(f'<{"x" * 5_000_000} xmlns=""/>'),
    "many comments": with_payload('<Order xmlns=""><item>x</item>' + "<!---->" * 300_000 + "</Order>"),
    "too large": with_payload('<Order xmlns=""><item>' + "x" * 13_000_000 + "</item></Order>"),
    "not UTF-8": GOOD.replace(b"tea", b"\xff\xfe"),
    "overlong UTF-8": GOOD.replace(b"tea", b"\xc0\xaf"),
    "a surrogate in UTF-8": GOOD.replace(b"tea", b"\xed\xa0\x80"),
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-7": after('<?xml version="1.0" encoding="utf-7"?>'),
    "latin-1": after('<?xml version="1.0" encoding="iso-8859-1"?>'),
    "NUL": GOOD.replace(b"tea", b"\x00"),
    "reference to NUL": GOOD.replace(b"tea", b"&#0;"),
    "control character": GOOD.replace(b"tea", b"\x0b"),
    "reference to a surrogate": GOOD.replace(b"tea", b"&#xD800;"),
    "wrong payload": with_payload('<Order xmlns=""><count>x</count></Order>'),
    "huge number": with_payload(f'<Order xmlns=""><item>x</item><count>{"9" * 100_000}</count></Order>'),
    "thousands of wrong values": with_payload(
        '<Order xmlns=""><item>x</item><parts>'
        + "<entry><key>k</key><value>x</value></entry>" * 16_000
        + "</parts></Order>"
    ),
    "payload twice": with_payload('<Order xmlns=""><item>x</item></Order>' * 2),
    "field twice": with_payload('<Order xmlns=""><item>x</item><item>y</item></Order>'),
    "foreign field": with_payload('<Order xmlns=""><item>x</item><e:item xmlns:e="urn:x">y</e:item></Order>'),
    "attribute": with_payload('<Order xmlns="" admin="true"><item>x</item></Order>'),
    "text between fields": with_payload('<Order xmlns="">x<item>x</item></Order>'),
    "another class": with_payload('<Other xmlns=""><item>x</item></Other>'),
}


class Till:
    """An organism whose only handler checks that what it gets was validated."""

    def __init__(self) -> None:
        self.organism = Organism.build(timeout_seconds=30)
        self.calls = 0
        self.organism.listener(self.till, name="till")

    async def till(self, payload: Order, metadata: Any) -> HandlerResponse:
        self.calls += 1
        assert type(payload) is Order
        assert type(payload.item) is str
        assert type(payload.count) is int
        assert payload.notes is None or all(type(note) is str for note in payload.notes)
        assert payload.parts is None or all(
            type(key) is str and type(value) is int for key, value in payload.parts.items()
        )
        return HandlerResponse.respond(payload)


async def test_the_good_message_passes_and_its_answer_is_an_envelope() -> None:
    till = Till()
    async with till.organism as organism:
        answer = decode(await organism.exchange(GOOD))
    assert (answer.from_id, answer.to, answer.thread_id) == ("till", "shop", THREAD)
    assert answer.in_reply_to == answer.causation_id == "m-1"
    assert answer.payload.findtext("item") == "tea & milk"


@pytest.mark.parametrize("what", HOSTILE)
async def test_a_hostile_message_is_refused_and_the_next_one_passes(what: str) -> None:
    till = Till()
    async with till.organism as organism:
        with pytest.raises((EnvelopeError, PayloadError, RoutingError)) as error:
            await organism.exchange(HOSTILE[what])
        assert till.calls == 0
        assert len(str(error.value)) < 3_000
        await organism.exchange(GOOD)
        assert till.calls == 1
        assert organism.status().in_flight == 0


@pytest.mark.parametrize(
    "tricky", ["a&amp;b", "&lt;/id>&lt;x/>", "&#xD;&#xA;", "]]&gt;", "&quot;'", "&#x1F600;"]
)
async def test_an_id_of_a_stranger_cannot_break_out_of_the_answer(tricky: str) -> None:
    till = Till()
    data = GOOD.replace(b"m-1", tricky.encode())
    async with till.organism as organism:
        answer = decode(await organism.exchange(data))
    assert answer.in_reply_to == decode(data).message_id


@pytest.mark.parametrize("sender", ["till", "system", "a b", "&lt;x/&gt;"])
async def test_a_stranger_passes_for_nobody(sender: str) -> None:
    till = Till()
    async with till.organism as organism:
        with pytest.raises(RoutingError):
            await organism.exchange(GOOD.replace(b"<from>shop", f"<from>{sender}".encode()))
    assert till.calls == 0


async def test_an_envelope_without_a_receiver_is_refused() -> None:
    till = Till()
    async with till.organism as organism:
        with pytest.raises(EnvelopeError, match="<to>"):
            await organism.exchange(GOOD.replace(b"<to>till</to>", b""))


FRAGMENTS = [
    b"<", b">", b"&", b"&#0;", b"&#x1F600;", b"]]>", b"<![CDATA[", b"<!--", b"-->", b"<?xml?>", b"<!DOCTYPE x>",
    b"\x00", b"\xff", b"\xed\xa0\x80", b'xmlns=""', b"<Order>", b"</Order>", b"<item/>", b"<count>1e5</count>",
    b"<to>till</to>", b'xsi:nil="true"', b"\xef\xbb\xbf", b"9" * 50, b" ", b"\r",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """The good message after a few accidents: cut, doubled, swapped, with pieces thrown in."""
    data = bytearray(GOOD)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.integers(0, 40))
        match draw(st.integers(0, 4)):
            case 0:
                del data[at : at + length]
            case 1:
                data[at:at] = draw(st.sampled_from(FRAGMENTS))
            case 2:
                data[at:at] = data[at : at + length]
            case 3 if data:
                data[at] = draw(st.integers(0, 255))
            case _:
                other = draw(st.integers(0, max(len(data) - 1, 0)))
                data[other:other] = data[at : at + length]
    return bytes(data)


@settings(max_examples=20, deadline=None)
@given(st.lists(mutated() | st.binary(max_size=200), min_size=30, max_size=60))
def test_mutated_messages_are_refused_or_answered(batch: list[bytes]) -> None:
    async def main() -> None:
        till = Till()
        async with till.organism as organism:
            for data in batch:
                before = till.calls
                try:
                    answer = await organism.exchange(data, timeout=20)
                except (EnvelopeError, PayloadError, RoutingError):
                    assert till.calls == before
                else:
                    assert till.calls == before + 1
                    assert decode(answer).payload.tag == "Order"
            assert organism.status().in_flight == organism.status().conversations == 0

    asyncio.run(main())


def test_every_single_cut_of_a_message_is_refused() -> None:
    for end in range(len(GOOD)):
        with pytest.raises(EnvelopeError):
            decode(GOOD[:end])


def test_every_pair_of_hostile_pieces_in_text_is_refused_or_read_as_text() -> None:
    for one, two in itertools.product(FRAGMENTS, repeat=2):
        data = GOOD.replace(b"tea", one + two)
        try:
            envelope = decode(data)
        except EnvelopeError:
            continue
        assert envelope.to == "till"
        assert envelope.payload.tag == "Order"
