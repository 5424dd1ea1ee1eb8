"""Payloads in the text that a language model wrote.

Models wrap XML in prose and code fences, leave `&` and `<` bare, and cut documents short. Each repair here has
a name, is recorded, and never guesses at meaning; what it does not cover is refused by name, with what would
be right. The repaired text then takes the same way as every message: strict parse, then the class's schema.
Nothing is ever closed for the model: a truncated document may lack the very part that matters.

A receiver is named by an element around the payload: `<call to="researcher"><Task>…</Task></call>`, or an
envelope's `<to>`. Whatever else such an envelope says (its `<from>` above all) is not read.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from xml_pipeline.envelope.thinking import without_thinking
from xml_pipeline.errors import EnvelopeError, PayloadError, Violation, cut
from xml_pipeline.hardened import parse
from xml_pipeline.payload import PayloadCodec
from xml_pipeline.payload.text import carriable, carried

PROSE = "removed text around the document"
FENCE = "removed a code fence"
AMPERSAND = "escaped a bare &"
LESS_THAN = "escaped a bare <"
CHARACTER = "replaced characters that XML cannot carry by U+FFFD"

_UNCARRIABLE_REFERENCE = re.compile(r"&#(?:x([0-9a-fA-F]{1,12})|([0-9]{1,12}));")
_BARE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});)")
_FENCE = re.compile(r"^[ \t]*```[^\n]*$", re.MULTILINE)
_ADDRESS = re.compile(
    r"""<call\s+to\s*=\s*(?:"([^"<>]*)"|'([^'<>]*)')\s*>|<(message)\b[^<>]*>|<to>([^<>]*)</to>|</(?:call|message)>"""
)
_WRAPPING = re.compile(r"<meta>(?:(?!</?meta>).)*</meta>|</?(?:call|message|meta)\b[^<>]*>", re.DOTALL)
_ELEMENT = re.compile(r"<([A-Za-z_][\w.-]*)(?=[\s/>])[^<>]*>")
_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_NEAR = 0.75  # difflib ratio from which a name counts as a slip of another
_MAX_NAMES = 100  # different element names in prose that are looked at


