"""Times that come again: five fields of cron in a time zone, or so many seconds.

The fields are read by the clock of the zone. Where that clock is set forward, a time that does not exist stands for
the next moment that does; where it is set back, a time that comes twice stands for its first coming. So each time
that is meant fires once, and no moment twice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_RANGE = re.compile(r"(\*|[A-Za-z0-9]+(?:-[A-Za-z0-9]+)?)(?:/([0-9]{1,3}))?")
_YEARS = (
    28  # after so many the days of the week come again on the same dates, leap days included; but for 2100
)
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
LONGEST = 200
"""Characters of an expression."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    first: int
    last: int
    words: tuple[str, ...] = ()
    first_word: int = 0


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS, 1),
    _Field("day of the week", 0, 7, _DAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """Minutes at which something fires, by the clock of a zone.

    Attributes:
        text: five fields: minute, hour, day of the month, month, day of the week (0 and 7 are Sunday). A field is
            `*`, a number or a name (`MON`, `JAN`), a range `1-5`, any of them with a step `/15` but a number alone,
            or a list of those. Where both days are restricted, either will do, as in every cron.
        zone: whose clock it is.

    Raises:
        ValueError: it is no such text, or no date ever fits.
    """

    text: str
    zone: tzinfo = UTC
    _minutes: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _hours: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _days: frozenset[int] = field(init=False, repr=False, compare=False)
    _months: frozenset[int] = field(init=False, repr=False, compare=False)
    _weekdays: frozenset[int] = field(init=False, repr=False, compare=False)
    _either: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.text) > LONGEST:
            raise ValueError(f"has {len(self.text)} characters; at most {LONGEST} are read")
        texts = self.text.split()
        if len(texts) != len(_FIELDS):
            raise ValueError(_wrong_number(self.text, len(texts)))
        minutes, hours, days, months, weekdays = map(_values, _FIELDS, texts)
        values = {
            "_minutes": tuple(sorted(minutes)),
            "_hours": tuple(sorted(hours)),
            "_days": days,
            "_months": months,
            "_weekdays": frozenset(day % 7 for day in weekdays),
            "_either": not (texts[2].startswith("*") or texts[4].startswith("*")),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if next(self._dates(datetime(2000, 1, 1)), None) is None:
            raise ValueError(f"fits no date: there is no day {texts[2]} in month {texts[3]}")

    def after(self, moment: float) -> float:
        """The first moment after another, both in seconds of Unix time; infinite where the calendar ends."""
        try:
            there = datetime.fromtimestamp(moment, self.zone).replace(tzinfo=None, fold=0)
            # No time by the clock that is earlier comes later: moments do not fall while such times grow.
            for wall in self._walls(there.replace(second=0, microsecond=0)):
                found = moment_of(wall, self.zone)
                if found > moment:
                    return found
        except (OverflowError, ValueError, OSError):  # beyond the year 9999
            pass
        return math.inf

    def shown(self, moment: float) -> str:
        """A moment as a person reads it, by the clock of the zone."""
        return _shown(moment, self.zone)

    def _walls(self, start: datetime) -> Iterator[datetime]:
        """The times by the clock that fit, from one on."""
        for day in self._dates(start):
            for hour in self._hours:
                for minute in self._minutes:
                    wall = day.replace(hour=hour, minute=minute)
                    if wall >= start:
                        yield wall

    def _dates(self, start: datetime) -> Iterator[datetime]:
        """The days that fit, from one on, each as its midnight; none where none fits in so many years."""
        day = start.replace(hour=0, minute=0)
        end = _YEARS * 366
        while end > 0:
            if day.month not in self._months:
                following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
                end -= (following - day).days
                day = following
                continue
            if self._fits(day):
                end = _YEARS * 366
                yield day
            day += _DAY
            end -= 1

    def _fits(self, day: datetime) -> bool:
        in_month, in_week = day.day in self._days, day.isoweekday() % 7 in self._weekdays
        return in_month or in_week if self._either else in_month and in_week


def moment_of(wall: datetime, zone: tzinfo) -> float:
    """When the clock of a zone shows a time: at first, where it does twice; or when it passes it, where it is set.

    Args:
        wall: without a zone.
        zone: whose clock it is.

    Returns:
        Seconds of Unix time.
    """
    early = wall.replace(tzinfo=zone, fold=0)
    found = early.astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None, fold=0) == wall:
        return found.timestamp()
    # The clock was set forward over it: the moment is the one at which that was done.
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    offset = found.astimezone(zone).utcoffset()
    low, high = int(before.timestamp()), int(found.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return float(high)


@dataclass(frozen=True, slots=True)
class Every:
    """Moments at the same distance, counted from 1970-01-01 00:00 UTC, so that a restart does not move them.

    Attributes:
        seconds: from one to the next, 1 or more.
    """

    seconds: float

    def after(self, moment: float) -> float:
        """The first moment after another, both in seconds of Unix time."""
        return (math.floor(moment / self.seconds) + 1) * self.seconds

    def shown(self, moment: float) -> str:
        """A moment as a person reads it."""
        return _shown(moment, UTC)


def _shown(moment: float, zone: tzinfo) -> str:
    if moment == math.inf:
        return "never again"
    return f"{datetime.fromtimestamp(moment, zone):%a %Y-%m-%d %H:%M:%S} {zone}".replace(":00 ", " ", 1)


def _wrong_number(text: str, number: int) -> str:
    if text.startswith("@"):
        return "names a time; write five fields, as `0 0 * * *` for every midnight"
    if number == 6:
        return "has 6 fields; there is none for seconds (or years): minute, hour, day, month, day of the week"
    return f"has {number} fields; five are needed: minute, hour, day, month, day of the week, as `0 7 * * MON-FRI`"


def _values(of: _Field, text: str) -> frozenset[int]:
    """All numbers that a field names."""
    found: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(
                f"has '{part}' as {of.name}; write `*`, a number, `1-5`, `*/15`, or a list of those"
            )
        span, step = match[1], int(match[2] or 1)
        low, dash, high = span.partition("-")
        if span == "*":
            first, last = of.first, of.last - (of.last == 7)
        else:
            first = _number(of, low)
            last = _number(of, high) if dash else first
        if last == 0 and first and of.words is _DAYS:
            last = 7  # a week may end with its Sunday
        if match[2] is not None and not (dash or span == "*"):
            raise ValueError(
                f"has '{part}' as {of.name}; a step goes with `*` or a range, as `{low}-{of.last}/{step}`"
            )
        if step < 1:
            raise ValueError(f"has '{part}' as {of.name}; a step is 1 or more")
        if last < first:
            raise ValueError(f"has '{part}' as {of.name}, which ends before it begins; write two ranges")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(of: _Field, text: str) -> int:
    if text.isascii() and text.isdigit():
        value = int(text)
        if of.first <= value <= of.last:
            return value
    elif text.upper() in of.words:
        return of.words.index(text.upper()) + of.first_word
    words = f" or {of.words[0]} to {of.words[-1]}" if of.words else ""
    raise ValueError(f"has '{text}' as {of.name}; allowed: {of.first} to {of.last}{words}")
