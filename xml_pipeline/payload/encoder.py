"""Shape → compiled encoder: value → what stands between the root's tags, in Exclusive C14N form.

The text is canonical by construction: no attributes but xsi:nil, no empty-element tags, escapes as C14N has
them. Whatever does not fit raises some error; `explain` then finds the field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xml_pipeline.hardened import XSI
from xml_pipeline.payload import nodes
from xml_pipeline.payload.scalars import BOOL, FLOAT, INT, STR, bool_text, float_text, int_text, str_text
from xml_pipeline.payload.shapes import MAX_DEPTH, Field, Shape, Shapes
from xml_pipeline.payload.source import Source
from xml_pipeline.payload.text import escape, plain

NIL = f' xmlns:xsi="{XSI}" xsi:nil="true"'


def compile_encoder(shapes: Shapes) -> Callable[[Any, int], str]:
    """A function (value, depth) → body text. On a misfit it raises one of many built-in errors."""
    writer = _Encoder(shapes)
    for shape in shapes.by_class.values():
        writer.function(shape)
    namespace = writer.source.compiled(f"{shapes.root.root} encoder")
    return namespace[writer.functions[shapes.root.cls]]


class _Encoder:
    def __init__(self, shapes: Shapes) -> None:
        self.source = Source()
        self.functions = {cls: f"encode{number}" for number, cls in enumerate(shapes.by_class)}
        self.source.constants |= {
            "plain": plain,
            "escape": escape,
            "str_text": str_text,
            "int_text": int_text,
            "float_text": float_text,
            "bool_text": bool_text,
        }

    def function(self, shape: Shape) -> None:
        source = self.source
        with source.block(f"def {self.functions[shape.cls]}(value, depth):"):
            cls = source.constant(shape.cls, "C")
            with source.block(f"if value.__class__ is not {cls} or depth > {MAX_DEPTH - shape.levels}:"):
                source.line("raise Mismatch")
            if shape.remade:
                with source.block(f"if {source.constant(shape.lost)}(value) is not None:"):
                    source.line("raise Mismatch")
            pieces = [self._field(field) for field in shape.fields]
            source.line(f"return {_format(pieces)}")

    def _field(self, field: Field) -> str:
        """Write the statements for one field; return the f-string piece of its element."""
        source, tag = self.source, field.name
        value = source.name("f")
        source.line(f"{value} = value.{field.name}")
        if not field.nullable:
            return self._element(tag, field.node, value, 1)
        result = source.name("e")
        with source.block(f"if {value} is None:"):
            source.line(f"{result} = {f'<{tag}{NIL}></{tag}>'!r}" if field.nil else f"{result} = ''")
        with source.block("else:"):
            source.line(f"{result} = {_format([self._element(tag, field.node, value, 1)])}")
        return f"{{{result}}}"

    def _element(self, tag: str, node: nodes.Node, value: str, level: int) -> str:
        """Statements for an element; returns its f-string piece."""
        if isinstance(node, nodes.Nullable):
            result = self.source.name("e")
            with self.source.block(f"if {value} is None:"):
                self.source.line(f"{result} = {f'<{tag}{NIL}></{tag}>'!r}")
            with self.source.block("else:"):
                self.source.line(f"{result} = {_format([self._element(tag, node.inner, value, level)])}")
            return f"{{{result}}}"
        return f"<{tag}>{self._content(node, value, level)}</{tag}>"

    def _content(self, node: nodes.Node, value: str, level: int) -> str:
        """Statements that check `value`; returns the f-string piece of its content."""
        match node:
            case nodes.Scalar():
                return self._scalar(node, value)
            case nodes.Choice(values=values):
                texts = {(member.__class__, member): escape(text) for text, member in values}
                return f"{{{self.source.constant(texts)}[{value}.__class__, {value}]}}"
            case nodes.Nested(cls):
                return f"{{{self.functions[cls]}({value}, depth + {level})}}"
            case nodes.ListOf():
                return self._list(node, value, level)
            case nodes.TupleOf(items):
                return self._tuple(node, items, value, level)
            case nodes.DictOf():
                return self._dict(node, value, level)
            case nodes.Union():
                return self._union(node, value, level)
            case nodes.Nullable():
                raise AssertionError("a nullable is written by its element")

    def _scalar(self, node: nodes.Scalar, value: str) -> str:
        source, kind = self.source, node.kind
        text = source.name("t")
        if kind is STR:
            with source.block(f"if {value}.__class__ is not str:"):
                source.line(f"str_text({value})")
                source.line(f"{value} = str.__str__({value})")
            source.line(f"{text} = {value} if plain({value}) else escape({value})")
        elif kind is INT:
            source.line(f"{text} = {value} if {value}.__class__ is int else int_text({value})")
        elif kind is FLOAT:
            # A finite float minus itself is zero; infinities and NaN give NaN.
            source.line(
                f"{text} = repr({value}) if {value}.__class__ is float and {value} - {value} == 0"
                f" else float_text({value})"
            )
        elif kind is BOOL:
            source.line(
                f"{text} = 'true' if {value} is True else 'false' if {value} is False else bool_text({value})"
            )
        else:
            source.line(f"{text} = {source.constant(kind.to_text)}({value})")
        source.hold(node.constraints, value, "Mismatch")
        return f"{{{text}}}"

    def _list(self, node: nodes.ListOf, value: str, level: int) -> str:
        source = self.source
        with source.block(f"if {value}.__class__ is not {node.container.__name__}:"):
            source.line("raise Mismatch")
        source.hold(node.constraints, value, "Mismatch")
        items, item = source.name("l"), source.name("i")
        source.line(f"{items} = []")
        with source.block(f"for {item} in {value}:"):
            piece = self._element("item", node.item, item, level + 1)
            source.line(f"{items}.append({_format([piece])})")
        if node.container in (set, frozenset):
            source.line(f"{items}.sort()")
        return f"{{''.join({items})}}"

    def _tuple(self, node: nodes.TupleOf, items: tuple[nodes.Node, ...], value: str, level: int) -> str:
        source = self.source
        with source.block(f"if {value}.__class__ is not tuple or len({value}) != {len(items)}:"):
            source.line("raise Mismatch")
        pieces = []
        for index, (tag, item) in enumerate(zip(node.tags, items, strict=True)):
            name = source.name("i")
            source.line(f"{name} = {value}[{index}]")
            pieces.append(self._element(tag, item, name, level + 1))
        return "".join(pieces)

    def _dict(self, node: nodes.DictOf, value: str, level: int) -> str:
        source = self.source
        with source.block(f"if {value}.__class__ is not dict:"):
            source.line("raise Mismatch")
        source.hold(node.constraints, value, "Mismatch")
        entries, key, item = source.name("l"), source.name("k"), source.name("i")
        source.line(f"{entries} = []")
        with source.block(f"for {key}, {item} in {value}.items():"):
            pieces = [
                self._element("key", node.key, key, level + 2),
                self._element("value", node.value, item, level + 2),
            ]
            source.line(f"{entries}.append({_format(['<entry>', *pieces, '</entry>'])})")
        return f"{{''.join({entries})}}"

    def _union(self, node: nodes.Union, value: str, level: int) -> str:
        source = self.source
        number, result = source.name("n"), source.name("u")
        source.line(f"{number} = {source.constant(node.by_class())}.get({value}.__class__)")
        with source.block(f"if {number} is None:"):
            source.line(f"{number} = {source.constant(node.member)}({value})")
        for index, (tag, inner) in enumerate(node.choices):
            with source.block(f"{'elif' if index else 'if'} {number} == {index}:"):
                source.line(f"{result} = {_format([self._element(tag, inner, value, level + 1)])}")
        with source.block("else:"):
            source.line("raise Mismatch")
        return f"{{{result}}}"


def _format(pieces: list[str]) -> str:
    """An f-string of pieces, which hold element names, NIL and `{expression}`; never free text."""
    return "f'''" + "".join(pieces) + "'''" if pieces else "''"
