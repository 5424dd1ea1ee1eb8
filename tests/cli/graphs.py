"""Any graph."""

from __future__ import annotations

from hypothesis import strategies as st

from xml_pipeline.cli.graph import Graph, Node

_names = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=8)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    names = draw(st.lists(_names, unique=True, min_size=1, max_size=8))
    name = st.sampled_from(names)
    kinds = st.sampled_from(["tool", "agent", "person"])
    contracts = st.one_of(st.just(""), _names)
    nodes = tuple(Node(each, draw(kinds), draw(st.booleans()), draw(contracts)) for each in names)
    edges = draw(st.lists(st.tuples(name, name), unique=True, max_size=16))
    return Graph(draw(_names), nodes, tuple(edges))
