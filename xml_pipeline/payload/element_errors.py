"""Why an element cannot be read: the slow walk after the XSD or the compiled decoder has said no.

It applies the same rules as the XSD but goes on past the first mistake, and it does not read libxml2's error
log, into which all threads that share a schema write.
"""

from __future__ import annotations

from typing import Any

from lxml import etree

from xml_pipeline.errors import Violation, cut
from xml_pipeline.hardened import XSI
from xml_pipeline.payload.decoder import Rejected, choice_value, is_nil
from xml_pipeline.payload.nodes import (
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
from xml_pipeline.payload.scalars import BYTES, LONGEST, STR
from xml_pipeline.payload.text import collapse
from xml_pipeline.payload.violations import MOST, Findings, listed, rejection, shortened, words


def explain_element(shapes: Shapes, element: etree._Element, schema: etree.XMLSchema) -> list[Violation]:
    """The mistakes in an element that could not be read. The schema is asked only when the walk finds none."""
    root = shapes.root
    if element.tag != root.root:
        return [Violation(root.root, "is another element", cut(str(element.tag)), f"<{root.root}>")]
    findings = Findings()
    walk = _Walk(shapes, findings)
    findings.collect(root.root, lambda: walk.instance(root, element, root.root))
    if findings.found:
        return findings.found
    schema.validate(element)
    log: Any = schema.error_log  # the stubs do not know that it can be iterated
    reasons = [Violation(root.root, f"does not fit its XSD: {cut(entry.message, 300)}") for entry in log]
    return reasons[:MOST] or [Violation(root.root, "cannot be read")]


def explain_rejection(root: etree._Element, rejected: Rejected) -> list[Violation]:
    """What a class's constructor or validator raised, at the place of its element."""
    return rejection(shortened(path_of(root, rejected.element)), rejected.error)


def path_of(root: etree._Element, element: etree._Element) -> str:
    """The path of an element at or below `root` by field names, as `Order.items[2].price`."""
    steps: list[str] = []
    while element is not root:
        parent = element.getparent()
        if parent is None:
            break
        if element.tag in ("item", "entry"):
            steps.append(f"[{parent.index(element)}]")
        elif not (parent.tag == "entry" and element.tag == "value"):
            steps.append(f".{element.tag}")
        element = parent
    return str(root.tag) + "".join(reversed(steps))


class _Walk:
    def __init__(self, shapes: Shapes, findings: Findings) -> None:
        self.shapes = shapes
        self.findings = findings

    def instance(self, shape: Shape, element: etree._Element, path: str) -> None:
        self._bare(element, path)
        fields = {field.name: field for field in shape.fields}
        seen: set[str] = set()
        for child in element:
            name = str(child.tag)
            field = fields.get(name)
            if field is None:
                allowed = ", ".join(fields) or "no fields"
                self.findings.add(f"{path}.{cut(name)}", "is not a field", _text(child), allowed)
            elif name in seen:
                self.findings.add(f"{path}.{name}", "is there more than once", _text(child))
            else:
                seen.add(name)
                self.element(Nullable(field.node) if field.nil else field.node, child, f"{path}.{name}")
        for field in shape.fields:
            if field.required and field.name not in seen:
                self.findings.add(f"{path}.{field.name}", "is missing", None, words(field.node, self.shapes))

    def element(self, node: Node, element: etree._Element, path: str) -> None:
        if is_nil(element):
            if not isinstance(node, Nullable):
                self.findings.add(path, "may not be xsi:nil", None, words(node, self.shapes))
            elif len(element) or element.text:
                self.findings.add(path, "is xsi:nil and has content", _text(element))
            return
        match node:
            case Nullable(inner):
                self.element(inner, element, path)
            case Scalar() | Choice():
                self._leaf(node, element, path)
            case Nested(cls):
                self.instance(self.shapes.by_class[cls], element, path)
            case ListOf():
                self._items(node, element, path)
            case TupleOf(items):
                self._tuple(node, items, element, path)
            case DictOf():
                self._entries(node, element, path)
            case Union(choices):
                self._union(dict(choices), element, path)

    def _bare(self, element: etree._Element, path: str, *, text: bool = False) -> None:
        """Note attributes, and text where only elements may be."""
        for name in element.attrib:
            if not str(name).startswith(f"{{{XSI}}}"):
                self.findings.add(path, f"has the attribute {cut(str(name))!r}", None, "no attributes")
        if text:
            return
        for piece in (element.text, *(child.tail for child in element)):
            if piece and piece.strip(" \t\r\n"):
                self.findings.add(path, "holds text between its elements", piece.strip(), "elements only")
                return

    def _leaf(self, node: Scalar | Choice, element: etree._Element, path: str) -> None:
        self._bare(element, path, text=True)
        if len(element):
            rule = f"holds <{cut(str(element[0].tag))}> where text is needed"
            self.findings.add(path, rule, None, words(node, self.shapes))
            return
        text = element.text or ""
        if isinstance(node, Choice):
            try:
                choice_value(dict(node.values))(text)
            except KeyError:
                self.findings.add(path, "is none of the values", text, listed(node))
            return
        if len(text) > LONGEST and node.kind not in (STR, BYTES):
            self.findings.add(path, "is too long for its type", text, words(node, self.shapes))
            return
        try:
            value = node.kind.from_text(text)
        except ValueError as error:
            self.findings.add(path, str(error), text, words(node, self.shapes))
        else:
            self.findings.check(node.constraints, value, path)

    def _items(self, node: ListOf, element: etree._Element, path: str) -> None:
        self._bare(element, path)
        for index, child in enumerate(element):
            if child.tag == "item":
                self.element(node.item, child, f"{path}[{index}]")
            else:
                self.findings.add(f"{path}[{index}]", f"is <{cut(str(child.tag))}>", _text(child), "<item>")
        children: list[Any] = list(element)
        if node.container in (set, frozenset):
            children = list({etree.tostring(child, method="c14n", with_tail=False) for child in element})
        self._count(node, children, path)

    def _tuple(self, node: TupleOf, items: tuple[Node, ...], element: etree._Element, path: str) -> None:
        self._bare(element, path)
        tags = tuple(str(child.tag) for child in element)
        if tags != node.tags:
            given = ", ".join(f"<{tag}>" for tag in tags)
            self.findings.add(path, f"needs {len(items)} values", given, words(node, self.shapes))
            return
        for index, (inner, child) in enumerate(zip(items, element, strict=True)):
            self.element(inner, child, f"{path}[{index}]")

    def _entries(self, node: DictOf, element: etree._Element, path: str) -> None:
        self._bare(element, path)
        keys: set[str] = set()
        for index, entry in enumerate(element):
            place = f"{path}[{index}]"
            parts = {str(child.tag): child for child in entry}
            if entry.tag != "entry" or len(entry) != 2 or set(parts) != {"key", "value"}:
                allowed = "<entry> with one <key> and one <value>"
                self.findings.add(place, f"is <{cut(str(entry.tag))}>", _text(entry), allowed)
                continue
            self._bare(entry, place)
            self.element(node.key, parts["key"], f"{place}.key")
            self.element(node.value, parts["value"], place)
            key = _key(node.key, parts["key"])
            if key in keys:
                self.findings.add(f"{place}.key", "is there more than once", key)
            keys.add(key)
        self._count(node, list(element), path)

    def _count(self, node: ListOf | DictOf, children: list[Any], path: str) -> None:
        broken = node.constraints.broken(children) if not node.constraints.predicates else None
        if broken is not None:
            self.findings.add(path, broken[0], f"{len(children)} of them", broken[1])

    def _union(self, choices: dict[str, Node], element: etree._Element, path: str) -> None:
        self._bare(element, path)
        if len(element) != 1 or str(element[0].tag) not in choices:
            given = ", ".join(f"<{child.tag}>" for child in element) or (element.text or "")
            allowed = " or ".join(f"<{tag}>" for tag in choices)
            self.findings.add(path, "needs exactly one element that names the type", given, allowed)
            return
        self.element(choices[str(element[0].tag)], element[0], path)


def _key(node: Scalar | Choice, element: etree._Element) -> str:
    """A key as far as equality goes: `1` and `01` are the same int."""
    text = element.text or ""
    try:
        return str(node.kind.from_text(text)) if isinstance(node, Scalar) else collapse(text)
    except ValueError:
        return text


def _text(element: etree._Element) -> str:
    return "".join(str(text) for text in element.itertext())
