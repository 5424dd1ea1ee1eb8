"""Cuts a byte stream into SSE events or NDJSON lines. Pure and bounded.

Server-sent events as in the WHATWG HTML standard §9.2.6: lines end with LF, CRLF or CR (never at U+2028), an
event ends with an empty line, `data:` lines are joined by LF, comments are dropped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from xml_pipeline.errors import MalformedAnswerError

MAX_EVENT_BYTES = 16 * 1024 * 1024

Frame = tuple[str, str]
"""(data, event name)"""


class Framer(ABC):
    """Bytes in, frames out."""

    __slots__ = ()

    @abstractmethod
    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes."""

    @abstractmethod
    def close(self) -> list[Frame]:
        """What the end of the stream completes."""


def _too_long() -> MalformedAnswerError:
    return MalformedAnswerError(f"one event of the stream is longer than {MAX_EVENT_BYTES} bytes")


class LineFramer(Framer):
    """NDJSON: every non-empty line is a frame."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            raise _too_long()
        return [(text, "") for line in lines if (text := line.decode("utf-8", "replace").strip())]

    def close(self) -> list[Frame]:
        return self.feed(b"\n") if self._rest else []


class SSEFramer(Framer):
    """Server-sent events: a frame is an event's data and its name."""

    __slots__ = ("_data", "_event", "_rest", "_size")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._event = ""
        self._size = 0

    def feed(self, data: bytes) -> list[Frame]:
        buffer = self._rest + data if self._rest else data
        if b"\r" in buffer:
            # A CR at the very end may be half of a CRLF: keep it back.
            held = buffer.endswith(b"\r")
            buffer = (buffer[:-1] if held else buffer).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            *lines, self._rest = buffer.split(b"\n")
            if held:
                self._rest += b"\r"
        else:
            *lines, self._rest = buffer.split(b"\n")
        if len(self._rest) + self._size > MAX_EVENT_BYTES:
            raise _too_long()
        frames: list[Frame] = []
        for line in lines:
            if not line:
                self._dispatch(frames)
            elif line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                self._data.append(value)
                self._size += len(value)
            elif line.startswith(b"event:"):
                self._event = line[6:].decode("utf-8", "replace").strip()
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
