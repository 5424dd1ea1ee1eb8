"""Why something does not fit its payload class: one walk of a shape beside an element, a Python value or JSON.

The compiled encoder and decoder only say *that* something is wrong. This walk says where, what and which rule, up
to `MOST` times. What it looks at is behind a `Side`; ADR 30 tells why there is one walk and not one for each side.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from lxml import etree

from xml_pipeline.errors import PayloadError, Violation, cut
from xml_pipeline.hardened import XSI
from xml_pipeline.payload import nodes
from xml_pipeline.payload.decoder import Rejected, is_nil
from xml_pipeline.payload.encoder import NIL
from xml_pipeline.payload.scalars import BYTES, LONGEST, STR
from xml_pipeline.payload.shapes import MAX_DEPTH, MISSING, Shape, Shapes
from xml_pipeline.payload.source import Mismatch
from xml_pipeline.payload.text import escape

MOST = 5  # violations that one error shows
TOO_DEEP = f"is nested deeper than {MAX_DEPTH} elements, or contains itself"


def explain_value(shapes: Shapes, value: Any, error: BaseException) -> list[Violation]:
    """The mistakes in a value that could not be written; `error` is what the encoder raised."""
    walk = Walk(shapes, ValueSide())
    walk.whole(value)
    return walk.found or [Violation(shapes.root.root, f"cannot be written: {shown(error)}")]


def explain_element(shapes: Shapes, element: etree._Element, error: BaseException | None) -> list[Violation]:
    """The mistakes in an element that could not be read; `error` is what the decoder raised, if it was asked.

    Empty when neither the walk nor the decoder knows one: then the schema's own words are all there is.
    """
    root = shapes.root.root
    if element.tag != root:
        return [Violation(root, "is another element", cut(str(element.tag)), f"<{root}>")]
    told: list[Violation] = []
    if isinstance(error, Rejected):
        told = rejection(path_of(element, error.element), error.error)
        if not isinstance(error.error, Mismatch):
            return told
    walk = Walk(shapes, ElementSide(shapes))
    walk.whole(element)
    return walk.found or told


def rejection(path: str, error: Exception) -> list[Violation]:
    """Violations from what a class or one of its constraints raised; pydantic names the fields itself."""
    path = _shortened(path)
    if isinstance(error, Mismatch):
        value, (rule, allowed) = error.args
        return [Violation(path, rule, shown(value), allowed)]
    if isinstance(error, PayloadError):
        found = error.violations[:MOST]
        return [replace(inner, field=f"{path}.{inner.field}") for inner in found]
    try:
        if type(error).__name__ == "ValidationError" and callable(getattr(error, "errors", None)):
            return [_pydantic_violation(path, item) for item in error.errors()[:MOST]]  # type: ignore[attr-defined]
        said = str(error)
    except Exception:  # an exception of the user's class, whose own text raises
        said = ""
    return [Violation(path, f"refused by its class: {cut(said or type(error).__name__, 300)}")]


def _pydantic_violation(path: str, item: dict[str, Any]) -> Violation:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"])
    value = shown(item.get("input")) if place else None
    return Violation(path + place, f"refused by its class: {cut(str(item['msg']), 300)}", value)


def path_of(root: etree._Element, element: etree._Element, *, by_key: bool = False) -> str:
    """The path of an element at or below `root` by field names, as `Order.items[2].price`.

    `by_key` names a dict's entry by its key, as JSON does, and not by its number.
    """
    steps: list[str] = []
    while element is not root:
        parent = element.getparent()
        if parent is None:
            break
        if element.tag == "entry" and by_key:
            steps.append(f"[{cut(element.findtext('key') or '')!r}]")
        elif element.tag in ("item", "entry"):
            steps.append(f"[{parent.index(element)}]")
        elif not (parent.tag == "entry" and element.tag == "value"):
            steps.append(f".{element.tag}")
        element = parent
    return str(root.tag) + "".join(reversed(steps))


def shown(value: Any) -> str:
    """A value as an error shows it: what XML or a terminal could not carry is escaped."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
    return cut(text if text.isprintable() else ascii(text)[1:-1])


def allowed_in(node: nodes.Scalar | nodes.Choice) -> str:
    """What the text of a value may be, in words."""
    if isinstance(node, nodes.Choice):
        return cut(", ".join(text for text, _ in node.values), 400)
    bounds = node.constraints.describe()
    return f"{node.kind.words}, {bounds}" if bounds else node.kind.words


def _shortened(path: str) -> str:
    return path if len(path) <= 200 else f"{path[:90]}…{path[-100:]}"


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with a thing as a whole, so that nothing inside it is looked at."""

    rule: str
    value: str | None = None
    allowed: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a dict: key and value, and what leads to each in a path, as `[2].key` and `[2]`."""

    key: Any
    value: Any
    key_step: str
    value_step: str


