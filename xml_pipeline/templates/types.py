"""What a path leads to, before there are values: its type, and whether there may be nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from xml_pipeline.errors import cut, did_you_mean, listing
from xml_pipeline.payload import codec_of, nodes
from xml_pipeline.payload.declared import SCALARS
from xml_pipeline.payload.shapes import Field
from xml_pipeline.templates.text import Reference


class NoSuchPath(Exception):
    """A path leads nowhere; the text says where it ends and what is there."""


@dataclass(frozen=True, slots=True)
class Type:
    """The type of a value that is not there yet.

    Attributes:
        node: the type; None where it is not known, because what the file names was not imported. Anything fits that.
        optional: whether there may be no value.
    """

    node: nodes.Node | None
    optional: bool = False

    @property
    def words(self) -> str:
        """For error messages."""
        return "something unknown" if self.node is None else words(self.node)


Scope: TypeAlias = Mapping[str, Type]
"""The names that can be used at one place, and what they stand for."""

UNKNOWN = Type(None)

_NAMES = {python: name for name, python in SCALARS.items()}


def of_classes(classes: Iterable[type]) -> Type:
    """A value of one of some payload classes."""
    some = tuple(dict.fromkeys(classes))
    if len(some) == 1:
        return Type(nodes.Nested(some[0]))
    return Type(nodes.Union(tuple((cls.__name__, nodes.Nested(cls)) for cls in some)))


def words(node: nodes.Node) -> str:
    """A type in the words of the file."""
    match node:
        case nodes.Scalar(kind):
            name = _NAMES.get(kind.python)
            return kind.words if name is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
        case nodes.Choice(values=values):
            return f"one of {cut(listing([text for text, _ in values]), 200)}"
        case nodes.Nested(cls):
            return cls.__name__
        case nodes.ListOf(item=item):
            return f"a list of {words(item)}"
        case nodes.Union(choices):
            return " or ".join(words(inner) for _, inner in choices)
        case nodes.Nullable(inner):
            return words(inner)
        case nodes.DictOf():
            return "a mapping"
        case nodes.TupleOf():
            return "a tuple"


def lead(reference: Reference, scope: Scope) -> Type:
    """What a reference stands for.

    Raises:
        NoSuchPath: there is no such name, or it has no such field.
    """
    name, *steps = reference.path
    if name not in scope:
        hint = did_you_mean(name, scope)
        raise NoSuchPath(
            f"there is no '{cut(name)}' here{hint}; names here are {listing(list(scope)) or 'none'}"
        )
    found, path = scope[name], name
    for step in steps:
        if found.node is None:
            return UNKNOWN
        found, path = _step(found, path, step), f"{path}.{step}"
    return found


def _step(found: Type, path: str, step: str) -> Type:
    node = found.node
    match node:
        case nodes.Nested(cls):
            field = field_of(cls, step, path)
            return Type(field.node, found.optional or field.nullable)
        case nodes.ListOf(item=item):
            inner = _step(Type(item), path, step)
            if inner.optional:
                raise NoSuchPath(f"'{path}' is a list in which '{step}' may be absent")
            if inner.node is None:
                return replace(inner, optional=found.optional)
            return Type(nodes.ListOf(list, inner.node), found.optional)
        case nodes.Union():
            raise NoSuchPath(f"'{path}' is {found.words}: `choose: {path}` tells them apart first")
        case _:
            raise NoSuchPath(f"'{path}' is {found.words}, which has no fields")


def field_of(cls: type, name: str, path: str = "") -> Field:
    """A field of a payload class. Raises NoSuchPath."""
    fields = {field.name: field for field in codec_of(cls).shapes.root.fields}
    if name not in fields:
        hint = did_you_mean(name, fields)
        where = f"'{path}' is {cls.__name__}, which" if path else cls.__name__
        raise NoSuchPath(
            f"{where} has no field '{cut(name)}'{hint}; it has {listing(list(fields)) or 'none'}"
        )
    return fields[name]
