"""Which member of a union a value belongs to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from xml_pipeline.payload.nodes import Choice, DictOf, ListOf, Nested, Node, Nullable, Scalar, TupleOf, Union
from xml_pipeline.payload.scalars import DATE, FLOAT


def chosen(choices: tuple[tuple[str, Node], ...], value: Any) -> tuple[str, Node] | None:
    """The union's member for a value: by exact class first, so that True is no int; then by `belongs`."""
    for tag, node in choices:
        exact = value.__class__ is node.kind.python if isinstance(node, Scalar) else belongs(node, value)
        if exact:
            return tag, node
    for tag, node in choices:
        if belongs(node, value):
            return tag, node
    return None


def belongs(node: Node, value: Any) -> bool:
    """Whether a value's type is the node's, whatever else may be wrong with it."""
    match node:
        case Scalar(kind):
            if isinstance(value, bool):
                return kind.python is bool
            if kind is DATE and isinstance(value, datetime):
                return False
            return isinstance(value, kind.python) or (kind is FLOAT and isinstance(value, int))
        case Choice():
            return is_member(node, value)
        case Nested(cls):
            return value.__class__ is cls
        case Nullable(inner):
            return value is None or belongs(inner, value)
        case ListOf(container):
            return value.__class__ is container
        case TupleOf():
            return value.__class__ is tuple
        case DictOf():
            return value.__class__ is dict
        case Union(choices):
            return any(belongs(inner, value) for _, inner in choices)


def is_member(node: Choice, value: Any) -> bool:
    """Whether a value is one of an Enum's or Literal's; 1, 1.0 and True are three."""
    return any(value.__class__ is member.__class__ and value == member for _, member in node.values)