class Side(ABC):
    """What stands beside a shape: how a value, an element or JSON is taken apart. A `Wrong` may stand for any part.

    What is not abstract is right for plain Python objects.
    """

    @abstractmethod
    def misfit(self, node: nodes.Node | None, thing: Any) -> Wrong | None:
        """What is wrong with a thing at first sight; `node` is None where it stands for None, and may."""

    @abstractmethod
    def leaf(self, node: nodes.Scalar | nodes.Choice, thing: Any) -> Any:
        """The Python value. Raises ValueError with the broken rule."""

    @abstractmethod
    def fields(self, shape: Shape, thing: Any) -> Iterable[tuple[str, Any]]:
        """Names and things, without those that mean absence."""

    @abstractmethod
    def entries(self, thing: Any) -> Iterable[Entry | Wrong]:
        """The entries of a dict."""

    @abstractmethod
    def member(self, node: nodes.Union, thing: Any) -> tuple[str, nodes.Node, Any] | Wrong:
        """The union's member that it belongs to: name, type, and the thing inside."""

    def items(self, node: nodes.ListOf | nodes.TupleOf, thing: Any) -> Iterable[Any]:
        """The items of a list, set or tuple."""
        items: Iterable[Any] = thing
        return items

    def is_none(self, thing: Any) -> bool:
        """Whether it stands for None."""
        return thing is None

    def shown(self, thing: Any) -> str:
        """The thing as an error shows it."""
        return shown(thing)

    def allowed(self, node: nodes.Node) -> str:
        """What should be there, in this side's words."""
        return ""


class _Enough(Exception):
    """Raised inside a walk once `MOST` violations are there."""


class Walk:
    """Looks at all parts of a thing, notes what is wrong, and writes the rest down in canonical form.

    Attributes:
        found: the violations so far.
    """

    def __init__(self, shapes: Shapes, side: Side) -> None:
        self.found: list[Violation] = []
        self._shapes = shapes
        self._side = side

    def whole(self, thing: Any) -> str:
        """Walk over a payload; its document, which means something only while `found` is empty."""
        root = self._shapes.root
        try:
            return self._element(root.root, nodes.Nested(root.cls), thing, root.root, 1)
        except _Enough:
            pass
        except RecursionError:
            self._found(root.root, Wrong("the call stack has no room left for a value nested so deep"))
        except Exception as error:  # out of a property or an __eq__ of the user's
            self._found(root.root, Wrong(f"raises {type(error).__name__} when it is looked at"))
        return ""

    def _found(self, path: str, wrong: Wrong) -> None:
        self.found.append(Violation(_shortened(path), wrong.rule, wrong.value, wrong.allowed))

    def _note(self, path: str, wrong: Wrong) -> str:
        self._found(path, wrong)
        if len(self.found) >= MOST:
            raise _Enough
        return ""

    def _element(self, tag: str, node: nodes.Node, thing: Any, path: str, depth: int) -> str:
        inner: nodes.Node | None = node
        if isinstance(node, nodes.Nullable):
            inner = None if self._side.is_none(thing) else node.inner
        wrong = thing if isinstance(thing, Wrong) else self._side.misfit(inner, thing)
        if wrong is not None:
            return self._note(path, wrong)
        match inner:
            case None:
                return f"<{tag}{NIL}></{tag}>"
            case nodes.Scalar() | nodes.Choice():
                body = self._leaf(inner, thing, path)
            case nodes.Nested(cls):
                body = self._instance(self._shapes.by_class[cls], thing, path, depth)
            case nodes.DictOf():
                body = self._entries(inner, thing, path, depth)
            case nodes.Union():
                body = self._member(inner, thing, path, depth)
            case nodes.ListOf():
                body = self._items(inner, thing, path, depth)
            case nodes.TupleOf():
                body = self._tuple(inner, thing, path, depth)
            case nodes.Nullable():
                raise AssertionError("no type is nullable twice")
        return f"<{tag}>{body}</{tag}>"

    def _instance(self, shape: Shape, thing: Any, path: str, depth: int) -> str:
        if depth + shape.levels > MAX_DEPTH:
            return self._note(path, Wrong(TOO_DEEP))
        names = [field.name for field in shape.fields]
        given: dict[str, Any] = {}
        for name, part in self._side.fields(shape, thing):
            if isinstance(part, Wrong):
                self._note(f"{path}.{name}", part)
            elif name not in names:
                wrong = Wrong("is not a field", self._side.shown(part), ", ".join(names) or "no fields")
                self._note(f"{path}.{cut(name)}", wrong)
            elif name in given:
                self._note(f"{path}.{name}", Wrong("is there more than once", self._side.shown(part)))
            else:
                given[name] = part
        body = []
        for field in shape.fields:
            place = f"{path}.{field.name}"
            if field.name in given:
                body.append(self._element(field.name, field.element, given[field.name], place, depth + 1))
            elif field.required:
                self._note(place, Wrong("is missing", None, self._side.allowed(field.node)))
        return "".join(body)

    def _leaf(self, node: nodes.Scalar | nodes.Choice, thing: Any, path: str) -> str:
        try:
            value = self._side.leaf(node, thing)
            text = (
                escape(node.text(value) or "") if isinstance(node, nodes.Choice) else node.kind.to_text(value)
            )
        except ValueError as error:
            return self._note(path, Wrong(str(error), self._side.shown(thing), allowed_in(node)))
        broken = node.constraints.broken(value) if isinstance(node, nodes.Scalar) else None
        if broken is not None:
            self._note(path, Wrong(broken[0], shown(value), broken[1]))
        return text

    def _items(self, node: nodes.ListOf, thing: Any, path: str, depth: int) -> str:
        items = []
        for index, item in enumerate(self._side.items(node, thing)):
            items.append(self._element("item", node.item, item, f"{path}[{index}]", depth + 1))
        is_set = node.container in (set, frozenset)
        self._count(node, thing, len(set(items) if is_set else items), path)
        return "".join(items)

    def _tuple(self, node: nodes.TupleOf, thing: Any, path: str, depth: int) -> str:
        items = []
        for index, item in enumerate(self._side.items(node, thing)):
            items.append(
                self._element(node.tags[index], node.items[index], item, f"{path}[{index}]", depth + 1)
            )
        return "".join(items)

    def _entries(self, node: nodes.DictOf, thing: Any, path: str, depth: int) -> str:
        entries: list[str] = []
        keys: set[str] = set()
        for number, entry in enumerate(self._side.entries(thing)):
            if isinstance(entry, Wrong):
                entries.append(self._note(f"{path}[{number}]", entry))
                continue
            key = self._element("key", node.key, entry.key, path + entry.key_step, depth + 2)
            if key in keys:
                twice = Wrong("is there more than once", self._side.shown(entry.key))
                self._note(path + entry.key_step, twice)
            keys |= {key} if key else set()
            value = self._element("value", node.value, entry.value, path + entry.value_step, depth + 2)
            entries.append(f"<entry>{key}{value}</entry>")
        self._count(node, thing, len(entries), path)
        return "".join(entries)

    def _count(self, node: nodes.ListOf | nodes.DictOf, thing: Any, count: int, path: str) -> None:
        if isinstance(self._side, ValueSide):
            broken = node.constraints.broken(thing)
        else:  # Predicates need the collection itself, which the decoder makes; it then tells what broke.
            broken = replace(node.constraints, predicates=()).broken(range(count))
        if broken is not None:
            self._note(path, Wrong(broken[0], f"{count} of them", broken[1]))

    def _member(self, node: nodes.Union, thing: Any, path: str, depth: int) -> str:
        found = self._side.member(node, thing)
        if isinstance(found, Wrong):
            return self._note(path, found)
        tag, inner, part = found
        return self._element(tag, inner, part, path, depth + 1)


