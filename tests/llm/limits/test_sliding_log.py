"""A quantity in any 60 seconds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xml_pipeline.llm.limits.sliding_log import SlidingLog


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 40), st.integers(1, 150), st.integers(0, 200)), max_size=40))
def test_it_agrees_with_counting_by_hand(plan: list[tuple[float, int, int]]) -> None:
    sliding, log, now = SlidingLog(100), [], 0.0
    for pause, estimate, used in plan:
        now += pause
        counted = sum(amount for at, amount in log if at + 60 > now)
        assert sliding.used(now) == counted
        assert sliding.fits(estimate, now) == (counted + min(estimate, 100) <= 100)
        free = sliding.free_at(estimate, now)
        if sliding.fits(estimate, now):
            assert free == now
            entry = sliding.admit(estimate, now)
            sliding.settle(entry, used)
            log.append((now, used))
        elif sum(amount for at, amount in log if at + 60 > free) + min(estimate, 100) > 100:
            pytest.fail("free_at promised room that is not there")


@pytest.mark.parametrize("used", [0, 5, 1000])
def test_what_has_left_the_window_is_settled_without_effect(used: int) -> None:
    sliding = SlidingLog(100)
    old = sliding.admit(80, 0.0)
    assert sliding.used(59.9) == 80
    assert sliding.used(60.0) == 0
    sliding.settle(old, used)
    assert sliding.used(60.0) == 0
    assert sliding.available(61.0) == 100
    sliding.admit(70, 61.0)
    assert sliding.used(62.0) == 70
    assert not sliding.fits(31, 62.0)


def test_a_limit_is_at_least_one() -> None:
    assert SlidingLog(1).fits(1, 0.0)
    for nothing in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            SlidingLog(nothing)


def test_a_providers_limit_binds_where_it_is_stricter_and_says_something() -> None:
    sliding = SlidingLog(100)
    for told, binds in ((40, 40), (0, 40), (-1, 40), (1, 1), (500, 100)):
        sliding.correct(told, None, None, 0.0)
        assert sliding.limit == binds


def test_what_a_provider_says_is_left_counts_until_it_starts_anew() -> None:
    sliding = SlidingLog(100)
    sliding.correct(None, 30, 5.0, 0.0)
    assert [sliding.available(at) for at in (0.0, 4.9, 5.0)] == [30, 30, 100]
    assert sliding.free_at(31, 6.0) == 6.0
    sliding.correct(None, -3, None, 10.0)
    assert [sliding.available(at) for at in (10.0, 69.9, 70.0)] == [0, 0, 100]
    sliding.correct(None, 90, 600.0, 100.0)
    assert sliding.free_at(91, 100.0) == 160.0
    sliding.correct(None, 100, 5.0, 101.0)
    assert sliding.available(101.0) == 100
