"""Text with styles, and nothing in it that a terminal would obey."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Literal, TypeAlias

Style: TypeAlias = Literal["", "name", "dim", "good", "warn", "error"]
Line: TypeAlias = tuple[tuple[Style, str], ...]
"""One line of output: fragments of style and text, the text already made `visible`, without newlines."""

# Orders to the layout rather than text: they can make a line read differently from what it says.
_LAYOUT = frozenset(
    "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
)
_TAB = "    "


def visible(text: str) -> str:
    """`text` with every character that a terminal would obey shown as `\\x1b` or `\\u202e`; newlines stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text.replace("\r\n", "\n")))


def _shown(char: str) -> str:
    if char == "\n" or char.isprintable():
        return char
    if char == "\t":
        return _TAB
    if char not in _LAYOUT and unicodedata.category(char) not in ("Cc", "Cs", "Cn"):
        return char
    return f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}"


def line(*parts: str | tuple[Style, str]) -> Line:
    """A line of plain texts and (style, text) pairs; a newline in one becomes a blank."""
    return tuple(
        ("", _on_one_line(part)) if isinstance(part, str) else (part[0], _on_one_line(part[1]))
        for part in parts
    )


def _on_one_line(text: str) -> str:
    return visible(text).replace("\n", " ")


def lines(text: str, style: Style = "") -> list[Line]:
    """The lines of a text."""
    return [((style, row),) for row in visible(text).split("\n")]


def labelled(label: Line, body: Iterable[Line]) -> list[Line]:
    """`body` with `label` before its first line."""
    first, *rest = list(body) or [()]
    return [(*label, *first), *rest]


def plain(text: Line) -> str:
    """The line without its styles."""
    return "".join(part for _, part in text)
