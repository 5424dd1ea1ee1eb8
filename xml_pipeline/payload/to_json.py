"""Instance → the JSON that a tool call would carry."""

from __future__ import annotations

from typing import Any

from xml_pipeline.payload.membership import chosen
from xml_pipeline.payload.nodes import (
    Choice,
    DictOf,
    Field,
    ListOf,
    Nested,
    Node,
    Nullable,
    Scalar,
    Shape,
    Shapes,
    TupleOf,
    Union,
)
from xml_pipeline.payload.scalars import BOOL, FLOAT, INT, STR, float_text

_NATIVE = (STR, INT, FLOAT, BOOL)


def native_union(choices: tuple[tuple[str, Node], ...]) -> bool:
    """Whether JSON's own types tell the members apart; otherwise the member's name goes before its value."""
    return all(isinstance(node, Scalar) and node.kind in _NATIVE for _, node in choices)


def instance_json(shapes: Shapes, shape: Shape, value: Any) -> dict[str, Any]:
    """An instance as a JSON object, every field in it but those whose None is absence."""
    found = {}
    for field in shape.fields:
        inner = getattr(value, field.name)
        if inner is not None or field.nil:
            found[field.name] = json_of(shapes, field, inner)
    return found


def json_of(shapes: Shapes, field: Field, value: Any) -> Any:
    """One field's value as JSON. Raises ValueError for what is no legal value."""
    return _json(shapes, Nullable(field.node) if field.nullable else field.node, value)


def _json(shapes: Shapes, node: Node, value: Any) -> Any:
    match node:
        case Nullable(inner):
            return None if value is None else _json(shapes, inner, value)
        case Scalar():
            return _scalar(node, value)
        case Choice(values=values, json=texts):
            for (_, member), text in zip(values, texts, strict=True):
                if member.__class__ is value.__class__ and member == value:
                    return text
            raise ValueError("is none of the values")
        case Nested(cls):
            return instance_json(shapes, shapes.by_class[cls], value)
        case ListOf(container, item):
            if container in (set, frozenset):
                return sorted((_json(shapes, item, inner) for inner in value), key=repr)
            return [_json(shapes, item, inner) for inner in value]
        case TupleOf(items):
            return [_json(shapes, item, inner) for item, inner in zip(items, value, strict=True)]
        case DictOf(key, item):
            return {key_text(key, name): _json(shapes, item, inner) for name, inner in value.items()}
        case Union(choices):
            return _union(shapes, choices, value)


def key_text(node: Scalar | Choice, value: Any) -> str:
    """A dict's key as a JSON key."""
    if isinstance(node, Choice):
        return next(text for text, member in node.values if member == value)
    return str.__str__(value) if node.kind is STR else node.kind.to_text(value)


def _scalar(node: Scalar, value: Any) -> Any:
    text = node.kind.to_text(value)
    if node.kind is STR:
        return str.__str__(value)
    if node.kind is FLOAT:
        number = float(value)
        return number if number - number == 0 else float_text(number)  # JSON has no INF and NaN
    return value if node.kind in (INT, BOOL) else text


def _union(shapes: Shapes, choices: tuple[tuple[str, Node], ...], value: Any) -> Any:
    choice = chosen(choices, value)
    if choice is None:
        raise ValueError(f"the type {type(value).__name__} is not in the union")
    inner = _json(shapes, choice[1], value)
    return inner if native_union(choices) else {choice[0]: inner}
