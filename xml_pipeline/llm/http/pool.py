"""A pool of connections whose stale ones cost nothing. Imports aiohttp: to be imported with the first request.

A server closes a kept connection when it likes, also in the moment in which a request goes out over it. Such a
request was not read; it is sent again over another connection, and counts as one try (RFC 9112 §9.3.1).
"""

from __future__ import annotations

import time
from typing import Any
from weakref import WeakSet

import aiohttp

STALE_SECONDS = 5.0  # a server that closes later has read the request, and perhaps worked on it


class Pool(aiohttp.TCPConnector):
    """Knows which requests go over a connection that carried one before."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._carried: WeakSet[Any] = WeakSet()
        self._on_carried: WeakSet[aiohttp.ClientRequest] = WeakSet()
        self._answers: WeakSet[aiohttp.ClientResponse] = WeakSet()

    def close(self, **how: Any) -> Any:
        """As the base class, which leaves those waiting who read an answer's body: they get an error."""
        for answer in list(self._answers):
            answer.close()
        return super().close(**how)

    async def connect(self, req: aiohttp.ClientRequest, *rest: Any, **more: Any) -> Any:
        """A connection for this request, as the base class gives it."""
        self._on_carried.discard(req)
        connection = await super().connect(req, *rest, **more)
        if connection.protocol in self._carried:
            self._on_carried.add(req)
        else:
            self._carried.add(connection.protocol)
        return connection

    async def send(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """A middleware of the session: send it, until a connection was not stale. A new one cannot be."""
        while True:
            started = time.monotonic()
            try:
                answer = await handler(request)
                self._answers.add(answer)
                return answer
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                late = time.monotonic() - started > STALE_SECONDS
                if late or request not in self._on_carried or getattr(request.body, "consumed", False):
                    raise
                await request.close()  # the first writing of it is over
