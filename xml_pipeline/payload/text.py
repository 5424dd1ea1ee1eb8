"""Character data in Exclusive C14N form."""

from __future__ import annotations

import re

_SPECIAL = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

special = _SPECIAL.search
"""Finds the first character that cannot stand in character data as it is."""


def escape(text: str) -> str:
    """`text` as canonical character data.

    Raises:
        ValueError: it holds a character that XML 1.0 cannot carry.
    """
    if special(text) is None:
        return text
    illegal = _ILLEGAL.search(text)
    if illegal is not None:
        code = f"U+{ord(illegal[0]):04X}"
        raise ValueError(f"holds the character {code} at position {illegal.start()}, which XML cannot carry")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#xD;")
