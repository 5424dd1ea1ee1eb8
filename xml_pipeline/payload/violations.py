"""The wording of errors, and the list they are gathered in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xml_pipeline.errors import PayloadError, Violation, cut
from xml_pipeline.payload.constraints import Constraints
from xml_pipeline.payload.nodes import Choice, DictOf, Nested, Node, Nullable, Scalar, Shapes, TupleOf, Union

MOST = 5  # violations that one error shows


class Enough(Exception):
    """Raised inside a walk once `MOST` violations are there."""


class Findings:
    """The violations that a walk has found so far."""

    def __init__(self) -> None:
        self.found: list[Violation] = []

    def add(self, path: str, rule: str, value: str | None = None, allowed: str = "") -> None:
        """Note a violation; ends the walk by `Enough` when there are `MOST`."""
        self.found.append(Violation(shortened(path), rule, None if value is None else cut(value), allowed))
        if len(self.found) >= MOST:
            raise Enough

    def check(self, constraints: Constraints, value: Any, path: str) -> None:
        """Note the first constraint that a value of the right type breaks."""
        broken = constraints.broken(value)
        if broken is not None:
            self.add(path, broken[0], shown(value), broken[1])

    def collect(self, root: str, walk: Callable[[], None]) -> list[Violation]:
        """Run a walk over the payload named `root` and return what it found."""
        try:
            walk()
        except Enough:
            pass
        except RecursionError:
            self.found.append(Violation(root, "the call stack has no room left for a value nested so deep"))
        return self.found


def shortened(path: str) -> str:
    """A path that fits into a line: its beginning and its end."""
    return path if len(path) <= 200 else f"{path[:90]}…{path[-100:]}"


def shown(value: Any) -> str:
    """A value as an error shows it: text that XML or a terminal could not carry is escaped."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
    return cut(text if text.isprintable() else ascii(text)[1:-1])


def listed(node: Choice) -> str:
    """The allowed texts of a choice."""
    return cut(", ".join(text for text, _ in node.values), 400)


def words(node: Node, shapes: Shapes) -> str:
    """What a value of this type looks like on the wire."""
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
        case TupleOf():
            return ", ".join(f"<{tag}>" for tag in node.tags) or "nothing inside"
        case DictOf():
            return "<entry><key/><value/></entry> elements"
        case Union(choices):
            return " or ".join(f"<{tag}>" for tag, _ in choices)
        case _:
            return "<item> elements"


def rejection(path: str, error: Exception) -> list[Violation]:
    """Violations from what a class's constructor or validator raised; pydantic names the fields itself."""
    if isinstance(error, PayloadError):
        return [
            Violation(f"{path}.{inner.field}", inner.rule, inner.value, inner.allowed)
            for inner in error.violations[:MOST]
        ]
    listing: Callable[[], list[dict[str, Any]]] | None = getattr(error, "errors", None)
    if type(error).__name__ == "ValidationError" and callable(listing):
        return [_pydantic_violation(path, item) for item in listing()[:MOST]]
    return [Violation(path, f"refused by its class: {cut(str(error) or type(error).__name__, 300)}")]


def _pydantic_violation(path: str, item: dict[str, Any]) -> Violation:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"])
    value = shown(item.get("input")) if place else None
    return Violation(path + place, f"refused by its class: {cut(str(item['msg']), 300)}", value)
