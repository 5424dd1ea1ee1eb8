"""Shape → JSON Schema (2020-12) of a tool call's arguments."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from xml_pipeline.payload import nodes
from xml_pipeline.payload.arguments import field_json
from xml_pipeline.payload.constraints import Constraints
from xml_pipeline.payload.scalars import DECIMAL, FLOAT, INT, STR
from xml_pipeline.payload.shapes import MISSING, Field, Shape, Shapes


def json_schema_of(shapes: Shapes) -> dict[str, Any]:
    """The schema; classes that other classes lead to are in `$defs`."""
    names = shapes.names()
    writer = _Writer(shapes, names)
    schema = writer.instance(shapes.root)
    definitions: dict[str, Any] = {}
    while writer.wanted:
        cls = writer.wanted.pop()
        if names[cls] not in definitions:
            definitions[names[cls]] = {}
            definitions[names[cls]] = writer.instance(shapes.by_class[cls])
    if definitions:
        schema["$defs"] = dict(sorted(definitions.items()))
    return schema


class _Writer:
    def __init__(self, shapes: Shapes, names: dict[type[Any], str]) -> None:
        self.shapes = shapes
        self.names = names
        self.wanted: list[type[Any]] = []

    def instance(self, shape: Shape) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "object"}
        if shape.description:
            schema["description"] = shape.description
        schema["properties"] = {field.name: self._field(field) for field in shape.fields}
        required = [field.name for field in shape.fields if field.required]
        if required:
            schema["required"] = required
        schema["additionalProperties"] = False
        return schema

    def _field(self, field: Field) -> dict[str, Any]:
        schema = self.value(nodes.Nullable(field.node) if field.nullable else field.node)
        if field.description:
            schema = {**schema, "description": field.description}
        if field.default is not MISSING:
            with suppress(ValueError, TypeError, AttributeError):  # an illegal default: not our business
                schema = {**schema, "default": field_json(self.shapes, field, field.default)}
        return schema

    def value(self, node: nodes.Node) -> dict[str, Any]:
        match node:
            case nodes.Scalar(kind, constraints):
                return {**kind.json, **_bounds(node, constraints)}
            case nodes.Choice(json=values):
                return {"enum": list(values)}
            case nodes.Nullable(inner):
                return {"anyOf": [self.value(inner), {"type": "null"}]}
            case nodes.Nested(cls):
                self.wanted.append(cls)
                return {"$ref": f"#/$defs/{self.names[cls]}"}
            case nodes.ListOf(container, item, constraints):
                schema: dict[str, Any] = {"type": "array", "items": self.value(item)}
                if container in (set, frozenset):
                    schema["uniqueItems"] = True
                return schema | _counts(constraints, "Items")
            case nodes.TupleOf(items):
                if not items:
                    return {"type": "array", "maxItems": 0}
                prefix = [self.value(item) for item in items]
                return {"type": "array", "prefixItems": prefix, "items": False, "minItems": len(items)}
            case nodes.DictOf(value=item, constraints=constraints):
                return (
                    {"type": "object", "additionalProperties": self.value(item)}
                    | _keys(node)
                    | _counts(constraints, "Properties")
                )
            case nodes.Union(choices):
                if node.native:
                    return {"anyOf": [self.value(inner) for _, inner in choices]}
                return {"anyOf": [self._tagged(tag, inner) for tag, inner in choices]}

    def _tagged(self, tag: str, node: nodes.Node) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {tag: self.value(node)},
            "required": [tag],
            "additionalProperties": False,
        }


def _keys(node: nodes.DictOf) -> dict[str, Any]:
    if isinstance(node.key, nodes.Choice):
        return {"propertyNames": {"enum": [text for text, _ in node.key.values]}}
    return {} if node.key.kind is STR else {"description": f"each key is {node.key.kind.words}"}


def _bounds(node: nodes.Scalar, bounds: Constraints) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if node.kind in (INT, FLOAT):
        pairs = (
            ("minimum", bounds.ge),
            ("exclusiveMinimum", bounds.gt),
            ("maximum", bounds.le),
            ("exclusiveMaximum", bounds.lt),
            ("multipleOf", bounds.multiple_of),
        )
        found |= {name: bound for name, bound in pairs if bound is not None}
    elif bounds.describe() and node.kind is not STR:
        found["description"] = f"{node.kind.words}, {bounds.describe()}"
    if node.kind is STR:
        found |= _counts(bounds, "Length")
        if bounds.pattern is not None:
            found["pattern"] = bounds.pattern
    if node.kind is DECIMAL and "description" not in found:
        found["description"] = node.kind.words
    return found


def _counts(bounds: Constraints, what: str) -> dict[str, Any]:
    pairs = ((f"min{what}", bounds.min_length), (f"max{what}", bounds.max_length))
    return {name: bound for name, bound in pairs if bound is not None}
