"""Cuts a byte stream into SSE events or NDJSON lines. Pure, bounded, and linear in what it is fed.

Server-sent events as in the WHATWG HTML standard §9.2.6: lines end with LF, CRLF or CR (never at U+2028), an
event ends with an empty line, `data:` lines are joined by LF, comments and a leading byte order mark are dropped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from codecs import BOM_UTF8

from xml_pipeline.errors import MalformedAnswerError

MAX_EVENT_BYTES = 16 * 1024 * 1024

Frame = tuple[str, str]
"""(data, event name)"""


class Framer(ABC):
    """Bytes in, frames out."""

    __slots__ = ("_begun", "_rest")

    def __init__(self) -> None:
        self._rest = bytearray()  # of a line that has no end yet; it grows in place
        self._begun = False

    @abstractmethod
    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes."""

    @abstractmethod
    def close(self) -> list[Frame]:
        """What the end of the stream completes."""

    def _lines(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes; every byte is looked at once, however small the pieces are."""
        first, *more = data.split(b"\n")
        self._rest += first
        if not more:
            return []
        first, self._rest = bytes(self._rest), bytearray(more.pop())
        if not self._begun:
            self._begun, first = True, first.removeprefix(BOM_UTF8)
        return [first, *more]

    def _check(self, size: int) -> None:
        if size > MAX_EVENT_BYTES:
            raise MalformedAnswerError(f"one event of the stream is longer than {MAX_EVENT_BYTES} bytes")


class LineFramer(Framer):
    """NDJSON: every non-empty line is a frame."""

    __slots__ = ()

    def feed(self, data: bytes) -> list[Frame]:
        lines = self._lines(data)
        self._check(len(self._rest))
        return [(text, "") for line in lines if (text := line.decode("utf-8", "replace").strip())]

    def close(self) -> list[Frame]:
        return self.feed(b"\n") if self._rest else []


class SSEFramer(Framer):
    """Server-sent events: a frame is an event's data and its name."""

    __slots__ = ("_data", "_event", "_returned", "_size")

    def __init__(self) -> None:
        super().__init__()
        self._data: list[bytes] = []
        self._event = ""
        self._size = 0  # of the event so far; each line counts as one byte more
        self._returned = False  # the last byte was a CR: a LF that follows belongs to it

    def feed(self, data: bytes) -> list[Frame]:
        if self._returned and data:
            self._returned, data = False, data.removeprefix(b"\n")
        if b"\r" in data:
            self._returned = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        frames: list[Frame] = []
        for line in self._lines(data):
            if not line:
                self._dispatch(frames)
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
                self._size += len(self._data[-1]) + 1
            elif line.startswith(b"event:"):
                self._event = line[6:].decode("utf-8", "replace").strip()
        self._check(len(self._rest) + self._size)
        return frames

    def close(self) -> list[Frame]:
        """An event without its closing empty line counts: several servers leave it out at the end."""
        frames = self.feed(b"\n") if self._rest else []
        self._dispatch(frames)
        return frames

    def _dispatch(self, frames: list[Frame]) -> None:
        if self._data:
            frames.append((b"\n".join(self._data).decode("utf-8", "replace"), self._event))
            self._data = []
            self._size = 0
        self._event = ""
