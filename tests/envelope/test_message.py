"""The envelope: canonical, valid, and nothing else is read as one."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.payload.generated import LEGAL_TEXT, TRICKY_TEXT
from xml_pipeline import xmlify
from xml_pipeline.envelope import (
    ENVELOPE_NS,
    ENVELOPE_XSD,
    META_NS,
    Gathered,
    GatheredCodec,
    Heading,
    Huh,
    Message,
    SystemError,
    decode,
)
from xml_pipeline.envelope.system import MAX_TEXT, MAX_VIOLATIONS
from xml_pipeline.errors import EnvelopeError, PayloadError, Violation
from xml_pipeline.payload import codec_of

THREAD = "2f1c0000-0000-4000-8000-0123456789ab"
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.\-]{0,99}", fullmatch=True)
UUIDS = st.uuids(version=4).map(str)


@xmlify
@dataclass
class Item:
    """Some text and more of the same."""

    text: str
    more: list[str]
    inner: Item | None = None


ITEMS = st.builds(
    Item,
    text=LEGAL_TEXT | TRICKY_TEXT,
    more=st.lists(LEGAL_TEXT | TRICKY_TEXT, max_size=3),
    inner=st.none() | st.builds(Item, text=TRICKY_TEXT, more=st.just([]), inner=st.none()),
)
CODEC = codec_of(Item)


def message(
    payload: str = '<Item xmlns=""><text>x</text><more/></Item>', meta: str = "", **parts: str
) -> bytes:
    fields = {"from": "a", "to": "b", "thread": THREAD, **parts}
    inside = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items() if value is not None)
    return f'<message xmlns="{ENVELOPE_NS}"><meta>{inside}{meta}</meta>{payload}</message>'.encode()


@settings(max_examples=200, deadline=None)
@given(
    item=ITEMS,
    sender=NAMES,
    to=NAMES,
    thread=UUIDS,
    ids=st.tuples(UUIDS, UUIDS | st.just(""), UUIDS | st.just("")),
    attempt=st.integers(1, 10**9 - 1),
    repairs=st.lists(LEGAL_TEXT, max_size=3).map(tuple),
)
def test_an_encoding_is_canonical_valid_and_read_back(
    item: Item,
    sender: str,
    to: str,
    thread: str,
    ids: tuple[str, str, str],
    attempt: int,
    repairs: tuple[str, ...],
) -> None:
    heading = Heading(sender, to, thread, *ids, attempt, repairs)
    data = Message.sealed(heading, item, CODEC).data
    root = etree.fromstring(data)
    assert etree.tostring(root, method="c14n", exclusive=True) == data
    etree.XMLSchema(etree.fromstring(ENVELOPE_XSD.encode())).assertValid(root)
    envelope = decode(data)
    assert (envelope.from_id, envelope.to, envelope.thread_id) == (sender, to, thread)
    assert (envelope.message_id, envelope.causation_id, envelope.in_reply_to) == ids
    assert (envelope.attempt, envelope.repairs) == (attempt, repairs)
    assert CODEC.decode(envelope.payload) == item


@pytest.mark.skipif(which("xmllint") is None, reason="xmllint is not installed")
def test_xmllint_takes_the_schema_as_a_file(tmp_path: Path) -> None:
    schema, document = tmp_path / "envelope.xsd", tmp_path / "message.xml"
    schema.write_text(ENVELOPE_XSD)
    for data, code in ((message(), 0), (message(thread="nonsense"), 3)):
        document.write_bytes(data)
        done = subprocess.run(["xmllint", "--noout", "--schema", schema, document], capture_output=True)
        assert done.returncode == code, done.stderr


def test_text_that_xml_cannot_carry_is_refused_by_field() -> None:
    for bad in ("\x00", "\x0b", "\ud800", "\ufffe"):
        with pytest.raises(PayloadError, match=r"Item\.more\[0\]"):
            Message.sealed(Heading("a", "b", THREAD, THREAD), Item("x", [bad]), CODEC)


# --- what is read ---


def test_the_receiver_may_be_absent() -> None:
    data = message().replace(b"<to>b</to>", b"")
    assert decode(data).to == ""


def test_extensions_of_other_namespaces_are_read_or_ignored() -> None:
    extension = (
        f'<id xmlns="{META_NS}">m1</id><attempt xmlns="{META_NS}">3</attempt>'
        '<traceparent xmlns="https://www.w3.org/ns/trace"><deep><er/></deep></traceparent>'
        f'<unknown xmlns="{META_NS}">x</unknown><repair xmlns="{META_NS}">one</repair>'
    )
    envelope = decode(message(meta=extension))
    assert (envelope.message_id, envelope.attempt, envelope.repairs) == ("m1", 3, ("one",))


@pytest.mark.parametrize("attempt", ["", "0x5", "-1", "1.5", "x", "9" * 400, "٣" * 12, "²"])
def test_an_attempt_that_is_no_number_is_the_first(attempt: str) -> None:
    assert decode(message(meta=f'<attempt xmlns="{META_NS}">{attempt}</attempt>')).attempt == 1


REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "no XML": b"hello",
    "another root": b"<Item/>",
    "no namespace": message().replace(ENVELOPE_NS.encode(), b"urn:other"),
    "no meta": f'<message xmlns="{ENVELOPE_NS}"><Item xmlns=""/></message>'.encode(),
    "no from": message().replace(b"<from>a</from>", b""),
    "no thread": message().replace(f"<thread>{THREAD}</thread>".encode(), b""),
    "empty from": message(**{"from": ""}),
    "long from": message(**{"from": "x" * 201}),
    "from twice": message().replace(b"<from>a</from>", b"<from>a</from><from>b</from>"),
    "markup in from": message(**{"from": "<b/>"}),
    "thread is a chain": message(thread="console.greeter"),
    "thread in capitals": message(thread=THREAD.upper()),
    "no payload": message(payload=""),
    "two payloads": message(payload='<Item xmlns=""/><Item xmlns=""/>'),
    "payload in a namespace": message(payload="<Item/>"),
    "payload in another namespace": message(payload='<Item xmlns="urn:x"/>'),
    "text beside the payload": message(payload='text<Item xmlns=""/>'),
    "payload before meta": b"".join(
        (f'<message xmlns="{ENVELOPE_NS}"><Item xmlns=""/>'.encode(), message().split(b">", 1)[1])
    ),
    "extension without namespace": message(meta='<id xmlns="">x</id>'),
    "too many extensions": message(meta='<x xmlns="urn:x"/>' * 33),
    "attribute": message().replace(b"<message ", b"<message a='b' "),
    "schema hint": message().replace(
        b"<message ",
        b'<message xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="urn:a b" ',
    ),
    "two documents": message() * 2,
    "cut": message()[:-5],
}


@pytest.mark.parametrize("what", REFUSED)
def test_anything_else_is_refused(what: str) -> None:
    with pytest.raises(EnvelopeError) as error:
        decode(REFUSED[what])
    assert str(error.value)
    assert len(str(error.value)) < 1000


# --- what the system sends ---


def test_a_huh_shows_at_most_five_rules_and_whatever_it_quotes_can_be_sent() -> None:
    ugly = "\x00\ud800\ufffe" + "x" * 100_000
    violations = [Violation(f"a.{ugly}", ugly, ugly, ugly)] * 9
    huh = Huh.from_error(PayloadError(violations), "Order", "<Order/>")
    assert len(huh.rules) == MAX_VIOLATIONS
    codec = codec_of(Huh)
    read = codec.decode_bytes(codec.encode(huh))
    assert read == huh
    assert all(len(part) < 2 * MAX_TEXT for part in (huh.rules[0].field, huh.rules[0].rule))
    assert "Order is not valid" in str(huh)


ANSWERS: st.SearchStrategy[Any] = (
    st.none() | ITEMS | st.builds(SystemError, st.sampled_from(["handler", "limit"]))
)


@settings(max_examples=100, deadline=None)
@given(st.lists(ANSWERS, max_size=6))
def test_gathered_answers_come_back_in_order_and_canonical(answers: list[Any]) -> None:
    codec = GatheredCodec([None if answer is None else codec_of(type(answer)) for answer in answers])
    gathered = Gathered(tuple(answers))
    data = Message.sealed(Heading("system", "b", THREAD, THREAD), gathered, codec).data
    assert etree.tostring(etree.fromstring(data), method="c14n", exclusive=True) == data
    element = decode(data).payload
    assert codec.decode(element) == gathered
    etree.XMLSchema(etree.fromstring(codec.xsd.encode())).assertValid(
        etree.fromstring(etree.tostring(element))
    )
    assert gathered.complete == all(isinstance(answer, Item) for answer in answers)
    with pytest.raises(PayloadError):
        GatheredCodec([CODEC] * (len(answers) + 1)).decode(element)
