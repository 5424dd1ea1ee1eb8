"""Time, as the pump sees it: injected, so that tests own it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class TimerHandle(Protocol):
    """A timer that can be taken back."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """A monotonic clock in seconds, with timers."""

    def now(self) -> float: ...
    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle: ...


class LoopClock:
    """The running event loop's own time."""

    now = staticmethod(time.monotonic)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, callback)
