"""How an element, a Python value and JSON are taken apart beside a shape, each in its own words.

JSON is read strictly in meaning, forgivingly in spelling: `"5"` for an int, `5.0` for an int and `"true"` for a bool
have one reading and are taken; `null` for a field that may be absent counts as absent. A number for a text is
refused, because `007` would be lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lxml import etree

from xml_pipeline.errors import cut
from xml_pipeline.hardened import XSI
from xml_pipeline.payload import nodes
from xml_pipeline.payload.decoder import is_nil
from xml_pipeline.payload.scalars import BOOL, BYTES, DECIMAL, FLOAT, INT, LONGEST, STR, xsd_value
from xml_pipeline.payload.shapes import MISSING, Shape, Shapes
from xml_pipeline.payload.walk import Entry, Side, Wrong, allowed_in, shown


class ValueSide(Side):
    """A Python value beside its shape."""

    holds_values = True

    def misfit(self, node: nodes.Node | None, thing: Any) -> Wrong | None:
        match node:
            case nodes.Nested(wanted) | nodes.ListOf(wanted):
                pass
            case nodes.TupleOf():
                wanted = tuple
            case nodes.DictOf():
                wanted = dict
            case _:
                return None
        if thing.__class__ is not wanted:
            return Wrong(f"needs {wanted.__name__}, not {type(thing).__name__}", shown(thing))
        if isinstance(node, nodes.TupleOf) and len(thing) != len(node.items):
            return Wrong(f"needs {len(node.items)} values, not {len(thing)}", shown(thing))
        return None

    def leaf(self, node: nodes.Scalar | nodes.Choice, thing: Any) -> Any:
        if isinstance(node, nodes.Choice) and node.text(thing) is None:
            raise ValueError("is none of the values")
        return thing

    def fields(self, shape: Shape, thing: Any) -> Iterator[tuple[str, Any]]:
        for field in shape.fields:
            part = getattr(thing, field.name, MISSING)
            if part is MISSING:
                yield field.name, Wrong("has no value")
            elif part is not None or field.nil or not field.nullable:
                yield field.name, part
        lost = shape.lost(thing) if shape.remade else None
        if lost is not None:
            rule = "would be lost: the constructor, given the fields alone, sets it to something else"
            yield lost, Wrong(rule, shown(getattr(thing, lost, None)), "make it a field of the constructor")

    def entries(self, thing: Any) -> Iterator[Entry | Wrong]:
        for index, (key, value) in enumerate(thing.items()):
            yield Entry(key, value, f"[{index}].key", f"[{index}]")

    def member(self, node: nodes.Union, thing: Any) -> tuple[str, nodes.Node, Any] | Wrong:
        number = node.member(thing)
        if number is not None:
            return *node.choices[number], thing
        allowed = ", ".join(tag for tag, _ in node.choices)
        return Wrong(f"the type {type(thing).__name__} is not in the union", shown(thing), allowed)


@dataclass(frozen=True, slots=True)
class ElementSide(Side):
    """An XML element beside its shape. It applies the rules of the XSD, but goes on past the first mistake."""

    shapes: Shapes

    def shown(self, thing: etree._Element) -> str:
        return shown("".join(str(text) for text in thing.itertext()))

    def allowed(self, node: nodes.Node) -> str:
        match node:
            case nodes.Scalar() | nodes.Choice():
                return allowed_in(node)
            case nodes.Nested(cls):
                tags = [field.name for field in self.shapes.by_class[cls].fields]
            case nodes.Nullable(inner):
                return self.allowed(inner)
            case nodes.TupleOf():
                tags = list(node.tags)
            case nodes.DictOf():
                return "<entry><key/><value/></entry> elements"
            case nodes.ListOf():
                return "<item> elements"
            case nodes.Union(choices):
                return " or ".join(f"<{tag}>" for tag, _ in choices)
        return f"elements {', '.join(f'<{tag}>' for tag in tags)}" if tags else "nothing inside"

    def is_none(self, thing: etree._Element) -> bool:
        return is_nil(thing)

    def misfit(self, node: nodes.Node | None, thing: etree._Element) -> Wrong | None:
        if node is None:
            filled = len(thing) or thing.text
            return Wrong("is xsi:nil and has content", self.shown(thing)) if filled else None
        if is_nil(thing):
            return Wrong("may not be xsi:nil", None, self.allowed(node))
        if isinstance(node, nodes.Scalar | nodes.Choice):
            if len(thing):
                rule = f"holds <{cut(str(thing[0].tag))}> where text is needed"
                return Wrong(rule, None, self.allowed(node))
            return self._not_bare(thing, text=True)
        if isinstance(node, nodes.Union) and isinstance(wrong := self.member(node, thing), Wrong):
            return wrong
        if isinstance(node, nodes.TupleOf) and tuple(child.tag for child in thing) != node.tags:
            given = ", ".join(f"<{child.tag}>" for child in thing)
            return Wrong(f"needs {len(node.items)} values", shown(given), self.allowed(node))
        return self._not_bare(thing)

    def _not_bare(self, element: etree._Element, *, text: bool = False) -> Wrong | None:
        """Attributes, and text where only elements may be."""
        for name in element.attrib:
            if not str(name).startswith(f"{{{XSI}}}"):
                return Wrong(f"has the attribute {cut(str(name))!r}", None, "no attributes")
        for piece in () if text else (element.text, *(child.tail for child in element)):
            if piece and piece.strip(" \t\r\n"):
                return Wrong("holds text between its elements", shown(piece.strip()), "elements only")
        return None

    def leaf(self, node: nodes.Scalar | nodes.Choice, thing: etree._Element) -> Any:
        text = thing.text or ""
        if isinstance(node, nodes.Choice):
            return node.reader()(text)
        if len(text) > LONGEST and node.kind not in (STR, BYTES):
            raise ValueError("is too long for its type")
        return xsd_value(node.kind, text)

    def fields(self, shape: Shape, thing: etree._Element) -> Iterator[tuple[str, Any]]:
        for child in thing:
            yield str(child.tag), child

    def items(self, node: nodes.ListOf | nodes.TupleOf, thing: etree._Element) -> Iterator[Any]:
        for child in thing:
            if isinstance(node, nodes.TupleOf) or child.tag == "item":
                yield child
            else:
                yield Wrong(f"is <{cut(str(child.tag))}>", self.shown(child), "<item>")

    def entries(self, thing: etree._Element) -> Iterator[Entry | Wrong]:
        for index, entry in enumerate(thing):
            parts = {str(child.tag): child for child in entry}
            if entry.tag == "entry" and len(entry) == 2 and set(parts) == {"key", "value"}:
                whole = Entry(parts["key"], parts["value"], f"[{index}].key", f"[{index}]")
                yield self._not_bare(entry) or whole
            else:
                allowed = "<entry> with one <key> and one <value>"
                yield Wrong(f"is <{cut(str(entry.tag))}>", self.shown(entry), allowed)

    def member(self, node: nodes.Union, thing: etree._Element) -> tuple[str, nodes.Node, Any] | Wrong:
        choices = dict(node.choices)
        if len(thing) == 1 and str(thing[0].tag) in choices:
            tag = str(thing[0].tag)
            return tag, choices[tag], thing[0]
        given = ", ".join(f"<{child.tag}>" for child in thing) or (thing.text or "")
        return Wrong("needs exactly one element that names the type", shown(given), self.allowed(node))


@dataclass(frozen=True, slots=True)
class JsonSide(Side):
    """JSON beside its shape.

    Attributes:
        typed: the texts come from a person: in a union of scalars `5` is a number before it is a text.
    """

    typed: bool = False

    def allowed(self, node: nodes.Node) -> str:
        if isinstance(node, nodes.Scalar | nodes.Choice):
            return allowed_in(node)
        return "an array" if isinstance(node, nodes.ListOf | nodes.TupleOf) else "an object"

    def misfit(self, node: nodes.Node | None, thing: Any) -> Wrong | None:
        match node:
            case nodes.ListOf() | nodes.TupleOf() if not isinstance(thing, list):
                return Wrong(f"needs an array, not {_kind(thing)}", shown(thing))
            case nodes.Nested() | nodes.DictOf() if not isinstance(thing, dict):
                return Wrong(f"needs an object, not {_kind(thing)}", shown(thing))
            case nodes.TupleOf(items) if len(thing) != len(items):
                return Wrong(f"needs {len(items)} values, not {len(thing)}", shown(thing))
            case _:
                return None

    def leaf(self, node: nodes.Scalar | nodes.Choice, thing: Any) -> Any:
        if isinstance(node, nodes.Scalar):
            return _scalar(node, thing)
        for (_, member), written in zip(node.values, node.json, strict=True):
            if type(written) is type(thing) and written == thing:
                return member
        if not isinstance(thing, str):
            raise ValueError("is none of the values")
        return node.reader()(thing)

    def fields(self, shape: Shape, thing: Any) -> Iterator[tuple[str, Any]]:
        absent_as_null = {
            field.name for field in shape.fields if not field.nil and (field.nullable or field.has_default)
        }
        for name, part in thing.items():
            if part is not None or name not in absent_as_null:
                yield str(name), part

    def entries(self, thing: Any) -> Iterator[Entry | Wrong]:
        for key, value in thing.items():
            yield Entry(key, value, ".key", f"[{cut(str(key))!r}]")

    def member(self, node: nodes.Union, thing: Any) -> tuple[str, nodes.Node, Any] | Wrong:
        members = dict(node.choices)
        if node.native:
            return self._native_member(members, thing)
        if isinstance(thing, dict) and len(thing) == 1 and next(iter(thing)) in members:
            tag, part = next(iter(thing.items()))
            return tag, members[tag], part
        allowed = " or ".join(f'{{"{tag}": …}}' for tag in members)
        return Wrong("needs an object with one key that names the type", shown(thing), allowed)

    def _native_member(self, members: Mapping[str, Any], thing: Any) -> tuple[str, nodes.Node, Any] | Wrong:
        def rank(member: tuple[str, nodes.Scalar]) -> bool:
            kind = member[1].kind
            # Text is every text's last reading when a person typed it; else JSON's own type comes first.
            return kind is STR if self.typed else type(thing) is not kind.python

        for tag, inner in sorted(members.items(), key=rank):
            try:
                _scalar(inner, thing)
            except ValueError:
                continue
            return tag, inner, thing
        allowed = " or ".join(inner.kind.words for inner in members.values())
        return Wrong("fits no member of the union", shown(thing), allowed)


def _scalar(node: nodes.Scalar, given: Any) -> Any:
    """A scalar from JSON. Raises ValueError."""
    kind = node.kind
    if kind is BOOL and isinstance(given, bool):
        return given
    if isinstance(given, bool):
        raise ValueError(f"needs {kind.words}, not a boolean")
    if kind is INT and isinstance(given, int):
        return given
    if kind is INT and isinstance(given, float) and given.is_integer():
        return int(given)
    if kind is FLOAT and isinstance(given, int | float):
        try:
            return float(given)
        except OverflowError:
            raise ValueError("is too large for a float") from None
    if kind is DECIMAL and isinstance(given, int | float):
        return kind.from_text(repr(given))
    if not isinstance(given, str):
        raise ValueError(f"needs {kind.words}, not {_kind(given)}")
    return kind.from_text(given)


def _kind(given: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a text", bool: "a boolean", type(None): "null"}
    return names.get(type(given), "a number" if isinstance(given, int | float) else type(given).__name__)
