"""The reference page of the command line, written from its parser: `python -m xml_pipeline.cli.reference FILE`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from xml_pipeline.cli.parser import EXIT_CODES, build_parser

_HEAD = """\
# The command line

`xml-pipeline`, also `xp`. This page is written from the parser: `python -m xml_pipeline.cli.reference FILE`.

{exit_codes}.
"""


def reference() -> str:
    """The page, as Markdown."""
    parts = [_HEAD.format(exit_codes=EXIT_CODES[0].upper() + EXIT_CODES[1:])]
    parts += [_section(name, parser) for name, parser in _commands("xml-pipeline", build_parser())]
    return "\n".join(parts)


def _commands(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The commands without commands of their own, in the parser's order."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield name, parser
    for action in below:
        for command, sub_parser in action.choices.items():
            yield from _commands(f"{name} {command}", sub_parser)


def _section(name: str, parser: argparse.ArgumentParser) -> str:
    actions = [
        action
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS
    ]
    usage = " ".join([name, *(_usage(action) for action in sorted(actions, key=_is_positional))])
    rows = [f"- `{_head(action)}`: {action.help}" for action in actions]
    shown = ["", *rows] if rows else []
    return "\n".join([f"## {name}", "", f"    {usage}", "", str(parser.description), *shown, ""])


def _is_positional(action: argparse.Action) -> bool:
    return not action.option_strings


def _usage(action: argparse.Action) -> str:
    if _is_positional(action):
        optional = action.nargs in ("?", argparse.REMAINDER)
        return f"[{action.metavar}]" if optional else str(action.metavar)
    return f"[{_head(action).split(', ')[0]}]"


def _head(action: argparse.Action) -> str:
    if _is_positional(action):
        return str(action.metavar)
    value = "" if action.nargs == 0 else f" {action.metavar or '{' + ','.join(action.choices or ()) + '}'}"
    return ", ".join(f"{flag}{value}" for flag in action.option_strings)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
