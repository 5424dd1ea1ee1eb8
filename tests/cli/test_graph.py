"""Layers and Mermaid text of any graph."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.cli.graphs import graphs
from xml_pipeline.cli.graph import Graph, Node, layers, mermaid


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


_LABEL = r"""[^"<>&\[\](){}|`]*"""
_MERMAID_ROW = re.compile(
    rf"""    (n\d+(\(\["|\{{\{{"|\["){_LABEL}(<br/>{_LABEL})?("\]\)|"\}}\}}|"\])|outside\(\("you"\)\)|\w+ --> n\d+)"""
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


def test_an_empty_organism_is_drawn() -> None:
    assert mermaid(Graph("x", (), ())) == "flowchart TD\n"
