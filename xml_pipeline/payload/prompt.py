"""A payload class in words: field list for consoles, prompt text for models."""

from __future__ import annotations

from dataclasses import dataclass

from xml_pipeline.payload import nodes
from xml_pipeline.payload.arguments import field_json
from xml_pipeline.payload.scalars import STR
from xml_pipeline.payload.shapes import MISSING, Field, Shape, Shapes


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """One field, for consoles and prompts.

    Attributes:
        name: as written.
        type: as `int`, `list[str]`, `'red' | 'blue'`.
        required: whether it must be given.
        description: its documentation, or "".
        constraints: in words, as `>= 1`, or "".
        default: the default as text, or "" when there is none (or it is made anew each time).
    """

    name: str
    type: str
    required: bool
    description: str
    constraints: str
    default: str = ""


def fields_of(shapes: Shapes, shape: Shape) -> tuple[FieldInfo, ...]:
    """The fields of one class."""
    return tuple(_info(shapes, field) for field in shape.fields)


def only_field(shape: Shape) -> str | None:
    """The field that bare text fills: the only required, else the only one, else the only required text."""
    for fields in (
        [field for field in shape.fields if field.required],
        list(shape.fields),
        [field for field in shape.fields if field.required and _is_text(field.node)],
    ):
        if len(fields) == 1 and _typable(fields[0].node):
            return fields[0].name
        if len(fields) == 1:
            return None
    return None


def prompt_text_of(shapes: Shapes, example: str) -> str:
    """What tells a model how to write the payload."""
    root = shapes.root
    lines = [f"<{root.root}>: {root.description}" if root.description else f"<{root.root}>"]
    for shape in shapes.by_class.values():
        if shape is not root:
            text = f": {shape.description}" if shape.description else ""
            lines.append(
                f"Fields of {shape.root}{text}" if shape.fields else f"{shape.root} has no fields{text}"
            )
        elif shape.fields:
            lines.append("Fields:")
        else:
            lines.append("It has no fields.")
        lines += [_line(info) for info in fields_of(shapes, shape)]
    lines += ["Example:", example.rstrip("\n")]
    return "\n".join(lines) + "\n"


def type_text(node: nodes.Node) -> str:
    """A type as people write it."""
    match node:
        case nodes.Scalar(kind):
            return kind.name
        case nodes.Choice(values=values):
            return " | ".join(repr(text) for text, _ in values)
        case nodes.Nullable(inner):
            return f"{type_text(inner)} | None"
        case nodes.Nested(cls):
            return cls.__name__
        case nodes.ListOf(container, item):
            return f"{container.__name__}[{type_text(item)}{', ...' if container is tuple else ''}]"
        case nodes.TupleOf(items):
            return f"tuple[{', '.join(map(type_text, items))}]"
        case nodes.DictOf(key, item):
            return f"dict[{type_text(key)}, {type_text(item)}]"
        case nodes.Union(choices):
            return " | ".join(type_text(inner) for _, inner in choices)


def _info(shapes: Shapes, field: Field) -> FieldInfo:
    kind = type_text(field.node) + (" | None" if field.nullable else "")
    bounds = getattr(field.node, "constraints", None)
    constraints = bounds.describe() if bounds is not None else ""
    return FieldInfo(
        field.name, kind, field.required, field.description, constraints, _default(shapes, field)
    )


def _default(shapes: Shapes, field: Field) -> str:
    if field.default is MISSING or field.default is None:
        return ""
    try:
        value = field_json(shapes, field, field.default)
    except ValueError:
        return ""
    return repr(value) if isinstance(value, str) else str(value)


def _line(info: FieldInfo) -> str:
    presence = (
        "required" if info.required else f"optional, default {info.default}" if info.default else "optional"
    )
    head = f"- {info.name} ({info.type}, {presence})"
    rest = "; ".join(part for part in (info.description, info.constraints) if part)
    return f"{head}: {rest}" if rest else head


def _is_text(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Scalar) and node.kind is STR


def _typable(node: nodes.Node) -> bool:
    """Whether a person can type it: one value, a list of values, or a choice of kinds of values."""
    if isinstance(node, nodes.ListOf | nodes.Union):
        return all(isinstance(inner, nodes.Scalar | nodes.Choice) for inner in nodes.inside(node))
    return isinstance(node, nodes.Scalar | nodes.Choice)