class ValueSide(Side):
    """A Python value beside its shape."""

    def misfit(self, node: nodes.Node | None, thing: Any) -> Wrong | None:
        match node:
            case nodes.Nested(wanted) | nodes.ListOf(wanted):
                pass
            case nodes.TupleOf():
                wanted = tuple
            case nodes.DictOf():
                wanted = dict
            case _:
                return None
        if thing.__class__ is not wanted:
            return Wrong(f"needs {wanted.__name__}, not {type(thing).__name__}", shown(thing))
        if isinstance(node, nodes.TupleOf) and len(thing) != len(node.items):
            return Wrong(f"needs {len(node.items)} values, not {len(thing)}", shown(thing))
        return None

    def leaf(self, node: nodes.Scalar | nodes.Choice, thing: Any) -> Any:
        if isinstance(node, nodes.Choice) and node.text(thing) is None:
            raise ValueError("is none of the values")
        return thing

    def fields(self, shape: Shape, thing: Any) -> Iterator[tuple[str, Any]]:
        for field in shape.fields:
            part = getattr(thing, field.name, MISSING)
            if part is MISSING:
                yield field.name, Wrong("has no value")
            elif part is not None or field.nil or not field.nullable:
                yield field.name, part
        lost = shape.lost(thing) if shape.remade else None
        if lost is not None:
            rule = "would be lost: the constructor, given the fields alone, sets it to something else"
            yield lost, Wrong(rule, shown(getattr(thing, lost, None)), "make it a field of the constructor")

    def entries(self, thing: Any) -> Iterator[Entry | Wrong]:
        for index, (key, value) in enumerate(thing.items()):
            yield Entry(key, value, f"[{index}].key", f"[{index}]")

    def member(self, node: nodes.Union, thing: Any) -> tuple[str, nodes.Node, Any] | Wrong:
        found = nodes.chosen(node.choices, thing)
        if found is not None:
            return *found, thing
        allowed = ", ".join(tag for tag, _ in node.choices)
        return Wrong(f"the type {type(thing).__name__} is not in the union", shown(thing), allowed)


