"""Python annotations → type tree. All knowledge about Python's typing lives here."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, Flag
from typing import Annotated, Any, Literal, get_args, get_origin

from xml_pipeline.payload import nodes
from xml_pipeline.payload.constraints import Constraints, constraints_of
from xml_pipeline.payload.scalars import KINDS
from xml_pipeline.payload.text import carried, collapse

SUPPORTED = (
    "str, int, float, bool, Decimal, bytes, datetime, date, time, timedelta, UUID, Enum, Literal, T | None,"
    " unions, list[T], tuple[T, ...], set[T], frozenset[T], dict[scalar, T], other payload classes"
)

_CONTAINERS = (list, tuple, set, frozenset)


class Unsupported(TypeError):
    """An annotation that has no wire form; the message says why."""


def is_class_with_fields(annotation: Any) -> bool:
    """Whether it is a dataclass or a pydantic model."""
    return isinstance(annotation, type) and (
        dataclasses.is_dataclass(annotation)
        or hasattr(annotation, "__pydantic_core_schema__")
        or hasattr(annotation, "__pydantic_fields__")
    )


def node_of(annotation: Any, root_of: Callable[[type[Any]], str], owner: type[Any]) -> nodes.Node:
    """The type tree of an annotation.

    Args:
        annotation: as `typing.get_type_hints(..., include_extras=True)` gives it.
        root_of: the root element's name of a payload class, for unions.
        owner: the class it stands in, for `Self`.

    Raises:
        Unsupported: with the reason.
    """
    return _Reader(root_of, owner).read(annotation, ())


@dataclasses.dataclass(frozen=True, slots=True)
class _Reader:
    root_of: Callable[[type[Any]], str]
    owner: type[Any]

    def read(self, annotation: Any, metadata: Sequence[Any]) -> nodes.Node:
        annotation, metadata = _unwrapped(annotation, metadata)
        origin, args = get_origin(annotation), get_args(annotation)
        if annotation is typing.Self:
            return nodes.Nested(self.owner)
        if annotation in KINDS if isinstance(annotation, type) else False:
            kind = KINDS[annotation]
            return nodes.Scalar(kind, _constraints(metadata, kind.sample), _examples(metadata))
        if isinstance(annotation, type) and issubclass(annotation, Enum):
            return _enum(annotation)
        if origin is Literal:
            return self._literal(args)
        if origin is typing.Union or origin is types.UnionType:
            return self._union(args, metadata)
        if origin in _CONTAINERS:
            return self._collection(origin, args, metadata)
        if origin is dict:
            return self._dict(args, metadata)
        if is_class_with_fields(annotation):
            return nodes.Nested(annotation)
        raise Unsupported(_why(annotation))

    def _collection(self, origin: type[Any], args: tuple[Any, ...], metadata: Sequence[Any]) -> nodes.Node:
        if origin is tuple and (len(args) != 2 or args[1] is not Ellipsis):
            if args in ((), ((),)):
                return nodes.TupleOf(())
            return nodes.TupleOf(tuple(self.read(arg, ()) for arg in args))
        item = self.read(args[0], ())
        if origin in (set, frozenset) and not _hashable(item):
            raise Unsupported(f"the items of a {origin.__name__} must be hashable")
        return nodes.ListOf(origin, item, _constraints(metadata, origin()))

    def _dict(self, args: tuple[Any, ...], metadata: Sequence[Any]) -> nodes.Node:
        key = self.read(args[0], ())
        if not isinstance(key, nodes.Scalar | nodes.Choice):
            raise Unsupported("the keys of a dict must be scalars")
        return nodes.DictOf(key, self.read(args[1], ()), _constraints(metadata, {}))

    def _literal(self, values: tuple[Any, ...]) -> nodes.Node:
        plain = tuple(value for value in values if value is not None)
        node = nodes.Choice(
            "Literal", tuple((_literal_text(value), value) for value in plain), tuple(map(_json, plain))
        )
        texts = [text for text, _ in node.values]
        if not plain or len(set(texts)) < len(texts) or len({repr(v) for v in plain}) > len(set(plain)):
            raise Unsupported(f"the values {values!r} of a Literal cannot be told apart as text")
        return nodes.Nullable(node) if None in values else node

    def _union(self, args: tuple[Any, ...], metadata: Sequence[Any]) -> nodes.Node:
        options = [arg for arg in args if arg is not type(None)]
        if len(options) == 1:
            node = self.read(options[0], metadata)
        else:
            choices: list[tuple[str, nodes.Node]] = []
            for option in options:
                inner = self.read(option, metadata if _takes(option, metadata) else ())
                inner = inner.inner if isinstance(inner, nodes.Nullable) else inner
                choices += inner.choices if isinstance(inner, nodes.Union) else [(self._tag(inner), inner)]
            tags = [tag for tag, _ in choices]
            twice = sorted({tag for tag in tags if tags.count(tag) > 1})
            if twice:
                raise Unsupported(f"two members of the union would both be written as <{twice[0]}>")
            node = nodes.Union(tuple(choices))
        nullable = len(options) < len(args) and not isinstance(node, nodes.Nullable)
        return nodes.Nullable(node) if nullable else node

    def _tag(self, node: nodes.Node) -> str:
        match node:
            case nodes.Nested(cls):
                return self.root_of(cls)
            case nodes.Scalar(kind):
                return kind.name
            case nodes.Choice(name):
                return name
            case nodes.ListOf(container):
                return container.__name__
            case nodes.TupleOf():
                return "tuple"
            case _:
                return "dict"


def _unwrapped(annotation: Any, metadata: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    """Without Annotated, NewType, Final and type aliases; the metadata gathered from inside out."""
    while True:
        if get_origin(annotation) is Annotated:
            metadata = (*annotation.__metadata__, *metadata)
            annotation = annotation.__origin__
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif get_origin(annotation) is typing.Final:
            annotation = get_args(annotation)[0]
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation, metadata


def _constraints(metadata: Sequence[Any], sample: Any) -> Constraints:
    try:
        return constraints_of(metadata, sample)
    except TypeError as error:
        raise Unsupported(str(error)) from None


def _examples(metadata: Sequence[Any]) -> tuple[Any, ...]:
    """The values in pydantic's `Field(examples=[...])` or `Field(json_schema_extra={"examples": [...]})`."""
    for item in metadata:
        extra = getattr(item, "json_schema_extra", None)
        found = getattr(item, "examples", None) or (isinstance(extra, dict) and extra.get("examples"))
        if isinstance(found, list | tuple):
            return tuple(found)
    return ()


