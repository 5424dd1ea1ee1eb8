"""Shape → compiled decoder: validated lxml element → instance.

The XSD has run, so names, counts and lexical forms are right. What XSD 1.0 cannot say is checked here; a
misfit raises some error, and `explain` then says which element and why. What a class's own validators raise
becomes Rejected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lxml import etree

from xml_pipeline.hardened import XSI
from xml_pipeline.payload import nodes
from xml_pipeline.payload.constraints import FREE, Constraints
from xml_pipeline.payload.scalars import BOOL, FLOAT, INT, STR, bool_value, xsd_value
from xml_pipeline.payload.shapes import MISSING, Field, Shape, Shapes
from xml_pipeline.payload.source import Mismatch, Source
from xml_pipeline.payload.xsd import beyond_xsd

NIL_NAME = f"{{{XSI}}}nil"
_MANY = 10  # from so many fields on, a dict of children beats a chain of comparisons


class Rejected(Exception):
    """What an element holds is refused by its class, or by a constraint on it.

    Attributes:
        element: the lxml element of the value.
        error: what the class raised, or a Mismatch with the value, and the broken rule and what is allowed.
    """

    def __init__(self, element: Any, error: Exception) -> None:
        self.element = element
        self.error = error
        super().__init__(element, error)


def is_nil(element: etree._Element) -> bool:
    """Whether xsi:nil says that there is no value."""
    nil = element.get(NIL_NAME)
    return nil is not None and nil.strip() in ("true", "1")


def check_inside(element: etree._Element, names: frozenset[str], once: bool) -> None:
    """Raise Mismatch for attributes, text, and children with other names, or with one name twice if `once`."""
    tags = [child.tag for child in element]
    if element.keys() or not names.issuperset(tags) or (once and len(set(tags)) < len(tags)):
        raise Mismatch
    for text in (element.text, *(child.tail for child in element)):
        if text is not None and text.strip(" \t\r\n"):
            raise Mismatch


def compile_decoder(
    shapes: Shapes, *, ordered: bool = False, alone: bool = False
) -> Callable[[etree._Element], Any]:
    """A function element → instance of the root class.

    Args:
        ordered: a schema has shown that fields stand in declaration order; where none can be absent, names need not
            be looked at.
        alone: no schema came before it: it refuses what the XSD would, and an xsi:nil that says "false".
    """
    writer = _Decoder(shapes, ordered, alone)
    for shape in shapes.by_class.values():
        writer.function(shape)
    namespace = writer.source.compiled(f"{shapes.root.root} decoder")
    return namespace[writer.functions[shapes.root.cls]]


class _Decoder:
    def __init__(self, shapes: Shapes, ordered: bool, alone: bool) -> None:
        self.ordered = ordered
        self.alone = alone
        self.source = Source()
        self.functions = {cls: f"decode{number}" for number, cls in enumerate(shapes.by_class)}
        self.source.constants |= {
            "bool_value": bool_value,
            "xsd_value": xsd_value,
            "is_nil": is_nil,
            "check_inside": check_inside,
            "Rejected": Rejected,
            "TWICE": ("holds a key that is there more than once", "each key once"),
            "MISSING": MISSING,
        }

    def function(self, shape: Shape) -> None:
        source = self.source
        with source.block(f"def {self.functions[shape.cls]}(element):"):
            variables = {field.name: f"f{number}" for number, field in enumerate(shape.fields)}
            self._check_inside("element", *variables, once=True)
            if shape.fields:
                self._read_children(shape, variables)
            # Factories of defaults are the class's code, too.
            with source.block("try:"):
                if not shape.pydantic:
                    for field in shape.fields:
                        self._default(field, variables[field.name])
                source.line(f"return {self._construct(shape, variables)}")
            with source.block("except Exception as error:"):
                source.line("raise Rejected(element, error) from error")

    def _check_inside(self, element: str, *names: str, once: bool = False) -> None:
        if self.alone:
            self.source.line(f"check_inside({element}, {self.source.constant(frozenset(names))}, {once})")

    def _text(self, element: str) -> str:
        if self.alone:
            with self.source.block(f"if len({element}) or {element}.keys():"):
                self.source.line("raise Mismatch")
        return f"{element}.text"

    def _read_children(self, shape: Shape, variables: dict[str, str]) -> None:
        source = self.source
        for field in shape.fields:
            if not field.required:
                source.line(f"{variables[field.name]} = MISSING")
        if self.ordered and all(field.required for field in shape.fields):
            names = [f"c{number}" for number in range(len(shape.fields))]
            source.line(f"[{', '.join(names)}] = element[:]")
            for name, field in zip(names, shape.fields, strict=True):
                self._read_field(field, variables[field.name], name)
        elif len(shape.fields) > _MANY:
            source.line("children = {c.tag: c for c in element}")
            for field in shape.fields:
                if field.required:
                    source.line(f"c = children[{field.name!r}]")
                    self._read_field(field, variables[field.name])
                else:
                    source.line(f"c = children.get({field.name!r})")
                    with source.block("if c is not None:"):
                        self._read_field(field, variables[field.name])
        else:
            # A slice is made faster than an iterator, and nearly all elements hold their few fields and no more.
            with source.block("for c in element[:]:"):
                source.line("tag = c.tag")
                for number, field in enumerate(shape.fields):
                    with source.block(f"{'elif' if number else 'if'} tag == {field.name!r}:"):
                        self._read_field(field, variables[field.name])

    def _read_field(self, field: Field, variable: str, element: str = "c") -> None:
        if field.nil:
            with self.source.block(f"if is_nil({element}):"):
                self.source.line(f"{variable} = None")
            with self.source.block("else:"):
                self.source.line(f"{variable} = {self._value(field.node, element)}")
        else:
            self.source.line(f"{variable} = {self._value(field.node, element)}")

    def _default(self, field: Field, variable: str) -> None:
        if field.required:
            return
        with self.source.block(f"if {variable} is MISSING:"):
            if field.factory is not None:
                self.source.line(f"{variable} = {self.source.constant(field.factory)}()")
            elif field.default is not MISSING:
                self.source.line(f"{variable} = {self.source.constant(field.default)}")
            else:
                self.source.line(f"{variable} = None")

    def _construct(self, shape: Shape, variables: dict[str, str]) -> str:
        if shape.pydantic:
            build = self.source.constant(pydantic_builder(shape.cls), "B")
            given = ", ".join(f"{name!r}: {variable}" for name, variable in variables.items())
            optional = any(not field.required for field in shape.fields)
            values = f"{{{given}}}"
            if optional:
                nones = {f.name for f in shape.fields if f.nullable and not f.has_default}
                values = (
                    f"{{k: (None if v is MISSING else v) for k, v in {values}.items()"
                    f" if v is not MISSING or k in {self.source.constant(nones)}}}"
                )
            return f"{build}({values})"
        args = [
            f"{field.name}={variables[field.name]}"
            if field.kw_only or shape.by_keyword
            else variables[field.name]
            for field in sorted(shape.fields, key=lambda field: field.kw_only)
        ]
        return f"{self.source.constant(shape.cls, 'C')}({', '.join(args)})"

    def _value(self, node: nodes.Node, element: str) -> str:
        """Statements that read an element's value; returns an expression."""
        source = self.source
        match node:
            case nodes.Scalar():
                return self._scalar(node, element)
            case nodes.Choice():
                return f"{source.constant(node.reader())}({self._text(element)} or '')"
            case nodes.Nested(cls):
                return f"{self.functions[cls]}({element})"
            case nodes.Nullable(inner):
                result = source.name()
                with source.block(f"if is_nil({element}):"):
                    source.line(f"{result} = None")
                with source.block("else:"):
                    source.line(f"{result} = {self._value(inner, element)}")
                return result
            case nodes.ListOf():
                return self._list(node, element)
            case nodes.TupleOf():
                return self._tuple(node, element)
            case nodes.DictOf():
                return self._dict(node, element)
            case nodes.Union(choices):
                return self._union(choices, element)

    def _scalar(self, node: nodes.Scalar, element: str) -> str:
        source, kind, text = self.source, node.kind, self._text(element)
        if kind is STR:
            value = f"{text} or ''"
        elif self.alone and kind not in (BOOL, INT):
            value = f"xsd_value({source.constant(kind)}, {text} or '')"
        elif kind is INT:
            if self.alone:  # int() reads 1_000 and the digits of all alphabets
                with source.block(f"if '_' in {text} or not {text}.isascii():"):
                    source.line("raise Mismatch")
            value = f"int({text})"
        elif kind is FLOAT:
            value = f"float({text})"
        elif kind is BOOL:
            name = source.name("t")
            source.line(f"{name} = {text}")
            value = f"True if {name} == 'true' else False if {name} == 'false' else bool_value({name})"
        else:
            value = f"{source.constant(kind.from_text)}({text} or '')"
        rest = node.constraints if self.alone else beyond_xsd(node)
        if rest == FREE:
            return value
        name = source.name()
        source.line(f"{name} = {value}")
        self._hold(rest, name, element)
        return name

    def _hold(self, constraints: Constraints, value: str, element: str) -> None:
        broken = f"{self.source.constant(constraints)}.broken({value})"
        self.source.hold(constraints, value, f"Rejected({element}, Mismatch({value}, {broken}))")

    def _list(self, node: nodes.ListOf, element: str) -> str:
        source = self.source
        result, item = source.name("l"), source.name("i")
        self._check_inside(element, "item")
        source.line(f"{result} = []")
        with source.block(f"for {item} in {element}:"):
            source.line(f"{result}.append({self._value(node.item, item)})")
        if node.container is not list:
            source.line(f"{result} = {node.container.__name__}({result})")
        self._hold(node.constraints, result, element)
        return result

    def _tuple(self, node: nodes.TupleOf, element: str) -> str:
        source = self.source
        values = []
        self._check_inside(element, *node.tags)
        for index, item in enumerate(node.items):
            child, value = source.name("i"), source.name()
            source.line(f"{child} = {element}[{index}]")
            source.line(f"{value} = {self._value(item, child)}")
            values.append(value)
        return f"({''.join(f'{value}, ' for value in values)})"

    def _dict(self, node: nodes.DictOf, element: str) -> str:
        source = self.source
        result, entry, key, item = source.name("d"), source.name("e"), source.name("k"), source.name("i")
        self._check_inside(element, "entry")
        source.line(f"{result} = {{}}")
        with source.block(f"for {entry} in {element}:"):
            self._check_inside(entry, "key", "value", once=True)
            source.line(f"{key}, {item} = {entry}")
            with source.block(f"if {key}.tag != 'key':"):
                source.line(f"{key}, {item} = {item}, {key}")
            value = source.name()
            source.line(f"{value} = {self._value(node.key, key)}")
            source.line(f"{result}[{value}] = {self._value(node.value, item)}")
        with source.block(f"if len({result}) != len({element}):"):
            source.line(f"raise Rejected({element}, Mismatch({result}, TWICE))")
        self._hold(node.constraints, result, element)
        return result

    def _union(self, choices: tuple[tuple[str, nodes.Node], ...], element: str) -> str:
        source = self.source
        child, result = source.name("i"), source.name("u")
        self._check_inside(element, *(tag for tag, _ in choices), once=True)
        source.line(f"{child} = {element}[0]")
        source.line(f"tag = {child}.tag")
        for number, (tag, node) in enumerate(choices):
            with source.block(f"{'elif' if number else 'if'} tag == {tag!r}:"):
                source.line(f"{result} = {self._value(node, child)}")
        return result


def pydantic_builder(cls: Any) -> Callable[[dict[str, Any]], Any]:
    """A model from values by field name, whatever its aliases."""

    def build(values: dict[str, Any]) -> Any:
        return cls.model_validate(values, by_alias=False, by_name=True)

    return build
