"""Which calls may end up with a person. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from xml_pipeline.pump.listener import Listener


def reaches_people(table: Mapping[str, Listener]) -> frozenset[str]:
    """Names of the people, and of all listeners from which calls can lead to one."""
    found = {name for name, listener in table.items() if listener.human}
    grown = True
    while grown:
        more = {name for name, listener in table.items() if found & set(listener.peers)} - found
        found |= more
        grown = bool(more)
    return frozenset(found)
