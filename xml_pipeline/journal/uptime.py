"""When an organism was up: time limits count that time, and no other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate


class Uptime:
    """The times between the beginnings and the ends of earlier lives.

    Args:
        lives: when each began and was last seen, in seconds of Unix time, oldest first; none begins before the end of
            the one before it.
    """

    def __init__(self, lives: Sequence[tuple[float, float]] = ()) -> None:
        self._lives = lives
        self._begins = [began for began, _ in lives]
        self._before = [0.0, *accumulate(alive - began for began, alive in lives)]

    def since(self, when: float) -> float:
        """Seconds of lives since `when`, in seconds of Unix time."""
        return self._before[-1] - self._until(when)

    def within(self, spans: Iterable[tuple[float, float | None]]) -> float:
        """Seconds of lives from each `begin` to its `end`; None is now."""
        return sum(self.since(begin) - (0.0 if end is None else self.since(end)) for begin, end in spans)

    def _until(self, when: float) -> float:
        life = bisect_right(self._begins, when) - 1
        if life < 0:
            return 0.0
        began, alive = self._lives[life]
        return self._before[life] + min(when, alive) - began