def _takes(option: Any, metadata: Sequence[Any]) -> bool:
    """Whether constraints on a whole union make sense for this member of it."""
    plain, _ = _unwrapped(option, ())
    if not isinstance(plain, type) or plain not in KINDS:
        return False
    try:
        constraints_of(metadata, KINDS[plain].sample)
    except TypeError:
        return False
    return True


def _enum(cls: type[Enum]) -> nodes.Choice:
    if issubclass(cls, Flag):
        raise Unsupported("Flag enumerations combine values; use set[...] of an Enum")
    members = list(cls)
    if not members:
        raise Unsupported(f"the Enum {cls.__name__} has no members")
    values = [member.value for member in members]
    plain = {type(value) for value in values}
    if plain in ({str}, {int}) and all(map(_clean, values)):
        return nodes.Choice(
            cls.__name__, tuple((str(member.value), member) for member in members), tuple(values)
        )
    return nodes.Choice(cls.__name__, tuple((m.name, m) for m in members), tuple(m.name for m in members))


def _clean(value: Any) -> bool:
    """A text that white space around it does not change, and that XML can carry as it is."""
    return isinstance(value, int) or (value == collapse(value) and carried(value) is not None)


def _literal_text(value: Any) -> str:
    if isinstance(value, Enum):
        return next(text for text, member in _enum(type(value)).values if member is value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str) and _clean(value):
        return value
    raise Unsupported(
        f"the Literal value {value!r} has no clean text; use text without outer blanks, int, bool"
    )


def _json(value: Any) -> Any:
    return _literal_text(value) if isinstance(value, Enum) else value


def _hashable(node: nodes.Node) -> bool:
    match node:
        case nodes.DictOf():
            return False
        case nodes.ListOf(container) if container in (list, set):
            return False
        case nodes.Nested(cls):
            return getattr(cls, "__hash__", None) is not None
        case _:
            return all(map(_hashable, nodes.inside(node)))


def _why(annotation: Any) -> str:
    if annotation in (list, tuple, set, frozenset, dict):
        return (
            f"{annotation.__name__} needs its items' type, as {annotation.__name__}[str{_more(annotation)}]"
        )
    if isinstance(annotation, type):
        return f"the type {annotation.__name__} has no wire form"
    return f"the type {str(annotation).removeprefix('typing.')} has no wire form"


def _more(container: type[Any]) -> str:
    return ", int" if container is dict else ", ..." if container is tuple else ""


def described(metadata: Iterable[Any]) -> str:
    """The documentation in an `Annotated`: its first text, or pydantic's `Field(description=)`."""
    for item in metadata:
        text = item if isinstance(item, str) else getattr(item, "description", None)
        if isinstance(text, str):
            return text
        text = getattr(item, "documentation", None)  # typing_extensions.Doc
        if isinstance(text, str):
            return text
    return ""


def metadata_of(annotation: Any) -> Sequence[Any]:
    """The metadata of an annotation, through aliases."""
    return _unwrapped(annotation, ())[1]
