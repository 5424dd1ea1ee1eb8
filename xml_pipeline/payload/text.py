"""Character data in Exclusive C14N form."""

from __future__ import annotations

import re

_PLAIN = re.compile("[\t\n -%'-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*+")
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

_BLANKS = re.compile("[ \t\r\n]+")

plain = _PLAIN.fullmatch
"""Matches text that can stand in character data as it is (a match runs at 1 ns a character, a search at 3)."""


def escape(text: str) -> str:
    """`text` as canonical character data.

    Raises:
        ValueError: it holds a character that XML 1.0 cannot carry.
    """
    if plain(text):
        return text
    illegal = _ILLEGAL.search(text)
    if illegal is not None:
        code = f"U+{ord(illegal[0]):04X}"
        raise ValueError(f"holds the character {code} at position {illegal.start()}, which XML cannot carry")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#xD;")


def carried(text: str) -> bool:
    """Whether XML 1.0 can carry the text."""
    return _ILLEGAL.search(text) is None


def collapse(text: str) -> str:
    """`text` as XSD's white space facet `collapse` leaves it: XML's blanks only, not all that str.split() knows."""
    return _BLANKS.sub(" ", text).strip(" ")
