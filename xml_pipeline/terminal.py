"""Text for a terminal: styled lines, columns and rows of a width, numbers in words. Pure.

Nothing that is shown can give the terminal an order, or look like what it is not: `visible` writes escapes,
controls and characters that turn text around or cannot be seen as `\\x1b` or `\\u202e`, and every line is made with
it (ADR 22). In JSON and XML the same characters are written as these languages write them.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TextIO, TypeAlias

Style: TypeAlias = Literal["", "name", "dim", "good", "warn", "error"]
Line: TypeAlias = tuple[tuple[Style, str], ...]
"""One line of output: fragments of style and text, the text already made `visible`, without newlines."""

# Letters and marks that nothing is drawn for (Default_Ignorable_Code_Point of Unicode, which `unicodedata` does not
# have, without those that other categories tell); what chooses between text and emoji (U+FE0E, U+FE0F) may stay.
_UNSEEN = frozenset(
    map(
        chr,
        (
            *(0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0),
            *(*range(0xFE00, 0xFE0E), *range(0xE0100, 0xE01F0)),
        ),
    )
)
_DRAWN = ("Zs", "Co")  # categories that Python does not print, and that do no harm
_TAB = "    "


def visible(text: str) -> str:
    """`text` with every character that a terminal would obey shown as `\\x1b` or `\\u202e`; newlines stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text.replace("\r\n", "\n")))


def _shown(char: str) -> str:
    if char == "\t":
        return _TAB
    if char == "\n" or not _is_order(char):
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _is_order(char: str) -> bool:
    """Whether it is not to be shown: a control, a format character, half of a pair, unassigned, or unseen."""
    if char.isprintable():
        return char in _UNSEEN
    return unicodedata.category(char) not in _DRAWN


# --- documents ---


def json_text(value: Any, indent: int | None = 2) -> str:
    """`value` as JSON that a terminal can show: orders are `\\u…` escapes of JSON. Without `indent`, on one line."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return "".join(json.dumps(char)[1:-1] if char != "\n" and _is_order(char) else char for char in text)


def xml_text(document: str) -> str:
    """An XML document that a terminal can show: orders are character references, as they may stand in its texts."""
    return "".join(
        f"&#x{ord(char):x};" if char not in "\n\t" and _is_order(char) else char for char in document
    )


# --- what others write ---


class GuardedStream:
    """A text stream that shows what a terminal would obey; `buffer` and all else are the stream's own.

    It belongs to the program: who prints to it cannot close it for the others.

    Attributes:
        lost: why the last text that could not be written was lost; None when none was.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        try:
            self._stream.write("\t".join(map(visible, text.split("\t"))))
        except OSError as error:
            self.lost = error
            raise
        return len(text)

    def writelines(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.write(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self.lost = error
            raise

    def close(self) -> None:
        """Write what is buffered; more may come."""
        self.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


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


def one_line(text: object) -> str:
    """Any text on one line, without anything that a terminal would obey."""
    return plain(line(str(text)))


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
    """`1 thread`, `2 threads`, `2 boxes`."""
    return f"{number:,} {noun}{'' if number == 1 else 'es' if noun.endswith('x') else 's'}"
