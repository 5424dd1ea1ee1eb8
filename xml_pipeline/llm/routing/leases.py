"""Which backend a call asks next: leases, until one answers or none is left.

One deadline and one attempt budget hold for the whole call. Another healthy backend comes before waiting; waiting
comes only when none is left, and never after the last attempt or beyond the deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from xml_pipeline.errors import Attempt, BackendError, LLMError
from xml_pipeline.llm.accounting.budgets import Reservation
from xml_pipeline.llm.limits.rate_limiter import Permit
from xml_pipeline.llm.routing.advice import exhausted, timed_out
from xml_pipeline.llm.routing.endpoint import Route
from xml_pipeline.llm.routing.retry import RetryPolicy
from xml_pipeline.llm.routing.strategies import Strategy

if TYPE_CHECKING:
    from xml_pipeline.llm.completion import Completion


class Changes:
    """Lets calls wait until a time, or until something changed."""

    __slots__ = ("_closed", "_waiting")

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed: Callable[[], LLMError] | None = None

    def close(self, error: Callable[[], LLMError]) -> None:
        """Nothing will change any more: who waits gets such an error."""
        self._closed = error
        self.notify()

    def notify(self) -> None:
        """Something changed: everybody looks again."""
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done() and not future.get_loop().is_closed():
                future.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Return after so many seconds, or at the next change.

        Raises:
            LLMError: nothing changes any more.
        """
        self._check()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(max(seconds, 0.001), _resolve, future)
        self._waiting.add(future)
        try:
            await future
        finally:
            timer.cancel()
            self._waiting.discard(future)
        self._check()

    def _check(self) -> None:
        if self._closed is not None:
            raise self._closed()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@dataclass(frozen=True, slots=True)
class Policy:
    """How the calls of one router choose.

    Attributes:
        strategy: orders the backends that could be asked.
        retry: how often again, and when.
        clock: seconds of a monotonic clock.
        random: a number in [0, 1), for jitter.
        changes: of any backend's health.
    """

    strategy: Strategy
    retry: RetryPolicy
    clock: Callable[[], float]
    random: Callable[[], float]
    changes: Changes


class Lease:
    """A backend that may be asked now: a route and its permit, taken in one step.

    Attributes:
        started: when it was taken, in seconds of the router's monotonic clock.
        attempt: which one of its call, from 1.
        held: what its attempt holds of the budgets.
        sent: whether the backend was asked.
        settled: whether its attempt has come to something.
        row: of its attempt in the ledger; 0 while there is none.
        response_id: by which the answer can be fetched, if its backend goes on with it; "" while it has none.
        fetches: whether another life asked, and this attempt only fetches the answer.
    """

    __slots__ = (
        *(
            "attempt",
            "fetches",
            "held",
            "permit",
            "response_id",
            "route",
            "row",
            "sent",
            "settled",
            "started",
        ),
    )

    def __init__(self, route: Route, permit: Permit, started: float, attempt: int) -> None:
        self.route = route
        self.permit = permit
        self.started = started
        self.attempt = attempt
        self.held: Reservation | None = None
        self.sent = False
        self.settled = False
        self.row = 0
        self.response_id = ""
        self.fetches = False


