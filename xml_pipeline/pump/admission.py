"""Backpressure: how many messages are in flight, and who waits outside until there is room."""

from __future__ import annotations

import asyncio
from collections import deque

from xml_pipeline.errors import OrganismClosed


class Admission:
    """Counts messages in flight; the outside waits, first come first served, while there are too many.

    Messages between listeners are counted and never wait: a full queue cannot deadlock a conversation.

    Args:
        most: messages in flight from which on the outside waits.

    Attributes:
        most: as given; a newcomer has to wait while so many are in flight, or while somebody waits (`watched`).
        in_flight: accepted and not handled yet, and places reserved; what waits for a person does not count.
        watched: whether somebody waits for messages to be done: then `settle` has to be called.
        held: whether newcomers wait, however much room there is: what was begun earlier comes first.
    """

    def __init__(self, most: int) -> None:
        self.in_flight = 0
        self.watched = False
        self.most = most
        self.held = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._empty: asyncio.Future[None] | None = None
        self._ahead: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Wait for a place; it is counted in when this returns. Raises OrganismClosed."""
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self.watched = True
        try:
            await place  # whoever makes room has counted us in
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.leave()
            raise

    def settle(self) -> None:
        """Let in as many as there is room for; messages were done, and those that followed are counted."""
        if self._ahead is not None and self.in_flight < self.most:
            if not self._ahead.done():
                self._ahead.set_result(None)
            self._ahead = None
        while self._waiting and self.in_flight < self.most and not self.held:
            place = self._waiting.popleft()
            if not place.done():
                self.in_flight += 1
                place.set_result(None)
        self.watched = bool(self._waiting) or self._empty is not None or self.held
        if not self.in_flight:
            self.hurry()

    @property
    def full(self) -> bool:
        """Whether there is no room."""
        return self.in_flight >= self.most

    def hold(self) -> None:
        """Let newcomers wait until `release`."""
        self.held = self.watched = True

    async def room(self) -> None:
        """Wait until there is room, ahead of all newcomers; it takes no place."""
        if self.full:
            self._ahead = asyncio.get_running_loop().create_future()
            await self._ahead

    def release(self) -> None:
        """Let newcomers in again."""
        self.held = False
        self.settle()

    def leave(self) -> None:
        """Give a reserved place back."""
        self.in_flight -= 1
        self.settle()

    def refuse_all(self) -> None:
        """Whoever waits is told that the organism closes."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_exception(OrganismClosed("the organism is stopping"))

    async def drain(self, seconds: float) -> None:
        """Wait until nothing is in flight, or `seconds` are over, or `hurry` is called."""
        if self.in_flight:
            loop = asyncio.get_running_loop()
            self._empty = loop.create_future()
            self.watched = True
            timer = loop.call_later(seconds, self.hurry)
            try:
                await self._empty
            finally:
                timer.cancel()

    def hurry(self) -> None:
        """Let a `drain` that is going on return now."""
        if self._empty is not None and not self._empty.done():
            self._empty.set_result(None)
