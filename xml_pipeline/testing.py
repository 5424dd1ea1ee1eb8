"""What tests of an organism need: time that does not pass, events in a list, models that cost nothing.

from xml_pipeline.testing import Recorder, Rule, run_in_virtual_time, scripted_router
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from xml_pipeline.events import Event
from xml_pipeline.llm import Router, forbid_real_requests
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend

if TYPE_CHECKING:
    from xml_pipeline.organism import Organism

__all__ = [
    "Recorder",
    "Rule",
    "ScriptedBackend",
    "VirtualTimeLoop",
    "forbid_real_requests",
    "run_in_virtual_time",
    "scripted_router",
]

T = TypeVar("T")
E = TypeVar("E", bound=Event)


class _SkippingSelector(selectors.DefaultSelector):
    """Where a loop would sleep until its next timer, it moves the loop's clock there instead."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self.loop.elsewhere:
            found = super().select(timeout)
            if not found:
                self.loop.skip(timeout)
            return found
        ready = super().select(0)
        if not ready:
            self.loop.skip(timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while it has nothing to do, and then at once.

    A test of an hour of timeouts takes milliseconds and gives the same result every time. While work of
    `run_in_executor` (`asyncio.to_thread`) is under way, time passes as it does for others. What waits for a
    network, a process or a thread of its own would see all its timeouts pass first.

    Attributes:
        elsewhere: how much work is under way in executors.
    """

    def __init__(self) -> None:
        selector = _SkippingSelector()
        selector.loop = self
        self._virtual_now = 0.0
        self.elsewhere = 0
        super().__init__(selector)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._virtual_now

    def skip(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._virtual_now += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]  # it is generic over what `args` are
        """As every loop's; while it is under way no time is skipped."""
        self.elsewhere += 1
        try:
            future = super().run_in_executor(executor, func, *args)
        except BaseException:
            self.elsewhere -= 1
            raise
        future.add_done_callback(self._back)
        return future

    def _back(self, _: object) -> None:
        self.elsewhere -= 1


def run_in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run(main)` on a `VirtualTimeLoop`."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


class Recorder:
    """All facts and signals of an organism, in order.

    `Recorder(organism)` before the organism starts; then `recorder.of(DeadLettered)`, and so on.
    """

    def __init__(self, organism: Organism) -> None:
        self.events: list[Event] = []
        organism.add_hook(self.events.append)

    def of(self, kind: type[E]) -> list[E]:
        """Those of one kind, oldest first."""
        return [event for event in self.events if isinstance(event, kind)]


def scripted_router(*rules: Rule | str) -> Router:
    """A router whose only model answers by rules, whatever model is asked for.

    Args:
        rules: tried in order; a text alone is the answer to everything. Without rules it repeats the question.
    """
    made = [Rule(reply=rule) if isinstance(rule, str) else rule for rule in rules]
    return Router([ScriptedBackend(rules=made)])