class Leases:
    """The leases of one call, one after the other: `async for lease in leases`.

    `failed` tells of a failure; the next step then raises the call's final error, unless it goes on.

    Attributes:
        attempts: all attempts so far, in the order of their ends.
    """

    __slots__ = (
        "_asked",
        "_counted",
        "_errors",
        "_excluded",
        "_failures",
        "_now",
        "_policy",
        "_retry_at",
        "_taken",
        "attempts",
    )

    def __init__(self, completion: Completion, policy: Policy, now: float) -> None:
        self.attempts: list[Attempt] = []
        self._asked = completion
        self._policy = policy
        self._now = now
        self._counted = 0
        self._taken = 0
        self._errors: list[BackendError] = []
        self._excluded: set[Route] = set()
        self._failures: dict[Route, int] = {}
        self._retry_at: dict[Route, float] = {}

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Lease:
        """The next backend to ask; waits when none is ready.

        Raises:
            BackendError: nothing is left that could answer before the deadline, or the last failure ends the call.
        """
        asked, clock = self._asked, self._policy.clock
        if self._errors:
            self.check()
            self._now = clock()
        while True:
            now = self._now
            choice = self._choose(now)
            if isinstance(choice, Lease):
                return choice
            if isinstance(choice, Route):
                lease = await self._queue(choice)
                if lease is not None:
                    return lease
            elif choice is None or choice > asked.deadline:
                raise exhausted(asked, self.attempts, self._errors)
            else:
                await self._policy.changes.wait(choice - now)
                if clock() >= asked.deadline:
                    raise timed_out(asked, self.attempts, self._errors)
            self._now = clock()

    async def _queue(self, route: Route) -> Lease | None:
        """Stand in a backend's queue; None when the backend went cold meanwhile."""
        asked, policy = self._asked, self._policy
        try:
            async with asyncio.timeout(asked.deadline - self._now) as scope:
                permit = await route.limiter.acquire(asked.expected_tokens(route))
        except TimeoutError:
            if not scope.expired():
                raise
            raise timed_out(asked, self.attempts, self._errors) from None
        now = policy.clock()
        if not route.available(now):
            permit.unused()
            return None
        route.breaker.begin(route.model, now)
        return self._lease(route, permit, now)

    def _lease(self, route: Route, permit: Permit, now: float) -> Lease:
        self._policy.strategy.taken(route)
        self._taken += 1
        return Lease(route, permit, now, self._taken)

    def _choose(self, now: float) -> Lease | Route | float | None:
        """A lease; the route to queue at; the time to look again; or None when nothing is left."""
        asked, order = self._asked, self._policy.strategy.order
        full: Sequence[Route] = ()
        for group in asked.groups:
            # A single backend that nothing speaks against needs no looking at.
            fresh = self._fresh(group, now) if len(group) > 1 or self._errors else group
            for route in order(fresh) if len(fresh) > 1 else fresh:
                permit = route.try_acquire(asked.expected_tokens(route), now)
                if permit is not None:
                    return self._lease(route, permit, now)
            full = full or self._fresh(group, now)
        return min(full, key=self._wait) if full else self._choose_again(now)

    def _fresh(self, group: Sequence[Route], now: float) -> list[Route]:
        """The healthy backends of a group that this call has not tried."""
        failures, excluded = self._failures, self._excluded
        return [
            route
            for route in group
            if route not in failures and route not in excluded and route.available(now)
        ]

    def _wait(self, route: Route) -> tuple[float, float]:
        limiter = route.limiter
        return limiter.expected_wait(
            self._asked.expected_tokens(route)
        ), limiter.waiting / limiter.max_concurrent

    def _choose_again(self, now: float) -> Route | float | None:
        """Everything was tried or is cold: the earliest of them."""
        best: Route | None = None
        earliest: float | None = None
        probing = False
        for route in self._asked.routes():
            ready = None if route in self._excluded else route.breaker.ready_at(route.model, now)
            if ready is None:
                continue
            ready = max(ready, self._retry_at.get(route, now))
            if ready <= now and not route.available(now):
                probing = True
            elif earliest is None or ready < earliest:
                best, earliest = route, ready
        if best is not None and earliest is not None and earliest <= now:
            return best
        if probing:  # the end of the probe wakes us
            return self._asked.deadline if earliest is None else min(earliest, self._asked.deadline)
        return earliest

    def hedge(self, taken: Route) -> Lease | None:
        """A lease on another healthy backend with room right now, beside the one taken."""
        now = self._policy.clock()
        for group in self._asked.groups:
            for route in self._fresh(group, now):
                if route.endpoint is not taken.endpoint:
                    permit = route.try_acquire(self._asked.expected_tokens(route), now)
                    if permit is not None:
                        return self._lease(route, permit, now)
        return None

    def failed(self, route: Route, error: BackendError, now: float) -> None:
        """Remember a failure, and when this backend may be asked again in this call."""
        self._errors.append(error)
        if not error.failover:
            return
        if not error.retryable:
            self._excluded.add(route)
            return
        self._counted += 1
        failures = self._failures[route] = self._failures.get(route, 0) + 1
        self._retry_at[route] = now + self._policy.retry.delay(
            failures, error.retry_after, self._policy.random
        )

    @property
    def last_error(self) -> BackendError | None:
        """Of this call."""
        return self._errors[-1] if self._errors else None

    def check(self) -> None:
        """Raise when the call ends with its last failure, or with one that is the caller's fault."""
        if not self._errors:
            return
        error = next((one for one in self._errors if not one.failover), None)
        if error is not None:
            error.attempts = tuple(self.attempts)
            raise error from None
        if self._counted > self._policy.retry.retries:
            raise exhausted(self._asked, self.attempts, self._errors)

    def tell_others(self) -> None:
        """The health of a backend changed: calls that wait look again."""
        self._policy.changes.notify()

    def timed_out(self) -> BackendError:
        """The error of a call whose deadline passed."""
        return timed_out(self._asked, self.attempts, self._errors)
