"""Sizes and times of a pump."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xml_pipeline.errors import ConfigError, Problem, cut
from xml_pipeline.pump.schedule import QUEUES, Scheduling

LONGEST = 10 * 365 * 86_400.0
"""Seconds that stand for ever: an event loop's clock takes no more."""

MOST_PROCESSES = 256
"""Of one organism; each is a Python interpreter of its own, with its memory."""


def seconds(value: object) -> float | None:
    """A length of time as a clock takes it, at most ten years; None for what is none, or no float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    try:
        return float(min(float(value), LONGEST))
    except OverflowError:
        return None


@dataclass(frozen=True, slots=True)
class PumpSettings:
    """Sizes and times of a pump.

    Attributes:
        max_in_flight: messages accepted and not handled yet; the outside waits when it is reached.
        max_concurrent_handlers: handler calls at once, in all.
        max_concurrent_per_agent: handler calls at once of one listener that sets no limit of its own.
        timeout_seconds: for one handler call, of a listener that sets none.
        scheduling: `breadth-first` (fair) or `depth-first` (newest first).
        dead_letters: how many are kept, the newest.
        processes: for `cpu_bound` handlers, at most 256.
    """

    max_in_flight: int = 1000
    max_concurrent_handlers: int = 256
    max_concurrent_per_agent: int = 64
    timeout_seconds: float = 300.0
    scheduling: Scheduling = "breadth-first"
    dead_letters: int = 1000
    processes: int = 2

    @classmethod
    def checked(cls, **values: Any) -> PumpSettings:
        """Settings from a program's arguments. Raises ConfigError naming what is allowed."""
        scheduling = values["scheduling"]
        problems = (
            []
            if scheduling in QUEUES
            else [f"thread_scheduling is '{scheduling}'; allowed: {', '.join(QUEUES)}"]
        )
        for name, value in values.items():
            if name == "scheduling":
                continue
            if seconds(value) is None:
                problems.append(f"{name} is {cut(repr(value))}; it must be a number")
            elif not value > 0:
                problems.append(f"{name} is {value}; it must be greater than 0")
            elif name != "timeout_seconds" and not isinstance(value, int):
                problems.append(f"{name} is {cut(repr(value))}; it must be a whole number")
            elif name == "processes" and value > MOST_PROCESSES:
                problems.append(f"processes is {cut(repr(value))}; allowed: 1 to {MOST_PROCESSES}")
        if problems:
            raise ConfigError([Problem(problem) for problem in problems])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class ConversationLimits:
    """What ends a runaway conversation. Raises ConfigError naming what is allowed.

    Attributes:
        messages: accepted in all its threads.
        depth: calls below calls.
        seconds: in which it has something to do; time in which it only waits for people does not count.
        handovers: of one call, from listener to listener.
    """

    messages: int = 10_000
    depth: int = 64
    seconds: float = 3600.0
    handovers: int = 8

    def __post_init__(self) -> None:
        for name, most in (
            ("messages", self.messages),
            ("depth", self.depth),
            ("handovers", self.handovers),
        ):
            if isinstance(most, bool) or not isinstance(most, int) or most < 1:
                raise ConfigError(f"{name} is {cut(repr(most))}; it must be a whole number greater than 0")
        length = seconds(self.seconds)
        if length is None:
            raise ConfigError(f"seconds is {cut(self.seconds)}; it must be a number that a clock can hold")
        if not length > 0:
            raise ConfigError(f"seconds is {self.seconds}; it must be greater than 0")
        object.__setattr__(self, "seconds", length)
