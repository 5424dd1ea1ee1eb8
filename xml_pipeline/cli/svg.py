"""A graph as an SVG document, drawn in layers. Pure; needs nothing but the text."""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from xml_pipeline.cli.graph import Graph, Node, layers
from xml_pipeline.terminal import columns, xml_text

NAMESPACE = "http://www.w3.org/2000/svg"

_COLUMN = 8.0  # pixels of a character at 14 px monospace, a little more than its advance
_PADDING = 14.0
_HEIGHT = 36.0
_GAP = 28.0
_LAYER = 92.0
_MARGIN = 20.0
_TITLE = 30.0
_STYLE = (
    "text{font:14px ui-monospace,monospace;fill:#222}.title{font-weight:bold}rect{fill:#f6f8fa;stroke:#57606a}.agent"
    " rect{fill:#ddf4ff;stroke:#0969da}.person rect{fill:#fff8c5;stroke:#9a6700}.default"
    " rect{stroke-width:3}path.edge{fill:none;stroke:#57606a}marker path{fill:#57606a}"
)


@dataclass(frozen=True, slots=True)
class _Box:
    node: Node
    x: float
    y: float
    width: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def svg(graph: Graph) -> str:
    """An SVG 1.1 document: agents blue, people yellow, the default listener with a thick frame."""
    boxes, width, height = _placed(graph)
    root = etree.Element(f"{{{NAMESPACE}}}svg", nsmap={None: NAMESPACE})  # type: ignore[dict-item]  # not in the stubs
    _set(root, width=width, height=height, viewBox=f"0 0 {_number(width)} {_number(height)}", role="img")
    _add(root, "title", graph.title)
    _add(root, "style", _STYLE)
    marker = _add(
        _add(root, "defs"), "marker", id="head", markerWidth=8, markerHeight=8, refX=7, refY=4, orient="auto"
    )
    _add(marker, "path", d="M0 0 L8 4 L0 8 z")
    _add(root, "text", graph.title, class_="title", x=_MARGIN, y=_MARGIN + 12)
    for caller, callee in graph.edges:
        curve = _curve(boxes[caller], boxes[callee])
        _add(root, "path", class_="edge", d=curve, marker_end="url(#head)")
    for box in boxes.values():
        _add_box(root, box)
    etree.indent(root)
    return xml_text(etree.tostring(root, encoding="unicode")) + "\n"


def _placed(graph: Graph) -> tuple[dict[str, _Box], float, float]:
    rows = layers(graph)
    widths = [sum(map(_width, row)) + _GAP * (len(row) - 1) for row in rows]
    whole = max([*widths, columns(graph.title) * _COLUMN])
    boxes = {}
    for number, (row, width) in enumerate(zip(rows, widths, strict=True)):
        x = _MARGIN + (whole - width) / 2
        for node in row:
            boxes[node.name] = _Box(node, x, _MARGIN + _TITLE + number * _LAYER, _width(node))
            x += _width(node) + _GAP
    height = 2 * _MARGIN + _TITLE + (max(len(rows), 1) - 1) * _LAYER + _HEIGHT
    return boxes, whole + 2 * _MARGIN + _GAP, height


def _width(node: Node) -> float:
    return columns(node.name) * _COLUMN + 2 * _PADDING


def _curve(start: _Box, end: _Box) -> str:
    """From caller to callee: down from its lower edge, or around the side when the callee is not below."""
    if end.y > start.y:
        x, y, to_x, to_y = start.middle, start.y + _HEIGHT, end.middle, end.y
        bend = (to_y - y) / 2
        numbers = (x, y, x, y + bend, to_x, to_y - bend, to_x, to_y)
    else:
        below = 6 if end is start else 0
        x, y = start.x + start.width, start.y + _HEIGHT / 2
        to_x, to_y = end.x + end.width, end.y + _HEIGHT / 2 + below
        side = max(x, to_x) + _GAP
        numbers = (x, y, side, y - below, side, to_y + 4, to_x, to_y)
    return "M{} {} C{} {} {} {} {} {}".format(*map(_number, numbers))


def _add_box(root: etree._Element, box: _Box) -> None:
    node = box.node
    group = _add(root, "g", class_=f"{node.kind} default" if node.default else node.kind)
    if node.contract:
        _add(group, "title", node.contract)  # shown where the pointer rests
    _add(
        group, "rect", x=box.x, y=box.y, width=box.width, height=_HEIGHT, rx=4 if node.kind == "tool" else 18
    )
    _add(group, "text", node.name, x=box.middle, y=box.y + _HEIGHT / 2 + 5, text_anchor="middle")


def _add(
    parent: etree._Element, tag: str, text: str | None = None, **attributes: str | float
) -> etree._Element:
    element = etree.SubElement(parent, f"{{{NAMESPACE}}}{tag}")
    element.text = text
    _set(element, **attributes)
    return element


def _set(element: etree._Element, **attributes: str | float) -> None:
    """Attributes by name, where `class_` is `class` and `text_anchor` is `text-anchor`."""
    for name, value in attributes.items():
        written = value if isinstance(value, str) else _number(value)
        element.set(name.rstrip("_").replace("_", "-"), written)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
