"""Payloads in the text that a language model wrote.

Models wrap XML in prose and code fences, leave `&` and `<` bare, and cut documents short. Each repair here has
a name, is recorded, and never guesses at meaning; what it does not cover is refused by name, with what would
be right. The repaired text then takes the same way as every message: strict parse, then the class's schema.
Nothing is ever closed for the model: a truncated document may lack the very part that matters.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from xml_pipeline.errors import EnvelopeError, PayloadError, Violation, cut
from xml_pipeline.hardened import parse
from xml_pipeline.payload import PayloadCodec

PROSE = "removed text around the document"
FENCE = "removed a code fence"
AMPERSAND = "escaped a bare &"
LESS_THAN = "escaped a bare <"
CHARACTER = "replaced characters that XML cannot carry by U+FFFD"

_UNCARRIABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNCARRIABLE_REFERENCE = re.compile(r"&#(?:x([0-9a-fA-F]+)|([0-9]+));")
_BARE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});)")
_THINKING = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL)
_FENCE = re.compile(r"^[ \t]*```[^\n]*$", re.MULTILINE)
_CDATA = re.compile(r"<!\[CDATA\[.*?\]\]>", re.DOTALL)
_ENVELOPE_TO = re.compile(r"<message\b[^<]*<meta>.*?<to>\s*([^<]+?)\s*</to>", re.DOTALL)
_ELEMENT = re.compile(r"<([A-Za-z_][\w.-]*)\s*(?:/>|>|\s[^<>]*>)")
_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_NEAR = 0.75  # difflib ratio from which a name counts as a slip of another


@dataclass(frozen=True, slots=True)
class Found:
    """One payload that was found in text.

    Attributes:
        codec: its class's codec.
        payload: the typed instance.
        to: the receiver that an envelope around it named, or "".
        repairs: what had to be repaired, in the words of this module's constants.
    """

    codec: PayloadCodec[Any]
    payload: Any
    to: str = ""
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a text holds.

    Attributes:
        found: payloads in the order of the text.
        errors: what looked like a payload and is none, with the reason.
        prose: the text that is left, without fences and thinking.
    """

    found: tuple[Found, ...]
    errors: tuple[tuple[str, PayloadError], ...]
    prose: str


