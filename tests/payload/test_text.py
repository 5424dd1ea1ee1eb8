"""Text comes back as it went, or not at all."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.payload.generated import LEGAL_TEXT
from xml_pipeline.errors import PayloadError
from xml_pipeline.payload import codec_of, xmlify


@xmlify
@dataclass
class Note:
    text: str
    parts: list[str]


CODEC = codec_of(Note)


@pytest.mark.parametrize(
    "text",
    [
        "007", "true", "True", "1.50", "null", "", " ", "\t\n ", " both ends ", "]]>", "a & b", "<b/>", "&amp;",
        "&#65;",
        "\r", "\r\n", "a\rb", "\x85", "\u2028", "😀 emoji", "e\u0301", "\ud7ff\ue000\ufffd\U00010000\U0010ffff",
        "\x7f\x9f",
        'xmlns="x"', '<Note xmlns="y">', "<![CDATA[x]]>", "<!-- x -->", "'\"", "{x}", "{{", "\\",
    ],
)  # fmt: skip
def test_text_is_never_retyped(text: str) -> None:
    """Pitfall 6: `007` becomes `7`, `true` becomes `True`, `1.50` becomes `1.5`, also inside lists."""
    note = Note(text, [text, text])
    data = CODEC.encode(note)
    assert CODEC.decode_bytes(data) == note
    assert etree.tostring(etree.fromstring(data), method="c14n", exclusive=True) == data
    assert CODEC.from_json(CODEC.to_json(note)) == note


def test_ten_megabytes_come_back_whole() -> None:
    """Pitfall 7: an 11,000,000-character field is cut to 9,999,831."""
    for text in ("x" * 10_000_000, "a & b <c>\n" * 400_000, "日本" * 1_500_000):
        note = Note(text, [])
        assert CODEC.decode_bytes(CODEC.encode(note)) == note


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ("\0", "0000"),
        ("\x0b", "000B"),
        ("\x1b", "001B"),
        ("\ufffe", "FFFE"),
        ("\uffff", "FFFF"),
        ("\ud800", "D800"),
    ],
)
def test_what_xml_cannot_carry_is_named_with_its_field(bad: str, code: str) -> None:
    for note, path in (
        (Note(f"ab{bad}c", []), "Note.text"),
        (Note("", ["x", f"ab{bad}"]), "Note.parts[1]"),
    ):
        with pytest.raises(PayloadError) as caught:
            CODEC.encode(note)
        [violation] = caught.value.violations
        assert violation.field == path
        assert f"U+{code} at position 2" in violation.rule
        str(caught.value).encode()  # the error itself can be written down


@given(st.text(st.characters()))
def test_text_is_carried_exactly_or_refused(text: str) -> None:
    try:
        data = CODEC.encode(Note(text, []))
    except PayloadError:
        assert any(
            ord(char) < 32 or 0xD800 <= ord(char) < 0xE000 or ord(char) in (0xFFFE, 0xFFFF) for char in text
        )
    else:
        assert CODEC.decode_bytes(data).text == text


@given(LEGAL_TEXT)
def test_legal_text_is_never_refused(text: str) -> None:
    assert CODEC.decode_bytes(CODEC.encode(Note(text, [text]))) == Note(text, [text])


def test_input_in_another_spelling_means_the_same() -> None:
    text = "<text><![CDATA[<&>]]>x</text>"
    data = f"<?xml version='1.0'?>\n<Note>\n <parts><item>a<!-- c -->b</item></parts>\n {text}</Note>\n"
    assert CODEC.decode_bytes(data.encode()) == Note("<&>x", ["ab"])


def test_a_str_subclass_is_written_as_the_text_it_holds() -> None:
    import enum

    class Mood(enum.StrEnum):
        GOOD = "good <&>"

    class Loud(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "LOUD"

    assert CODEC.decode_bytes(CODEC.encode(Note(Mood.GOOD, [Loud("x")]))) == Note("good <&>", ["x"])
