"""The type tree: what a payload class looks like once Python's typing is left behind.

Everything else (XSD, encoder, decoder, JSON Schema, prompt text) is a fold over these nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from xml_pipeline.payload.constraints import FREE, Constraints
from xml_pipeline.payload.scalars import ScalarKind


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value that is one text: int, str, datetime, …"""

    kind: ScalarKind
    constraints: Constraints = FREE


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


MAX_DEPTH = 248  # element levels of a payload: the parser allows 256, and the envelope needs a few

Node: TypeAlias = Scalar | Choice | Nullable | ListOf | TupleOf | DictOf | Nested | Union


class _Missing:
    """Marks a field without default."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a payload class.

    Attributes:
        name: as written in the class, and the element's name.
        node: its type, without None.
        nullable: None is allowed.
        default: the default value, or MISSING (also when there is a factory).
        factory: makes the default, or None.
        description: the field's documentation, or "".
        kw_only: it must be passed by keyword.
    """

    name: str
    node: Node
    nullable: bool = False
    default: Any = MISSING
    factory: Any = None
    description: str = ""
    kw_only: bool = False

    @property
    def has_default(self) -> bool:
        """Whether the class itself fills the field."""
        return self.default is not MISSING or self.factory is not None

    @property
    def required(self) -> bool:
        """Whether the element must be there. A nullable field without default is None when absent."""
        return not (self.has_default or self.nullable)

    @property
    def nil(self) -> bool:
        """Whether None is written as xsi:nil, because absence means another default."""
        return self.nullable and self.has_default and self.default is not None


@dataclass(frozen=True, slots=True)
class Shape:
    """A payload class, as far as its wire form goes.

    Attributes:
        cls: the class.
        root: name of its element when it stands for itself.
        description: its docstring, "" when it has none of its own.
        fields: in declaration order.
        pydantic: it is a pydantic model, built by its validator.
        by_keyword: its constructor takes the fields by keyword only.
    """

    cls: type[Any]
    root: str
    description: str
    fields: tuple[Field, ...]
    pydantic: bool = False
    by_keyword: bool = False

    @property
    def levels(self) -> int:
        """Element levels below the class's own element, without those of nested classes."""
        return max((_levels(field.node) for field in self.fields), default=0)


def _levels(node: Node) -> int:
    match node:
        case Nullable(inner):
            return _levels(inner)
        case ListOf(item=inner):
            return 1 + _levels(inner)
        case TupleOf(items):
            return 1 + max(map(_levels, items), default=0)
        case DictOf(value=inner):
            return 2 + _levels(inner)
        case Union(choices):
            return 1 + max(_levels(inner) for _, inner in choices)
        case _:
            return 1


@dataclass(slots=True)
class Shapes:
    """A payload class with all classes that its fields lead to.

    Attributes:
        root: the class itself.
        by_class: every class's shape, the root first.
    """

    root: Shape
    by_class: dict[type[Any], Shape] = field(default_factory=dict)

    def names(self) -> dict[type[Any], str]:
        """A distinct name for each class: its root name, numbered where two share one."""
        names: dict[type[Any], str] = {}
        for cls, shape in self.by_class.items():
            name, number = shape.root, 1
            while name in names.values():
                number += 1
                name = f"{shape.root}-{number}"
            names[cls] = name
        return names
