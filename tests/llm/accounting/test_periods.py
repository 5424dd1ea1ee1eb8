"""Periods of the calendar: whatever the zone, they follow one another without a gap."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline.errors import ConfigError
from xml_pipeline.llm.accounting.periods import ALWAYS, Per, period_of, zone_named

ZONES = ["UTC", "Europe/Zurich", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "America/Sao_Paulo"]


@given(
    per=st.sampled_from(["hour", "day", "week", "month"]),
    when=st.floats(0, 4e9, allow_nan=False),
    zone=st.sampled_from(ZONES),
)
def test_every_moment_has_one_period_and_the_next_begins_where_it_ends(
    per: Any, when: float, zone: str
) -> None:
    where = zone_named(zone)
    period = period_of(per, when, where)
    assert period.holds(when)
    assert period_of(per, period.end, where).start == period.end
    assert period_of(per, period.start, where) == period_of(per, (period.start + when) / 2, where) == period
    assert not period.holds(period.end)
    assert period_of(per, (period.start + when) / 2, where).end == pytest.approx(period.end, abs=1e-3)


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("per", "when", "start", "end"),
    [
        ("hour", "2026-11-26 15:59:59", "2026-11-26 15:00", "2026-11-26 16:00"),
        ("day", "2026-11-26 15:00", "2026-11-26", "2026-11-27"),
        ("week", "2026-11-26 15:00", "2026-11-23", "2026-11-30"),
        ("week", "2027-01-01 00:00", "2026-12-28", "2027-01-04"),
        ("month", "2026-12-31 23:59", "2026-12-01", "2027-01-01"),
        ("month", "2028-02-29 12:00", "2028-02-01", "2028-03-01"),
    ],
)
@pytest.mark.parametrize("zone", ZONES)
def test_they_begin_where_the_calendar_says(per: Per, when: str, start: str, end: str, zone: str) -> None:
    assert period_of(per, at(when, zone), zone_named(zone)) == (at(start, zone), at(end, zone))


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_a_day_on_which_clocks_are_set_is_shorter_or_longer(day: str, hours: int) -> None:
    start, end = period_of("day", at(f"{day} 12:00", "Europe/Zurich"), zone_named("Europe/Zurich"))
    assert end - start == hours * 3600


def test_a_run_is_for_ever() -> None:
    assert period_of("run", 5.0, UTC) == ALWAYS


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "/etc/localtime", "Europe", "a\x00b"])
def test_a_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="there is no time zone"):
        zone_named(name)


def test_zones_are_there() -> None:
    assert set(ZONES) <= available_timezones()
