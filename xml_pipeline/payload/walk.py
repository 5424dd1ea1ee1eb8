"""One walk along a shape beside an element, a Python value or JSON, that says what does not fit, and why.

The compiled encoder and decoder only say *that* something is wrong. This walk says where, what and which rule, up
to `MOST` times. How a thing is taken apart is its `Side`'s business; ADR 17 tells why the walk is the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from xml_pipeline.errors import Violation, cut
from xml_pipeline.payload import nodes
from xml_pipeline.payload.encoder import NIL
from xml_pipeline.payload.shapes import MAX_DEPTH, Shape, Shapes
from xml_pipeline.payload.text import escape

MOST = 5  # violations that one error shows
TOO_DEEP = f"is nested deeper than {MAX_DEPTH} elements, or contains itself"


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

    Attributes:
        holds_values: the things are Python values, so that a predicate can be asked about a whole collection.
    """

    holds_values: ClassVar[bool] = False

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
        self.found.append(Violation(shortened(path), wrong.rule, wrong.value, wrong.allowed))

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
        if self._side.holds_values:
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


def shortened(path: str) -> str:
    """A path that fits into a line: its beginning and its end."""
    return path if len(path) <= 200 else f"{path[:90]}…{path[-100:]}"
