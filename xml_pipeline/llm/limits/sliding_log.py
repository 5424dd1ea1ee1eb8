"""A quantity that may be used at most so much in any 60 seconds. Pure: the caller passes the time.

A sliding log, not a leaky bucket: a bucket that is full allows twice its rate in the first minute, one that is
small delays bursts which the provider would take. An entry counts from its admission for one period, first with
the estimate, then with what was really used; so an entry that used more than reserved is a debt that later ones
wait for, and one that used less is a refund at once.
"""

from __future__ import annotations

from collections import deque

PERIOD = 60.0  # seconds


class Entry:
    """One admission's share of the log."""

    __slots__ = ("amount", "expires", "live")

    def __init__(self, amount: int, expires: float) -> None:
        self.amount = amount
        self.expires = expires
        self.live = True


class SlidingLog:
    """At most `limit` units in any `period` seconds."""

    __slots__ = ("_configured", "_correction", "_entries", "_sum", "limit", "period")

    def __init__(self, limit: int, period: float = PERIOD) -> None:
        if limit < 1:
            raise ValueError(f"a limit is at least 1, not {limit}")
        self.limit = limit
        self.period = period
        self._configured = limit
        self._entries: deque[Entry] = deque()
        self._sum = 0
        self._correction: Entry | None = None

    def used(self, now: float) -> int:
        """Units that count now: reserved, used, and what the provider reported beyond."""
        entries = self._entries
        while entries and entries[0].expires <= now:
            old = entries.popleft()
            old.live = False
            self._sum -= old.amount
        correction = self._correction
        if correction is not None:
            if correction.expires > now:
                return self._sum + correction.amount
            self._correction = None
        return self._sum

    def available(self, now: float) -> int:
        """Units free now; negative in debt."""
        return self.limit - self.used(now)

    def fits(self, amount: int, now: float) -> bool:
        """Whether `amount` would be admitted now; more than the whole limit is treated as the whole."""
        return min(amount, self.limit) <= self.limit - self.used(now)

    def admit(self, amount: int, now: float) -> Entry:
        """Count `amount` from now on (the caller has asked `fits`)."""
        entry = Entry(amount, now + self.period)
        self._entries.append(entry)
        self._sum += amount
        return entry

    def settle(self, entry: Entry, amount: int) -> None:
        """Replace an entry's estimate by what was used."""
        if entry.live:
            self._sum += amount - entry.amount
        entry.amount = amount

    def free_at(self, amount: int, now: float) -> float:
        """When `amount` will fit if nothing else happens; `now` when it does already."""
        needed = min(amount, self.limit) - self.available(now)
        if needed <= 0:
            return now
        entries = list(self._entries)
        if self._correction is not None:
            entries.append(self._correction)
            entries.sort(key=lambda entry: entry.expires)
        for entry in entries:
            needed -= entry.amount
            if needed <= 0:
                return entry.expires
        return now + self.period

    def correct(self, limit: int | None, remaining: int | None, reset: float | None, now: float) -> None:
        """Take over the provider's view where it is stricter than ours.

        Args:
            limit: its limit for a period; a lower one than configured binds.
            remaining: what it says is left.
            reset: seconds until its count starts anew; a period when it does not say.
            now: the time of its answer.
        """
        if limit is not None and limit > 0:
            self.limit = min(self._configured, limit)
        if remaining is None:
            return
        self._correction = None
        missing = self.available(now) - max(0, remaining)
        if missing > 0:
            wait = self.period if reset is None else min(reset, self.period)
            self._correction = Entry(missing, now + wait)
