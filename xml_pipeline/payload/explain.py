"""Why a value or an element does not fit: the slow walk after the compiled code has said no.

It looks at the whole value and names every mistake, up to five. It does not read libxml2's error log, which
threads that share a schema write into each other's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lxml import etree

from xml_pipeline.errors import PayloadError, Violation, cut
from xml_pipeline.payload.constraints import Constraints
from xml_pipeline.payload.decoder import Rejected, choice_value, is_nil
from xml_pipeline.payload.encoder import MAX_DEPTH
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

MOST = 5  # violations that one error shows


def explain_value(shapes: Shapes, value: Any, error: BaseException | None = None) -> list[Violation]:
    """The mistakes in a value that could not be written."""
    found: list[Violation] = []
    try:
        for violation in _Values(shapes).instance(shapes.root, value, shapes.root.root, 1):
            found.append(violation)
            if len(found) == MOST:
                break
    except RecursionError:
        found.append(Violation(shapes.root.root, _TOO_DEEP))
    return found or [Violation(shapes.root.root, f"cannot be written: {error}")]


def explain_element(shapes: Shapes, element: etree._Element) -> list[Violation]:
    """The mistakes in an element that could not be read."""
    root = shapes.root
    if element.tag != root.root:
        return [Violation(root.root, "another element", cut(str(element.tag)), f"<{root.root}>")]
    found: list[Violation] = []
    for violation in _Elements(shapes).class_element(root, element, root.root):
        found.append(violation)
        if len(found) == MOST:
            break
    return found or [Violation(root.root, "does not fit its XSD")]


def explain_rejection(root: etree._Element | None, rejected: Rejected, name: str = "") -> list[Violation]:
    """What a class's constructor or validator raised, at the place of its element."""
    path = path_of(root, rejected.element) if root is not None and rejected.element is not None else name
    return list(rejection(path, rejected.error))


def rejection(path: str, error: Exception) -> Iterator[Violation]:
    """Violations from what a constructor raised; pydantic names the fields itself."""
    if isinstance(error, PayloadError):
        for inner in error.violations[:MOST]:
            yield Violation(f"{path}.{inner.field}", inner.rule, inner.value, inner.allowed)
        return
    errors: Callable[[], list[dict[str, Any]]] | None = getattr(error, "errors", None)
    if type(error).__name__ == "ValidationError" and errors is not None:
        for item in errors()[:MOST]:
            place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"])
            value = None if not place else cut(str(item.get("input")))
            yield Violation(path + place, cut(str(item["msg"]), 300), value)
        return
    yield Violation(path, f"refused by its class: {cut(str(error) or type(error).__name__, 300)}")


def path_of(root: etree._Element, element: etree._Element) -> str:
    """The path of an element below `root` by field names, as `Order.items[2].price`."""
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


_TOO_DEEP = f"is nested deeper than {MAX_DEPTH} elements, or contains itself"


