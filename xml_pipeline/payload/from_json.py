"""A tool call's arguments, or what a person typed → instance.

Strict in meaning, forgiving in spelling: `"5"` for an int, `5.0` for an int and `"true"` for a bool have one
reading and are taken; `null` for a field that may be absent counts as absent. A number for a text is refused,
because `007` would be lost. Everything refused is named with its field.
"""

from __future__ import annotations

import json
from typing import Any

from xml_pipeline.errors import PayloadError, cut
from xml_pipeline.payload.decoder import choice_value
from xml_pipeline.payload.nodes import (
    MISSING,
    Choice,
    DictOf,
    Field,
    ListOf,
    Nested,
    Node,
    Nullable,
    Scalar,
    Shape,
    Shapes,
    TupleOf,
    Union,
)
from xml_pipeline.payload.scalars import BOOL, DECIMAL, FLOAT, INT, STR
from xml_pipeline.payload.to_json import native_union
from xml_pipeline.payload.value_errors import check_value
from xml_pipeline.payload.violations import Findings, listed, rejection, shown


def from_json(shapes: Shapes, arguments: Any) -> Any:
    """The instance that a JSON object describes. Raises PayloadError."""
    return _Reader(shapes, typed=False).whole(arguments)


def from_text(shapes: Shapes, texts: dict[str, str]) -> Any:
    """The instance that texts by field name describe. Raises PayloadError.

    A list is `a, b` or JSON; a dict, a nested payload or a tagged union is JSON.
    """
    reader = _Reader(shapes, typed=True)
    fields = {field.name: field for field in shapes.root.fields}
    arguments: dict[str, Any] = {}
    for name, text in texts.items():
        arguments[name] = _typed(fields[name].node, text) if name in fields else text
    return reader.whole(arguments)


def _typed(node: Node, text: str) -> Any:
    """What a person means by a text, as JSON; text that is no JSON stays text and is judged as such."""
    if isinstance(node, Scalar | Choice) or (isinstance(node, Union) and native_union(node.choices)):
        return text
    if isinstance(node, ListOf | TupleOf) and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",")] if text.strip() else []
    try:
        return json.loads(text)
    except ValueError:
        return text


