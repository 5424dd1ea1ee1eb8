"""Many deadlines, one timer.

Most deadlines never come: a handler returns long before. So a deadline costs a dict entry, not a timer; the one
timer is set for the earliest there is, and looks again when it rings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any


class Deadlines:
    """Calls back for each thing that was not discarded in time.

    Things with the same number of seconds are kept in the order added, which is the order of their deadlines.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop
        self._context: Context
        self._by_seconds: dict[float, dict[Any, tuple[float, Callable[[Any], None]]]] = {}
        self._seconds: dict[Any, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; deadlines are times of `loop`."""
        self._loop = loop
        self._context = copy_context()  # a timer keeps its context alive, and not that of whoever set it

    def add(self, thing: Any, seconds: float, callback: Callable[[Any], None]) -> None:
        """Call `callback(thing)` in so many seconds, unless it is discarded before."""
        self.discard(thing)  # a new length of time begins now, in its place among the others
        due = self._loop.time() + seconds
        group = self._by_seconds.get(seconds)
        if group is None:
            group = self._by_seconds[seconds] = {}
        group[thing] = (due, callback)
        self._seconds[thing] = seconds
        if self._timer is None or due < self._rings_at:
            self._set(due)

    def discard(self, thing: Any) -> None:
        """Forget a deadline; nothing happens when there is none."""
        seconds = self._seconds.pop(thing, None)
        if seconds is not None:
            group = self._by_seconds[seconds]
            del group[thing]
            if not group:
                del self._by_seconds[seconds]

    def has(self, thing: Any) -> bool:
        """Whether it has a deadline."""
        return thing in self._seconds

    def left(self, thing: Any) -> float | None:
        """Seconds until its deadline; None when it has none."""
        seconds = self._seconds.get(thing)
        return None if seconds is None else self._by_seconds[seconds][thing][0] - self._loop.time()

    def close(self) -> None:
        """Call back nobody any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, due: float) -> None:
        self.close()
        self._rings_at = due
        self._timer = self._loop.call_at(due, self._ring, context=self._context)

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time()
        late = []
        for group in self._by_seconds.values():
            for thing, (due, callback) in group.items():
                if due > now:
                    break
                late.append((thing, callback))
        for thing, _ in late:
            self.discard(thing)
        for thing, callback in late:
            callback(thing)
        if self._timer is None and self._seconds:
            self._set(min(next(iter(group.values()))[0] for group in self._by_seconds.values() if group))
