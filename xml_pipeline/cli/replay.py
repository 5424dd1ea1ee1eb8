"""`replay`: today's rules, classes and organism.yaml against what handlers returned then."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from xml_pipeline.cli.command import argument, command, config
from xml_pipeline.cli.history import AS_JSON, WHERE, opened, when
from xml_pipeline.terminal import count, json_text, one_line

if TYPE_CHECKING:
    from xml_pipeline.pump.replay import Difference, Gap


@command(
    "replay",
    "run today's rules, classes and organism.yaml against what handlers returned in a conversation, and name the"
    " first difference; calls no handler and writes nothing; 1 when there is a difference",
    argument("conversation", metavar="CONVERSATION", help="its id, or how that begins"),
    AS_JSON,
    WHERE,
)
def replay(arguments: argparse.Namespace) -> int:
    """Print what came out."""
    import msgspec

    from xml_pipeline.cli.prospects import machine_of
    from xml_pipeline.journal.file import steps_of
    from xml_pipeline.journal.history import conversation_named
    from xml_pipeline.organism import Organism
    from xml_pipeline.pump.replay import replayed

    journal = opened(arguments)
    found = config(arguments, "all")
    machine = machine_of(found, Organism.from_config(found))
    steps = steps_of(journal, conversation_named(journal, arguments.conversation))
    result = replayed(steps, machine)
    difference = result.difference
    if arguments.json:
        print(json_text(msgspec.to_builtins(result)))
        return 0 if difference is None else 1
    for gap in result.gaps:
        print(one_line(f"{_where(gap)}: not exact: {gap.why}"))
    if difference is not None:
        print(one_line(f"{_where(difference)}: {difference.field}"))
        print(one_line(f"  was: {difference.was}"))
        print(one_line(f"  is:  {difference.now}"))
        return 1
    inexact = f", {len(result.gaps):,} not exact" if result.gaps else ""
    print(f"{count(result.steps, 'step')}: no difference{inexact}")
    return 0


def _where(each: Gap | Difference) -> str:
    whose = f", '{each.listener}'" if each.listener else ""
    return f"step {each.step} ({when(each.at)}){whose}"
