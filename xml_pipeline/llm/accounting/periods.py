"""The periods of budgets: an hour, a day, a week or a month of the calendar, in a time zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from xml_pipeline.errors import ConfigError, cut

Within: TypeAlias = Literal["call", "conversation"]
"""What may be bounded for itself, however long it lasts."""
Per: TypeAlias = Literal["run", "hour", "day", "week", "month", "call", "conversation"]
ENDLESS: frozenset[Per] = frozenset(("call", "conversation", "run"))
"""Those that no calendar ends."""


class Period(NamedTuple):
    """From a moment to another, in seconds of Unix time; the second one is the next period's.

    Attributes:
        start, end: of it.
    """

    start: float
    end: float

    def holds(self, when: float) -> bool:
        """Whether a moment belongs to it."""
        return self.start <= when < self.end


ALWAYS = Period(float("-inf"), float("inf"))


def period_of(per: Per, when: float, zone: tzinfo = UTC) -> Period:
    """The period that a moment belongs to. A day may have 23 or 25 hours, and a week begins on Monday (ISO 8601)."""
    if per in ENDLESS:
        return ALWAYS
    there = datetime.fromtimestamp(when, zone)
    if per == "hour":  # by the clock there, but never shorter or longer where the clock is set
        start = float(round(when - (there.minute * 60 + there.second + there.microsecond / 1e6)))
        if start > when:  # the last half of a microsecond, which is no longer told there
            start -= 3600
        return Period(start, start + 3600)
    begins, step = _BEGINNINGS[per]
    first = begins(there.replace(hour=0, minute=0, second=0, microsecond=0, fold=0))
    return Period(first.timestamp(), step(first).timestamp())


def _of_week(day: datetime) -> datetime:
    return day - timedelta(days=day.weekday())


def _of_month(day: datetime) -> datetime:
    return day.replace(day=1)


def _next_month(first: datetime) -> datetime:
    return _of_month(first + timedelta(days=32))


# Differences of one zone count by its own clock, so a day after midnight is midnight, whatever happened in between.
_BEGINNINGS: dict[str, tuple[Callable[[datetime], datetime], Callable[[datetime], datetime]]] = {
    "day": (lambda day: day, lambda day: day + timedelta(days=1)),
    "week": (_of_week, lambda first: first + timedelta(days=7)),
    "month": (_of_month, _next_month),
}


def zone_named(name: str) -> tzinfo:
    """A time zone by its name in the IANA database, as `Europe/Zurich`.

    Raises:
        ConfigError: there is none of this name here.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, a path, a directory
        raise ConfigError(
            f"there is no time zone {cut(repr(name))} here; write one as `UTC` or `Europe/Zurich`"
        ) from None
