"""A payload as the JSON arguments of a tool call, and the arguments that a person means by `a=2 b=40`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from xml_pipeline.payload import nodes
from xml_pipeline.payload.scalars import BOOL, FLOAT, INT, STR, float_text
from xml_pipeline.payload.shapes import Field, Shape, Shapes


def typed_arguments(shape: Shape, texts: Mapping[str, str]) -> dict[str, Any]:
    """What a person means by texts by field name, as JSON.

    A list is `a, b` or JSON; a dict, a nested payload or a tagged union is JSON. Text that is no JSON stays text
    and is judged as such.
    """
    fields = {field.name: field.node for field in shape.fields}
    return {name: _typed(fields[name], text) if name in fields else text for name, text in texts.items()}


def _typed(node: nodes.Node, text: str) -> Any:
    if isinstance(node, nodes.Scalar | nodes.Choice) or (isinstance(node, nodes.Union) and node.native):
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
            return scalar_json(node, value)
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
            number = node.member(value)
            if number is None:
                raise ValueError(f"the type {type(value).__name__} is not in the union")
            tag, inner = choices[number]
            written = _json(shapes, inner, value)
            return written if node.native else {tag: written}


def _key(node: nodes.Scalar | nodes.Choice, value: Any) -> str | None:
    if isinstance(node, nodes.Choice):
        return node.text(value)
    return str.__str__(value) if node.kind is STR else node.kind.to_text(value)


def scalar_json(node: nodes.Scalar, value: Any) -> Any:
    """A scalar as JSON. Raises ValueError for a value of another type."""
    text = node.kind.to_text(value)
    if node.kind is STR:
        return str.__str__(value)
    if node.kind is FLOAT:
        number = float(value)
        return number if number - number == 0 else float_text(number)  # JSON has no INF and NaN
    return value if node.kind in (INT, BOOL) else text
