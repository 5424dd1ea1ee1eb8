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
