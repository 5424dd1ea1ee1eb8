"""The terminal as it was, for whoever has no time to leave it in order."""

from __future__ import annotations

import os
from contextlib import suppress

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

_PLAIN = b"\x1b[?2004l\x1b[?25h\x1b[0m\r\n"  # no bracketed paste, a cursor, no colour, a line of its own


class Terminal:
    """The terminal behind the standard input, if there is one, as it was when this was made."""

    def __init__(self) -> None:
        self._before = _modes()

    def restore(self) -> None:
        """Put it back, if somebody has changed it since."""
        if termios is not None and self._before is not None and _modes() != self._before:
            with suppress(OSError, termios.error):
                termios.tcsetattr(0, termios.TCSANOW, self._before)
                os.write(1, _PLAIN)


def _modes() -> list[int | list[bytes | int]] | None:
    if termios is None:
        return None
    try:
        return termios.tcgetattr(0)
    except (OSError, termios.error):  # no terminal, or one that has gone
        return None
