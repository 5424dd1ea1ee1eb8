"""The console without prompt_toolkit: line by line, answers on stdout, everything else on stderr."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TextIO

from xml_pipeline.console import overview
from xml_pipeline.console.interrupts import interrupts
from xml_pipeline.console.reader import LineReader
from xml_pipeline.console.session import Console
from xml_pipeline.console.styled import Line, line, plain
from xml_pipeline.organism import Organism

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells know it."""
PROMPT = "> "
HOW_TO_QUIT = "press Ctrl-D or write /quit to leave"

_BOM = b"\xef\xbb\xbf"


class PlainScreen:
    """Lines without styles on two streams."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err

    def show(self, lines: Iterable[Line]) -> None:
        _write(self._out, lines)

    def complain(self, lines: Iterable[Line]) -> None:
        _write(self._err, lines)

    def note(self, lines: Iterable[Line]) -> None:
        _write(self._err, lines)

    def live(self, text: Line) -> None:
        """Whole answers only."""


def _write(stream: TextIO, lines: Iterable[Line]) -> None:
    for each in lines:
        stream.write(plain(each) + "\n")
    stream.flush()


async def run(
    organism: Organism, fd: int, out: TextIO, err: TextIO, *, log: str = "", prompt: bool = False
) -> int:
    """Talk to a running organism until the input ends.

    Args:
        organism: a started one.
        fd: descriptor that lines are read from.
        out: for answers.
        err: for all else.
        log: where the log goes, for error messages.
        prompt: whether a person sits there: a prompt is shown, and Ctrl-C does not end the program.

    Returns:
        0; 1 if any answer was an error or any line could not be understood; 130 after Ctrl-C in a script.
    """
    screen = PlainScreen(out, err)
    screen.note(overview.banner(organism))
    reader = LineReader(fd)
    interrupted = asyncio.Event()
    async with Console(organism, screen, log=log, streaming=False, numbered=prompt) as console:

        def interrupt() -> None:
            if not console.cancel():
                if prompt:
                    screen.note([line(("dim", HOW_TO_QUIT))])
                else:
                    interrupted.set()

        with interrupts(interrupt):
            while not console.quitting and not interrupted.is_set():
                await console.settled()
                if prompt:
                    err.write(PROMPT)
                    err.flush()
                text = await _unless(interrupted, reader.line())
                if not text:
                    break
                _submit(console, text)
            await console.drain()
    if interrupted.is_set():
        return INTERRUPTED
    return 1 if console.failed and not prompt else 0


async def _unless(event: asyncio.Event, line: Coroutine[Any, Any, bytes]) -> bytes:
    """What is read next; b"" when the event comes first."""
    reading = asyncio.create_task(line)
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait([reading, waiting], return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else b""
    finally:
        reading.cancel()
        waiting.cancel()


def _submit(console: Console, data: bytes) -> None:
    try:
        console.submit(data.removeprefix(_BOM).decode())
    except UnicodeDecodeError:
        console.complain([line(("error", "error: this line is not UTF-8 text"))])
