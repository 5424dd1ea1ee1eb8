"""What `check --journal` says: what becomes of open work under this organism.yaml."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from xml_pipeline.cli.history import opened
from xml_pipeline.terminal import count, line, plain

if TYPE_CHECKING:
    from xml_pipeline.config import OrganismConfig
    from xml_pipeline.organism import Organism
    from xml_pipeline.pump.machine import Machine
    from xml_pipeline.pump.prospects import Prospects

MOST_LISTED = 50
"""Lines about what changes; the rest is counted."""

_MANY = {"entry": "memory entry", "answer": "gathered answer", "state": "thread state", "call": "open call"}


def tell(arguments: argparse.Namespace, found: OrganismConfig, built: Organism) -> int:
    """Print it; 1 when something would be lost."""
    from xml_pipeline.journal.file import kept_in, steps_of
    from xml_pipeline.pump.prospects import prospects

    journal = opened(arguments)
    machine = machine_of(found, built)
    seen = prospects(kept_in(journal), lambda conversation_id: steps_of(journal, conversation_id), machine)
    for row in _rows(seen):
        print(plain(line(row)))
    return 1 if seen.lost else 0


def machine_of(found: OrganismConfig, built: Organism) -> Machine:
    """The rules over the listeners and limits of a configuration, with nothing going on."""
    from xml_pipeline.composition import limits_of
    from xml_pipeline.pump.machine import Machine

    limits, wire_limits = limits_of(found.organism)
    return Machine(built.listeners, limits, wire_limits)


def _rows(seen: Prospects) -> Iterator[str]:
    goes_on = [
        _counted(number, _MANY.get(kind, kind)) for kind, number in sorted(seen.unchanged.items()) if number
    ]
    yield f"{count(seen.conversations, 'open conversation')}; unchanged: {', '.join(goes_on) or 'nothing'}"
    for each in seen.changed[:MOST_LISTED]:
        fate = "lost" if each.lost else "changed"
        about = f" {each.name}" if each.name else ""
        whose = f" of '{each.listener}'" if each.listener else ""
        yield f"{fate}: {_MANY.get(each.kind, each.kind)}{about}{whose} in {each.conversation_id[:13]}: {each.why}"
    if len(seen.changed) > MOST_LISTED:
        yield f"and {len(seen.changed) - MOST_LISTED:,} more"
    if seen.lost:
        yield f"{seen.lost:,} would be lost"


def _counted(number: int, what: str) -> str:
    if number != 1 and what.endswith("y"):
        return f"{number:,} {what[:-1]}ies"
    return count(number, what)
