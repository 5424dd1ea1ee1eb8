"""When something fires: against a reference that looks at every minute of the clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xml_pipeline.triggers.cron import Cron, Every, moment_of

ZURICH, NEW_YORK = ZoneInfo("Europe/Zurich"), ZoneInfo("America/New_York")
NAMES = {"SUN": 0, "MON": 1, "TUE": 2, "WED": 3, "THU": 4, "FRI": 5, "SAT": 6}
SET = {
    ZURICH: (datetime(2026, 3, 29), datetime(2026, 10, 25)),
    NEW_YORK: (datetime(2026, 3, 8), datetime(2026, 11, 1)),
}
"""The days on which clocks are set forward and back."""


def at(text: str, zone: ZoneInfo = ZURICH, *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def shown(moment: float, zone: ZoneInfo = ZURICH) -> str:
    return datetime.fromtimestamp(moment, zone).isoformat(timespec="minutes")


def moments(cron: Cron, start: float, end: float) -> list[float]:
    found = []
    while (start := cron.after(start)) <= end:
        found.append(start)
    return found


# --- the reference: every minute that the clock could show, and what it stands for ---


def named(text: str, low: int, high: int) -> set[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            numbers = list(range(low, high + 1))
        else:
            begin = NAMES.get(first) if first in NAMES else int(first)
            finish = (NAMES[last] if last in NAMES else int(last)) if last else begin
            assert begin is not None
            assert finish is not None
            numbers = list(range(begin, finish + 1))
        values |= set(numbers[:: int(step or 1)])
    return values


def fitting(text: str) -> Callable[[datetime], bool]:
    minute, hour, day, month, weekday = text.split()
    minutes, hours, months = named(minute, 0, 59), named(hour, 0, 23), named(month, 1, 12)
    days, weekdays = named(day, 1, 31), {each % 7 for each in named(weekday, 0, 6)}
    either = not (day.startswith("*") or weekday.startswith("*"))

    def fits(wall: datetime) -> bool:
        if wall.minute not in minutes or wall.hour not in hours or wall.month not in months:
            return False
        in_month, in_week = wall.day in days, wall.isoweekday() % 7 in weekdays
        return in_month or in_week if either else in_month and in_week

    return fits


def naively(text: str, zone: ZoneInfo, first: datetime, minutes: int) -> list[float]:
    """The moments of `minutes` that the clock shows or skips; each skipped one stands for the next that is there."""
    found: set[float] = set()
    fits = fitting(text)
    for each in range(minutes):
        wall = first + timedelta(minutes=each)
        if fits(wall):
            there = wall
            while there.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) != there:
                there += timedelta(minutes=1)
            found.add(there.replace(tzinfo=zone, fold=0).timestamp())
    return sorted(found)


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    one = st.integers(low, high)
    span = st.tuples(one, one).map(lambda two: f"{min(two)}-{max(two)}")
    stepped = st.tuples(st.one_of(st.just("*"), span), st.integers(1, 40)).map(
        lambda two: f"{two[0]}/{two[1]}"
    )
    part = st.one_of(one.map(str), span, stepped)
    return st.one_of(st.just("*"), st.lists(part, min_size=1, max_size=3).map(",".join))


CRONS = st.tuples(
    numbers(0, 59),
    numbers(0, 23),
    numbers(1, 31),
    numbers(1, 12),
    st.one_of(numbers(0, 7), st.just("MON-FRI")),
).map(" ".join)


@settings(max_examples=30, deadline=None)
@given(CRONS, st.sampled_from([ZURICH, NEW_YORK]), st.sampled_from([0, 1]), st.integers(0, 59))
def test_it_fires_as_often_as_the_reference(text: str, zone: ZoneInfo, which: int, second: int) -> None:
    first = SET[zone][which] - timedelta(hours=3)
    minutes = 30 * 60
    start = moment_of(first, zone) - 60 + second
    end = moment_of(first + timedelta(minutes=minutes - 1), zone)
    expected = [each for each in naively(text, zone, first, minutes) if start < each <= end]
    try:
        found = moments(Cron(text, zone), start, end)
    except ValueError:  # fits no date
        found = []
    assert found == expected


@settings(max_examples=30, deadline=None)
@given(CRONS, st.sampled_from([ZURICH, NEW_YORK]), st.integers(0, 4_000_000_000))
def test_the_next_moment_is_later_and_the_same_from_anywhere_before_it(
    text: str, zone: ZoneInfo, start: int
) -> None:
    try:
        cron = Cron(text, zone)
    except ValueError:
        return
    found = cron.after(start)
    assert found > start
    assert cron.after(found - 0.5) == found
    assert cron.after((start + found) / 2) == found


# --- the days on which clocks are set ---


def test_a_time_that_does_not_exist_fires_once_at_the_next_moment_that_does() -> None:
    cron = Cron("30 2 * * *", ZURICH)
    found = moments(cron, at("2026-03-28 12:00"), at("2026-03-31 12:00"))
    assert [shown(each) for each in found] == [
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
        "2026-03-31T02:30+02:00",
    ]


def test_several_times_that_do_not_exist_are_one_moment() -> None:
    found = moments(Cron("*/15 2,3 * * *", ZURICH), at("2026-03-29 00:00"), at("2026-03-29 12:00"))
    assert [shown(each)[11:16] for each in found] == ["03:00", "03:15", "03:30", "03:45"]


def test_a_time_that_comes_twice_fires_at_its_first_coming() -> None:
    found = moments(Cron("30 2 * * *", ZURICH), at("2026-10-24 12:00"), at("2026-10-26 12:00"))
    assert [shown(each) for each in found] == ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]


def test_the_second_coming_of_an_hour_is_left_out() -> None:
    found = moments(Cron("0,30 * * * *", ZURICH), at("2026-10-25 01:59"), at("2026-10-25 03:30"))
    assert [shown(each) for each in found] == [
        "2026-10-25T02:00+02:00",
        "2026-10-25T02:30+02:00",
        "2026-10-25T03:00+01:00",
        "2026-10-25T03:30+01:00",
    ]
    assert Cron("0,30 * * * *", ZURICH).after(at("2026-10-25 02:10", fold=1)) == at("2026-10-25 03:00")


def test_a_whole_day_that_a_place_left_out() -> None:
    apia = ZoneInfo("Pacific/Apia")  # went over the date line: there was no 30 December 2011
    found = Cron("0 12 30 12 *", apia).after(datetime(2011, 12, 29, tzinfo=apia).timestamp())
    assert datetime.fromtimestamp(found, apia) == datetime(2011, 12, 31, tzinfo=apia)


# --- what the fields mean ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 7 * * MON-FRI", "2026-11-27T07:00"),
        ("0 7 * * SUN", "2026-11-29T07:00"),
        ("0 7 * * 7", "2026-11-29T07:00"),
        ("0 7 * * sat-sun", "2026-11-28T07:00"),
        ("0 0 1 JAN *", "2027-01-01T00:00"),
        ("*/15 9-17 * * *", "2026-11-27T09:00"),
        ("0 0 13 * FRI", "2026-11-27T00:00"),
        ("59 23 29 2 *", "2028-02-29T23:59"),
    ],
)
def test_fields(text: str, expected: str) -> None:
    assert shown(Cron(text, ZURICH).after(at("2026-11-26 20:00")))[:16] == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has 0 fields"),
        ("0 7 * *", "has 4 fields"),
        ("0 0 7 * * *", "has 6 fields; there is none for seconds"),
        ("@daily", "write five fields"),
        ("60 7 * * *", "has '60' as minute; allowed: 0 to 59"),
        ("0 24 * * *", "has '24' as hour"),
        ("0 7 0 * *", "has '0' as day of the month"),
        ("0 7 * 13 *", "has '13' as month; allowed: 1 to 12 or JAN to DEC"),
        ("0 7 * * MON-FRY", "has 'FRY' as day of the week"),
        ("0 7 * * FRI-MON", "ends before it begins"),
        ("*/0 * * * *", "a step is 1 or more"),
        ("5/15 * * * *", "as `5-59/15`"),
        ("0 7 L * *", "has 'L' as day of the month"),
        ("0 7 ? * *", "has '\\?' as day of the month"),
        ("0 7,, * * *", "has '' as hour"),
        ("0 0 30 2 *", "fits no date"),
        ("0 0 31 4,6 *", "fits no date"),
        ("١ 7 * * *", "has '١' as minute"),
        ("* " * 200, "characters"),
    ],
)
def test_what_is_no_cron(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Cron(text, ZURICH)


def test_at_the_end_of_the_calendar_nothing_follows() -> None:
    assert Cron("* * * * *").after(datetime(9999, 12, 31, 23, 59, tzinfo=UTC).timestamp()) == math.inf
    assert Cron("* * * * *").after(1e18) == math.inf


def test_every_so_often_does_not_move() -> None:
    quarter = Every(900.0)
    assert quarter.after(0.0) == 900.0
    assert quarter.after(900.0) == 1800.0
    assert quarter.after(899.5) == 900.0
    assert quarter.after(at("2026-11-26 20:01")) == at("2026-11-26 20:15")
