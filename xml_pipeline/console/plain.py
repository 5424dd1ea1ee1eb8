"""The console without prompt_toolkit: line by line, answers on stdout, everything else on stderr."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TextIO

from xml_pipeline.arming.armed import Armed
from xml_pipeline.console.banner import banner, told_armed
from xml_pipeline.console.renewal import Renewal, looking
from xml_pipeline.console.session import Console
from xml_pipeline.console.signals import interrupts
from xml_pipeline.console.stdin import LINE_BYTES, LineReader
from xml_pipeline.organism import Organism
from xml_pipeline.terminal import Line, line, plain

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells know it."""
PROMPT = "> "
STAYS = "the input has ended, and triggers are armed: a signal ends it (--no-triggers arms none)"
HOW_TO_QUIT = "press Ctrl-D or write /quit to leave"

_BOM = b"\xef\xbb\xbf"


class PlainScreen:
    """Lines without styles on two streams; `unread` is called when the first one takes no more."""

    def __init__(self, out: TextIO, err: TextIO, unread: Callable[[], None]) -> None:
        self._out = out
        self._err = err
        self._unread = unread

    def show(self, lines: Iterable[Line]) -> None:
        self._write(self._out, lines)

    def complain(self, lines: Iterable[Line]) -> None:
        self._write(self._err, lines)

    def note(self, lines: Iterable[Line]) -> None:
        self._write(self._err, lines)

    def live(self, text: Line) -> None:
        """Whole answers only."""

    def prompt(self) -> None:
        """Ask for a line."""
        self._err.write(PROMPT)
        self._err.flush()

    def _write(self, stream: TextIO, lines: Iterable[Line]) -> None:
        try:
            for each in lines:
                stream.write(plain(each) + "\n")
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # what is still buffered goes there
            if stream is self._out:
                if not isinstance(error, BrokenPipeError):  # whoever read it has gone, and knows it
                    self.complain([line(("error", f"error: the output cannot be written: {error.strerror}"))])
                self._unread()


async def run(
    organism: Organism,
    reader: LineReader,
    out: TextIO,
    err: TextIO,
    *,
    log: str = "",
    prompt: bool = False,
    renewal: Renewal | None = None,
    armed: Armed | None = None,
) -> int:
    """Talk to a running organism until the input ends; where triggers are armed and no person types, until a signal.

    Args:
        organism: a started one.
        reader: lines are read from it.
        out: for answers.
        err: for all else.
        log: where the log goes, for error messages.
        prompt: whether a person sits there: a prompt is shown, and Ctrl-C does not end the program.
        renewal: finds another organism to go on with, before the input ends.
        armed: its triggers; None for none.

    Returns:
        0; 1 if any answer was an error or any line could not be understood; 130 after Ctrl-C in a script.
    """
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(code: int) -> None:
        if not ended.done():
            ended.set_result(code)

    screen = PlainScreen(out, err, lambda: end(1))
    async with Console(organism, screen, log=log, streaming=False, person=prompt) as console:
        first = renewal is None or not renewal.times
        screen.note(await banner(organism, armed) if first else told_armed(armed))
        console.go_on()

        def interrupt() -> None:
            if not console.cancel():
                if prompt:
                    screen.note([(), line(HOW_TO_QUIT)])
                    screen.prompt()
                else:
                    end(INTERRUPTED)

        with interrupts(interrupt):
            with looking(renewal, console.tell_mistakes):
                while not (console.quitting or ended.done()):
                    await console.settled()
                    if prompt:
                        screen.prompt()
                    text = await _unless(ended, reader.line())
                    if not text:
                        break
                    _submit(console, text)
            if renewal is not None and renewal.successor is not None:
                await console.give_way()
            else:
                await console.drain()
                if armed is not None and organism.triggers and not (prompt or console.quitting):
                    screen.note([line(("dim", STAYS))])
                    await ended
    if ended.done():
        return ended.result()
    return 1 if console.failed and not prompt else 0


async def _unless(ended: asyncio.Future[int], line: Coroutine[Any, Any, bytes]) -> bytes:
    """What is read next; b"" when it is to end first."""
    reading = asyncio.create_task(line)
    first: list[asyncio.Future[Any]] = [reading, ended]
    try:
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else b""
    finally:
        reading.cancel()


def _submit(console: Console, data: bytes) -> None:
    if len(data) > LINE_BYTES:
        console.complain([line(("error", f"error: this line has more than {LINE_BYTES:,} bytes"))])
        return
    try:
        console.submit(data.removeprefix(_BOM).decode())
    except UnicodeDecodeError:
        console.complain([line(("error", "error: this line is not UTF-8 text"))])
