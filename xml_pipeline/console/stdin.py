"""Lines of a file descriptor, in the event loop."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from typing import TypeAlias

_Wanted: TypeAlias = tuple[asyncio.AbstractEventLoop, asyncio.Future[bytes]]

LINE_BYTES = 64_000_000
"""Bytes of a line that are kept, and one more: so much is no message, but input without an end."""

_CHUNK = 65536


class LineReader:
    """Reads lines of `fd` in a daemon thread, one when it is asked for."""

    # asyncio cannot watch regular files, and a buffered reader that is blocked in a thread breaks the
    # interpreter's shutdown; so this reads the descriptor itself.

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._wanted: queue.SimpleQueue[_Wanted] = queue.SimpleQueue()
        self._rest = bytearray()
        self._ended = False
        self._coming: asyncio.Future[bytes] | None = None
        threading.Thread(target=self._serve, name="console lines", daemon=True).start()

    async def line(self) -> bytes:
        """The next line with its newline; `b""` at the end. Of a longer one, the first `LINE_BYTES` + 1 bytes.

        Cancelled, it loses nothing: whoever asks next gets that line.
        """
        if self._coming is None:
            loop = asyncio.get_running_loop()
            self._coming = loop.create_future()
            self._wanted.put((loop, self._coming))
        line = await asyncio.shield(self._coming)
        self._coming = None
        return line

    def _serve(self) -> None:
        while True:
            loop, future = self._wanted.get()
            line = self._read()
            try:
                loop.call_soon_threadsafe(_deliver, future, line)
            except RuntimeError:  # the loop is closed: the program is ending
                return

    def _read(self) -> bytes:
        searched = 0
        while (end := self._rest.find(b"\n", searched)) < 0 and not self._ended:
            del self._rest[LINE_BYTES + 1 :]
            searched = len(self._rest)
            try:
                chunk = os.read(self._fd, _CHUNK)
            except OSError:  # a terminal that was closed
                chunk = b""
            self._ended = not chunk
            self._rest += chunk
        length = end + 1 if end >= 0 else len(self._rest)
        line = bytes(self._rest[: min(length, LINE_BYTES + 1)])
        del self._rest[:length]
        return line


def _deliver(future: asyncio.Future[bytes], line: bytes) -> None:
    if not future.done():
        future.set_result(line)
