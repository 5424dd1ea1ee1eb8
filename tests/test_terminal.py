"""Text for a terminal: nothing in it is obeyed, columns line up, rows fit."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from prompt_toolkit.utils import get_cwidth

from xml_pipeline.terminal import (
    Line,
    columns,
    json_text,
    labelled,
    line,
    lines,
    plain,
    table,
    visible,
    wrapped,
    xml_text,
)

HOSTILE = st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Lu", "So", "Mn", "Cn", "Co"])


def orders_in(text: str) -> set[str]:
    """What a terminal would obey, or nobody would see."""
    return {
        char
        for char in text
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in "\n\t"
    } | (set(text) & set("\u034f\u115f\u3164\uffa0\ufe00\U000e0100"))


def shown(lines: list[Line]) -> str:
    return "\n".join(map(plain, lines))


@given(st.text(HOSTILE))
def test_no_text_can_give_orders_to_a_terminal(text: str) -> None:
    assert not orders_in(visible(text))
    visible(text).encode()


@given(st.text(), st.lists(st.text(HOSTILE), max_size=3))
def test_documents_mean_the_same_when_they_are_shown(text: str, more: list[str]) -> None:
    shown_json = json_text({"text": text, "more": more})
    assert not orders_in(shown_json)
    assert json.loads(shown_json) == {"text": text, "more": more}
    carried = "".join(char for char in "".join((text, *more)) if char in "\t\n" or char >= " ")
    carried = carried.encode("utf-8", "ignore").decode().replace("\ufffe", "").replace("\uffff", "")
    element = etree.Element("a", b=carried)
    element.text = carried
    shown_xml = xml_text(etree.tostring(element, encoding="unicode"))
    assert not orders_in(shown_xml)
    again = etree.fromstring(shown_xml)
    assert (again.text or "", again.get("b")) == (carried, carried)


def test_escapes_are_shown_and_letters_kept() -> None:
    assert visible("\x1b]0;owned\x07 \u202eabc\r\n") == "\\x1b]0;owned\\x07 \\u202eabc\n"
    assert visible("naïve ❤\ufe0f العربية 漢字\tx") == "naïve ❤\ufe0f العربية 漢字    x"
    assert visible("👩\u200d🔬 a\u200bb \U000e0041") == "👩\\u200d🔬 a\\u200bb \\U000e0041"
    assert visible("a\rb") == "a\\x0db"


def test_hostile_names_and_texts_stay_on_their_line() -> None:
    shown_line = plain(line("a\nb", ("error", "\x1b[31m")))
    assert shown_line == "a b\\x1b[31m"


def test_a_label_stands_before_the_first_line_only() -> None:
    assert shown(labelled(line("x: "), lines("a\nb"))) == "x: a\nb"
    assert shown(labelled(line("x: "), [])) == "x: "


def test_columns_line_up() -> None:
    assert shown(table([("a", "bbb", "c"), ("aaa", "b", "")])) == "a    bbb  c\naaa  b    "


@pytest.mark.parametrize("width", [1, 2, 3, 10])
def test_rows_hold_the_whole_line_and_are_no_wider_than_the_screen(width: int) -> None:
    text = line(("name", "ab"), "cd 漢字 e\u0301f")
    rows = wrapped(text, width)
    assert "".join(map(plain, rows)) == plain(text)
    assert all(get_cwidth(plain(row)) <= max(width, 2) for row in rows)


def test_wide_characters_line_up_in_columns() -> None:
    assert shown(table([("漢字", "a"), ("bcde", "e")])) == "漢字  a\nbcde  e"
    assert columns("e\u0301 漢👩") == get_cwidth("e\u0301 漢👩") == 6
