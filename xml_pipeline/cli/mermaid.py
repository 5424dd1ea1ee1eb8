"""A graph as Mermaid text. Pure."""

from __future__ import annotations

from xml_pipeline.cli.layout import Graph

_SHAPES = {"agent": ('(["', '"])'), "person": ('{{"', '"}}'), "tool": ('["', '"]')}


def mermaid(graph: Graph) -> str:
    """A flowchart: agents rounded, people six-sided, tools square."""
    ids = {node.name: f"n{number}" for number, node in enumerate(graph.nodes)}
    rows = ["flowchart TD"]
    for node in graph.nodes:
        before, after = _SHAPES[node.kind]
        rows.append(f"    {ids[node.name]}{before}{_label(node.name)}{after}")
    if any(node.default for node in graph.nodes):
        rows.append('    outside(("you"))')
    rows += [f"    outside --> {ids[node.name]}" for node in graph.nodes if node.default]
    rows += [f"    {ids[caller]} --> {ids[callee]}" for caller, callee in graph.edges]
    return "\n".join(rows) + "\n"


def _label(text: str) -> str:
    """Text between quotes: Mermaid writes entities as `#quot;`, by name or by decimal code."""
    return "".join(char if char.isalnum() or char in " ._-" else f"#{ord(char)};" for char in text)
