"""A process in a pseudo-terminal, and what a person types there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.console.processes import ROOT, environment

CTRL_C = "\x03"
CTRL_D = "\x04"
ENTER = "\r"

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
WHERE_IS_THE_CURSOR = "\x1b[6n"
AT_THE_TOP = "\x1b[1;1R"
PATIENCE = 45
"""Seconds without a sign after which nothing more is expected."""


def _keep_output(terminal: int) -> None:
    """Ctrl-C throws away what was written and is not read yet, and that may be what it caused: not here."""
    modes = termios.tcgetattr(terminal)
    modes[3] |= termios.NOFLSH
    termios.tcsetattr(terminal, termios.TCSANOW, modes)


def _control_the_terminal() -> None:
    """So that Ctrl-C is a signal while nobody reads its key."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class RealTerminal:
    """A process in a pseudo-terminal of its own."""

    def __init__(self, state: Path, *arguments: str, **more: str) -> None:
        self._parent, child = pty.openpty()
        _keep_output(child)
        self._seen = ""
        self.output = ""
        self.process = subprocess.Popen(
            [sys.executable, *(arguments or ("-m", "tests.console.talk"))],
            stdin=child,
            stdout=child,
            stderr=child,
            cwd=ROOT,
            env=environment(state, TERM="xterm", **more),
            start_new_session=True,
            preexec_fn=_control_the_terminal,
        )
        os.close(child)

    def __enter__(self) -> RealTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._parent)

    def type(self, text: str) -> None:
        os.write(self._parent, text.encode())

    def until(self, text: str) -> None:
        """Read until it shows `text`, in whatever colours, after what was waited for before."""
        while text not in ESCAPE.sub("", self._seen):
            assert self._read(), self.output
        self._seen = ESCAPE.sub("", self._seen).split(text, 1)[1]

    def _read(self) -> str:
        assert select.select([self._parent], [], [], PATIENCE)[0], self.output
        data = os.read(self._parent, 65536).decode(errors="replace")
        if WHERE_IS_THE_CURSOR in data:
            self.type(AT_THE_TOP)
        self.output += data
        self._seen += data
        return data

    def modes(self) -> list[Any]:
        """How the terminal treats what is typed."""
        return termios.tcgetattr(self._parent)

    def hang_up(self) -> None:
        """As when its window is closed."""
        os.close(self._parent)
        self._parent = os.open(os.devnull, os.O_RDWR)

    def end(self) -> int:
        """Read the rest; the exit code."""
        with suppress(OSError):  # on Linux, what a terminal says whose other side has gone
            while self._read():
                pass
        return self.process.wait(20)
