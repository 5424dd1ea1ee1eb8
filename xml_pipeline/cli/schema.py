"""`schema`: the JSON Schema of organism.yaml, and of one file with its own names, for editors."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from xml_pipeline.cli.command import argument, command, existing
from xml_pipeline.errors import ConfigError
from xml_pipeline.terminal import json_text, line, plain

MODELINE = "# yaml-language-server: $schema="
"""What editors look for in comments, as https://github.com/redhat-developer/yaml-language-server describes it."""

_MODELINE = re.compile(r"^#\s*yaml-language-server\s*:\s*\$schema=[^\r\n]*", re.MULTILINE)


@command(
    "schema",
    "print the JSON Schema of organism.yaml, for editors; runs no code of the file",
    argument(
        "--for",
        dest="file",
        metavar="FILE",
        help="with the names of this file: its listeners, classes and models are completed where one belongs",
    ),
    argument(
        "--write",
        action="store_true",
        help="with --for: put it beside the file, and say so to editors in the file's first line",
    ),
)
def schema(arguments: argparse.Namespace) -> int:
    """Print it, or write it."""
    from xml_pipeline.config import json_schema
    from xml_pipeline.config.glance import glance

    if arguments.file is None:
        if arguments.write:
            raise ConfigError("--write goes with --for FILE")
        print(json_text(json_schema()))
        return 0
    named = existing(Path(arguments.file))
    seen = glance(named, environ=os.environ)
    if not isinstance(seen.document.data, dict):
        raise ConfigError(seen.document.problems or f"{named} cannot be read, or holds no organism")
    text = json_text(json_schema(seen.names))
    if arguments.write:
        _write(named, text)
    else:
        print(text)
    return 0


def _write(named: Path, text: str) -> None:
    """The schema beside the file; then its name at the head of the file, if it is not there."""
    from xml_pipeline.cli.editing import differences, put, read

    path = named.resolve()  # what a link leads to is written, not the link
    beside = path.with_name(f".{path.stem}.schema.json")
    before = read(path)
    after = with_modeline(before, beside.name)
    written = f"{text}\n"
    try:
        if not beside.exists() or beside.read_bytes() != written.encode():
            made = beside.with_name(f"{beside.name}.{os.getpid()}")
            try:
                made.write_bytes(written.encode())
                made.replace(beside)
            finally:
                made.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{beside} cannot be written: {error.strerror or error}") from None
    if before != after:
        put(path, before, after)
        differences(named, before, after)
    print(plain(line(f"{named.with_name(beside.name)}: written")))


def with_modeline(text: str, schema: str) -> str:
    """The text of a file that names its schema, once, in its first line; all else stays as it is.

    Args:
        text: of the file.
        schema: the schema's file, relative to it.
    """
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    body, first = text.removeprefix(mark), f"{MODELINE}./{schema}"
    if _MODELINE.search(body):
        return mark + _MODELINE.sub(lambda _: first, body, count=1)
    newline = "\r\n" if "\r\n" in body else "\n"
    return f"{mark}{first}{newline}{body}"
