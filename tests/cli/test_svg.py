"""The drawing of any graph."""

from __future__ import annotations

from hypothesis import given
from lxml import etree

from tests.cli.graphs import graphs
from xml_pipeline.cli.graph import Graph, Node
from xml_pipeline.cli.svg import NAMESPACE, svg

_SVG = f"{{{NAMESPACE}}}"


@given(graphs())
def test_svg_is_well_formed_and_holds_every_name_and_edge(graph: Graph) -> None:
    root = etree.fromstring(svg(graph))
    texts = [element.text for element in root.iter(f"{_SVG}text")]
    assert texts[0] == graph.title
    assert sorted(texts[1:]) == sorted(node.name for node in graph.nodes)
    assert len(root.findall(f"{_SVG}path")) == len(graph.edges)


@given(graphs())
def test_svg_boxes_do_not_overlap(graph: Graph) -> None:
    root = etree.fromstring(svg(graph))
    boxes = [
        tuple(float(rect.get(key, "")) for key in ("x", "y", "width", "height"))
        for rect in root.iter(f"{_SVG}rect")
    ]
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    for number, (x, y, w, h) in enumerate(boxes):
        assert x >= 0
        assert x + w <= width
        assert y + h <= height
        for other_x, other_y, other_w, _ in boxes[number + 1 :]:
            assert y != other_y or x + w <= other_x or other_x + other_w <= x


def test_a_cycle_has_all_its_edges() -> None:
    nodes = tuple(Node(name, "tool") for name in ("n0", "n1", "n2"))
    cycle = Graph("cycle", nodes, (("n0", "n1"), ("n1", "n2"), ("n2", "n0"), ("n1", "n1")))
    assert svg(cycle).count('class="edge"') == 4


def test_an_empty_organism_is_drawn() -> None:
    assert etree.fromstring(svg(Graph("x", (), ()))).tag == f"{_SVG}svg"
