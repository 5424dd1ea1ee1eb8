"""Steps on their way to the thread that writes: they gather while the event loop makes more (ADR 33)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_LONGEST = 0.02  # seconds for which the first may wait while more come


class Gathering(Generic[T]):
    """Hands over what was added as soon as a turn of the event loop adds nothing, or the first has waited too long.

    Args:
        loop: the event loop in which things are added.
        to: gets them, in order, and whether more will come: the loop is busy.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, to: Callable[[list[T], bool], None]) -> None:
        self._loop = loop
        self._to = to
        self._gathered: list[T] = []
        self._seen = 0  # of them, a turn ago
        self._until = 0.0

    def add(self, one: T) -> None:
        """One more."""
        if not self._gathered:
            self._seen, self._until = 0, self._loop.time() + _LONGEST
            self._loop.call_soon(self._look)
        self._gathered.append(one)

    @property
    def last(self) -> T:
        """What was added last, and is here still."""
        return self._gathered[-1]

    def hand_over(self, more: bool = False) -> None:
        """All that there are, now."""
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._to(gathered, more)

    def _look(self) -> None:
        many = len(self._gathered)
        more = many > self._seen
        if more and self._loop.time() < self._until:
            self._seen = many
            self._loop.call_soon(self._look)
        else:
            self.hand_over(more)
