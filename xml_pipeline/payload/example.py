"""Shape → a valid example document, as indented text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from xml_pipeline.hardened import XSI
from xml_pipeline.payload import nodes
from xml_pipeline.payload.constraints import Constraints
from xml_pipeline.payload.scalars import DECIMAL, FLOAT, INT, STR
from xml_pipeline.payload.shapes import MISSING, Field, Shape, Shapes
from xml_pipeline.payload.text import escape


def example_of(shapes: Shapes) -> str:
    """The document: required fields and those with a plain default; all that may be there if none must be.

    It passes the XSD and the constraints. An optional field of which no example is known is left out.
    """
    lines = list(_Writer(shapes).instance(shapes.root, shapes.root.root, "", ()))
    return "\n".join(lines) + "\n"


class _Writer:
    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes

    def instance(self, shape: Shape, tag: str, indent: str, outer: tuple[type[Any], ...]) -> Iterator[str]:
        shown = [field for field in shape.fields if field.required or _plain_default(field)]
        if not any(field.required for field in shape.fields):
            shown = [field for field in shape.fields if not _leads_to(field.node, (*outer, shape.cls))]
        inside = [line for field in shown for line in self._field(field, indent + "  ", (*outer, shape.cls))]
        yield from _wrapped(tag, inside, indent)

    def _field(self, field: Field, indent: str, outer: tuple[type[Any], ...]) -> Iterator[str]:
        if _plain_default(field) and isinstance(field.node, nodes.Scalar | nodes.Choice):
            text = _text_of(field.node, field.default)
            if text is not None:
                yield f"{indent}<{field.name}>{text}</{field.name}>"
                return
        if field.required or has_sample(field.node):
            yield from self.element(field.name, field.node, indent, outer)

    def element(self, tag: str, node: nodes.Node, indent: str, outer: tuple[type[Any], ...]) -> Iterator[str]:
        match node:
            case nodes.Scalar():
                yield f"{indent}<{tag}>{node.kind.to_text(sample(node))}</{tag}>"
            case nodes.Choice(values=values):
                yield f"{indent}<{tag}>{escape(values[0][0])}</{tag}>"
            case nodes.Nested(cls):
                yield from self.instance(self.shapes.by_class[cls], tag, indent, outer)
            case nodes.Nullable(inner) if _leads_to(inner, outer):
                yield f'{indent}<{tag} xmlns:xsi="{XSI}" xsi:nil="true"/>'
            case nodes.Nullable(inner):
                yield from self.element(tag, inner, indent, outer)
            case nodes.ListOf() | nodes.DictOf():
                yield from _wrapped(tag, list(self._children(node, indent + "  ", outer)), indent)
            case nodes.TupleOf(items):
                pairs = zip(node.tags, items, strict=True)
                inside = [
                    line for name, item in pairs for line in self.element(name, item, indent + "  ", outer)
                ]
                yield from _wrapped(tag, inside, indent)
            case nodes.Union(choices):
                ending = [choice for choice in choices if not _leads_to(choice[1], outer)]
                name, inner = (ending or list(choices))[0]
                yield from _wrapped(tag, list(self.element(name, inner, indent + "  ", outer)), indent)

    def _children(
        self, node: nodes.ListOf | nodes.DictOf, indent: str, outer: tuple[type[Any], ...]
    ) -> Iterator[str]:
        inner = node.item if isinstance(node, nodes.ListOf) else node.value
        least = node.constraints.min_length or 0
        count = least if _leads_to(inner, outer) else max(least, 1)
        if node.constraints.max_length is not None:
            count = min(count, node.constraints.max_length)
        distinct = isinstance(node, nodes.DictOf) or node.container in (set, frozenset)
        for number in range(count):
            if isinstance(node, nodes.ListOf):
                item = _numbered(node.item, number) if distinct else node.item
                yield from self.element("item", item, indent, outer)
            else:
                key = next(self.element("key", _numbered(node.key, number), indent + "  ", outer))
                value = self.element("value", node.value, indent + "  ", outer)
                yield from _wrapped("entry", [key, *value], indent)


def _wrapped(tag: str, inside: list[str], indent: str) -> Iterator[str]:
    if inside:
        yield f"{indent}<{tag}>"
        yield from inside
        yield f"{indent}</{tag}>"
    else:
        yield f"{indent}<{tag}></{tag}>"


def _plain_default(field: Field) -> bool:
    return field.default is not MISSING and field.default is not None


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


def _text_of(node: nodes.Scalar | nodes.Choice, value: Any) -> str | None:
    """A default's text, or None when the default is no legal value."""
    if isinstance(node, nodes.Choice):
        text = node.text(value)
        return None if text is None else escape(text)
    try:
        return node.kind.to_text(value) if node.constraints.broken(value) is None else None
    except ValueError:
        return None


def _numbered(node: nodes.Node, number: int) -> nodes.Node:
    """A node whose only example is the `number`-th of several distinct ones."""
    if isinstance(node, nodes.Choice):
        return nodes.Choice(
            node.name, (node.values[number % len(node.values)],), (node.json[number % len(node.json)],)
        )
    if isinstance(node, nodes.Scalar) and node.kind is INT:
        low = int(sample(node)) + number
        return nodes.Scalar(INT, Constraints(ge=low, le=low))
    if isinstance(node, nodes.Scalar) and node.kind is STR and node.constraints.pattern is None:
        length = max(node.constraints.min_length or 0, len(f"text{number}"))
        return nodes.Choice("", ((f"text{number}".ljust(length, "x"), None),), (None,))
    return node


def sample(node: nodes.Scalar) -> Any:
    """A value of the type that keeps its constraints: the first of the user's examples, else the usual ones.

    Raises:
        ValueError: none of them does, so the user has to give one (ADR 31).
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
