"""Payload class → shape: which fields it has, their types, defaults and documentation."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from lxml import etree

from xml_pipeline import hardened
from xml_pipeline.errors import EnvelopeError, PayloadTypeError, Violation
from xml_pipeline.payload import nodes
from xml_pipeline.payload.annotations import SUPPORTED, Unsupported, described, metadata_of, node_of
from xml_pipeline.payload.example import check_samples
from xml_pipeline.payload.shapes import MISSING, Field, Shape, Shapes

REGISTRATION = "__xml_payload__"
_NAME = re.compile("(?![0-9.-])[A-Za-z0-9_.\x80-\U0010ffff-]+")


def root_name(cls: type[Any]) -> str:
    """The name of the class's root element: as given to @xmlify, else the class's own."""
    registration = cls.__dict__.get(REGISTRATION)
    name = registration.name if registration is not None else cls.__name__
    return typing.cast("str", name)


def shapes_of(cls: type[Any], scope: Mapping[str, Any]) -> Shapes:
    """The shapes of a class and of all classes that its fields lead to.

    Args:
        cls: a dataclass or a pydantic model.
        scope: names for forward references, besides the class's module.

    Raises:
        PayloadTypeError: a field has no wire form.
        NameError: an annotation names something that does not exist (yet).
    """
    scope = {**scope, cls.__name__: cls}
    found = Shapes(_shape(cls, scope))
    found.by_class[cls] = found.root
    waiting = [found.root]
    while waiting:
        for field in waiting.pop(0).fields:
            for nested in _nested(field.node):
                if nested not in found.by_class:
                    found.by_class[nested] = _nested_shape(nested, cls, scope)
                    waiting.append(found.by_class[nested])
    return found


def _nested_shape(nested: type[Any], cls: type[Any], scope: Mapping[str, Any]) -> Shape:
    """A nested class's shape: as resolved where it was decorated, else with what the outer class can see."""
    registration = nested.__dict__.get(REGISTRATION)
    if registration is not None and registration.shapes is not None:
        return typing.cast("Shape", registration.shapes.root)
    visible = dict(scope) if nested.__module__ == cls.__module__ else {}
    return _shape(nested, visible | dict(registration.scope() if registration is not None else {}))


def refuse(cls: type[Any], field: str, rule: str) -> PayloadTypeError:
    """A PayloadTypeError for one field (or, with "", for the whole class)."""
    return PayloadTypeError(Violation(f"{cls.__qualname__}.{field}" if field else cls.__qualname__, rule))


def _nested(node: nodes.Node) -> Iterator[type[Any]]:
    if isinstance(node, nodes.Nested):
        yield node.cls
    for inner in nodes.inside(node):
        yield from _nested(inner)


def _shape(cls: type[Any], scope: Mapping[str, Any]) -> Shape:
    root = root_name(cls)
    if not _is_name(root):
        raise refuse(cls, "", f"{root!r} cannot be an element's name; give one with @xmlify(name=...)")
    if hasattr(cls, "__pydantic_core_schema__") and hasattr(cls, "model_fields"):
        return _pydantic_shape(cls, root)
    if dataclasses.is_dataclass(cls) and hasattr(cls, "__pydantic_fields__"):
        return _pydantic_dataclass_shape(cls, root)
    if not dataclasses.is_dataclass(cls):
        raise refuse(cls, "", "is neither a dataclass nor a pydantic model; put @dataclass below @xmlify")
    hints = _hints(cls, scope)
    params = cls.__dataclass_params__  # type: ignore[attr-defined]  # every dataclass has it
    fields = tuple(_dataclass_field(cls, f, hints[f.name]) for f in dataclasses.fields(cls) if f.init)
    by_keyword = _has_init_vars(cls) or not params.init
    return Shape(cls, root, _docstring(cls), fields, by_keyword=by_keyword, remade=_remade(cls))


def _is_name(name: str) -> bool:
    """Whether elements can be called so. What letters of other alphabets are, libxml2 and Python see differently."""
    if not _NAME.fullmatch(name) or name.isascii():
        return _NAME.fullmatch(name) is not None
    schema = '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="{}"/></xs:schema>'
    try:
        etree.XMLSchema(hardened.parse(schema.format(name).encode()))
        hardened.parse(f"<{name}/>".encode())
    except (EnvelopeError, etree.XMLSchemaParseError, ValueError):
        return False
    return True


