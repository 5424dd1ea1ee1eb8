"""`graph`: who may call whom, as text for Mermaid or as an SVG document."""

from __future__ import annotations

import argparse

from xml_pipeline.cli.files import organism_file
from xml_pipeline.cli.layout import Graph, Node
from xml_pipeline.cli.mermaid import mermaid
from xml_pipeline.cli.svg import svg
from xml_pipeline.console.overview import kind
from xml_pipeline.organism import Organism


def graph(arguments: argparse.Namespace) -> int:
    """Print it."""
    drawn = graph_of(Organism.from_file(organism_file(arguments)))
    print(svg(drawn) if arguments.format == "svg" else mermaid(drawn), end="")
    return 0


def graph_of(organism: Organism) -> Graph:
    """The listeners with their peers; an arrow from outside leads to the default listener."""
    nodes = tuple(
        Node(each.name, kind(each), each.name == organism.default) for each in organism.listeners.values()
    )
    edges = tuple((each.name, peer) for each in organism.listeners.values() for peer in each.peers)
    return Graph(organism.name, nodes, edges)
