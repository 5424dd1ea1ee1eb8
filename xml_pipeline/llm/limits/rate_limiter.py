"""A backend's rate limiter: concurrency, requests a minute and tokens a minute, taken together or not at all.

One queue in order of arrival: a large request at its head is not overtaken by small ones. A request is
admitted only when all limits let it in (for requests a minute the token bucket of bursts, too), so nothing is held
while waiting and nothing can be lost when a waiter is cancelled (ADR 8).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from xml_pipeline.llm.http.rate_limit_headers import RateLimits
from xml_pipeline.llm.limits.sliding_log import Entry, SlidingLog
from xml_pipeline.llm.limits.token_bucket import BUCKETS_FROM, TokenBucket


def loop_time() -> float:
    """Seconds of the running event loop, so that limits agree with its timers; of the system outside of any."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:  # as when a command line lists the backends
        return time.monotonic()


class Permit:
    """One admitted request. Leave its `with` block, or call `release`, exactly on every path."""

    __slots__ = ("_entry", "_limiter", "_open", "_request")

    def __init__(self, limiter: RateLimiter, request: Entry | None, entry: Entry | None) -> None:
        self._limiter = limiter
        self._request = request
        self._entry = entry
        self._open = True

    def settle(self, tokens: int) -> None:
        """State what was really used; without this the reservation stands (it may have been billed)."""
        if self._entry is not None:
            self._limiter._settle(self._entry, tokens)

    def unused(self) -> None:
        """No request was sent: give everything back."""
        self.settle(0)
        if self._request is not None:
            self._limiter._unsent(self._request)
        self.release()

    def release(self) -> None:
        """Give the slot back. Idempotent."""
        if self._open:
            self._open = False
            self._limiter._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class RateLimiter:
    """The limits of one backend.

    Attributes:
        max_concurrent: requests in flight at once.
        in_flight: requests in flight now.
        has_rate_limits: whether tokens or requests a minute are limited.
    """

    __slots__ = (
        "_bucket",
        "_clock",
        "_requests",
        "_timer",
        "_tokens",
        "_waiters",
        "has_rate_limits",
        "in_flight",
        "max_concurrent",
    )

    def __init__(
        self,
        *,
        max_concurrent: int,
        tokens_per_minute: int | None = None,
        requests_per_minute: int | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.max_concurrent = max_concurrent
        self.in_flight = 0
        self._tokens = SlidingLog(tokens_per_minute) if tokens_per_minute else None
        self._requests = SlidingLog(requests_per_minute) if requests_per_minute else None
        bucketed = requests_per_minute is not None and requests_per_minute >= BUCKETS_FROM
        self._bucket = TokenBucket(requests_per_minute) if bucketed and requests_per_minute else None
        self._clock = clock or loop_time
        self.has_rate_limits = self._tokens is not None or self._requests is not None
        self._waiters: deque[tuple[asyncio.Future[Permit], int]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return sum(not future.done() for future, _ in self._waiters)

    def tokens_available(self, now: float | None = None) -> int | None:
        """Tokens free in this minute (negative in debt); None without a limit. `now`: of its clock."""
        return None if self._tokens is None else self._tokens.available(self._clock() if now is None else now)

    def requests_available(self) -> int | None:
        """Requests free in this minute; None without a limit."""
        return None if self._requests is None else self._requests.available(self._clock())

    def try_acquire(self, tokens: int, now: float) -> Permit | None:
        """A permit for a request of this estimate if it is let in without waiting; `now`: of its clock."""
        if self._waiters or not self._has_room(tokens, now):
            return None
        return self._admit(tokens, now)

    def expected_wait(self, tokens: int) -> float:
        """Seconds until the rate limits would let this request in; 0 when only concurrency delays it."""
        now = self._clock()
        times = [now]
        if self._tokens is not None:
            times.append(self._tokens.free_at(tokens, now))
        if self._requests is not None:
            times.append(self._requests.free_at(1, now))
        if self._bucket is not None:
            times.append(now + self._bucket.wait())
        return max(times) - now

    async def acquire(self, tokens: int) -> Permit:
        """Wait for room for one request of so many estimated tokens, in order of arrival."""
        permit = self.try_acquire(tokens, self._clock())
        if permit is not None:
            return permit
        future: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        self._waiters.append((future, tokens))
        self._serve()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                future.result().unused()  # admitted in the very step in which the waiter was cancelled
            else:
                future.cancel()
                self._serve()
            raise

    def refuse(self, error: Callable[[], Exception]) -> None:
        """End the wait of all that stand in the queue, each with an error of its own."""
        waiters, self._waiters = self._waiters, deque()
        for future, _ in waiters:
            if not future.done() and not future.get_loop().is_closed():
                future.set_exception(error())
        self._serve()

    def correct(self, limits: RateLimits) -> None:
        """Take over what the provider's headers say where it is stricter."""
        now = self._clock()
        if self._tokens is not None:
            self._tokens.correct(limits.limit_tokens, limits.remaining_tokens, limits.reset_tokens, now)
        if self._requests is not None:
            self._requests.correct(
                limits.limit_requests, limits.remaining_requests, limits.reset_requests, now
            )
        self._serve()

    def _has_room(self, tokens: int, now: float) -> bool:
        if self.in_flight >= self.max_concurrent:
            return False
        return (
            (self._requests is None or self._requests.fits(1, now))
            and (self._tokens is None or self._tokens.fits(tokens, now))
            and (self._bucket is None or self._bucket.ready())
        )

    def _admit(self, tokens: int, now: float) -> Permit:
        self.in_flight += 1
        if self._bucket is not None:
            self._bucket.take()
        request = None if self._requests is None else self._requests.admit(1, now)
        entry = None if self._tokens is None else self._tokens.admit(tokens, now)
        return Permit(self, request, entry)

    def _settle(self, entry: Entry, tokens: int) -> None:
        assert self._tokens is not None
        self._tokens.settle(entry, tokens)
        if self._waiters:
            self._serve()

    def _unsent(self, request: Entry) -> None:
        assert self._requests is not None
        self._requests.settle(request, 0)

    def _release(self) -> None:
        self.in_flight -= 1
        if self._waiters:
            self._serve()

    def _serve(self) -> None:
        """Admit from the head of the queue as far as there is room; set the timer for the rest."""
        waiters, now = self._waiters, self._clock()
        while waiters:
            future, tokens = waiters[0]
            if future.done() or future.get_loop().is_closed():
                waiters.popleft()
            elif self._has_room(tokens, now):
                waiters.popleft()
                future.set_result(self._admit(tokens, now))
            else:
                break
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if waiters and self.in_flight < self.max_concurrent:
            future, tokens = waiters[0]
            delay = max(self.expected_wait(tokens), 0.001)  # a rounded-down delay must not spin
            self._timer = future.get_loop().call_later(delay, self._serve)
