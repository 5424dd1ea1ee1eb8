"""`migrate`: files of former days, brought to the language of today."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from xml_pipeline.cli.command import FILE_ARGUMENT, argument, command, organism_file
from xml_pipeline.cli.editing import differences, put, read
from xml_pipeline.errors import ConfigError
from xml_pipeline.terminal import line, plain


@command(
    "migrate",
    "bring an organism.yaml to the language of this version, and show the difference; comments and layout stay",
    argument(
        "--write", action="store_true", help="write it (default: show the difference, and write nothing)"
    ),
    *FILE_ARGUMENT,
)
def migrate(arguments: argparse.Namespace) -> int:
    """Show or write it; 1 when mistakes are left in what was written."""
    from xml_pipeline.config import load
    from xml_pipeline.config.editing import Uneditable
    from xml_pipeline.config.migrating import migrated

    named = organism_file(arguments)
    changed: list[tuple[Path, str, str]] = []
    for number, path in enumerate([named, *_listener_files(named, arguments.root)]):
        before = read(path.resolve())  # what a link leads to is written, not the link
        try:
            after = migrated(before, whole=number == 0)
        except Uneditable as error:
            raise ConfigError(f"{path} cannot be changed by a command: {error}; change it by hand") from None
        if before != after:
            changed.append((path, before, after))
            differences(path, before, after)
    if not changed:
        print(plain(line(f"{named}: nothing to change")))
    if not arguments.write:
        return 0
    for path, before, after in changed:
        put(path.resolve(), before, after)
    try:
        load(named, root=arguments.root, imports="nothing", llm=arguments.llm)
    except ConfigError as error:
        print("\n".join(plain(line(f"still wrong: {problem}")) for problem in error.problems))
        return 1
    return 0


def _listener_files(named: Path, root: str | None) -> list[Path]:
    """The files of a directory of listeners, where there is one."""
    from xml_pipeline.config import document
    from xml_pipeline.config.files import Surroundings, include_listeners
    from xml_pipeline.environment import environment

    home = named.parent.absolute()
    variables, _ = environment(home, os.environ)
    around = Surroundings(home, home if root is None else Path(root).absolute(), variables)
    found = document.read(read(named), file=str(named), environ=variables, allowance=around.allowance)
    if not isinstance(found.data, dict):
        return []
    return [directory / Path(label).name for label, directory in include_listeners(found, around).items()]
