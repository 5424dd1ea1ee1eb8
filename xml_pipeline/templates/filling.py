"""Templates with their values: the message that a file wants sent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xml_pipeline.payload import codec_of, nodes
from xml_pipeline.payload.arguments import field_json
from xml_pipeline.payload.codec import Codec
from xml_pipeline.payload.scalars import KINDS, STR
from xml_pipeline.payload.shapes import Field, Shape, Shapes
from xml_pipeline.templates.text import Reference, is_template, parse
from xml_pipeline.templates.types import field_of

_ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class Filler:
    """The values that the names of a scope stand for: payloads, lists of them, None for what is absent."""

    names: Mapping[str, Any]

    def message(self, cls: type, given: Mapping[str, Any]) -> Any:
        """An instance of `cls` with the fields that a file gives.

        Raises:
            PayloadError: a value does not keep a bound of its field, which nobody could know before.
        """
        codec: Codec[Any] = codec_of(cls)
        return codec.from_json(self._instance(codec.shapes, codec.shapes.root, given))

    def value(self, reference: Reference) -> Any:
        """What a reference stands for, as it is; None where it is absent."""
        return self._followed(reference)[1]

    def text(self, text: str) -> str:
        """A template as text."""
        return "".join(part if isinstance(part, str) else self.inline(part) for part in parse(text).parts)

    def inline(self, reference: Reference) -> str:
        """A value within text."""
        node, value = self._followed(reference)
        if value is None:
            return reference.otherwise or ""
        if isinstance(node, nodes.Choice):
            return node.text(value) or ""
        kind = KINDS.get(type(value))
        return str(value) if kind is None or kind is STR else kind.to_text(value)

    def _instance(self, shapes: Shapes, shape: Shape, given: Mapping[str, Any]) -> dict[str, Any]:
        """The fields as JSON, by the types that they are wanted in."""
        fields = {field.name: field.node for field in shape.fields}
        filled = {
            name: self._filled(shapes, fields[name], value) for name, value in given.items() if name in fields
        }
        return {name: value for name, value in filled.items() if value is not _ABSENT}

    def _filled(self, shapes: Shapes, node: nodes.Node, value: Any) -> Any:
        match node, value:
            case nodes.Nullable(inner), _:
                return self._filled(shapes, inner, value)
            case nodes.Nested(cls), dict():
                return self._instance(shapes, shapes.by_class[cls], value)
            case nodes.ListOf(item=item), list():
                found = [self._filled(shapes, item, each) for each in value]
                return [each for each in found if each is not _ABSENT]
            case nodes.Union(choices), dict() if len(value) == 1:
                tag, part = next(iter(value.items()))
                return {tag: self._filled(shapes, dict(choices)[tag], part)}
        if not is_template(value):
            return value
        whole = parse(value).whole
        if whole is None:
            return self.text(value)
        found = self.value(whole)
        if found is None:
            return _ABSENT if whole.otherwise is None else whole.otherwise
        return field_json(shapes, Field("", node), found)

    def _followed(self, reference: Reference) -> tuple[nodes.Node | None, Any]:
        """The type, where it is told by one class, and the value."""
        name, *steps = reference.path
        node: nodes.Node | None = None
        value = self.names[name]
        for step in steps:
            if value is None:
                return None, None
            if isinstance(value, list):
                node, value = None, _of_each(value, step)
            else:
                node, value = field_of(type(value), step).node, getattr(value, step)
        return node, value


def _of_each(values: list[Any], field: str) -> list[Any]:
    """A field of each payload in a list, or in the lists in it."""
    return [_of_each(each, field) if isinstance(each, list) else getattr(each, field) for each in values]
