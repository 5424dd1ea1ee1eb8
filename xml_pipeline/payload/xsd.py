"""Shape → a complete, standalone XSD 1.0 document."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from xml_pipeline.payload import nodes
from xml_pipeline.payload.constraints import Constraints
from xml_pipeline.payload.pattern import facet
from xml_pipeline.payload.scalars import BYTES, DECIMAL, FLOAT, INT, float_text
from xml_pipeline.payload.shapes import Field, Shape, Shapes
from xml_pipeline.payload.text import carried, escape

_MANY = 1000  # above it, counts are left to Python: some validators build an automaton of that size


def xsd_of(shapes: Shapes, *, checked_by_python: bool = False, in_order: bool = False) -> str:
    """The document. Children of a class come in any order (xs:all), each field once.

    Args:
        shapes: the class.
        checked_by_python: leave the text of enumerations, Decimals, base64 and patterns to Python, which is as strict
            about them: libxml2 takes most of a second for ten hostile megabytes of each, Python a few milliseconds.
        in_order: take the fields in declaration order only.
    """
    writer = _Writer(shapes.names(), checked_by_python, "xs:sequence" if in_order else "xs:all")
    writer.line('<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">')
    writer.indent += 1
    writer.line(f'<xs:element name="{shapes.root.root}" type="{writer.names[shapes.root.cls]}"/>')
    for shape in shapes.by_class.values():
        writer.class_type(shape)
    writer.indent -= 1
    writer.line("</xs:schema>")
    return "\n".join(writer.lines) + "\n"


@dataclass(slots=True)
class _Writer:
    names: dict[type[Any], str]
    widened: bool
    group: str  # the model group of a class's fields
    lines: list[str] = field(default_factory=list)
    indent: int = 0

    def line(self, text: str) -> None:
        self.lines.append("  " * self.indent + text)

    def open(self, *tags: str) -> None:
        for tag in tags:
            self.line(f"<{tag}>")
            self.indent += 1

    def close(self, *tags: str) -> None:
        for tag in tags:
            self.indent -= 1
            self.line(f"</{tag}>")

    def class_type(self, shape: Shape) -> None:
        name = self.names[shape.cls]
        if not shape.fields:
            # An empty xs:all would refuse the line break that people put between two tags.
            self.open(f'xs:simpleType name="{name}"')
            self._annotation(shape.description)
            self.open('xs:restriction base="xs:token"')
            self.line('<xs:length value="0"/>')
            self.close("xs:restriction", "xs:simpleType")
            return
        self.open(f'xs:complexType name="{name}"')
        self._annotation(shape.description)
        self.open(self.group)
        for item in shape.fields:
            self._field(item)
        self.close(self.group, "xs:complexType")

    def _field(self, item: Field) -> None:
        extra = "" if item.required else ' minOccurs="0"'
        self.element(item.name, item.node, extra, nillable=item.nil, description=item.description)

    def element(
        self, tag: str, node: nodes.Node, extra: str = "", *, nillable: bool = False, description: str = ""
    ) -> None:
        """An element declaration, its type by name where there is one."""
        if isinstance(node, nodes.Nullable):
            node, nillable = node.inner, True
        nil = ' nillable="true"' if nillable else ""
        head = f'xs:element name="{tag}"{extra}{nil}'
        named = self._named(node)
        if named and not description:
            self.line(f'<{head} type="{named}"/>')
            return
        self.open(f'{head} type="{named}"' if named else head)
        self._annotation(description)
        if not named:
            self._anonymous(node)
        self.close("xs:element")

    def _named(self, node: nodes.Node) -> str:
        match node:
            case nodes.Nested(cls):
                return self.names[cls]
            case nodes.Choice() if self.widened:
                return "xs:string"
            case nodes.Scalar(kind) if self.widened and kind in (BYTES, DECIMAL):
                return "xs:string"
            case nodes.Scalar(kind) if not kind.pattern and not self._facets(node):
                return f"xs:{kind.xsd}"
            case _:
                return ""

    def _anonymous(self, node: nodes.Node) -> None:
        match node:
            case nodes.Scalar(kind):
                self._restriction(f"xs:{kind.xsd}", [*_patterns(node), *self._facets(node)])
            case nodes.Choice(values=values):
                self._restriction("xs:token", [("enumeration", text) for text, _ in values])
            case nodes.ListOf(item=item):
                self.open("xs:complexType", "xs:sequence")
                self.element("item", item, occurs(node))
                self.close("xs:sequence", "xs:complexType")
            case nodes.TupleOf(items):
                self._tuple(node, items)
            case nodes.DictOf(key, value):
                self.open("xs:complexType", "xs:sequence", f'xs:element name="entry"{occurs(node)}')
                self.open("xs:complexType", "xs:all")
                self.element("key", key)
                self.element("value", value)
                self.close("xs:all", "xs:complexType", "xs:element", "xs:sequence", "xs:complexType")
            case nodes.Union(choices):
                self.open("xs:complexType", "xs:choice")
                for tag, choice in choices:
                    self.element(tag, choice)
                self.close("xs:choice", "xs:complexType")
            case _:
                raise AssertionError(f"{node} has a named type")

    def _tuple(self, node: nodes.TupleOf, items: tuple[nodes.Node, ...]) -> None:
        self.open("xs:complexType", "xs:sequence")
        if node.tags and node.tags[0] == "item":
            self.element("item", items[0], f' minOccurs="{len(items)}" maxOccurs="{len(items)}"')
        else:
            for tag, item in zip(node.tags, items, strict=True):
                self.element(tag, item)
        self.close("xs:sequence", "xs:complexType")

    def _facets(self, node: nodes.Scalar) -> list[tuple[str, str]]:
        pattern = (
            None if self.widened or node.constraints.pattern is None else facet(node.constraints.pattern)
        )
        return facets(node) + ([("pattern", pattern)] if pattern else [])

    def _restriction(self, base: str, rules: list[tuple[str, str]]) -> None:
        self.open("xs:simpleType", f'xs:restriction base="{base}"')
        for name, value in rules:
            self.line(f'<xs:{name} value="{_attribute(value)}"/>')
        self.close("xs:restriction", "xs:simpleType")

    def _annotation(self, text: str) -> None:
        if text and carried(text):
            self.open("xs:annotation")
            self.line(f"<xs:documentation>{escape(text)}</xs:documentation>")
            self.close("xs:annotation")


def _patterns(node: nodes.Scalar) -> list[tuple[str, str]]:
    return [("pattern", node.kind.pattern)] if node.kind.pattern else []


def facets(node: nodes.Scalar) -> list[tuple[str, str]]:
    """What XSD can say of a scalar's constraints.

    Bounds of times and decimals are not among them (XSD orders times with and without an offset otherwise,
    and a Decimal is a token), nor are patterns: those that mean the same in XSD's dialect stand in the XSD that is
    shown, and Python alone checks them, because libxml2 backtracks.
    """
    bounds, kind = node.constraints, node.kind
    found: list[tuple[str, str]] = []
    if kind in (INT, FLOAT):
        for name, bound in _tightest(bounds):
            if kind is INT and _is_whole(bound):
                found.append((name, str(int(bound))))
            elif kind is FLOAT:
                found.append((name, float_text(float(bound))))
    if kind.python in (str, bytes):
        if bounds.min_length is not None and bounds.min_length == bounds.max_length:
            return [("length", str(bounds.min_length))]
        if bounds.min_length is not None:
            found.append(("minLength", str(bounds.min_length)))
        if bounds.max_length is not None:
            found.append(("maxLength", str(bounds.max_length)))
    return found


def _tightest(bounds: Constraints) -> list[tuple[str, Any]]:
    """XSD allows one lower and one upper bound."""
    found: list[tuple[str, Any]] = []
    if bounds.gt is not None and (bounds.ge is None or bounds.gt >= bounds.ge):
        found.append(("minExclusive", bounds.gt))
    elif bounds.ge is not None:
        found.append(("minInclusive", bounds.ge))
    if bounds.lt is not None and (bounds.le is None or bounds.lt <= bounds.le):
        found.append(("maxExclusive", bounds.lt))
    elif bounds.le is not None:
        found.append(("maxInclusive", bounds.le))
    return found


def beyond_xsd(node: nodes.Scalar) -> Constraints:
    """What of a scalar's constraints `facets` does not hold: XSD's order of doubles has NaN in it."""
    rest = node.constraints
    if node.kind is INT and all(_is_whole(bound) for bound in (rest.ge, rest.gt, rest.le, rest.lt)):
        rest = replace(rest, ge=None, gt=None, le=None, lt=None)
    if node.kind.python is str:
        rest = replace(rest, min_length=None, max_length=None)
    return rest


def _is_whole(bound: Any) -> bool:
    """Whether a bound can be a facet of xs:integer, or there is none."""
    return bound is None or isinstance(bound, int) or int(bound) == bound


def occurs(node: nodes.ListOf | nodes.DictOf) -> str:
    """The occurrence attributes of a collection's children; a set counts only after reading."""
    low = node.constraints.min_length or 0
    high = node.constraints.max_length
    is_set = isinstance(node, nodes.ListOf) and node.container in (set, frozenset)
    upper = "unbounded" if high is None or high > _MANY or is_set else str(high)
    lower = low if low <= _MANY and not is_set else min(low, 1)
    return f' minOccurs="{lower}" maxOccurs="{upper}"'


def _attribute(value: str) -> str:
    return escape(value).replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;")
