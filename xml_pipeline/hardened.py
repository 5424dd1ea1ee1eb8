"""The project's only XML parser: limits first, then libxml2, and nothing that reaches outside the document.

Refused before libxml2 sees a byte: too many bytes, too much markup, any DOCTYPE, an encoding that is not
UTF-8. Refused afterwards: too deep, XInclude, and the attributes `xsi:schemaLocation`,
`xsi:noNamespaceSchemaLocation` and `xsi:type` (a document does not choose its own schema). Comments and
processing instructions are dropped. `recover` is never used, because it changes meaning.

Measured with libxml2 2.14: no input within the default limits takes 100 ms. Floods of attributes (up to 0.25 µs
each) and of elements (0.08 µs here, but some 2 µs in all that follows) are the dear ones, so both are counted.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass

from lxml import etree

from xml_pipeline.errors import EnvelopeError, cut

XSI = "http://www.w3.org/2001/XMLSchema-instance"
XINCLUDE = "http://www.w3.org/2001/XInclude"

_NATIVE_DEPTH = 256  # libxml2 holds this itself unless huge_tree is on
_NATIVE_TEXT = 10_000_000  # and this: bytes of one text or attribute
_HINTS = frozenset({f"{{{XSI}}}schemaLocation", f"{{{XSI}}}noNamespaceSchemaLocation", f"{{{XSI}}}type"})

_DECLARATION = re.compile(rb"""<\?xml\s[^>]*?encoding\s*=\s*["']([^"'>]*)["']""")
_MARKUP = re.compile(
    rb"<!\[CDATA\[(?:[^\]]++|\](?!\]>))*+(?:\]\]>)?"  # never backtracks: a text of 16 MB is one step
    rb"|<!--(?:[^-]++|-(?!->))*+(?:-->)?"
    rb"|<\?(?:[^?]++|\?(?!>))*+(?:\?>)?"
    rb"""|</?[^<>"'/]*+(?:/(?!>)[^<>"'/]*+|["'][^<>"'/]*+){0,200000}+/?>?"""
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document may cost.

    Attributes:
        max_bytes: length of the whole document.
        max_depth: elements inside each other, the root included.
        max_elements: start tags.
        max_attributes: attributes and namespace declarations of all elements together.
    """

    max_bytes: int = 16 * 1024 * 1024
    max_depth: int = _NATIVE_DEPTH
    max_elements: int = 50_000
    max_attributes: int = 50_000


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
        decompress=False,  # type: ignore[call-arg]  # the stubs do not know it
    )


_parsers = _Parsers()


def parse(data: bytes, limits: Limits = DEFAULT_LIMITS) -> etree._Element:
    """The root element of a UTF-8 document without comments and processing instructions.

    Raises:
        EnvelopeError: with the rule `size`, `elements`, `doctype`, `encoding`, `depth`, `hint` or `syntax`.
    """
    size = len(data)
    if size > limits.max_bytes:
        raise EnvelopeError("size", f"the document has {size} bytes; at most {limits.max_bytes} are allowed")
    if data.count(b"<") > limits.max_elements or data.count(b"=") > limits.max_attributes:
        _count_markup(data, limits)
    if b"<!DOCTYPE" in data:
        _refuse_doctype(data)
    if data.startswith((b"<?xml", b"\xef\xbb\xbf")):
        _refuse_encoding(data)
    parser = _parsers.huge if size > _NATIVE_TEXT or limits.max_depth > _NATIVE_DEPTH else _parsers.usual
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise _syntax(error, data) from None
    except ValueError as error:  # lxml's own refusals
        raise EnvelopeError("syntax", f"the document is not well-formed XML: {error}") from None
    if parser is _parsers.huge or limits.max_depth < _NATIVE_DEPTH:
        _refuse_depth(root, limits.max_depth)
    if b"XMLSchema-instance" in data or b"XInclude" in data or b"&#" in data:
        _refuse_hints(root)  # a name in a namespace can be spelt by character references
    return root


def _count_markup(data: bytes, limits: Limits) -> None:
    elements = attributes = 0
    for pieces, found in enumerate(_MARKUP.finditer(data), start=1):
        piece = found.group()
        if piece[1:2] not in (b"/", b"!", b"?"):
            elements += 1
            attributes += piece.count(b"=")
        if elements > limits.max_elements or pieces > 2 * limits.max_elements + 1:
            raise EnvelopeError("elements", f"more than {limits.max_elements} elements in one document")
        if attributes > limits.max_attributes:
            raise EnvelopeError("elements", f"more than {limits.max_attributes} attributes in one document")


def _refuse_doctype(data: bytes) -> None:
    """Refuse a DOCTYPE anywhere but in comments, CDATA and processing instructions."""
    at = data.find(b"<")
    while at >= 0:
        if data.startswith(b"<!--", at):
            at = data.find(b"-->", at + 4)
        elif data.startswith(b"<![CDATA[", at):
            at = data.find(b"]]>", at)
        elif data.startswith(b"<?", at):
            at = data.find(b"?>", at)
        elif data.startswith(b"<!DOCTYPE", at):
            raise EnvelopeError("doctype", "a DOCTYPE is not allowed; send the document without it")
        else:
            at += 1
        if at >= 0:
            at = data.find(b"<", at)


def _refuse_encoding(data: bytes) -> None:
    """The bytes are read as UTF-8, so a declaration of anything else would mean two readings."""
    declared = _DECLARATION.match(data.removeprefix(b"\xef\xbb\xbf")[:1024])
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
