"""Spreads the requests of a minute, so that a backend never gets a whole minute's share at once.

Providers enforce a limit a minute over shorter periods too: OpenAI says that 60,000 requests a minute may be
enforced as 1,000 a second (https://help.openai.com/en/articles/6891753). The sliding log guarantees the minute; this
leaky bucket in front of it (`aiolimiter.AsyncLimiter`) bounds the burst: a sixth of the limit at once, then the
limit's own rate.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiolimiter import AsyncLimiter

PERIOD = 10.0  # seconds in which a full bucket drains
BUCKETS_FROM = (
    60  # requests a minute; below, a bucket would keep calls apart for seconds that a provider does not
)
_SLACK = 0.001  # seconds; a wait that is rounded down must not be slept twice


class TokenBucket:
    """The burst limit of one backend. `take` only after `ready`, without awaiting in between."""

    __slots__ = ("_limiter", "_loop", "burst")

    def __init__(self, requests_per_minute: int) -> None:
        self.burst = requests_per_minute * PERIOD / 60
        self._limiter: AsyncLimiter | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def ready(self) -> bool:
        """Whether a request may go now."""
        limiter = self._here()
        return limiter is not None and limiter.has_capacity()

    def take(self) -> None:
        """Count one request."""
        limiter = self._here()
        assert limiter is not None
        acquiring = limiter.acquire()
        try:
            acquiring.send(None)  # with capacity it does not suspend: taking it and admitting is one step
        except StopIteration:
            return
        acquiring.close()
        raise AssertionError("taken without asking ready()")

    def wait(self) -> float:
        """Seconds after which a request may surely go, if no other does; 0 when one may now."""
        return 0.0 if self.ready() else PERIOD / self.burst + _SLACK

    def _here(self) -> AsyncLimiter | None:
        """The running loop's bucket (one of aiolimiter belongs to one loop); None outside of any."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return None
        if loop is not self._loop:
            from aiolimiter import AsyncLimiter

            self._loop, self._limiter = loop, AsyncLimiter(self.burst, PERIOD)
        return self._limiter
