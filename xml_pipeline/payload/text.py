"""Character data in Exclusive C14N form, and text that can be carried at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_PLAIN = re.compile("[\t\n -%'-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*+")
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

_CARRIED = re.compile("[\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*+")
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


carried = _CARRIED.fullmatch
"""Matches text that XML 1.0 can carry."""


def own_text(text: str) -> str:
    """The characters of a text: a member of an enumeration prints and compares as it likes."""
    return str.__str__(text)


def encodable(text: str) -> str:
    """`text` as UTF-8 can encode it: halves of a character are joined, and a half alone becomes U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def carriable(text: str) -> str:
    """`encodable`, and with U+FFFD for each character that XML 1.0 cannot carry."""
    return text if carried(text) else _ILLEGAL.sub("\ufffd", encodable(text))


def deeply(mend: Callable[[str], str], value: Any) -> Any:
    """`value` with every text in its mappings and lists mended; itself when nothing is to be mended."""
    if isinstance(value, str):
        return mend(value)
    if isinstance(value, Mapping):
        mended = {deeply(mend, key): deeply(mend, inner) for key, inner in value.items()}
        same = all(mended.get(key) is inner for key, inner in value.items())
        return value if same and len(mended) == len(value) else mended
    if isinstance(value, (list, tuple)):
        items = [deeply(mend, inner) for inner in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else type(value)(items) if type(value) in (list, tuple) else items
    return value


def collapse(text: str) -> str:
    """`text` as XSD's white space facet `collapse` leaves it: XML's blanks only, not all that str.split() knows."""
    return _BLANKS.sub(" ", text).strip(" ")