def _hints(cls: type[Any], scope: Mapping[str, Any]) -> dict[str, Any]:
    """The annotations of the class and its bases, each read where it was written."""
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        own = inspect.get_annotations(base) if base is not object else {}
        if own:
            visible = scope if base.__module__ == cls.__module__ else {}
            try:
                known = typing.get_type_hints(
                    base, localns={**visible, base.__name__: base}, include_extras=True
                )
            except (TypeError, SyntaxError, AttributeError) as error:
                raise refuse(cls, "", f"has an annotation that cannot be read: {error}") from None
            hints |= {name: known[name] for name in own}
    return hints


def _dataclass_field(cls: type[Any], field: dataclasses.Field[Any], hint: Any) -> Field:
    node, nullable = _field_node(cls, field.name, hint)
    default: Any = MISSING if field.default is dataclasses.MISSING else field.default
    factory = None if field.default_factory is dataclasses.MISSING else field.default_factory
    description = field.metadata.get("description") or described(metadata_of(hint))
    found = Field(field.name, node, nullable, default, factory, str(description), bool(field.kw_only))
    return _with_example(cls, found)


def _field_node(cls: type[Any], name: str, annotation: Any) -> tuple[nodes.Node, bool]:
    if not _is_name(name):
        raise refuse(
            cls, name, "cannot be an element's name (XML Schema 1.0 knows the letters of Unicode 2.0)"
        )
    try:
        node = node_of(annotation, root_name, cls)
    except Unsupported as error:
        raise refuse(cls, name, f"{error}; supported are {SUPPORTED}") from None
    return (node.inner, True) if isinstance(node, nodes.Nullable) else (node, False)


def _has_init_vars(cls: type[Any]) -> bool:
    """Whether the constructor takes more than the fields. What it takes leaves no trace, so it needs a default."""
    marker = dataclasses._FIELD_INITVAR  # type: ignore[attr-defined]  # no public way to list them
    found = [field for field in cls.__dataclass_fields__.values() if field._field_type is marker]
    for field in found:
        if field.default is dataclasses.MISSING:
            rule = "is an InitVar without default, whose value is lost; give it a default"
            raise refuse(cls, field.name, rule)
    return bool(found)


def _remade(cls: type[Any]) -> tuple[str, ...]:
    """As `Shape.remade`."""
    fields = dataclasses.fields(cls)
    if _has_init_vars(cls) or not all(field.init for field in fields):
        return tuple(field.name for field in fields if field.compare)
    return ()


def _pydantic_shape(cls: Any, root: str) -> Shape:
    if not cls.__pydantic_complete__:
        cls.model_rebuild(raise_errors=False)
        if not cls.__pydantic_complete__:
            raise NameError(f"{cls.__name__} has forward references that are not defined yet")
    if cls.model_config.get("extra") == "allow":
        raise refuse(cls, "", 'extra="allow" lets in what no schema describes; use "forbid" or "ignore"')
    if getattr(cls, "__pydantic_root_model__", False):
        raise refuse(cls, "", "a RootModel has no named fields; use a model with one field")
    fields = tuple(_pydantic_field(cls, name, info) for name, info in cls.model_fields.items())
    return Shape(cls, root, _docstring(cls), fields, pydantic=True)


def _pydantic_dataclass_shape(cls: Any, root: str) -> Shape:
    if not cls.__pydantic_complete__:
        from pydantic.dataclasses import (
            rebuild_dataclass,  # loaded already, since the class is one of its own
        )

        if not rebuild_dataclass(cls, raise_errors=False):
            raise NameError(f"{cls.__name__} has forward references that are not defined yet")
    infos = cls.__pydantic_fields__
    fields = tuple(_pydantic_field(cls, f.name, infos[f.name]) for f in dataclasses.fields(cls) if f.init)
    return Shape(cls, root, _docstring(cls), fields, by_keyword=True, remade=_remade(cls))


def _pydantic_field(cls: type[Any], name: str, info: Any) -> Field:
    annotation = typing.Annotated[info.annotation, info]
    node, nullable = _field_node(cls, name, annotation)
    default = info.default if not info.is_required() and info.default_factory is None else MISSING
    description = info.description or described(metadata_of(annotation))
    return _with_example(
        cls, Field(name, node, nullable, default, info.default_factory, description, kw_only=True)
    )


def _with_example(cls: type[Any], field: Field) -> Field:
    """The field, unless it must stand in the example document and nobody knows a value that it may have."""
    if field.required:
        try:
            check_samples(field.node)
        except ValueError as error:
            raise refuse(cls, field.name, str(error)) from None
    return field


def _docstring(cls: type[Any]) -> str:
    """The class's own docstring; the signature that @dataclass puts there says nothing."""
    text = cls.__dict__.get("__doc__")
    if not text or str(text).startswith(f"{cls.__name__}("):
        return ""
    return inspect.cleandoc(str(text))
