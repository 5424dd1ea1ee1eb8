"""`init`: write a small working project."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from xml_pipeline.cli.command import argument, command
from xml_pipeline.errors import ConfigError

FILES = {
    "organism.yaml": "organism.yaml.tmpl",
    "handlers.py": "handlers.py.tmpl",
    "tests/test_organism.py": "test_organism.py.tmpl",
    "pytest.ini": "pytest.ini.tmpl",
    "README.md": "README.md.tmpl",
    ".env.example": "env.example.tmpl",
    ".gitignore": "gitignore.tmpl",
}
"""Path in the project: template beside this module."""


@command(
    "init",
    "make a small working project with its tests",
    argument("directory", metavar="DIR", help="where to put it; nothing that is there is overwritten"),
)
def init(arguments: argparse.Namespace) -> int:
    """Write the files. Raises ConfigError when that would change anything that is there."""
    if not arguments.directory:
        raise ConfigError("the name of the directory is empty; name one, or `.` for the one you are in")
    directory = Path(arguments.directory)
    try:
        name = directory.resolve().name or "organism"
    except OSError as error:
        raise ConfigError(f"{directory} cannot be written: {error.strerror}") from None
    taken = [
        path for path in FILES if os.path.lexists(directory / path)
    ]  # unlike a Path's methods: never raises
    if os.path.lexists(directory) and not os.path.isdir(directory):
        raise ConfigError(f"{directory} is no directory; name one")
    if taken:
        raise ConfigError(
            f"{directory} already holds {', '.join(taken)}; nothing was changed. Name another directory"
        )
    try:
        for path, template in FILES.items():
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_text(template, name), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{error.filename or directory} cannot be written: {error.strerror}") from None
    print(f"{directory} is ready:\n\n    cd {directory}\n    xml-pipeline run\n    pytest")
    return 0


def _text(template: str, name: str) -> str:
    from importlib.resources import files

    text = (files("xml_pipeline.cli") / "skeleton" / template).read_text(encoding="utf-8")
    return text.replace("@NAME@", json.dumps(name, ensure_ascii=False)).replace("@TITLE@", name)
