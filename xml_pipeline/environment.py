"""The variables of a configuration: the process's, over those of a `.env` file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xml_pipeline.errors import Problem

ENV_FILE = ".env"


def environment(base: Path, environ: Mapping[str, str]) -> tuple[dict[str, str], list[Problem]]:
    """`environ` over what `base/.env` sets, and what is wrong with that file; changes neither.

    A `.env` value is taken as it is written: `${…}` inside it is not replaced, so that keys may hold it.
    """
    path = base / ENV_FILE
    values: dict[str, str] = {}
    problems: list[Problem] = []
    if path.is_file():
        from dotenv import dotenv_values  # only for who has such a file

        try:
            read = dotenv_values(path, interpolate=False)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            problems.append(Problem(f"cannot be read: {reason}", "", str(path)))
        else:
            values = {name: value for name, value in read.items() if value is not None}
    return {**values, **environ}, problems
