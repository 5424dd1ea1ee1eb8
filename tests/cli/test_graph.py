"""Layers, Mermaid and SVG of any graph."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from xml_pipeline.cli.graph import Graph, Node, layers, mermaid
from xml_pipeline.cli.svg import NAMESPACE, svg

_SVG = f"{{{NAMESPACE}}}"
_names = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=8)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    names = draw(st.lists(_names, unique=True, min_size=1, max_size=8))
    name = st.sampled_from(names)
    kinds = st.sampled_from(["tool", "agent", "person"])
    nodes = tuple(Node(each, draw(kinds), draw(st.booleans())) for each in names)
    edges = draw(st.lists(st.tuples(name, name), unique=True, max_size=16))
    return Graph(draw(_names), nodes, tuple(edges))


@given(graphs())
def test_every_node_stands_in_one_layer_and_no_layer_is_empty(graph: Graph) -> None:
    rows = layers(graph)
    assert sorted(node.name for row in rows for node in row) == sorted(node.name for node in graph.nodes)
    assert all(rows)


@given(
    st.integers(2, 9).flatmap(
        lambda size: st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)))
    )
)
def test_callers_stand_above_their_callees_where_there_is_no_cycle(pairs: list[tuple[int, int]]) -> None:
    edges = tuple({(str(a), str(b)) for a, b in pairs if a < b})
    nodes = tuple(Node(str(number), "tool") for number in range(10))
    depth = {node.name: number for number, row in enumerate(layers(Graph("g", nodes, edges))) for node in row}
    assert all(depth[caller] < depth[callee] for caller, callee in edges)


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


_MERMAID_ROW = re.compile(
    r"""    (n\d+(\(\["|\{\{"|\[")[^"<>&\[\](){}|`]*("\]\)|"\}\}|"\])|outside\(\("you"\)\)|\w+ --> n\d+)"""
)


@given(graphs())
def test_mermaid_text_cannot_be_broken_by_names(graph: Graph) -> None:
    for row in mermaid(graph).splitlines()[1:]:
        assert _MERMAID_ROW.fullmatch(row), row


def test_a_long_chain_and_a_cycle_are_drawn() -> None:
    names = [f"n{number}" for number in range(2000)]
    chain = Graph("chain", tuple(Node(name, "tool") for name in names), tuple(pairwise(names)))
    assert len(layers(chain)) == 2000
    cycle = Graph("cycle", chain.nodes[:3], (("n0", "n1"), ("n1", "n2"), ("n2", "n0"), ("n1", "n1")))
    assert [[node.name for node in row] for row in layers(cycle)] == [["n0"], ["n1"], ["n2"]]
    assert svg(cycle).count('class="edge"') == 4


def test_an_empty_organism_is_drawn() -> None:
    assert mermaid(Graph("x", (), ())) == "flowchart TD\n"
    assert etree.fromstring(svg(Graph("x", (), ()))).tag == f"{_SVG}svg"