class _Reader:
    """Turns JSON values into Python values along the type tree.

    Attributes:
        typed: the texts come from a person: in a union of scalars `5` is a number before it is a text.
    """

    def __init__(self, shapes: Shapes, *, typed: bool) -> None:
        self.shapes = shapes
        self.typed = typed
        self.findings = Findings()

    def whole(self, arguments: Any) -> Any:
        root = self.shapes.root
        result: list[Any] = []
        found = self.findings.collect(
            root.root, lambda: result.append(self.instance(root, arguments, root.root))
        )
        if found:
            raise PayloadError(found)
        return result[0]

    def instance(self, shape: Shape, given: Any, path: str) -> Any:
        if not isinstance(given, dict):
            self.findings.add(path, f"needs an object, not {_kind(given)}", shown(given))
            return MISSING
        fields = {field.name: field for field in shape.fields}
        for name in given:
            if name not in fields:
                allowed = ", ".join(fields) or "no fields"
                self.findings.add(f"{path}.{cut(str(name))}", "is not a field", shown(given[name]), allowed)
        values: dict[str, Any] = {}
        before = len(self.findings.found)
        for field in shape.fields:
            value = self._field(field, given.get(field.name, MISSING), f"{path}.{field.name}")
            if value is not MISSING:
                values[field.name] = value
        return MISSING if len(self.findings.found) > before else self._build(shape, values, path)

    def _field(self, field: Field, given: Any, path: str) -> Any:
        if given is None:
            if field.nullable:
                return None
            if field.has_default:
                return MISSING
        if given is MISSING:
            if field.required:
                self.findings.add(path, "is missing", None, _wanted(field.node))
            return None if field.nullable and not field.has_default else MISSING
        value = self.value(field.node, given, path)
        if value is not MISSING and not isinstance(field.node, Nested):
            check_value(self.shapes, field.node, value, path, self.findings)
        return value

    def _build(self, shape: Shape, values: dict[str, Any], path: str) -> Any:
        try:
            if shape.pydantic:
                return shape.cls.model_validate(values, by_alias=False, by_name=True)
            return shape.cls(**values)
        except Exception as error:
            self.findings.found += rejection(path, error)
            return MISSING

    def value(self, node: Node, given: Any, path: str) -> Any:
        match node:
            case Nullable(inner):
                return None if given is None else self.value(inner, given, path)
            case Scalar():
                return self._scalar(node, given, path)
            case Choice():
                return self._choice(node, given, path)
            case Nested(cls):
                return self.instance(self.shapes.by_class[cls], given, path)
            case ListOf(container, item):
                if not self._is(list, given, path, "an array"):
                    return MISSING
                items = [self.value(item, inner, f"{path}[{index}]") for index, inner in enumerate(given)]
                return MISSING if any(inner is MISSING for inner in items) else container(items)
            case TupleOf(items=nodes):
                if not self._is(list, given, path, "an array"):
                    return MISSING
                if len(given) != len(nodes):
                    self.findings.add(path, f"needs {len(nodes)} values, not {len(given)}", shown(given))
                    return MISSING
                pairs = enumerate(zip(nodes, given, strict=True))
                items = [self.value(inner, value, f"{path}[{index}]") for index, (inner, value) in pairs]
                return MISSING if any(inner is MISSING for inner in items) else tuple(items)
            case DictOf():
                return self._dict(node, given, path)
            case Union(choices):
                return self._union(choices, given, path)

    def _is(self, kind: type[Any], given: Any, path: str, wanted: str) -> bool:
        if isinstance(given, kind):
            return True
        self.findings.add(path, f"needs {wanted}, not {_kind(given)}", shown(given))
        return False

    def _scalar(self, node: Scalar, given: Any, path: str) -> Any:
        try:
            return _read(node, given)
        except ValueError as error:
            self.findings.add(path, str(error), shown(given), node.kind.words)
            return MISSING

    def _choice(self, node: Choice, given: Any, path: str) -> Any:
        for (_, member), text in zip(node.values, node.json, strict=True):
            if type(text) is type(given) and text == given:
                return member
        try:
            if isinstance(given, str):
                return choice_value(dict(node.values))(given)
        except KeyError:
            pass
        self.findings.add(path, "is none of the values", shown(given), listed(node))
        return MISSING

    def _dict(self, node: DictOf, given: Any, path: str) -> Any:
        if not self._is(dict, given, path, "an object"):
            return MISSING
        found: dict[Any, Any] = {}
        whole = True
        for text, inner in given.items():
            key = self.value(node.key, text, f"{path}.key")
            value = self.value(node.value, inner, f"{path}[{cut(str(text))!r}]")
            if key is MISSING or value is MISSING:
                whole = False
            elif key in found:
                self.findings.add(f"{path}.key", "is there more than once", shown(text))
            else:
                found[key] = value
        return found if whole else MISSING

    def _union(self, choices: tuple[tuple[str, Node], ...], given: Any, path: str) -> Any:
        if native_union(choices):
            scalars = [node for _, node in choices if isinstance(node, Scalar)]
            exact = [node for node in scalars if type(given) is node.kind.python]
            if self.typed:  # text is every text's last reading
                exact = sorted(scalars, key=lambda node: node.kind is STR)
            for node in [*exact, *scalars]:
                try:
                    return _read(node, given)
                except ValueError:
                    continue
            allowed = " or ".join(node.kind.words for node in scalars)
            self.findings.add(path, "fits no member of the union", shown(given), allowed)
            return MISSING
        members = dict(choices)
        if isinstance(given, dict) and len(given) == 1 and next(iter(given)) in members:
            tag, inner = next(iter(given.items()))
            return self.value(members[tag], inner, path)
        allowed = " or ".join(f'{{"{tag}": …}}' for tag in members)
        self.findings.add(path, "needs an object with one key that names the type", shown(given), allowed)
        return MISSING


def _read(node: Scalar, given: Any) -> Any:
    """A scalar from JSON. Raises ValueError."""
    kind = node.kind
    if kind is BOOL and isinstance(given, bool):
        return given
    if isinstance(given, bool):
        raise ValueError(f"needs {kind.words}, not a boolean")
    if kind is INT and isinstance(given, int):
        return given
    if kind is INT and isinstance(given, float) and given.is_integer():
        return int(given)
    if kind is FLOAT and isinstance(given, int | float):
        try:
            return float(given)
        except OverflowError:
            raise ValueError("is too large for a float") from None
    if kind is DECIMAL and isinstance(given, int | float):
        return kind.from_text(repr(given))
    if not isinstance(given, str):
        raise ValueError(f"needs {kind.words}, not {_kind(given)}")
    return kind.from_text(given)


def _wanted(node: Node) -> str:
    match node:
        case Scalar(kind, constraints):
            return f"{kind.words}, {constraints.describe()}" if constraints.describe() else kind.words
        case Choice():
            return listed(node)
        case ListOf() | TupleOf():
            return "an array"
        case _:
            return "an object"


def _kind(given: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a text", bool: "a boolean", type(None): "null"}
    return names.get(type(given), "a number" if isinstance(given, int | float) else type(given).__name__)
