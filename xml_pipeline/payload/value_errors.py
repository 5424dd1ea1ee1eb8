"""Why a Python value cannot be written: the slow walk after the compiled encoder has said no."""

from __future__ import annotations

from typing import Any

from xml_pipeline.errors import Violation
from xml_pipeline.payload.membership import chosen, is_member
from xml_pipeline.payload.nodes import (
    MAX_DEPTH,
    Choice,
    DictOf,
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
from xml_pipeline.payload.violations import Findings, listed, shown

TOO_DEEP = f"is nested deeper than {MAX_DEPTH} elements, or contains itself"


def explain_value(shapes: Shapes, value: Any, error: BaseException | None = None) -> list[Violation]:
    """The mistakes in a value that could not be written; `error` is what the encoder raised."""
    findings = Findings()
    root = shapes.root
    walk = _Walk(shapes, findings)
    findings.collect(root.root, lambda: walk.instance(root, value, root.root, 1))
    return findings.found or [Violation(root.root, f"cannot be written: {error}")]


def check_value(shapes: Shapes, node: Node, value: Any, path: str, findings: Findings) -> None:
    """Note the mistakes in one field's value."""
    _Walk(shapes, findings).value(node, value, path, 1)


class _Walk:
    def __init__(self, shapes: Shapes, findings: Findings) -> None:
        self.shapes = shapes
        self.findings = findings

    def instance(self, shape: Shape, value: Any, path: str, depth: int) -> None:
        if value.__class__ is not shape.cls:
            rule = f"needs {shape.cls.__name__}, not {type(value).__name__}"
            self.findings.add(path, rule, shown(value))
            return
        if depth + shape.levels > MAX_DEPTH:
            self.findings.add(path, TOO_DEEP)
            return
        for field in shape.fields:
            place = f"{path}.{field.name}"
            try:
                inner = getattr(value, field.name)
            except AttributeError:
                self.findings.add(place, "has no value")
            else:
                if inner is not None or not field.nullable:
                    self.value(field.node, inner, place, depth + 1)

    def value(self, node: Node, value: Any, path: str, depth: int) -> None:
        match node:
            case Scalar():
                self._scalar(node, value, path)
            case Choice():
                if not is_member(node, value):
                    self.findings.add(path, "is none of the values", shown(value), listed(node))
            case Nested(cls):
                self.instance(self.shapes.by_class[cls], value, path, depth)
            case Nullable(inner):
                if value is not None:
                    self.value(inner, value, path, depth)
            case ListOf(container, item):
                if self._is(container, value, path):
                    self.findings.check(node.constraints, value, path)
                    for index, inner in enumerate(value):
                        self.value(item, inner, f"{path}[{index}]", depth + 1)
            case TupleOf(items):
                if self._is(tuple, value, path):
                    if len(value) != len(items):
                        self.findings.add(path, f"needs {len(items)} values, not {len(value)}", shown(value))
                        return
                    for index, (item, inner) in enumerate(zip(items, value, strict=True)):
                        self.value(item, inner, f"{path}[{index}]", depth + 1)
            case DictOf(key, item):
                if self._is(dict, value, path):
                    self.findings.check(node.constraints, value, path)
                    for index, (name, inner) in enumerate(value.items()):
                        self.value(key, name, f"{path}[{index}].key", depth + 2)
                        self.value(item, inner, f"{path}[{index}]", depth + 2)
            case Union(choices):
                self._union(choices, value, path, depth)

    def _is(self, container: type[Any], value: Any, path: str) -> bool:
        if type(value) is container:
            return True
        self.findings.add(path, f"needs {container.__name__}, not {type(value).__name__}", shown(value))
        return False

    def _scalar(self, node: Scalar, value: Any, path: str) -> None:
        try:
            node.kind.to_text(value)
        except ValueError as error:
            self.findings.add(path, str(error), shown(value), node.kind.words)
        else:
            self.findings.check(node.constraints, value, path)

    def _union(self, choices: tuple[tuple[str, Node], ...], value: Any, path: str, depth: int) -> None:
        choice = chosen(choices, value)
        if choice is not None:
            self.value(choice[1], value, path, depth + 1)
            return
        allowed = ", ".join(tag for tag, _ in choices)
        self.findings.add(path, f"the type {type(value).__name__} is not in the union", shown(value), allowed)
