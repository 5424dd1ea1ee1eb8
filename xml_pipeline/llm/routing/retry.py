"""How long to wait before the same backend is asked again. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The attempts of one request.

    Attributes:
        retries: further attempts after the first, over all backends. Errors that put a backend out and need no
            waiting (a dead key, no credit, an unknown model) are not counted.
        base_delay: seconds; the first backoff is between 0 and this.
        max_delay: seconds; the longest backoff, and the longest wait that a provider's hint is granted.
    """

    retries: int = 3
    base_delay: float = 1.0
    max_delay: float = 60.0

    def delay(self, failures: int, hint: float | None, random: Callable[[], float]) -> float:
        """Seconds to wait after the `failures`-th failure of a backend (from 1): full jitter, or the hint.

        Args:
            failures: of this backend in this request.
            hint: seconds that the provider asked for, or None.
            random: a number in [0, 1).
        """
        backoff = random() * min(self.max_delay, self.base_delay * 2.0 ** min(failures - 1, 32))
        return max(backoff, min(hint or 0.0, self.max_delay))
