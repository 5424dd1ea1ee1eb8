"""Why a payload cannot be written or read: what an error says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lxml import etree

from xml_pipeline.errors import PayloadError, Violation, cut
from xml_pipeline.payload.decoder import Rejected
from xml_pipeline.payload.shapes import Shapes
from xml_pipeline.payload.sides import ElementSide, ValueSide
from xml_pipeline.payload.source import Mismatch
from xml_pipeline.payload.walk import MOST, Walk, shortened, shown


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
    path = shortened(path)
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
