"""A pattern of a declaration is for the whole text, and says the same to XSD, JSON Schema and Python."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from xml_pipeline import hardened
from xml_pipeline.errors import PayloadError
from xml_pipeline.payload import Codec, codec_of
from xml_pipeline.payload.declared import classes_of
from xml_pipeline.payload.declaring import read_declarations
from xml_pipeline.payload.pattern import LONGEST_PATTERN, facet, whole
from xml_pipeline.payload.text import escape


def codec(pattern: str) -> Codec[object]:
    data = {"One": {"fields": {"x": {"type": "text", "pattern": pattern, "optional": True}}}}
    found, mistakes = read_declarations(data, owner="demo")
    assert not mistakes
    return codec_of(classes_of(found)["One"])


def takes(pattern: str, text: str) -> list[bool]:
    """What Python, the XSD and the JSON Schema's pattern say of a text."""
    of = codec(pattern)
    document = f"<One><x>{escape(text)}</x></One>".encode()
    found = []
    for read in (lambda: of.from_json({"x": text}), lambda: of.decode_bytes(document)):
        try:
            read()
            found.append(True)
        except PayloadError:
            found.append(False)
    if "xs:pattern" in of.xsd:  # libxml2 is wrong about some, which are left out
        schema = etree.XMLSchema(hardened.parse(of.xsd.encode()))
        found.append(schema.validate(hardened.parse(document)))
    shown = of.json_schema["properties"]["x"]["anyOf"][0]["pattern"]
    # ECMA-262 is not at hand; for what is written here Python's `re` differs from it in `$` alone.
    found.append(re.search(shown.removesuffix("$") + r"\Z", text) is not None)
    return found


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("abc", "abc", "xabcx"),
        ("abc", "abc", "abc\n"),
        ("a|b", "b", "ab"),
        (r"[A-Z]{3}-\d{4}", "ABC-1234", "ABC-١٢٣٤"),
        (r"\w+", "a_1", "ä"),
        (r"\s", "\t", "\u00a0"),
        (r"\S+\D", "ab", "a1"),
        (r".*", "a", "a\nb"),
        (r"[.^$-]+", "$.^-", "a"),
        (r"[-a]+", "-a", "b"),
        (r"[^\d\s]+", "ä", "1"),
        (r"(?:ab)?c", "abc", "bc"),
        (r"\$\^\.\-\/\"", '$^.-/"', "x"),
        (r"[a\-z]", "-", "b"),
        (r"[\[\]\\]+", "[]\\", "a"),
        ("a{2,3}", "aaa", "aaaa"),
        ("ä+", "ää", "a"),
        ("\n", "\n", "n"),
    ],
)
def test_all_three_say_the_same(pattern: str, good: str, bad: str) -> None:
    assert set(takes(pattern, good)) == {True}
    assert set(takes(pattern, bad)) == {False}


PIECES = [
    "a",
    "b",
    "-",
    r"\d",
    r"\w",
    r"\s",
    ".",
    "[ab]",
    "[^a]",
    r"\D",
    "[a-c-]",
    r"\.",
    r"\$",
    "(a|b)",
    "(?:b)",
    "|",
]


@given(
    st.lists(
        st.tuples(st.sampled_from(PIECES), st.sampled_from(["", "*", "+", "?", "{2}"])),
        min_size=1,
        max_size=5,
    ),
    st.text(st.sampled_from("ab1-.$ \n_ä"), max_size=4),
)
@settings(max_examples=120, deadline=None)
def test_all_three_say_the_same_of_any_text(pieces: list[tuple[str, str]], text: str) -> None:
    pattern = "".join(piece + (repeat if piece != "|" else "") for piece, repeat in pieces)
    assert len(set(takes(pattern, text))) == 1
    shown = facet(whole(pattern))
    assert shown is None or whole(shown) == whole(pattern)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", "is empty"),
        ("^a", "leave `^` and `$` out"),
        ("a$", "leave `^` and `$` out"),
        ("(?i)a", "without flags"),
        ("(?=a)b", "look-around"),
        (r"(a)\1", r"holds `\1`"),
        (r"\bword", r"holds `\b`"),
        (r"\p{Greek}", r"holds `\p`"),
        ("a*?", "nothing before `?`"),
        ("a++", "nothing before `+`"),
        ("*", "nothing before `*`"),
        ("(|+)", "nothing before `+`"),
        ("a{", "counts nothing"),
        ("a{3,2}", "the smaller number comes first"),
        ("a{5000}", "1,000 is the most"),
        ("(a", "leaves a `(` open"),
        ("a)|(b", "that is not open"),
        ("[a", "leaves a `[` open"),
        ("[]", "an empty `[]`"),
        ("[z-a]", "does not go up"),
        (r"[a-\d]", "does not go up"),
        (r"[\D]", "write `[^…]`"),
        ("[a[b]]", r"write `\[`"),
        ("[a&&b]", "write each sign once"),
        ("[a-z-9]", "is no range"),
        ("a]", "a lone `]`"),
        ("a\\", "holds `\\`"),
        ("x" * (LONGEST_PATTERN + 1), "at most 1,000"),
    ],
)
def test_what_is_not_common_to_them_is_refused_with_a_way_out(pattern: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        whole(pattern)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(a|a)*b", "(a*)*", "((a{1000}){1000}){1000}", "(" * 400 + ")" * 400]
)
def test_no_pattern_can_be_made_to_hang(pattern: str) -> None:
    """It runs in linear time, or is refused."""
    began = time.process_time()
    try:
        data = {"One": {"fields": {"x": {"type": "text", "pattern": pattern, "optional": True}}}}
        found, mistakes = read_declarations(data, owner="demo")
        if not mistakes:
            with pytest.raises(PayloadError):
                codec_of(classes_of(found)["One"]).from_json({"x": "a" * 50_000 + "!"})
    finally:
        assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "pattern", ["a", "^a$", "^(a)|(b)$", r"^(\d)$", "^(a*?)$", "^((?i)a)$", "^([^a][^b])$"]
)
def test_a_pattern_of_python_that_differs_stays_out_of_the_xsd(pattern: str) -> None:
    assert facet(pattern) is None