class _Values:
    """Walks a Python value along its type tree."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes

    def instance(self, shape: Shape, value: Any, path: str, depth: int) -> Iterator[Violation]:
        if value.__class__ is not shape.cls:
            yield Violation(path, f"needs {shape.cls.__name__}, not {type(value).__name__}", cut(value))
            return
        if depth > MAX_DEPTH:
            yield Violation(path, _TOO_DEEP)
            return
        for field in shape.fields:
            place = f"{path}.{field.name}"
            try:
                inner = getattr(value, field.name)
            except AttributeError:
                yield Violation(place, "has no value")
                continue
            node = Nullable(field.node) if field.nullable else field.node
            yield from self.value(node, inner, place, depth + 1)

    def value(self, node: Node, value: Any, path: str, depth: int) -> Iterator[Violation]:
        match node:
            case Nullable(inner):
                if value is not None:
                    yield from self.value(inner, value, path, depth)
            case Scalar():
                yield from scalar_violations(node, value, path)
            case Choice(values=values):
                if not _is_member(value, values):
                    yield Violation(path, "is none of the values", cut(value), listed(node))
            case Nested(cls):
                yield from self.instance(self.shapes.by_class[cls], value, path, depth)
            case ListOf(container):
                yield from self._sequence(node, container, value, path, depth)
            case TupleOf(items):
                if value.__class__ is not tuple or len(value) != len(items):
                    yield Violation(path, f"needs a tuple of {len(items)} values", cut(value))
                    return
                for index, (inner, item) in enumerate(zip(items, value, strict=True)):
                    yield from self.value(inner, item, f"{path}[{index}]", depth + 1)
            case DictOf():
                yield from self._dict(node, value, path, depth)
            case Union(choices):
                yield from self._union(choices, value, path, depth)

    def _sequence(
        self, node: ListOf, container: type[Any], value: Any, path: str, depth: int
    ) -> Iterator[Violation]:
        if value.__class__ is not container:
            yield Violation(path, f"needs {container.__name__}, not {type(value).__name__}", cut(value))
            return
        yield from broken(node.constraints, value, path)
        for index, item in enumerate(value):
            yield from self.value(node.item, item, f"{path}[{index}]", depth + 1)

    def _dict(self, node: DictOf, value: Any, path: str, depth: int) -> Iterator[Violation]:
        if value.__class__ is not dict:
            yield Violation(path, f"needs dict, not {type(value).__name__}", cut(value))
            return
        yield from broken(node.constraints, value, path)
        for index, (key, item) in enumerate(value.items()):
            yield from self.value(node.key, key, f"{path}[{index}].key", depth + 2)
            yield from self.value(node.value, item, f"{path}[{index}]", depth + 2)

    def _union(
        self, choices: tuple[tuple[str, Node], ...], value: Any, path: str, depth: int
    ) -> Iterator[Violation]:
        closest: list[Violation] | None = None
        for _, node in choices:
            problems = list(self.value(node, value, path, depth + 1))
            if not problems:
                return
            if (
                not problems[0].rule.startswith("needs")
                and problems[0].allowed == ""
                or problems[0].field != path
            ):
                closest = closest or problems
        if closest is not None:
            yield from closest
        else:
            allowed = ", ".join(tag for tag, _ in choices)
            yield Violation(path, f"the type {type(value).__name__} is not in the union", cut(value), allowed)


def scalar_violations(node: Scalar, value: Any, path: str) -> Iterator[Violation]:
    """Why a scalar value cannot be written, or breaks its constraints."""
    try:
        node.kind.to_text(value)
    except ValueError as error:
        yield Violation(path, str(error), cut(ascii(value) if "U+" in str(error) else value), node.kind.words)
        return
    yield from broken(node.constraints, value, path)


def broken(constraints: Constraints, value: Any, path: str) -> Iterator[Violation]:
    """The first constraint that a value of the right type breaks."""
    rule = constraints.broken(value)
    if rule is not None:
        yield Violation(path, rule[0], cut(str(value)), rule[1])


def listed(node: Choice) -> str:
    """The allowed texts of a choice, as an error shows them."""
    return cut(", ".join(text for text, _ in node.values), 400)


def _is_member(value: Any, values: tuple[tuple[str, Any], ...]) -> bool:
    return any(value.__class__ is member.__class__ and value == member for _, member in values)


class _Elements:
    """Walks an element along its type tree, as the XSD would, but past the first mistake."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes

    def class_element(self, shape: Shape, element: etree._Element, path: str) -> Iterator[Violation]:
        yield from _plain(element, path)
        yield from _no_text(element, path)
        fields = {field.name: field for field in shape.fields}
        seen: set[str] = set()
        for child in element:
            name = str(child.tag)
            field = fields.get(name)
            if field is None:
                yield Violation(
                    f"{path}.{cut(name)}", "is not a field", None, ", ".join(fields) or "no fields"
                )
            elif name in seen:
                yield Violation(f"{path}.{name}", "is there more than once", _text(child))
            else:
                seen.add(name)
                node = Nullable(field.node) if field.nil else field.node
                yield from self.element(node, child, f"{path}.{name}")
        for field in shape.fields:
            if field.required and field.name not in seen:
                yield Violation(f"{path}.{field.name}", "is missing", None, words(field.node, self.shapes))

    def element(self, node: Node, element: etree._Element, path: str) -> Iterator[Violation]:
        if isinstance(node, Nullable):
            if is_nil(element):
                if len(element) or element.text:
                    yield Violation(path, "is xsi:nil and has content", _text(element))
                return
            node = node.inner
        elif is_nil(element):
            yield Violation(path, "may not be xsi:nil", None, words(node, self.shapes))
            return
        match node:
            case Scalar() | Choice():
                yield from self._leaf(node, element, path)
            case Nested(cls):
                yield from self.class_element(self.shapes.by_class[cls], element, path)
            case ListOf(item=item):
                yield from self._items(node, item, element, path)
            case TupleOf(items):
                yield from self._tuple(node, items, element, path)
            case DictOf():
                yield from self._entries(node, element, path)
            case Union(choices):
                yield from self._union(dict(choices), element, path)

    def _leaf(self, node: Scalar | Choice, element: etree._Element, path: str) -> Iterator[Violation]:
        yield from _plain(element, path)
        if len(element):
            yield Violation(
                path, f"holds <{element[0].tag}> where text is needed", None, words(node, self.shapes)
            )
            return
        text = element.text or ""
        if isinstance(node, Choice):
            try:
                choice_value(dict(node.values))(text)
            except KeyError:
                yield Violation(path, "is none of the values", cut(text), listed(node))
            return
        try:
            value = node.kind.from_text(text)
        except ValueError as error:
            yield Violation(path, str(error), cut(text), node.kind.words)
            return
        yield from broken(node.constraints, value, path)

    def _items(self, node: ListOf, item: Node, element: etree._Element, path: str) -> Iterator[Violation]:
        yield from _plain(element, path)
        yield from _no_text(element, path)
        for index, child in enumerate(element):
            if child.tag != "item":
                yield Violation(f"{path}[{index}]", f"is <{child.tag}>", _text(child), "<item>")
            else:
                yield from self.element(item, child, f"{path}[{index}]")
        yield from broken(node.constraints, list(element), path) if not _is_set(node) else ()

    def _tuple(
        self, node: TupleOf, items: tuple[Node, ...], element: etree._Element, path: str
    ) -> Iterator[Violation]:
        yield from _plain(element, path)
        yield from _no_text(element, path)
        tags = tuple(str(child.tag) for child in element)
        if tags != node.tags:
            shown = ", ".join(f"<{tag}>" for tag in tags)
            wanted = ", ".join(f"<{tag}>" for tag in node.tags)
            yield Violation(path, f"needs {len(items)} values", cut(shown), wanted)
            return
        for index, (inner, child) in enumerate(zip(items, element, strict=True)):
            yield from self.element(inner, child, f"{path}[{index}]")

    def _entries(self, node: DictOf, element: etree._Element, path: str) -> Iterator[Violation]:
        yield from _plain(element, path)
        yield from _no_text(element, path)
        keys: set[str] = set()
        for index, entry in enumerate(element):
            place = f"{path}[{index}]"
            parts = {str(child.tag): child for child in entry}
            if entry.tag != "entry" or set(parts) != {"key", "value"} or len(entry) != 2:
                yield Violation(place, f"is <{entry.tag}>", None, "<entry> with one <key> and one <value>")
                continue
            yield from _no_text(entry, place)
            yield from self.element(node.key, parts["key"], f"{place}.key")
            yield from self.element(node.value, parts["value"], place)
            key = parts["key"].text or ""
            if key in keys:
                yield Violation(f"{place}.key", "is there more than once", cut(key))
            keys.add(key)
        yield from broken(node.constraints, list(element), path)

    def _union(self, choices: dict[str, Node], element: etree._Element, path: str) -> Iterator[Violation]:
        yield from _plain(element, path)
        yield from _no_text(element, path)
        allowed = ", ".join(f"<{tag}>" for tag in choices)
        if len(element) != 1 or str(element[0].tag) not in choices:
            shown = ", ".join(f"<{child.tag}>" for child in element) or element.text or ""
            yield Violation(path, "needs exactly one element that names the type", cut(shown), allowed)
            return
        yield from self.element(choices[str(element[0].tag)], element[0], path)