@dataclass(frozen=True, slots=True)
class Found:
    """One payload that was found in text.

    Attributes:
        codec: its class's codec.
        payload: the typed instance.
        to: the receiver that an element around it named, or "".
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
    bare = without_thinking(text, by_root)
    spans = list(_spans(bare, by_root))
    outside = _outside(bare, spans)
    around = _around("".join(outside), len(bare) != len(text))
    found: list[Found] = []
    errors: list[tuple[str, PayloadError]] = []
    address = _Address(by_root)
    for stretch, (root, start, stop) in zip(outside, spans, strict=False):
        address.read(stretch, errors)
        address.used = True
        if stop < 0:
            errors.append((root, _refusal(root, f"is cut short: </{root}> is missing", by_root)))
            continue
        try:
            found.append(_read(bare[start:stop], by_root[root], address.to, around))
        except PayloadError as error:
            errors.append((root, error))
    if len(outside) > len(spans):
        address.read(outside[-1], errors)
    prose = "".join(outside)
    errors.extend(_near_misses(prose, by_root, {name for name, _ in errors}))
    return Extraction(tuple(found), tuple(errors), _FENCE.sub("", _WRAPPING.sub("", prose)).strip())


class _Address:
    """Who the payloads that come next are for, as the elements around them say."""

    def __init__(self, roots: Mapping[str, Any]) -> None:
        self.to = ""
        self.used = True
        self._envelope = False
        self._roots = roots

    def read(self, stretch: str, errors: list[tuple[str, PayloadError]]) -> None:
        """Take in the text before a payload, or after the last one."""
        opened = 0
        for match in _ADDRESS.finditer(stretch):
            double, single, envelope, name = match.groups()
            if double is not None or single is not None:
                self.to, self.used, opened = double or single or "", False, match.end()
            elif envelope:
                self.to, self._envelope = "", True
            elif name is not None:
                if self._envelope:
                    self.to, self.used, opened = name.strip(), False, match.end()
            else:
                if not self.used:
                    errors.append(self._unused(stretch[opened : match.start()]))
                self.to, self.used, self._envelope = "", True, False

    def _unused(self, inside: str) -> tuple[str, PayloadError]:
        element = _ELEMENT.search(inside)
        name = element[1] if element else "call"
        rule = f"the call to '{cut(self.to)}' holds no payload that can be sent from here"
        return name, _refusal(name, rule, self._roots)


def _spans(text: str, roots: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    """(root, start, end) of each outermost element with a known name; end is -1 when it is never closed."""
    if not roots:
        return
    quiet = _without_cdata(text)
    names = "|".join(re.escape(root) for root in sorted(roots, key=len, reverse=True))
    opening = re.compile(rf"<({names})(?=[\s/>])(?!>`)")  # `<Name>` in backticks is talk about it
    at = 0
    while match := opening.search(quiet, at):
        root, start = match[1], match.start()
        stop = _end(quiet, root, start)
        yield root, start, stop
        if stop < 0:
            return
        at = stop


def _end(quiet: str, root: str, start: int) -> int:
    """Where the element that opens at `start` ends, its own kind nested inside it counted; -1 if it does not."""
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


def _outside(text: str, spans: list[tuple[str, int, int]]) -> list[str]:
    """What stands before each span, and after the last one unless that is cut short."""
    stretches = []
    end = 0
    for _, start, stop in spans:
        stretches.append(text[end:start])
        end = stop
    if end >= 0:
        stretches.append(text[end:])
    return stretches


def _around(outside: str, thought: bool) -> tuple[str, ...]:
    """Names of the repairs that took the documents out of what stood around them."""
    repairs = []
    if _FENCE.search(outside):
        repairs.append(FENCE)
    if thought or _FENCE.sub("", _WRAPPING.sub("", outside)).strip():
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
            if _BARE_AMPERSAND.search(_without_cdata(text)):
                repairs.append(AMPERSAND)
            if mended.count("&lt;") > text.count("&lt;"):
                repairs.append(LESS_THAN)
        try:
            element = parse(mended.encode())
        except EnvelopeError as error:
            raise PayloadError(
                Violation(codec.root, f"is not well-formed XML: {error}", cut(document))
            ) from None
    return Found(codec, codec.decode(element), to, tuple(repairs))


def _FFFD(text: str) -> str:
    """`carriable`, for references to such characters too."""

    def reference(match: re.Match[str]) -> str:
        number = int(match[1], 16) if match[1] else int(match[2])
        legal = number < 0x110000 and carried(chr(number))
        return match[0] if legal else "\ufffd"

    return _UNCARRIABLE_REFERENCE.sub(reference, carriable(text))


def _escape_markup(text: str, vocabulary: frozenset[str]) -> str:
    """Escape each `&` that starts no entity and each `<` that starts no tag of the class, outside CDATA."""
    parts: list[str] = []
    at = 0
    for start, stop in _cdata(text):
        parts += _escape_stretch(text[at:start], vocabulary), text[start:stop]
        at = stop
    return "".join((*parts, _escape_stretch(text[at:], vocabulary)))


def _cdata(text: str) -> Iterator[tuple[int, int]]:
    """Where the CDATA sections of `text` are."""
    at = text.find("<![CDATA[")
    while at >= 0:
        end = text.find("]]>", at)
        if end < 0:
            return
        yield at, end + 3
        at = text.find("<![CDATA[", end)


def _without_cdata(text: str) -> str:
    """`text` with blanks in place of its CDATA sections."""
    parts: list[str] = []
    at = 0
    for start, stop in _cdata(text):
        parts += text[at:start], " " * (stop - start)
        at = stop
    return "".join((*parts, text[at:]))


def _escape_stretch(text: str, vocabulary: frozenset[str]) -> str:
    text = _BARE_AMPERSAND.sub("&amp;", text)
    pieces = text.split("<")
    out = [pieces[0]]
    for piece in pieces[1:]:
        name = _NAME.match(piece, 1 if piece.startswith("/") else 0)
        known = (
            name is not None and name[0] in vocabulary and piece[name.end() : name.end() + 1] in "/> \t\r\n"
        )
        out.append(("<" if known and ">" in piece else "&lt;") + piece)
    return "".join(out)


@lru_cache(maxsize=512)
def _vocabulary(xsd: str) -> frozenset[str]:
    """All element names that a class's documents may hold."""
    return frozenset(re.findall(r'<xs:element\b[^>]*?\bname="([^"]+)"', xsd))


def _near_misses(
    prose: str, by_root: Mapping[str, Any], known: set[str]
) -> Iterator[tuple[str, PayloadError]]:
    """Elements in the left-over text whose names are slips of known ones, in case or in spelling."""
    lowered = {root.lower(): root for root in by_root}
    seen = known | set(by_root)
    for match in _ELEMENT.finditer(prose):
        name = match[1]
        if name in seen:
            continue
        seen.add(name)
        if len(seen) > _MAX_NAMES:
            return
        near = difflib.get_close_matches(name, by_root, 1, _NEAR) and f"</{name}>" in prose
        if near or name.lower() in lowered:
            yield name, _refusal(name, "is no payload that can be sent from here", by_root)


def _refusal(name: str, rule: str, by_root: Mapping[str, Any]) -> PayloadError:
    near = difflib.get_close_matches(name.lower(), [root.lower() for root in by_root], 1, _NEAR)
    meant = next((root for root in by_root if near and root.lower() == near[0]), "")
    hint = f"; did you mean <{meant}>?" if meant and meant != name else ""
    return PayloadError(Violation(name, rule + hint, allowed=", ".join(f"<{root}>" for root in by_root)))