@dataclass(frozen=True, slots=True)
class ElementSide(Side):
    """An XML element beside its shape. It applies the rules of the XSD, but goes on past the first mistake."""

    shapes: Shapes

    def shown(self, thing: etree._Element) -> str:
        return shown("".join(str(text) for text in thing.itertext()))

    def allowed(self, node: nodes.Node) -> str:
        match node:
            case nodes.Scalar() | nodes.Choice():
                return allowed_in(node)
            case nodes.Nested(cls):
                tags = [field.name for field in self.shapes.by_class[cls].fields]
            case nodes.Nullable(inner):
                return self.allowed(inner)
            case nodes.TupleOf():
                tags = list(node.tags)
            case nodes.DictOf():
                return "<entry><key/><value/></entry> elements"
            case nodes.ListOf():
                return "<item> elements"
            case nodes.Union(choices):
                return " or ".join(f"<{tag}>" for tag, _ in choices)
        return f"elements {', '.join(f'<{tag}>' for tag in tags)}" if tags else "nothing inside"

    def is_none(self, thing: etree._Element) -> bool:
        return is_nil(thing)

    def misfit(self, node: nodes.Node | None, thing: etree._Element) -> Wrong | None:
        if node is None:
            filled = len(thing) or thing.text
            return Wrong("is xsi:nil and has content", self.shown(thing)) if filled else None
        if is_nil(thing):
            return Wrong("may not be xsi:nil", None, self.allowed(node))
        if isinstance(node, nodes.Scalar | nodes.Choice):
            if len(thing):
                rule = f"holds <{cut(str(thing[0].tag))}> where text is needed"
                return Wrong(rule, None, self.allowed(node))
            return self._not_bare(thing, text=True)
        if isinstance(node, nodes.Union) and isinstance(wrong := self.member(node, thing), Wrong):
            return wrong
        if isinstance(node, nodes.TupleOf) and tuple(child.tag for child in thing) != node.tags:
            given = ", ".join(f"<{child.tag}>" for child in thing)
            return Wrong(f"needs {len(node.items)} values", shown(given), self.allowed(node))
        return self._not_bare(thing)

    def _not_bare(self, element: etree._Element, *, text: bool = False) -> Wrong | None:
        """Attributes, and text where only elements may be."""
        for name in element.attrib:
            if not str(name).startswith(f"{{{XSI}}}"):
                return Wrong(f"has the attribute {cut(str(name))!r}", None, "no attributes")
        for piece in () if text else (element.text, *(child.tail for child in element)):
            if piece and piece.strip(" \t\r\n"):
                return Wrong("holds text between its elements", shown(piece.strip()), "elements only")
        return None

    def leaf(self, node: nodes.Scalar | nodes.Choice, thing: etree._Element) -> Any:
        text = thing.text or ""
        if isinstance(node, nodes.Choice):
            return node.reader()(text)
        if len(text) > LONGEST and node.kind not in (STR, BYTES):
            raise ValueError("is too long for its type")
        return node.kind.from_text(text)

    def fields(self, shape: Shape, thing: etree._Element) -> Iterator[tuple[str, Any]]:
        for child in thing:
            yield str(child.tag), child

    def items(self, node: nodes.ListOf | nodes.TupleOf, thing: etree._Element) -> Iterator[Any]:
        for child in thing:
            if isinstance(node, nodes.TupleOf) or child.tag == "item":
                yield child
            else:
                yield Wrong(f"is <{cut(str(child.tag))}>", self.shown(child), "<item>")

    def entries(self, thing: etree._Element) -> Iterator[Entry | Wrong]:
        for index, entry in enumerate(thing):
            parts = {str(child.tag): child for child in entry}
            if entry.tag == "entry" and len(entry) == 2 and set(parts) == {"key", "value"}:
                whole = Entry(parts["key"], parts["value"], f"[{index}].key", f"[{index}]")
                yield self._not_bare(entry) or whole
            else:
                allowed = "<entry> with one <key> and one <value>"
                yield Wrong(f"is <{cut(str(entry.tag))}>", self.shown(entry), allowed)

    def member(self, node: nodes.Union, thing: etree._Element) -> tuple[str, nodes.Node, Any] | Wrong:
        choices = dict(node.choices)
        if len(thing) == 1 and str(thing[0].tag) in choices:
            tag = str(thing[0].tag)
            return tag, choices[tag], thing[0]
        given = ", ".join(f"<{child.tag}>" for child in thing) or (thing.text or "")
        return Wrong("needs exactly one element that names the type", shown(given), self.allowed(node))
