"""Text for a terminal: styled lines, columns and rows of a width, numbers in words. Pure.

Nothing that is shown can give the terminal an order: `visible` writes escapes, controls and characters that turn
text around as `\\x1b` or `\\u202e`, and every line is made with it (ADR 22).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
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


# --- lines ---


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


# --- columns and rows ---


def columns(text: str) -> int:
    """How many columns `text` takes: two for a wide character, none for an accent that joins the one before."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def table(rows: Sequence[Sequence[str]], style: Style = "name") -> list[Line]:
    """Rows of equal length in columns; the first column in `style`."""
    *widths, _ = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    return [
        line((style, first), *(f"  {cell}" for cell in rest))
        for first, *rest in (_padded(row, widths) for row in rows)
    ]


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """All cells but the last filled up with blanks."""
    return [
        *(f"{cell}{' ' * (width - columns(cell))}" for cell, width in zip(row, widths, strict=False)),
        row[-1],
    ]


def wrapped(text: Line, width: int) -> list[Line]:
    """A line as rows of at most `width` columns."""
    rows: list[list[tuple[Style, str]]] = [[]]
    column = 0
    for style, part in text:
        start = 0
        for position, char in enumerate(part):
            taken = _columns(char)
            if column + taken > width:
                rows[-1].append((style, part[start:position]))
                rows.append([])
                start, column = position, 0
            column += taken
        rows[-1].append((style, part[start:]))
    return [tuple(row) for row in rows]


# --- numbers ---


def money(usd: float | None) -> str:
    """USD, or that it is not known."""
    if usd is None:
        return "cost unknown"
    return "$0" if usd == 0 else f"${usd:.4f}" if usd < 1 else f"${usd:,.2f}"


def count(number: int, noun: str) -> str:
    """`1 thread`, `2 threads`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
