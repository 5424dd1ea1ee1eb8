"""What all calls of one router share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from random import random as _random

from xml_pipeline.events import Event, Hook
from xml_pipeline.llm.accounting.budgets import BudgetBook
from xml_pipeline.llm.accounting.prices import PriceTable
from xml_pipeline.llm.accounting.usage import UsageTally
from xml_pipeline.llm.clock import Clock
from xml_pipeline.llm.routing.retry import RetryPolicy
from xml_pipeline.llm.routing.strategies import Strategy

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits in time, in seconds.

    Attributes:
        request: one call from its start to its answer, all tries and waits included.
        attempt: one try that does not stream; None for none beside `request`.
        first_token: a stream's first content, of one try.
        idle: between two pieces of a stream.
        hedge_after: start a second try elsewhere when the first has not answered by then; None for never.
    """

    request: float = 600.0
    attempt: float | None = None
    first_token: float = 120.0
    idle: float = 60.0
    hedge_after: float | None = None


class Changes:
    """Lets calls wait until a time, or until any backend's health changes."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Something changed: everybody looks again."""
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done() and not future.get_loop().is_closed():
                future.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Return after so many seconds, or at the next change."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(max(seconds, 0.001), _resolve, future)
        self._waiting.add(future)
        try:
            await future
        finally:
            timer.cancel()
            self._waiting.discard(future)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@dataclass(slots=True, eq=False)
class Core:
    """The shared parts of one router.

    Attributes:
        changes: of any backend's health.
        settlements: of any budget's reservations.
        random: a number in [0, 1), for jitter.
        on_event: the observer, or None.
    """

    strategy: Strategy
    retry: RetryPolicy
    timeouts: Timeouts
    book: BudgetBook
    prices: PriceTable
    clock: Clock = field(default_factory=Clock)
    usage: UsageTally = field(default_factory=UsageTally)
    changes: Changes = field(default_factory=Changes)
    settlements: Changes = field(default_factory=Changes)
    random: Callable[[], float] = _random
    on_event: Hook | None = None

    def emit(self, event: Event) -> None:
        """Tell the observer; its failure changes nothing."""
        if self.on_event is not None:
            try:
                self.on_event(event)
            except Exception:
                logger.exception("an observer of the router failed")
