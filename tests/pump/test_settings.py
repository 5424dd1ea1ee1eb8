"""Sizes and times: what is one, and what is told of what is none."""

from __future__ import annotations

import math
from typing import Any

import pytest

from xml_pipeline import ConfigError
from xml_pipeline.pump import ConversationLimits
from xml_pipeline.pump.settings import PumpSettings, seconds

TEN_YEARS = 3650 * 24 * 60 * 60.0
FINE: dict[str, Any] = {
    "max_in_flight": 1,
    "max_concurrent_handlers": 1,
    "max_concurrent_per_agent": 1,
    "timeout_seconds": 0.001,
    "scheduling": "depth-first",
    "dead_letters": 1,
    "processes": 1,
}


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (0, 0.0),
        (1, 1.0),
        (2.5, 2.5),
        (TEN_YEARS - 1, TEN_YEARS - 1),
        (TEN_YEARS + 1, TEN_YEARS),
        (math.inf, TEN_YEARS),
        (-math.inf, -math.inf),
        (math.nan, None),
        (10**400, None),
        (True, None),
        (None, None),
        ("5", None),
    ],
)
def test_a_length_of_time_is_a_number_that_a_clock_can_hold(value: object, length: float | None) -> None:
    assert seconds(value) == length


def test_the_smallest_and_the_most_are_taken() -> None:
    assert PumpSettings.checked(**FINE) == PumpSettings(1, 1, 1, 0.001, "depth-first", 1, 1)
    assert PumpSettings.checked(**{**FINE, "processes": 256}).processes == 256


def test_the_usual_sizes_are_those_of_the_reference() -> None:
    assert PumpSettings() == PumpSettings(1000, 256, 64, 300.0, "breadth-first", 1000, 2)
    assert ConversationLimits() == ConversationLimits(10_000, 64, 3600.0)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("max_in_flight", 0, "max_in_flight is 0; it must be greater than 0"),
        ("timeout_seconds", -1, "timeout_seconds is -1; it must be greater than 0"),
        ("timeout_seconds", "5", "timeout_seconds is '5'; it must be a number"),
        ("processes", 257, "processes is 257; allowed: 1 to 256"),
        ("processes", 1.5, "processes is 1.5"),
        ("scheduling", "random", "thread_scheduling is 'random'; allowed: breadth-first, depth-first"),
    ],
)
def test_what_is_no_size_is_named(key: str, value: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        PumpSettings.checked(**{**FINE, key: value})


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        PumpSettings.checked(**{**FINE, "scheduling": "?", "processes": 0, "dead_letters": None})
    assert len(caught.value.problems) == 3


def test_a_conversation_may_take_at_most_what_a_clock_holds() -> None:
    assert ConversationLimits(seconds=math.inf).seconds == TEN_YEARS
    with pytest.raises(ConfigError, match="it must be a number that a clock can hold"):
        ConversationLimits(seconds=math.nan)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"messages": 0}, "messages is 0; it must be a whole number greater than 0"),
        ({"messages": "10"}, "messages is '10'; it must be a whole number"),
        ({"messages": True}, "messages is True; it must be a whole number"),
        ({"depth": None}, "depth is None; it must be a whole number greater than 0"),
        ({"depth": 1.5}, "depth is 1.5; it must be a whole number greater than 0"),
        ({"seconds": 0}, "seconds is 0; it must be greater than 0"),
        ({"seconds": -1}, "seconds is -1; it must be greater than 0"),
    ],
)
def test_what_is_no_limit_of_a_conversation_is_named(limits: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ConversationLimits(**limits)
