"""What an agent is told about its peers: generated from their classes, so it cannot go stale."""

from __future__ import annotations

from collections.abc import Mapping

from xml_pipeline.pump.listener import Listener

_HOW = """\
You can call these peers. A call is one of a peer's elements, inside an element that names the peer, as
<call to="PEER">ELEMENT</call>. You may write several calls at once; then stop, and their results come back to you."""


def usage_instructions(listener: Listener, table: Mapping[str, Listener]) -> str:
    """How to call each peer of `listener`: name, purpose, fields, constraints, an example; "" without peers."""
    parts = []
    for name in listener.peers:
        peer = table.get(name)
        if peer is None:
            continue
        header = f"## {name}" + (f"\n{peer.description}" if peer.description else "")
        parts.append("\n\n".join([header, *(codec.prompt_text for codec in peer.requests.values())]))
    if not parts:
        return ""
    return f"{_HOW}\n\n" + "\n\n".join(parts)
