"""Payload classes that a declaration describes, without Python source: the values of a declaration, and the classes.

A class made here is a dataclass like any other; what follows from it (XSD, errors, JSON Schema, bytes) is made by the
code that serves Python's classes, so there is no second meaning. `declaring` reads a declaration, `printed` writes it
as Python.

One declaration has one set of classes for as long as anybody holds them: an organism loaded twice from the same text
takes its own messages. A message is pickled as its bytes with the name of its class; whoever reads it needs the
declaration, and says so (ADR 36).
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import operator
import threading
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Self

from xml_pipeline.errors import PayloadTypeError, Violation
from xml_pipeline.payload.codec import codec_of
from xml_pipeline.payload.decorator import xmlify
from xml_pipeline.payload.shapes import MISSING

SCALARS: Mapping[str, type[Any]] = MappingProxyType(
    {
        "text": str,
        "integer": int,
        "number": float,
        "decimal": Decimal,
        "boolean": bool,
        "date": date,
        "datetime": datetime,
        "duration": timedelta,
    }
)
"""The names of types of one value, and what they are in Python."""

_MODULE = "organism.yaml"  # no module has this name, so nothing is looked up in it


@dataclass(frozen=True)
class Type:
    """The type of a field or of a list's items.

    Attributes:
        kind: a name in `SCALARS`, or `class`, `one_of`, `any_of`, `list`.
        names: the class, the classes or the words.
        item: of a list.
        facets: bounds by their names in Python (`ge`, `le`, `min_length`, `max_length`, `pattern`, `examples`).
    """

    kind: str
    names: tuple[str, ...] = ()
    item: Type | None = None
    facets: tuple[tuple[str, Any], ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it is made of."""
        if self.item is not None:
            return self.item.classes
        return self.names if self.kind in ("class", "any_of") else ()


@dataclass(frozen=True)
class DeclaredField:
    """One field; `default` is a Python value, a tuple for a list, or MISSING."""

    name: str
    type: Type
    description: str = ""
    optional: bool = False
    default: Any = MISSING


@dataclass(frozen=True)
class Declaration:
    """One class."""

    name: str
    description: str
    fields: tuple[DeclaredField, ...]


@dataclass(frozen=True)
class Declarations:
    """The classes of one organism.

    Attributes:
        owner: the organism's name.
        classes: in the order they were declared.
    """

    owner: str
    classes: tuple[Declaration, ...] = ()

    @cached_property
    def digest(self) -> str:
        """The same for what is declared the same; equality would take Decimal("1.0") for Decimal("1.00")."""
        return blake2b(repr((self.owner, self.classes)).encode(), digest_size=16).hexdigest()


class Declared:
    """The base of all declared classes; it has no attribute that a field could be named like."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Bytes, and which class reads them: the class itself is in no module where another process could find it."""
        codec = codec_of(type(self))
        origin: _Origin = type(self).__dict__[_ORIGIN]
        return revived, (origin.owner, codec.root, codec.fingerprint.hex(), codec.encode(self))

    def __copy__(self) -> Self:
        return type(self)(**_values(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Not by way of bytes: an instance that is not valid yet can be copied too."""
        return type(self)(**copy.deepcopy(_values(self), memo))


def _values(instance: Any) -> dict[str, Any]:
    return {field.name: getattr(instance, field.name) for field in dataclasses.fields(instance)}


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a declared class comes from; with one class of a set live all of them."""

    owner: str
    digest: str
    classes: Mapping[str, type[Any]]


_ORIGIN = "__declared__"
_making = threading.Lock()


def _living() -> Iterator[tuple[type[Any], _Origin]]:
    """The declared classes that somebody holds; Python itself knows them."""
    for cls in Declared.__subclasses__():
        if _ORIGIN in cls.__dict__:
            yield cls, cls.__dict__[_ORIGIN]


def declared_beside(cls: type[Any]) -> Iterable[type[Any]]:
    """The classes of the declaration that a class comes from, itself too; nothing for a class of Python."""
    origin: _Origin | None = cls.__dict__.get(_ORIGIN)
    return origin.classes.values() if origin is not None else ()


def revived(owner: str, name: str, fingerprint: str, data: bytes) -> Any:
    """The message that `Declared.__reduce__` took apart.

    Raises:
        PayloadTypeError: this process has not loaded the class, or has it in another shape.
    """
    known = [cls for cls, origin in _living() if origin.owner == owner and cls.__name__ == name]
    for cls in known:
        if codec_of(cls).fingerprint.hex() == fingerprint:
            return codec_of(cls).decode_bytes(data)
    rule = "is declared in another shape in this process" if known else "is not known in this process"
    raise PayloadTypeError(
        Violation(
            f"{name} of the organism '{owner}'", f"{rule}; load the organism.yaml that it was written under"
        )
    )


def classes_of(declarations: Declarations) -> Mapping[str, type[Any]]:
    """The classes by name: those that exist already for this declaration, else new ones.

    Raises:
        PayloadTypeError: classes that @xmlify cannot take, with a violation for each.
    """
    with _making:
        for _, origin in _living():
            if origin.digest == declarations.digest:
                return origin.classes
        classes = MappingProxyType(_made(declarations))
        for cls in classes.values():  # last: what could not be made is never found
            setattr(cls, _ORIGIN, _Origin(declarations.owner, declarations.digest, classes))
        return classes


def _made(declarations: Declarations) -> dict[str, type[Any]]:
    made = {
        each.name: type(
            each.name,
            (Declared,),
            {"__module__": _MODULE, "__qualname__": each.name, "__doc__": each.description or None},
        )
        for each in declarations.classes
    }
    for each in declarations.classes:
        cls = made[each.name]
        cls.__annotations__ = {field.name: _annotated(field, made) for field in each.fields}
        for field in each.fields:
            if field.optional:
                setattr(cls, field.name, None)
            elif isinstance(field.default, tuple):
                setattr(cls, field.name, dataclasses.field(default_factory=_list(field.default)))
            elif field.default is MISSING:
                setattr(cls, field.name, dataclasses.field())  # or `type.mro` would be the default of `mro`
            else:
                setattr(cls, field.name, field.default)
        dataclass(kw_only=True)(cls)
    refused: list[Violation] = []
    for cls in made.values():
        try:
            xmlify(cls)
        except PayloadTypeError as error:
            refused += error.violations
    if refused:
        raise PayloadTypeError(refused)
    return made


def _list(items: tuple[Any, ...]) -> Any:
    return lambda: list(items)


def _annotated(field: DeclaredField, made: Mapping[str, type[Any]]) -> Any:
    annotation = annotation_of(field.type, made)
    if field.optional:
        annotation = typing.Optional[annotation]  # noqa: UP045 - of a value
    return typing.Annotated[annotation, field.description] if field.description else annotation


def annotation_of(declared: Type, classes: Mapping[str, type[Any]]) -> Any:
    """The annotation that a Python class has for this type."""
    match declared.kind:
        case "class":
            annotation: Any = classes[declared.names[0]]
        case "one_of":
            annotation = typing.Literal[declared.names]
        case "any_of":
            annotation = functools.reduce(operator.or_, [classes[name] for name in declared.names])
        case "list" if declared.item is not None:
            annotation = types.GenericAlias(list, (annotation_of(declared.item, classes),))
        case _:
            annotation = SCALARS[declared.kind]
    if not declared.facets:
        return annotation
    from pydantic import Field  # 50 ms, and few need it

    facets: dict[str, Any] = dict(declared.facets)
    return typing.Annotated[annotation, Field(**facets)]
