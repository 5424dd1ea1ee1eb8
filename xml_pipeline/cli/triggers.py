"""Commands about what fires by itself: `triggers list | fire`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from xml_pipeline.cli.auth import unlock
from xml_pipeline.cli.command import FILE_OPTION, OUT_OF_BUDGET, argument, command, config
from xml_pipeline.cli.history import AS_JSON
from xml_pipeline.errors import AnswerError, RoutingError, no_such
from xml_pipeline.terminal import json_text, plain, table, visible

if TYPE_CHECKING:
    from xml_pipeline.door import Told
    from xml_pipeline.organism import Organism


@command(
    "triggers list",
    "list the triggers of organism.yaml, and when each fires next; imports nothing",
    AS_JSON,
    FILE_OPTION,
)
def list_triggers(arguments: argparse.Namespace) -> int:
    """Print a row for each."""
    import time

    from xml_pipeline.arming.armed import told_of
    from xml_pipeline.composition import triggers_of

    found = config(arguments, "nothing")
    rows = [(each.name, each.to, told_of(each, time.time(), "")) for each in triggers_of(found)]
    if arguments.json:
        print(json_text([dict(zip(("trigger", "door", "next"), row, strict=True)) for row in rows]))
    elif not rows:
        print("no triggers: add some under `triggers:` in organism.yaml")
    else:
        for row in table([("TRIGGER", "DOOR", "NEXT"), *rows], ""):
            print(plain(row).rstrip())
    return 0


@command(
    "triggers fire",
    "let a trigger fire now: in the organism that runs, else alone, and then its answer is printed",
    argument("name", metavar="NAME", help="its name"),
    FILE_OPTION,
)
def fire_trigger(arguments: argparse.Namespace) -> int:
    """Print the conversation, or the answer; 1 when that is an error, 3 when a budget ended it."""
    import asyncio

    from xml_pipeline.cli.ledger import ledger_if_any
    from xml_pipeline.console.signals import live
    from xml_pipeline.console.state_dir import start_log
    from xml_pipeline.door import Told, carried_out
    from xml_pipeline.door.requests import Fire
    from xml_pipeline.organism import Organism

    start_log()
    found, name = config(arguments, "all"), arguments.name
    if name not in Organism.from_config(found).triggers:
        raise RoutingError(no_such("trigger", name, [each.name for each in found.triggers]))
    codes: list[int] = []

    async def alone(request: Fire) -> Told:
        organism = Organism.from_config(found)
        unlock(organism.router)
        codes.append(await live(organism, lambda: _answered(organism, request.trigger)))
        return Told([])

    request, file = Fire(name), ledger_if_any(found)
    told = asyncio.run(alone(request)) if file is None else carried_out(file, request, alone)
    for row in told.rows:
        print(visible(row))
    return codes[0] if codes else 0


async def _answered(organism: Organism, name: str) -> int:
    """Fire, wait for the answer, and print it."""
    from xml_pipeline.console.render import answer, problem

    trigger = organism.triggers[name]
    if trigger.said is None:
        await organism.fire(name)  # it says why not
    visitor = organism.doors.visitor(trigger.to, trigger.caller)
    try:
        given = await visitor.ask(dict(trigger.said or {}))
    except AnswerError as error:
        for row in problem(error.answer):
            print(plain(row), file=sys.stderr)
        return OUT_OF_BUDGET if error.code == "budget" else 1
    for row in answer(given):
        print(plain(row))
    return 0
