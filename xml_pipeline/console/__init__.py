"""Talk to an organism: in a terminal, or line by line from a script.

exit_code = asyncio.run(console.main(Organism.from_file("organism.yaml")))
"""

from __future__ import annotations

import io
import os
import sys
from functools import partial
from pathlib import Path
from typing import TextIO

from xml_pipeline.console import plain
from xml_pipeline.console.renewal import Renewal
from xml_pipeline.console.signals import live
from xml_pipeline.console.state_dir import private_file, start_log, state_dir
from xml_pipeline.console.stdin import LineReader
from xml_pipeline.errors import Ended
from xml_pipeline.organism import Organism

__all__ = ["Renewal", "main"]


async def main(organism: Organism, *, log: Path | None = None, renewal: Renewal | None = None) -> int:
    """Start the organism, talk to it on the standard streams, and stop it.

    Args:
        organism: a new one.
        log: file for the library's log; default: in the user's state directory.
        renewal: finds another organism, which takes over: the first one is stopped in order, and the talk goes on.

    Returns:
        The exit code: 0; 1 if, in a script, any answer was an error or any line could not be understood; 130
        after Ctrl-C in a script, 143 after SIGTERM, 129 after SIGHUP. After a signal the process ends in bounded
        time, whatever handlers do: `shutdown_seconds` and ten more.

    Raises:
        ConfigError: the organism cannot start.
    """
    directory = state_dir(os.environ)
    logged = start_log(log)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a letter that it cannot show must not end the talk
    talk, code = _Talk(directory, logged, renewal), 0
    try:
        while True:
            code = await live(organism, partial(talk.once, organism)) or code
            successor = None if renewal is None else renewal.taken()
            if successor is None:
                return code
            organism = successor
    except Ended as ended:
        return ended.code


class _Talk:
    """A talk on the standard streams, with one organism after another."""

    def __init__(self, directory: Path | None, logged: str, renewal: Renewal | None) -> None:
        self._directory = directory
        self._logged = logged
        self._renewal = renewal
        self._reader: LineReader | None = None

    async def once(self, organism: Organism) -> int:
        """With this one, until the talk or the organism is over; the exit code."""
        person = (
            sys.stdin is not None and sys.stdin.isatty() and sys.stdout is not None and sys.stdout.isatty()
        )
        if person and os.environ.get("TERM") != "dumb":
            try:
                from xml_pipeline.console import interactive
            except ImportError:
                pass
            else:
                history = private_file(self._directory, "history") if self._directory is not None else None
                return await interactive.run(
                    organism, history=history, log=self._logged, renewal=self._renewal
                )
        with _nowhere() as nothing:
            if self._reader is None:  # lines that one organism did not come to are the next one's
                self._reader = LineReader((sys.stdin or nothing).fileno())
            out, err = sys.stdout or nothing, sys.stderr or nothing
            return await plain.run(
                organism,
                self._reader,
                out,
                err,
                log=self._logged,
                prompt=person,
                renewal=self._renewal,
            )


def _nowhere() -> TextIO:
    """Stands in for standard streams that are closed."""
    return open(os.devnull, "r+", encoding="utf-8")
