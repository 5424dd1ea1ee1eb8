"""Peers as tools: legal names, mapped back exactly."""

from __future__ import annotations

import re
from dataclasses import make_dataclass

from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline import HandlerMetadata, HandlerResponse, Organism, SystemError, xmlify
from xml_pipeline.agents import PeerCall, Task, Toolbox
from xml_pipeline.llm import ToolCall
from xml_pipeline.pump import listener

from .scenes import Add, Note

LEGAL = re.compile(r"[a-zA-Z0-9_-]{1,64}")
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.\-]{0,99}", fullmatch=True).filter(lambda name: name != "system")

_classes = [xmlify(make_dataclass(f"Kind{n}", [("text", str)])) for n in range(3)]


async def handler(payload: Task, metadata: HandlerMetadata) -> None:
    """Never called."""


@given(st.dictionaries(names, st.integers(1, 3), min_size=1, max_size=8))
def test_every_class_of_every_peer_has_one_legal_name_that_leads_back(peers: dict[str, int]) -> None:
    table = {name: listener(name, handler, accepts=_classes[:count]) for name, count in peers.items()}
    me = listener("me_myself", handler, peers=peers)
    toolbox = Toolbox.of(me, table)
    assert len(toolbox.by_name) == len(toolbox.tools) == sum(peers.values())
    for tool in toolbox.tools:
        assert LEGAL.fullmatch(tool.name)
        (call,) = toolbox.read([ToolCall.of("c", tool.name, {"text": "x"})])
        assert isinstance(call, PeerCall)
        assert (call.tool.peer, type(call.payload)) == (tool.peer, tool.codec.cls)
    assert Toolbox.of(me, table).specs == toolbox.specs


def test_names_are_plain_where_they_can_be() -> None:
    organism = Organism.build()
    organism.listener(handler, name="calculator.add", accepts=[Add], description="Adds.")
    organism.listener(handler, name="clerk", accepts=[Note, Task, SystemError])
    organism.listener(handler, name="bot", peers=["calculator.add", "clerk"])
    toolbox = Toolbox.of(organism.listeners["bot"], organism.listeners)
    assert list(toolbox.by_name) == ["calculator_add", "clerk-Note", "clerk-Task"]
    spec = toolbox.specs[0]
    assert spec.description == "Adds.\nTwo integers to add."
    assert spec.parameters["required"] == ["a", "b"]
    assert spec.parameters["properties"]["b"]["maximum"] == 1000


def test_names_that_would_fall_together_are_told_apart() -> None:
    organism = Organism.build()
    for name in ("a.b", "a_b", "a" * 80, "a" * 81):
        organism.listener(handler, name=name, accepts=[Add])
    organism.listener(handler, name="bot", peers=["a.b", "a_b", "a" * 80, "a" * 81])
    toolbox = Toolbox.of(organism.listeners["bot"], organism.listeners)
    assert len({tool.name for tool in toolbox.tools}) == 4
    assert {toolbox.by_name[tool.name].peer for tool in toolbox.tools} == set(organism.listeners["bot"].peers)
    assert all(tool.description.startswith(f"Peer {tool.peer}.\n") for tool in toolbox.tools)


def test_a_listener_without_peers_has_no_tools() -> None:
    organism = Organism.build()
    organism.listener(handler, name="bot", accepts=[Add])
    assert Toolbox.of(organism.listeners["bot"], organism.listeners).specs == ()


def test_the_arguments_become_the_same_instance_as_the_document() -> None:
    organism = Organism.build()
    organism.listener(handler, name="clerk", accepts=[Note])
    organism.listener(handler, name="bot", peers=["clerk"])
    toolbox = Toolbox.of(organism.listeners["bot"], organism.listeners)
    (call,) = toolbox.read([ToolCall.of("c", "clerk", {"text": "007", "tags": ["true", ""]})])
    assert isinstance(call, PeerCall)
    assert call.payload == Note("007", ["true", ""])
    assert HandlerResponse(call.payload, to=call.tool.peer).to == "clerk"
