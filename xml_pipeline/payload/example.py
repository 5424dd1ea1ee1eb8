"""Shape → a valid example document, as indented text."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from lxml import etree

from xml_pipeline import hardened
from xml_pipeline.payload import nodes
from xml_pipeline.payload.arguments import field_json, scalar_json
from xml_pipeline.payload.scalars import DECIMAL, FLOAT, INT, STR
from xml_pipeline.payload.shapes import MISSING, Field, Shape, Shapes
from xml_pipeline.payload.sides import JsonSide
from xml_pipeline.payload.walk import Walk

MOST_OPTIONAL = 100
"""Optional fields in an example whose class requires none."""


def example_of(shapes: Shapes) -> str:
    """The document: required fields and those with a plain default; all that may be there if none must be.

    It passes the XSD and the constraints, unless a set or dict asks for more distinct values than are known. An
    optional field of which no example is known is left out.
    """
    arguments = _Example(shapes).instance(shapes.root, ())
    document = Walk(shapes, JsonSide()).whole(arguments) or f"<{shapes.root.root}/>"
    element = hardened.parse(document.encode())
    etree.indent(element)
    return etree.tostring(element, method="c14n").decode() + "\n"


@dataclass(frozen=True, slots=True)
class _Example:
    """Makes the arguments of a tool call; `outer` are the classes that are open around a value.

    `room` bounds the optional fields: a few classes that may all hold each other have millions of ways.
    """

    shapes: Shapes
    room: Iterator[int] = dataclasses.field(default_factory=lambda: iter(range(MOST_OPTIONAL)))

    def instance(self, shape: Shape, outer: tuple[type[Any], ...]) -> dict[str, Any]:
        outer = (*outer, shape.cls)
        required = any(field.required for field in shape.fields)
        found = {}
        for field in shape.fields:
            default = self._default(field)
            if required and not field.required and field.default in (MISSING, None):
                continue
            if default is not MISSING:
                found[field.name] = default
            elif field.required or (
                has_sample(field.node)
                and not _leads_to(field.node, outer)
                and next(self.room, None) is not None
            ):
                found[field.name] = self.value(field.node, outer)
        return found

    def _default(self, field: Field) -> Any:
        """A legal default that is one value, else MISSING."""
        if field.default is None or not isinstance(field.node, nodes.Scalar | nodes.Choice):
            return MISSING
        with suppress(ValueError):
            default = field_json(self.shapes, field, field.default)
            if isinstance(field.node, nodes.Choice) or field.node.constraints.broken(field.default) is None:
                return default
        return MISSING

    def value(self, node: nodes.Node, outer: tuple[type[Any], ...]) -> Any:
        match node:
            case nodes.Scalar():
                return scalar_json(node, sample(node))
            case nodes.Choice(json=values):
                return values[0]
            case nodes.Nested(cls):
                return self.instance(self.shapes.by_class[cls], outer)
            case nodes.Nullable(inner):
                return None if _leads_to(inner, outer) else self.value(inner, outer)
            case nodes.ListOf(container, item):
                count = range(self._count(node, item, outer))
                if container in (set, frozenset):
                    return [self._distinct(item, number, outer) for number in count]
                return [self.value(item, outer) for _ in count]
            case nodes.TupleOf(items):
                return [self.value(item, outer) for item in items]
            case nodes.DictOf(key, inner):
                keys = [self._distinct(key, n, outer) for n in range(self._count(node, inner, outer))]
                texts = [name if isinstance(name, str) else json.dumps(name) for name in keys]
                return {text: self.value(inner, outer) for text in texts}
            case nodes.Union(choices):
                ending = [choice for choice in choices if not _leads_to(choice[1], outer)]
                tag, inner = (ending or list(choices))[0]
                return self.value(inner, outer) if node.native else {tag: self.value(inner, outer)}

    def _count(
        self, node: nodes.ListOf | nodes.DictOf, inner: nodes.Node, outer: tuple[type[Any], ...]
    ) -> int:
        least, most = node.constraints.min_length or 0, node.constraints.max_length
        count = least if _leads_to(inner, outer) else max(least, 1)
        return count if most is None else min(count, most)

    def _distinct(self, node: nodes.Node, number: int, outer: tuple[type[Any], ...]) -> Any:
        """The `number`-th of several distinct examples, where that is easy."""
        if isinstance(node, nodes.Choice):
            return node.json[number % len(node.json)]
        if isinstance(node, nodes.Scalar) and number < len(node.examples):
            return scalar_json(node, node.examples[number])
        if isinstance(node, nodes.Scalar) and node.kind is INT:
            return sample(node) + number
        if isinstance(node, nodes.Scalar) and node.kind is STR and node.constraints.pattern is None:
            return f"text{number}".ljust(node.constraints.min_length or 0, "x")
        return self.value(node, outer)


def _leads_to(node: nodes.Node, outer: tuple[type[Any], ...]) -> bool:
    """Whether writing this node would open a class that is open already."""
    if isinstance(node, nodes.Nested):
        return node.cls in outer
    leading = [_leads_to(inner, outer) for inner in nodes.inside(node)]
    return all(leading) if isinstance(node, nodes.Union) else any(leading)


def has_sample(node: nodes.Node) -> bool:
    """Whether a value is known for each scalar in the type."""
    try:
        check_samples(node)
    except ValueError:
        return False
    return True


def check_samples(node: nodes.Node) -> None:
    """Raise ValueError, as `sample` does, where no value is known for a scalar in the type."""
    if isinstance(node, nodes.Scalar):
        sample(node)
    for inner in nodes.inside(node):
        check_samples(inner)


def sample(node: nodes.Scalar) -> Any:
    """A value of the type that keeps its constraints: the first of the user's examples, else the usual ones.

    Raises:
        ValueError: none of them does, so the user has to give one (ADR 18).
    """
    bounds = node.constraints
    with suppress(OverflowError):  # a bound at the end of time has no next day
        for candidate in node.examples or _candidates(node):
            with suppress(ValueError):
                if bounds.broken(candidate) is None:
                    node.kind.to_text(candidate)
                    return candidate
    if node.examples:
        raise ValueError(
            f"its examples {list(node.examples)!r} are not {node.kind.words}, {bounds.describe()}"
        )
    raise ValueError(
        f"no example is known of {node.kind.words}, {bounds.describe()}; give one to show to models and people:"
        f" Annotated[{node.kind.name}, Field(..., examples=[...])]"
    )


_TEXTS = ("text", "TEXT", "Text", "a", "1", "12345")
_STEPS: dict[Any, Any] = {
    int: 1,
    float: 1.0,
    Decimal: Decimal(1),
    **dict.fromkeys((date, datetime, timedelta), timedelta(days=1)),
}


def _candidates(node: nodes.Scalar) -> Iterator[Any]:
    kind, bounds = node.kind, node.constraints
    yield kind.sample
    if kind.python in (str, bytes):
        yield from _TEXTS if kind is STR else ()
        filler: Any = "text " if kind is STR else b"bytes "
        length = max(bounds.min_length or 0, min(4, bounds.max_length or 4))
        yield (filler * (length // len(filler) + 1))[:length].rstrip().ljust(length, filler[:1])
        yield filler[:0]
    ends = [bound for bound in (bounds.ge, bounds.gt, bounds.le, bounds.lt) if bound is not None]
    yield from ends
    if kind in (INT, FLOAT, DECIMAL):
        ends = [kind.python(end) for end in ends] or [kind.python(0)]
    for end in ends if kind.python in _STEPS else ():
        yield end + (ends[-1] - end) / 2
        for times in (0, 1, -1, 2, 10):
            yield end + times * _STEPS[kind.python]
            if bounds.multiple_of is not None:
                step = kind.python(bounds.multiple_of)
                yield (end // step + times) * step
