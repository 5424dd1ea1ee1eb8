"""Who may call whom: the graph, its layers with callers above callees, and the graph as Mermaid text. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

SWEEPS = 4
"""How often the order within the layers is improved; more changes little."""

_SHAPES = {
    "agent": ('(["', '"])'),
    "person": ('{{"', '"}}'),
    "tool": ('["', '"]'),
    "flow": ('[["', '"]]'),
    "box": ('[/"', '"/]'),
}


@dataclass(frozen=True, slots=True)
class Node:
    """A listener.

    Attributes:
        kind: `tool`, `agent` or `person`.
        default: whether text without a name goes to it.
        contract: what it takes and answers, as far as that is known; "" for not at all.
    """

    name: str
    kind: str
    default: bool = False
    contract: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """Listeners, and (caller, peer) pairs of them."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]


def mermaid(graph: Graph) -> str:
    """A flowchart: agents rounded, people six-sided, tools square."""
    ids = {node.name: f"n{number}" for number, node in enumerate(graph.nodes)}
    rows = ["flowchart TD"]
    for node in graph.nodes:
        before, after = _SHAPES[node.kind]
        below = f"<br/>{_label(node.contract)}" if node.contract else ""
        rows.append(f"    {ids[node.name]}{before}{_label(node.name)}{below}{after}")
    if any(node.default for node in graph.nodes):
        rows.append('    outside(("you"))')
    rows += [f"    outside --> {ids[node.name]}" for node in graph.nodes if node.default]
    rows += [f"    {ids[caller]} --> {ids[callee]}" for caller, callee in graph.edges]
    return "\n".join(rows) + "\n"


def _label(text: str) -> str:
    """Text between quotes: Mermaid writes entities as `#quot;`, by name or by decimal code."""
    return "".join(char if char.isalnum() or char in " ._-" else f"#{ord(char)};" for char in text)


def layers(graph: Graph) -> list[list[Node]]:
    """The nodes in rows: each below its callers where there is no cycle, in an order with few crossings."""
    callees = {node.name: [b for a, b in graph.edges if a == node.name and b != a] for node in graph.nodes}
    depth = _depths(callees, _forward(callees))
    rows: list[list[Node]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node in graph.nodes:
        rows[depth[node.name]].append(node)
    neighbours: dict[str, list[str]] = {node.name: [] for node in graph.nodes}
    for caller, callee in graph.edges:
        if depth[caller] != depth[callee]:
            neighbours[caller].append(callee)
            neighbours[callee].append(caller)
    place: dict[str, float] = {}
    for row in rows:
        _note_places(row, place)
    for _ in range(SWEEPS):
        for row in (*rows, *reversed(rows)):
            _improve(row, place, neighbours)
    return rows


def _forward(callees: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The edges without those that lead back into a cycle."""
    forward: dict[str, list[str]] = {name: [] for name in callees}
    state: dict[str, str] = {}
    for root in callees:
        if root in state:
            continue
        state[root] = "open"
        path = [(root, iter(callees[root]))]
        while path:
            name, rest = path[-1]
            following = next(rest, None)
            if following is None:
                state[name] = "done"
                path.pop()
            elif state.get(following) != "open":
                forward[name].append(following)
                if following not in state:
                    state[following] = "open"
                    path.append((following, iter(callees[following])))
    return forward


def _depths(names: Iterable[str], forward: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The length of the longest way to each node."""
    depth = dict.fromkeys(names, 0)
    callers = dict.fromkeys(depth, 0)
    for targets in forward.values():
        for target in targets:
            callers[target] += 1
    ready = [name for name, number in callers.items() if not number]
    for name in ready:
        for target in forward[name]:
            depth[target] = max(depth[target], depth[name] + 1)
            callers[target] -= 1
            if not callers[target]:
                ready.append(target)
    return depth


def _improve(row: list[Node], place: dict[str, float], neighbours: Mapping[str, Sequence[str]]) -> None:
    """Sort a row by the middle of each node's neighbours in other rows."""

    def middle(node: Node) -> float:
        found = [place[name] for name in neighbours[node.name]]
        return sum(found) / len(found) if found else place[node.name]

    row.sort(key=middle)
    _note_places(row, place)


def _note_places(row: Sequence[Node], place: dict[str, float]) -> None:
    """Where each node stands in its row, from 0 to 1."""
    for number, node in enumerate(row):
        place[node.name] = (number + 0.5) / len(row)
