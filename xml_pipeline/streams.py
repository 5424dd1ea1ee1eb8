"""Facts and signals as an async iterator, bounded: a slow reader loses its own oldest ones, and costs no memory."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from xml_pipeline.events import Event

logger = logging.getLogger("xml_pipeline.events")


class EventStream:
    """What `organism.events()` returns; `async for` over it, and `close()` when done before the organism.

    Attributes:
        dropped: how many were lost because they were not read in time.
    """

    def __init__(
        self, limit: int, on_close: Callable[[EventStream], None], check_loop: Callable[[], None]
    ) -> None:
        self.dropped = 0
        self._facts: deque[Event] = deque()
        self._limit = limit
        self._on_close = on_close
        self._check_loop = check_loop  # raises in a loop where nothing would ever ring
        self._closed = False
        self._readers: list[asyncio.Future[None]] = []

    def put(self, event: Event) -> None:
        if len(self._facts) >= self._limit:
            self._facts.popleft()
            self.dropped += 1
            if self.dropped == 1:
                logger.warning("a reader of events is too slow; the oldest of %d are dropped", self._limit)
        self._facts.append(event)
        self._ring()

    def close(self) -> None:
        """Take no more; what was taken can still be read."""
        if not self._closed:
            self._closed = True
            self._on_close(self)
            self._ring()

    def _ring(self) -> None:
        for reader in self._readers:
            if not reader.done():
                reader.set_result(None)
        self._readers.clear()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        self._check_loop()
        while not self._facts:
            if self._closed:
                raise StopAsyncIteration
            reader = asyncio.get_running_loop().create_future()
            self._readers.append(reader)
            await reader
        return self._facts.popleft()

    async def __aenter__(self) -> EventStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
