"""Talk to an organism: in a terminal, or line by line from a script.

exit_code = asyncio.run(console.main(Organism.from_file("organism.yaml")))
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TextIO

from xml_pipeline.arming.armed import Armed
from xml_pipeline.console import plain
from xml_pipeline.console.signals import live
from xml_pipeline.console.state_dir import private_file, start_log, state_dir
from xml_pipeline.errors import Ended
from xml_pipeline.organism import Organism

__all__ = ["main"]


async def main(organism: Organism, *, log: Path | None = None, armed: Armed | None = None) -> int:
    """Start the organism, talk to it on the standard streams, and stop it.

    Args:
        organism: a new one.
        log: file for the library's log; default: in the user's state directory.
        armed: its triggers, which are armed for as long as the talk lasts; None for none. Where no person types, they
            make it last until a signal ends it.

    Returns:
        The exit code: 0; 1 if, in a script, any answer was an error or any line could not be understood; 130
        after Ctrl-C in a script, 143 after SIGTERM, 129 after SIGHUP. After a signal the process ends in bounded
        time, whatever handlers do: `shutdown_seconds` and ten more.

    Raises:
        ConfigError: the organism cannot start, or a trigger cannot be armed.
    """
    directory = state_dir(os.environ)
    logged = start_log(log)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a letter that it cannot show must not end the talk
    try:
        return await live(organism, partial(_armed, organism, directory, logged, armed))
    except Ended as ended:
        return ended.code


async def _armed(organism: Organism, directory: Path | None, logged: str, armed: Armed | None) -> int:
    async with armed or nullcontext():
        return await _talk(organism, directory, logged, armed)


async def _talk(organism: Organism, directory: Path | None, logged: str, armed: Armed | None) -> int:
    person = sys.stdin is not None and sys.stdin.isatty() and sys.stdout is not None and sys.stdout.isatty()
    if person and os.environ.get("TERM") != "dumb":
        try:
            from xml_pipeline.console import interactive
        except ImportError:
            pass
        else:
            history = private_file(directory, "history") if directory is not None else None
            return await interactive.run(organism, history=history, log=logged, armed=armed)
    with _nowhere() as nothing:
        fd = (sys.stdin or nothing).fileno()
        out, err = sys.stdout or nothing, sys.stderr or nothing
        return await plain.run(organism, fd, out, err, log=logged, prompt=person, armed=armed)


def _nowhere() -> TextIO:
    """Stands in for standard streams that are closed."""
    return open(os.devnull, "r+", encoding="utf-8")
