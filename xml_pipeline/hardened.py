"""The project's only XML parser: limits first, then libxml2, and nothing that reaches outside the document.

Refused before libxml2 sees a byte: too many bytes, too much markup, any DOCTYPE, an encoding that is not
UTF-8. Refused afterwards: too deep, XInclude, and the attributes `xsi:schemaLocation`,
`xsi:noNamespaceSchemaLocation` and `xsi:type` (a document does not choose its own schema). Comments and
processing instructions are dropped. `recover` is never used, because it changes meaning. It stands below payloads and
envelopes, because both parse (ADR 6).

Measured with libxml2 2.14 on one core: no input takes 100 ms at the default limits. What is dear beyond its bytes
is counted first: attributes (up to 0.25 µs each), elements (0.08 µs here, 2 µs in all that follows), references
(0.03 µs), and bytes inside tags.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from lxml import etree

from xml_pipeline.errors import EnvelopeError, cut

XSI = "http://www.w3.org/2001/XMLSchema-instance"
XINCLUDE = "http://www.w3.org/2001/XInclude"

_NATIVE_DEPTH = 256  # libxml2 holds this itself unless huge_tree is on
_NATIVE_TEXT = 10_000_000  # and this: bytes of one text or attribute
_BANG, _X, _HASH = b"!X#"
_ODD_START = frozenset({b"<?", b"\xef\xbb"})
_HINTS = frozenset({f"{{{XSI}}}schemaLocation", f"{{{XSI}}}noNamespaceSchemaLocation", f"{{{XSI}}}type"})

_DECLARATION = re.compile(rb"""<\?xml\s[^>]*?encoding\s*=\s*["']([^"'>]*)["']""")
_SPECIAL = re.compile(rb"<(?:!--|!\[CDATA\[|\?|!DOCTYPE)")
_ENDS = {b"<!--": b"-->", b"<![CDATA[": b"]]>", b"<?": b"?>"}
_TAG = re.compile(rb"""</?[^<>"']*+(?:"[^"<]*+"?[^<>"']*+|'[^'<]*+'?[^<>"']*+){0,60000}+>?""")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document may cost.

    Attributes:
        max_bytes: length of the whole document.
        max_depth: elements inside each other, the root included.
        max_elements: start tags.
        max_attributes: attributes and namespace declarations of all elements together.
        max_references: `&`, as in `&amp;`.
        max_markup: bytes of all tags together.
        easy_bytes: a document of at most so many bytes cannot break a limit; computed.
    """

    max_bytes: int = 12 * 1024 * 1024
    max_depth: int = _NATIVE_DEPTH
    max_elements: int = 50_000
    max_attributes: int = 50_000
    max_references: int = 2_500_000
    max_markup: int = 4 * 1024 * 1024
    easy_bytes: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # No shorter document can hold too much of anything: <a/> has 4 bytes, an attribute 5. Depth is libxml2's own.
        least = min(
            self.max_bytes,
            4 * self.max_elements,
            4 * self.max_attributes,
            self.max_references,
            self.max_markup,
            _NATIVE_TEXT,
        )
        object.__setattr__(self, "easy_bytes", least if self.max_depth == _NATIVE_DEPTH else -1)


DEFAULT_LIMITS = Limits()


class _Parsers(threading.local):
    """Each thread's own parsers: building one costs more than parsing a message."""

    def __init__(self) -> None:
        self.usual = _parser(huge_tree=False)
        self.huge = _parser(huge_tree=True)


def _parser(*, huge_tree: bool) -> etree.XMLParser:
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=huge_tree,
        recover=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,  # nobody asks for xml:id, and the table costs 2 % of a parse
        decompress=False,  # type: ignore[call-arg]  # the stubs do not know it
    )


_parsers = _Parsers()
_fromstring = etree.fromstring


def parse(data: bytes, limits: Limits = DEFAULT_LIMITS) -> etree._Element:
    """The root element of a UTF-8 document without comments and processing instructions.

    Raises:
        EnvelopeError: with the rule `size`, `elements`, `doctype`, `encoding`, `depth`, `hint` or `syntax`.
    """
    easy = len(data) <= limits.easy_bytes
    if not easy:
        _refuse_floods(data, limits)
    # Each check begins with the search of one byte, which nearly no message has and which costs 30 ns.
    if _BANG in data and b"<!DOCTYPE" in data:
        for _ in _outside(data):
            pass
    if data[:2] in _ODD_START:
        _refuse_encoding(data)
    huge = not easy and (len(data) > _NATIVE_TEXT or limits.max_depth > _NATIVE_DEPTH)
    try:
        root = _fromstring(data, _parsers.huge if huge else _parsers.usual)
    except etree.XMLSyntaxError as error:
        raise _syntax(error, data) from None
    except ValueError as error:  # lxml's own refusals
        raise EnvelopeError("syntax", f"the document is not well-formed XML: {error}") from None
    if not easy and (huge or limits.max_depth < _NATIVE_DEPTH):
        _refuse_depth(root, limits.max_depth)
    # The namespaces of the hints can be spelt with character references, too.
    if (_X in data and (b"XMLSchema-instance" in data or b"XInclude" in data)) or (
        _HASH in data and b"&#" in data
    ):
        _refuse_hints(root)
    return root


def _refuse_floods(data: bytes, limits: Limits) -> None:
    if len(data) > limits.max_bytes:
        reason = f"the document has {len(data)} bytes; at most {limits.max_bytes} are allowed"
        raise EnvelopeError("size", reason)
    if _exceeds(data, b"&", limits.max_references):
        raise EnvelopeError("size", f"more than {limits.max_references} references (&) in one document")
    if (
        len(data) > limits.max_markup
        or _exceeds(data, b"<", limits.max_elements, but=b"</")
        or _exceeds(data, b"=", limits.max_attributes)
    ):
        _count_markup(data, limits)


def _exceeds(data: bytes, sign: bytes, limit: int, but: bytes = b"") -> bool:
    """Whether `sign` occurs more often than `limit`; the occurrences of `but` need not count."""
    total, step = 0, 1 << 20  # in steps, because a flood of signs takes long to count
    for start in range(0, len(data), step):
        total += data.count(sign, start, start + step)
        if but:
            total -= data.count(but, start, start + step)
        if total > limit:
            return True
    return False


def _count_markup(data: bytes, limits: Limits) -> None:
    """Count elements, attributes and the bytes of tags exactly, outside CDATA and comments."""
    elements = ends = attributes = size = 0
    for pieces, (start, end) in enumerate(_outside(data), start=1):
        if pieces > limits.max_elements:
            rule = f"more than {limits.max_elements} comments, CDATA sections and the like in one document"
            raise EnvelopeError("elements", rule)
        for found in _TAG.finditer(data, start, end):
            tag = found.group()
            size += len(tag)
            if tag[1:2] == b"/":
                ends += 1
            else:
                elements += 1
                attributes += tag.count(b"=")
            if elements > limits.max_elements or ends > limits.max_elements:
                raise EnvelopeError("elements", f"more than {limits.max_elements} elements in one document")
            if attributes > limits.max_attributes:
                raise EnvelopeError(
                    "elements", f"more than {limits.max_attributes} attributes in one document"
                )
            if size > limits.max_markup:
                raise EnvelopeError("size", f"the tags have more than {limits.max_markup} bytes")


def _outside(data: bytes) -> Iterator[tuple[int, int]]:
    """The stretches of a document outside comments, CDATA and processing instructions; refuses a DOCTYPE there."""
    at = 0
    while special := _SPECIAL.search(data, at):
        kind = special.group()
        if kind == b"<!DOCTYPE":
            raise EnvelopeError("doctype", "a DOCTYPE is not allowed; send the document without it")
        yield at, special.start()
        end = data.find(_ENDS[kind], special.end())
        if end < 0:
            raise EnvelopeError(
                "syntax", f"the document is not well-formed XML: {kind.decode()} is never closed"
            )
        at = end + len(_ENDS[kind])
    yield at, len(data)


def _refuse_encoding(data: bytes) -> None:
    """The bytes are read as UTF-8, so a declaration of anything else would mean two readings."""
    head = data.removeprefix(b"\xef\xbb\xbf")[:1024]
    if head.startswith(b"<?xml") and b"?>" not in head:
        raise EnvelopeError("syntax", "the document is not well-formed XML: its declaration is never closed")
    declared = _DECLARATION.match(head)
    if declared and declared[1].lower() not in (b"utf-8", b"utf8", b"us-ascii"):
        name = declared[1].decode("ascii", "replace")
        raise EnvelopeError(
            "encoding", f"the document declares the encoding {cut(name)!r}; only UTF-8 is read"
        )


def _refuse_depth(root: etree._Element, max_depth: int) -> None:
    level, depth = [root], 0
    while level:
        depth += 1
        if depth > max_depth:
            raise EnvelopeError("depth", f"elements are nested deeper than {max_depth} levels")
        level = [child for element in level for child in element]


def _refuse_hints(root: etree._Element) -> None:
    for element in root.iter():
        if element.tag.startswith("{") and element.tag.startswith(f"{{{XINCLUDE}}}"):
            raise EnvelopeError("hint", "XInclude elements are not allowed")
        if element.attrib:
            for name in element.attrib:
                if name in _HINTS:
                    local = str(name).rpartition("}")[2]
                    raise EnvelopeError("hint", f"the attribute xsi:{local} is not allowed")


def _syntax(error: etree.XMLSyntaxError, data: bytes) -> EnvelopeError:
    message = cut(error.msg or str(error), 200)
    if "Excessive depth" in message:
        return EnvelopeError("depth", f"elements are nested deeper than {_NATIVE_DEPTH} levels")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as bad:
        return EnvelopeError("encoding", f"the document is not UTF-8: byte {bad.start} does not fit")
    return EnvelopeError("syntax", f"the document is not well-formed XML: {message}")
