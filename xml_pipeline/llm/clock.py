"""The two times that the router reads. Waiting itself is the event loop's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass


def _loop_time() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:  # outside of a loop, as when a command line lists the backends
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Clock:
    """Where times come from.

    Attributes:
        monotonic: seconds of the running event loop, so that deadlines and limits agree with its timers (a test's
            loop with virtual time moves both).
        wall: unix time in seconds; for daily and monthly budgets, price dates and HTTP dates.
    """

    monotonic: Callable[[], float] = _loop_time
    wall: Callable[[], float] = time.time
