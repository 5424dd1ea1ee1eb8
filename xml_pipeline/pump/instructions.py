"""What an agent is told about its peers: generated from their classes, so it cannot go stale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from xml_pipeline.pump.listener import Listener

_HOW = """\
You can call these peers. A call is one of a peer's elements, inside an element that names the peer, as
<call to="PEER">ELEMENT</call>. You may write several calls at once; then stop, and their results come back to you."""


def usage_instructions(listener: Listener, table: Mapping[str, Listener]) -> str:
    """How to call each peer of `listener`: name, purpose, fields, constraints, an example; "" without peers."""
    return how_to_call(peers_of(listener, table))


def peers_of(listener: Listener, table: Mapping[str, Listener]) -> Iterator[str]:
    """What there is to know of each peer of `listener`."""
    for name in listener.peers:
        peer = table.get(name)
        if peer is not None:
            yield described(name, peer.description, (codec.prompt_text for codec in peer.requests.values()))


def described(name: str, description: str, classes: Iterable[str]) -> str:
    """What can be called by this name: what it is for, and what it takes."""
    return "\n\n".join([f"## {name}" + (f"\n{description}" if description else ""), *classes])


def how_to_call(parts: Iterable[str]) -> str:
    """How a call is written, and what can be called; "" for nothing."""
    told = "\n\n".join(parts)
    return f"{_HOW}\n\n{told}" if told else ""
