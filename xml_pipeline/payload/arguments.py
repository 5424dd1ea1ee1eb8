"""The JSON arguments of a tool call, and what a person types ⇄ payload.

Strict in meaning, forgiving in spelling: `"5"` for an int, `5.0` for an int and `"true"` for a bool have one
reading and are taken; `null` for a field that may be absent counts as absent. A number for a text is refused,
because `007` would be lost. What is read is written down as XML, which the one decoder then turns into an instance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xml_pipeline.errors import cut
from xml_pipeline.payload import nodes
from xml_pipeline.payload.explain import Entry, Side, Wrong, allowed_in, shown
from xml_pipeline.payload.scalars import BOOL, DECIMAL, FLOAT, INT, STR, float_text
from xml_pipeline.payload.shapes import Field, Shape, Shapes

_NATIVE = (STR, INT, FLOAT, BOOL)


def native_union(node: nodes.Union) -> bool:
    """Whether JSON's own types tell the members apart; otherwise the member's name goes before its value."""
    return all(isinstance(inner, nodes.Scalar) and inner.kind in _NATIVE for _, inner in node.choices)


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
        if native_union(node):
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


def typed_arguments(shape: Shape, texts: Mapping[str, str]) -> dict[str, Any]:
    """What a person means by texts by field name, as JSON.

    A list is `a, b` or JSON; a dict, a nested payload or a tagged union is JSON. Text that is no JSON stays text
    and is judged as such.
    """
    fields = {field.name: field.node for field in shape.fields}
    return {name: _typed(fields[name], text) if name in fields else text for name, text in texts.items()}


def _typed(node: nodes.Node, text: str) -> Any:
    if isinstance(node, nodes.Scalar | nodes.Choice) or (
        isinstance(node, nodes.Union) and native_union(node)
    ):
        return text
    if isinstance(node, nodes.ListOf | nodes.TupleOf) and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",")] if text.strip() else []
    try:
        return json.loads(text)
    except ValueError:
        return text


def to_json(shapes: Shapes, shape: Shape, value: Any) -> dict[str, Any]:
    """A legal instance as a JSON object, every field in it but those whose None is absence."""
    found = {}
    for field in shape.fields:
        inner = getattr(value, field.name)
        if inner is not None or field.nil:
            found[field.name] = field_json(shapes, field, inner)
    return found


def field_json(shapes: Shapes, field: Field, value: Any) -> Any:
    """One field's value as JSON. Raises ValueError for what is no legal value."""
    return None if value is None and field.nullable else _json(shapes, field.node, value)


def _json(shapes: Shapes, node: nodes.Node, value: Any) -> Any:
    match node:
        case nodes.Nullable(inner):
            return None if value is None else _json(shapes, inner, value)
        case nodes.Scalar():
            return _scalar_json(node, value)
        case nodes.Choice():
            text = node.text(value)
            if text is None:
                raise ValueError("is none of the values")
            return node.json[[known for known, _ in node.values].index(text)]
        case nodes.Nested(cls):
            return to_json(shapes, shapes.by_class[cls], value)
        case nodes.ListOf(container, item):
            found = [_json(shapes, item, inner) for inner in value]
            return sorted(found, key=repr) if container in (set, frozenset) else found
        case nodes.TupleOf(items):
            return [_json(shapes, item, inner) for item, inner in zip(items, value, strict=True)]
        case nodes.DictOf(key, item):
            return {_key(key, name): _json(shapes, item, inner) for name, inner in value.items()}
        case nodes.Union(choices):
            member = nodes.chosen(choices, value)
            if member is None:
                raise ValueError(f"the type {type(value).__name__} is not in the union")
            written = _json(shapes, member[1], value)
            return written if native_union(node) else {member[0]: written}


def _key(node: nodes.Scalar | nodes.Choice, value: Any) -> str | None:
    if isinstance(node, nodes.Choice):
        return node.text(value)
    return str.__str__(value) if node.kind is STR else node.kind.to_text(value)


def _scalar_json(node: nodes.Scalar, value: Any) -> Any:
    text = node.kind.to_text(value)
    if node.kind is STR:
        return str.__str__(value)
    if node.kind is FLOAT:
        number = float(value)
        return number if number - number == 0 else float_text(number)  # JSON has no INF and NaN
    return value if node.kind in (INT, BOOL) else text
