"""The variables of a configuration: the process's, over those of a `.env` file."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from xml_pipeline.errors import Problem
from xml_pipeline.regular import bytes_of, unreadable

ENV_FILE = ".env"


def environment(base: Path, environ: Mapping[str, str]) -> tuple[dict[str, str], list[Problem]]:
    """`environ` over what `base/.env` sets, and what is wrong with that file; changes neither.

    A `.env` value is taken as it is written: `${…}` inside it is not replaced, so that keys may hold it.
    """
    path = base / ENV_FILE
    try:
        text = bytes_of(path).decode("utf-8-sig")
    except FileNotFoundError:
        return dict(environ), []
    except (OSError, ValueError) as error:
        return dict(environ), [Problem(unreadable(path, error), "", str(path))]
    from dotenv.parser import parse_stream  # only for who has such a file

    values: dict[str, str] = {}
    problems: list[Problem] = []
    for found in parse_stream(StringIO(text)):
        if found.error:
            message = "is no `NAME=value`; comments begin with `#`"
            problems.append(Problem(message, "", str(path), found.original.line))
        elif found.key is not None and found.value is not None:
            values[found.key] = found.value
    return {**values, **environ}, problems
