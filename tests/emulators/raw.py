"""A server of raw bytes on loopback: for HTTP that no HTTP server would write."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

Play = Callable[["Exchange"], Awaitable[None]]

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Exchange:
    """One request and the connection it came over.

    Attributes:
        number: of the request at this server, from 1.
        connection: of the connection at this server, from 1.
        head, body: of the request.
    """

    def __init__(
        self, writer: asyncio.StreamWriter, number: int, connection: int, head: bytes, body: bytes
    ) -> None:
        self.number = number
        self.connection = connection
        self.head = head
        self.body = body
        self._writer = writer
        self.closed = False

    async def send(self, *pieces: bytes) -> None:
        """Write each piece by itself."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    def close(self) -> None:
        """Close the connection as after `Connection: close`."""
        self.closed = True
        self._writer.close()

    def reset(self) -> None:
        """Close it by a TCP reset."""
        self.closed = True
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self._writer.transport.abort()


class RawServer:
    """`async with RawServer(play)`: `play` answers each request; the connection is kept unless it closes it."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[Exchange] = []
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        connection = self.connections
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                body = await reader.readexactly(int(length[1])) if length else b""
                exchange = Exchange(writer, len(self.requests) + 1, connection, head, body)
                self.requests.append(exchange)
                await self._play(exchange)
                if exchange.closed:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            self._tasks.discard(task)
            writer.close()


def head(
    status: int = 200, *, kind: str = "application/json", length: int | None = None, **headers: str
) -> bytes:
    """The head of an answer; chunked where no length is given."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {kind}"]
    lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; the empty one is the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST = chunk(b"")