def extract_payloads(text: str | bytes, codecs: Iterable[PayloadCodec[Any]]) -> Extraction:
    """Find every payload of `codecs` in `text`, which a model wrote.

    Never raises for what the text holds: what cannot be taken is in `errors`, as (element name, reason).
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    by_root = {codec.root: codec for codec in codecs}
    bare = _THINKING.sub("", text)
    found: list[Found] = []
    errors: list[tuple[str, PayloadError]] = []
    rest: list[str] = []
    end = 0
    for root, start, stop in _spans(bare, by_root):
        rest.append(bare[end:start])
        end = stop if stop >= 0 else len(bare)
        if stop < 0:
            errors.append((root, _refusal(root, f"is cut short: </{root}> is missing", by_root)))
            continue
        envelope = _ENVELOPE_TO.search(rest[-1])
        to = envelope[1] if envelope else ""
        try:
            found.append(_read(bare[start:stop], by_root[root], to, _around(text, bare, start, stop)))
        except PayloadError as error:
            errors.append((root, error))
    rest.append(bare[end:])
    prose = "".join(rest)
    errors.extend(_near_misses(prose, by_root))
    return Extraction(tuple(found), tuple(errors), _FENCE.sub("", prose).strip())


def _spans(text: str, roots: dict[str, Any]) -> Iterator[tuple[str, int, int]]:
    """(root, start, end) of each outermost element with a known name; end is -1 when it is never closed."""
    if not roots:
        return
    names = "|".join(re.escape(root) for root in sorted(roots, key=len, reverse=True))
    opening = re.compile(rf"<({names})(?=[\s/>])")
    at = 0
    while match := opening.search(text, at):
        root, start = match[1], match.start()
        stop = _end(text, root, start)
        yield root, start, stop
        if stop < 0:
            return
        at = stop


def _end(text: str, root: str, start: int) -> int:
    """Where the element that opens at `start` ends, its own kind nested inside it counted; -1 if it does not."""
    quiet = _CDATA.sub(lambda m: " " * len(m[0]), text)
    tag = re.compile(rf"<(/?){re.escape(root)}(?:\s[^<>]*?)?(/?)>")
    depth = 0
    for match in tag.finditer(quiet, start):
        if match[1]:
            depth -= 1
        elif not match[2]:
            depth += 1
        if depth <= 0:
            return match.end()
    return -1


def _around(original: str, bare: str, start: int, stop: int) -> tuple[str, ...]:
    """Names of the repairs that took the document out of what stood around it."""
    before, after = bare[:start], bare[stop:]
    repairs = []
    if _FENCE.search(before) or _FENCE.search(after):
        repairs.append(FENCE)
    if _FENCE.sub("", before).strip() or _FENCE.sub("", after).strip() or len(original) != len(bare):
        repairs.append(PROSE)
    return tuple(repairs)


def _read(document: str, codec: PayloadCodec[Any], to: str, outside: tuple[str, ...]) -> Found:
    """One document: repaired where it is not well-formed, then parsed strictly and validated."""
    repairs = list(outside)
    text = _FFFD(document)
    if text != document:
        repairs.append(CHARACTER)
    try:
        element = parse(text.encode())
    except EnvelopeError:
        mended = _escape_markup(text, _vocabulary(codec.xsd))
        if mended != text:
            if _BARE_AMPERSAND.search(_CDATA.sub("", text)):
                repairs.append(AMPERSAND)
            if mended.count("&lt;") > text.count("&lt;"):
                repairs.append(LESS_THAN)
        try:
            element = parse(mended.encode())
        except EnvelopeError as error:
            raise PayloadError(Violation(codec.root, f"is not well-formed XML: {error}", cut(document))) from None
    return Found(codec, codec.decode(element), to, tuple(repairs))


def _FFFD(text: str) -> str:
    """`text` with U+FFFD for each character, bare or as a reference, that XML 1.0 cannot carry."""

    def reference(match: re.Match[str]) -> str:
        number = int(match[1], 16) if match[1] else int(match[2])
        legal = number < 0x110000 and not _UNCARRIABLE.match(chr(number))
        return match[0] if legal else "\ufffd"

    return _UNCARRIABLE_REFERENCE.sub(reference, _UNCARRIABLE.sub("\ufffd", text))


def _escape_markup(text: str, vocabulary: frozenset[str]) -> str:
    """Escape each `&` that starts no entity and each `<` that starts no tag of the class, outside CDATA."""
    parts: list[str] = []
    at = 0
    for match in [*_CDATA.finditer(text), None]:
        stop = len(text) if match is None else match.start()
        parts.append(_escape_stretch(text[at:stop], vocabulary))
        if match is not None:
            parts.append(match[0])
            at = match.end()
    return "".join(parts)


def _escape_stretch(text: str, vocabulary: frozenset[str]) -> str:
    text = _BARE_AMPERSAND.sub("&amp;", text)
    pieces = text.split("<")
    out = [pieces[0]]
    for piece in pieces[1:]:
        name = _NAME.match(piece, 1 if piece.startswith("/") else 0)
        known = name is not None and name[0] in vocabulary and piece[name.end() : name.end() + 1] in "/> \t\r\n"
        out.append(("<" if known and ">" in piece else "&lt;") + piece)
    return "".join(out)


@lru_cache(maxsize=512)
def _vocabulary(xsd: str) -> frozenset[str]:
    """All element names that a class's documents may hold."""
    return frozenset(re.findall(r'<xs:element\b[^>]*?\bname="([^"]+)"', xsd))


def _near_misses(prose: str, by_root: dict[str, Any]) -> Iterator[tuple[str, PayloadError]]:
    """Elements in the left-over text whose names are slips of known ones, in case or in spelling."""
    lowered = {root.lower(): root for root in by_root}
    seen: set[str] = set()
    for match in _ELEMENT.finditer(prose):
        name = match[1]
        if name in seen or f"</{name}>" not in prose:
            continue
        seen.add(name)
        if name.lower() in lowered or difflib.get_close_matches(name, by_root, 1, _NEAR):
            yield name, _refusal(name, "is no payload that can be sent from here", by_root)


def _refusal(name: str, rule: str, by_root: dict[str, Any]) -> PayloadError:
    near = difflib.get_close_matches(name.lower(), [root.lower() for root in by_root], 1, _NEAR)
    meant = next((root for root in by_root if near and root.lower() == near[0]), "")
    hint = f"; did you mean <{meant}>?" if meant and meant != name else ""
    return PayloadError(Violation(name, rule + hint, allowed=", ".join(f"<{root}>" for root in by_root)))
