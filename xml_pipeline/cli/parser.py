"""All commands, and the parser of their arguments."""

from __future__ import annotations

import argparse
from typing import NoReturn, TypeAlias

from xml_pipeline.cli.auth import list_keys, remove_key, set_key
from xml_pipeline.cli.caps import amend_call, list_caps, reset_cap
from xml_pipeline.cli.check import check
from xml_pipeline.cli.command import Command
from xml_pipeline.cli.crash import crash_test
from xml_pipeline.cli.editing import add_backend, route
from xml_pipeline.cli.history import check_journal, list_dead, log, show, show_dead
from xml_pipeline.cli.inspection import describe, graph, version
from xml_pipeline.cli.keeping import (
    cancel,
    compact_journal,
    drop_dead,
    erase_conversation,
    export_journal,
    retry_dead,
)
from xml_pipeline.cli.ledger import cost, list_calls
from xml_pipeline.cli.llm import ask_model, list_backends, test_backend
from xml_pipeline.cli.locking import lock
from xml_pipeline.cli.migrating import migrate
from xml_pipeline.cli.payloads import payloads
from xml_pipeline.cli.people import answer, questions
from xml_pipeline.cli.project import init
from xml_pipeline.cli.replay import replay
from xml_pipeline.cli.schema import schema
from xml_pipeline.cli.skill import skill
from xml_pipeline.cli.talk import ask, run, send

COMMANDS = (
    run,
    check,
    init,
    lock,
    migrate,
    describe,
    graph,
    payloads,
    schema,
    skill,
    ask,
    send,
    log,
    show,
    replay,
    cancel,
    questions,
    answer,
    list_dead,
    show_dead,
    retry_dead,
    drop_dead,
    check_journal,
    compact_journal,
    export_journal,
    erase_conversation,
    crash_test,
    list_backends,
    ask_model,
    test_backend,
    add_backend,
    route,
    cost,
    list_calls,
    amend_call,
    list_caps,
    reset_cap,
    set_key,
    list_keys,
    remove_key,
    version,
)
"""In the order in which help lists them."""

GROUPS = {
    "llm": "look at the models, try them, and see what they cost",
    "llm caps": "look at the budgets, and begin one anew",
    "auth": "store API keys, list and remove them",
    "dead": "look at messages that ended without a receiver",
    "journal": "look after the journal",
}
"""First words that several commands share, and what those do."""

EXIT_CODES = (
    "exit codes: 0 all is well; 1 mistakes were found, or an answer was an error; 2 the command line itself is"
    " wrong; 3 a budget ended it; 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP"
)


class _Help(argparse.HelpFormatter):
    """One width everywhere, so that help reads the same in a terminal and in the reference."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=100)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors quote no key that stands where none belongs."""

    def error(self, message: str) -> NoReturn:
        from xml_pipeline.keys.names import without_keys

        super().error(without_keys(message))


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets `act` to the function that carries it out."""
    parser = _Parser(
        prog="xml-pipeline",
        description="Run, check and inspect an organism: listeners that exchange typed, validated messages.",
        epilog=EXIT_CODES,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    top = _commands(parser)
    groups: dict[str, _Commands] = {}
    for each in COMMANDS:
        group, _, name = each.name.rpartition(" ")
        _add(_within(groups, group, top), name, each)
    return parser


def _within(groups: dict[str, _Commands], group: str, top: _Commands) -> _Commands:
    """The commands of a group, which may be one of another group's."""
    if not group:
        return top
    if group not in groups:
        above, _, name = group.rpartition(" ")
        groups[group] = _commands(_parser(_within(groups, above, top), name, GROUPS[group]))
    return groups[group]


def _commands(parser: argparse.ArgumentParser) -> _Commands:
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def _add(commands: _Commands, name: str, command: Command) -> None:
    parser = _parser(commands, name, command.does)
    for declare in command.takes:
        declare(parser)
    parser.set_defaults(act=command.act)


def _parser(commands: _Commands, name: str, does: str) -> argparse.ArgumentParser:
    description = f"{does[0].upper()}{does[1:]}."
    return commands.add_parser(
        name, help=does, description=description, formatter_class=_Help, allow_abbrev=False
    )
