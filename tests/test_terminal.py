"""Text for a terminal: nothing in it is obeyed, columns line up, rows fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth

from xml_pipeline.terminal import Line, columns, labelled, line, lines, plain, table, visible, wrapped


def shown(lines: list[Line]) -> str:
    return "\n".join(map(plain, lines))


@given(st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Lu", "So", "Mn", "Cn"])))
def test_no_text_can_give_orders_to_a_terminal(text: str) -> None:
    obeyed = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *"\u202e\u2028\u2029\u2066\u200e"} - {
        "\n"
    }
    assert not obeyed & set(visible(text))
    visible(text).encode()


def test_escapes_are_shown_and_emoji_kept() -> None:
    assert visible("\x1b]0;owned\x07 \u202eabc\r\n") == "\\x1b]0;owned\\x07 \\u202eabc\n"
    assert visible("naïve 👩‍🔬 العربية 漢字\tx") == "naïve 👩‍🔬 العربية 漢字    x"
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
