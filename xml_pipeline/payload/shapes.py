"""The shape of a payload class, and of all classes that its fields lead to, as plain values.

Whatever declares a payload (a dataclass, a pydantic model) ends as `Shapes`; all that a codec knows follows from it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from xml_pipeline.payload import nodes

MAX_DEPTH = 248  # element levels of a payload: the parser allows 256, and the envelope needs a few


class _Missing:
    """Marks a field without default."""

    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"  # there is one, in other processes and in copies too


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
    node: nodes.Node
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

    @property
    def element(self) -> nodes.Node:
        """Its type as its element holds it: Nullable where xsi:nil may stand."""
        return nodes.Nullable(self.node) if self.nil else self.node


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
        remade: what two instances are compared by, if the constructor sets some of it from what is no field
            (`InitVar`, `field(init=False)`); else empty.
    """

    cls: type[Any]
    root: str
    description: str
    fields: tuple[Field, ...]
    pydantic: bool = False
    by_keyword: bool = False
    remade: tuple[str, ...] = ()

    def lost(self, value: Any) -> str | None:
        """The first attribute of an instance that its fields alone do not bring back, None when all come back.

        ADR 20 tells what for.
        """
        try:
            given = {field.name: getattr(value, field.name) for field in self.fields}
            again = self.cls(**copy.deepcopy(given))  # a constructor may change what it gets
            pairs = (
                (name, getattr(value, name, MISSING), getattr(again, name, MISSING)) for name in self.remade
            )
            return next((name for name, old, new in pairs if old is not new and old != new), None)
        except Exception:
            return None  # something else is wrong with the value, or the class refuses it: both are told elsewhere

    @property
    def levels(self) -> int:
        """Element levels below the class's own element, without those of nested classes."""
        return max((_levels(field.node) for field in self.fields), default=0)


def _levels(node: nodes.Node) -> int:
    own = {nodes.Nullable: 0, nodes.DictOf: 2}.get(type(node), 1)
    return own + max(map(_levels, nodes.inside(node)), default=0)


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