def _is_set(node: ListOf) -> bool:
    return node.container in (set, frozenset)


def _plain(element: etree._Element, path: str) -> Iterator[Violation]:
    for name in element.attrib:
        if not str(name).startswith("{http://www.w3.org/2001/XMLSchema-instance}"):
            yield Violation(path, f"has the attribute {cut(str(name))}", None, "no attributes")


def _no_text(element: etree._Element, path: str) -> Iterator[Violation]:
    for text in (element.text, *(child.tail for child in element)):
        if text and text.strip(" \t\r\n"):
            yield Violation(path, "holds text between its elements", cut(text.strip()), "elements only")
            return


def _text(element: etree._Element) -> str:
    return cut("".join(str(text) for text in element.itertext()))


def words(node: Node, shapes: Shapes) -> str:
    """What a value of this type looks like, in words."""
    match node:
        case Scalar(kind, constraints):
            bounds = constraints.describe()
            return f"{kind.words}, {bounds}" if bounds else kind.words
        case Choice():
            return listed(node)
        case Nested(cls):
            inner = ", ".join(f"<{field.name}>" for field in shapes.by_class[cls].fields)
            return f"elements {inner}" if inner else "nothing inside"
        case Nullable(inner):
            return words(inner, shapes)
        case ListOf() | TupleOf():
            return "<item> elements"
        case DictOf():
            return "<entry><key/><value/></entry> elements"
        case Union(choices):
            return " or ".join(f"<{tag}>" for tag, _ in choices)
