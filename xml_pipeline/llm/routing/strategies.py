"""In which order the backends that could take a request are asked.

A strategy is any object with `order(candidates)`; give an instance to the router, or register a class in
`STRATEGIES` under a name for YAML. The router takes the first candidate that has room now, and tells the
strategy which one it took.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from xml_pipeline.errors import ConfigError, did_you_mean


class Candidate(Protocol):
    """A backend as a strategy sees it; live values."""

    @property
    def name(self) -> str:
        """The backend's unique name."""

    @property
    def priority(self) -> int:
        """Lower is preferred."""

    @property
    def in_flight(self) -> int:
        """Requests in flight now."""

    @property
    def max_concurrent(self) -> int:
        """Requests it takes at once."""


C = TypeVar("C", bound=Candidate)


class Strategy(Protocol):
    """Orders candidates."""

    def order(self, candidates: Sequence[C]) -> Sequence[C]:
        """The same candidates, the preferred one first. They come sorted by priority, then as configured."""

    def taken(self, candidate: Candidate) -> None:
        """A request goes to this one."""


class Failover:
    """By priority: the second is asked only when the first cannot or may not be."""

    def order(self, candidates: Sequence[C]) -> Sequence[C]:
        return candidates

    def taken(self, candidate: Candidate) -> None:
        """Nothing to remember."""


class _LeastRecent:
    """Remembers when each backend was last taken. Even also while some of them are out."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._count = 0

    def taken(self, candidate: Candidate) -> None:
        self._count += 1
        self._last[candidate.name] = self._count


class RoundRobin(_LeastRecent):
    """Evenly: the one that was not taken for the longest time."""

    def order(self, candidates: Sequence[C]) -> Sequence[C]:
        last = self._last
        return sorted(candidates, key=lambda one: last.get(one.name, 0))


class LeastLoaded(_LeastRecent):
    """The lowest share of in-flight requests in `max_concurrent`; equals in turn."""

    def order(self, candidates: Sequence[C]) -> Sequence[C]:
        last = self._last
        return sorted(candidates, key=lambda one: (one.in_flight / one.max_concurrent, last.get(one.name, 0)))


STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "failover": Failover,
    "round-robin": RoundRobin,
    "least-loaded": LeastLoaded,
}


def strategy_of(strategy: str | Strategy) -> Strategy:
    """The strategy of a name, or the given one.

    Raises:
        ConfigError: there is none of this name; the message has the allowed names and the nearest.
    """
    if not isinstance(strategy, str):
        return strategy
    make = STRATEGIES.get(strategy)
    if make is None:
        hint = did_you_mean(strategy, STRATEGIES, " ({})", cutoff=0.5)
        raise ConfigError(f"no strategy {strategy!r}{hint}; allowed: {', '.join(STRATEGIES)}")
    return make()
