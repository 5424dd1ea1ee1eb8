"""What is due: the last of the times that passed, unless it was missed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from xml_pipeline.triggers.cron import Cron, Every
from xml_pipeline.triggers.trigger import LATE, Due, due

HOURLY = Cron("0 * * * *")


def test_nothing_is_due_before_the_time() -> None:
    assert due(HOURLY, 0.0, 3599.9, "once") is None
    assert due(HOURLY, 3600.0, 7199.9, "once") is None


def test_a_time_is_due_from_then_on_and_missed_a_minute_later() -> None:
    assert due(HOURLY, 0.0, 3600.0, "skip") == Due(3600.0, True)
    assert due(HOURLY, 0.0, 3600.0 + LATE - 1, "skip") == Due(3600.0, True)
    assert due(HOURLY, 0.0, 3600.0 + LATE, "skip") == Due(3600.0, False)
    assert due(HOURLY, 0.0, 3600.0 + LATE, "once") == Due(3600.0, True)


def test_several_times_are_the_last_of_them() -> None:
    assert due(HOURLY, 0.0, 10 * 3600.0 + 5, "skip") == Due(36_000.0, True)
    assert due(Every(1.0), 0.0, 1e9, "once") == Due(1e9, True)
    assert due(Cron("0 0 29 2 *"), 0.0, 1_000_000_000.0, "once") == Due(951_782_400.0, True)


def test_a_clock_that_is_set_back_fires_nothing_again() -> None:
    assert due(HOURLY, 7200.0, 3600.0, "once") is None
    assert due(HOURLY, 7200.0, 7200.0, "once") is None


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([HOURLY, Every(90.0), Cron("*/7 3,4 * * MON"), Cron("0 0 1 1 *")]),
    st.integers(0, 2_000_000_000),
    st.integers(0, 200_000),
)
def test_it_is_the_last_time_until_now(when: Cron | Every, seen: int, further: int) -> None:
    now = float(seen + further)
    found, last, following = due(when, float(seen), now, "once"), None, when.after(seen)
    while following <= now:
        last, following = following, when.after(following)
    assert (found and found.moment) == last
