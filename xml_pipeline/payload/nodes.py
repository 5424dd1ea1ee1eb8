"""The type tree: what a field's type looks like once Python's typing is left behind.

Everything else (XSD, encoder, decoder, JSON Schema, prompt text) is a fold over these nodes. The others import
this module whole, so that `nodes.Union` is not taken for Python's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, TypeAlias

from xml_pipeline.payload.constraints import FREE, Constraints
from xml_pipeline.payload.scalars import BOOL, DATE, FLOAT, INT, LONGEST, STR, ScalarKind
from xml_pipeline.payload.text import collapse


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value that is one text: int, str, datetime, …

    Attributes:
        kind: which.
        constraints: what else holds of it.
        examples: values that the user gave for examples.
    """

    kind: ScalarKind
    constraints: Constraints = FREE
    examples: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One of finitely many values: an Enum or a Literal.

    Attributes:
        name: the Enum class's name, or `Literal`.
        values: text on the wire and value, in declaration order.
        json: what JSON has for each value, in the same order.
    """

    name: str
    values: tuple[tuple[str, Any], ...]
    json: tuple[Any, ...]

    def reader(self) -> Callable[[str], Any]:
        """A function text → value, with XML's blanks around the text or not. It raises ValueError."""
        values = dict(self.values)

        def read(text: str) -> Any:
            if text in values:
                return values[text]
            if len(text) <= LONGEST and (word := collapse(text)) in values:
                return values[word]
            raise ValueError("is none of the values")

        return read

    def text(self, value: Any) -> str | None:
        """The text of one of the values, None for any other value; 1, 1.0 and True are three."""
        for text, member in self.values:
            if value.__class__ is member.__class__ and value == member:
                return text
        return None


@dataclass(frozen=True, slots=True)
class Nullable:
    """A value that may be None, where absence cannot say so: it is `xsi:nil` then."""

    inner: Node


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list, tuple[T, ...], set or frozenset: `<item>` children."""

    container: type[Any]
    item: Node
    constraints: Constraints = FREE


@dataclass(frozen=True, slots=True)
class TupleOf:
    """A tuple of fixed length: `<item>` children, or `<item1>`, `<item2>`, … when their types differ."""

    items: tuple[Node, ...]

    @property
    def tags(self) -> tuple[str, ...]:
        """The children's names. XSD 1.0 wants elements of one name to have one type."""
        if all(item == self.items[0] for item in self.items):
            return ("item",) * len(self.items)
        return tuple(f"item{number}" for number in range(1, len(self.items) + 1))


@dataclass(frozen=True, slots=True)
class DictOf:
    """A dict with scalar keys: `<entry><key/><value/></entry>` children."""

    key: Scalar | Choice
    value: Node
    constraints: Constraints = FREE


@dataclass(frozen=True, slots=True)
class Nested:
    """Another payload class; its fields stand directly inside the element."""

    cls: type[Any]


@dataclass(frozen=True, slots=True)
class Union:
    """One of several types: an element named after the chosen one."""

    choices: tuple[tuple[str, Node], ...]

    @property
    def native(self) -> bool:
        """Whether JSON's own types tell the members apart; otherwise the member's name goes before its value."""
        return all(
            isinstance(node, Scalar) and node.kind in (STR, INT, FLOAT, BOOL) for _, node in self.choices
        )

    def by_class(self) -> dict[type[Any], int]:
        """The number of the choice for values whose class alone decides."""
        found: dict[type[Any], int] = {}
        undecided: set[type[Any]] = set()  # Literal["a"] | str: it depends on the text
        for number, (_, node) in enumerate(self.choices):
            match node:
                case Scalar(kind):
                    found.setdefault(kind.python, number)
                case Nested(cls) | ListOf(container=cls):
                    found.setdefault(cls, number)
                case Choice(values=values):
                    undecided |= {member.__class__ for _, member in values}
                case _:
                    found.setdefault(tuple if isinstance(node, TupleOf) else dict, number)
        return {cls: number for cls, number in found.items() if cls not in undecided}

    def member(self, value: Any) -> int | None:
        """The number of the choice for a value: by class first, so that True is no int; then by `belongs`."""
        exact = (
            number
            for number, (_, node) in enumerate(self.choices)
            if (value.__class__ is node.kind.python if isinstance(node, Scalar) else belongs(node, value))
        )
        loose = (number for number, (_, node) in enumerate(self.choices) if belongs(node, value))
        return next(chain(exact, loose), None)


Node: TypeAlias = Scalar | Choice | Nullable | ListOf | TupleOf | DictOf | Nested | Union


def inside(node: Node) -> tuple[Node, ...]:
    """The types that a type is made of; none for scalars, choices and payload classes."""
    match node:
        case Nullable(inner) | ListOf(item=inner):
            return (inner,)
        case DictOf(key, value):
            return key, value
        case TupleOf(items):
            return items
        case Union(choices):
            return tuple(inner for _, inner in choices)
        case _:
            return ()


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
            return node.text(value) is not None
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
