"""The figures of the last large run (`XP_SLOW_SCALE=1`), written by its tests and told by docs/guarantees.md."""

from __future__ import annotations

import fcntl
import time
import tomllib
from pathlib import Path
from typing import Any

from tests.journal.births import SCALE

FILE = Path(__file__).with_name("last_run.toml")
HEAD = f"# {(__doc__ or '').strip()}\n"


def figures() -> dict[str, dict[str, Any]]:
    return tomllib.loads(FILE.read_text())


def note(part: str, **counts: int) -> None:
    """Write down what a test of a large run counted; a smaller one writes nothing."""
    if SCALE < 1:
        return
    with FILE.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # several parts may run at a time
        found = figures() | {part: {"date": time.strftime("%Y-%m-%d"), **counts}}
        sections = [
            "\n".join([f"[{name}]", *(f"{key} = {_written(value)}" for key, value in section.items())])
            for name, section in sorted(found.items())
        ]
        file.truncate()
        file.write(HEAD + "\n" + "\n\n".join(sections) + "\n")


def _written(value: int | str) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
