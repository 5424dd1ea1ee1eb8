"""`Retry-After` in all its forms, and the providers' rate-limit headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline.llm.http.rate_limit_headers import RateLimits, parse_duration, read_rate_limits, retry_after
from xml_pipeline.llm.routing.retry import RetryPolicy

NOW = 1_795_250_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT", "date": "Sat, 21 Nov 2026 12:00:00 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT", "date": "Sat, 21 Nov 2026 12:00:00 GMT"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Sat, 99 Nov 2026 12:00:30 GMT"}, None),
    ],
)
def test_pitfall_12_every_form_of_retry_after_is_understood(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, now=NOW) == seconds


def test_googles_retry_info_is_in_the_body() -> None:
    body = {"error": {"details": [{"@type": "x"}, {"retryDelay": "17.25s"}]}}
    assert retry_after({}, body) == 17.25
    assert retry_after({}, [body]) == 17.25
    assert retry_after({}, {"error": "text"}) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("120ms", 0.12),
        ("20", 20.0),
        ("", None),
        ("6m!", None),
        ("1d", 86400.0),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


@given(st.text(max_size=30))
def test_nonsense_in_headers_is_never_an_error(text: str) -> None:
    headers = dict.fromkeys(("retry-after", "retry-after-ms", "date", "x-ratelimit-limit-tokens"), text)
    wait = retry_after(headers, now=NOW)
    assert wait is None or wait >= 0
    read_rate_limits({**headers, "x-ratelimit-reset-tokens": text, "x-ratelimit-remaining-tokens": text}, NOW)


def test_openais_headers() -> None:
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert read_rate_limits(headers, NOW) == RateLimits(150000, 149984, 360.0, 60, 59, 1.0)


def test_anthropics_headers() -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:10Z",
        "anthropic-ratelimit-tokens-limit": "40000",
        "anthropic-ratelimit-tokens-remaining": "39000",
        "anthropic-ratelimit-tokens-reset": "2026-11-21T12:00:01Z",
    }
    noon = 1795262400.0
    assert read_rate_limits(headers, noon) == RateLimits(40000, 39000, 1.0, 50, 0, 10.0)


def test_answers_without_such_headers_say_nothing() -> None:
    assert read_rate_limits({"content-type": "application/json"}, NOW) is None


@given(st.integers(1, 50), st.none() | st.floats(0, 1e9), st.floats(0, 1, exclude_max=True))
def test_a_delay_is_never_longer_than_the_cap_nor_shorter_than_a_granted_hint(
    failures: int, hint: float | None, chance: float
) -> None:
    delay = RetryPolicy(3, 1.0, 60.0).delay(failures, hint, lambda: chance)
    assert 0 <= delay <= 60
    assert delay >= min(hint or 0, 60)


def test_backoff_doubles_with_full_jitter() -> None:
    policy = RetryPolicy(3, 1.0, 60.0)
    assert [policy.delay(n, None, lambda: 0.999999) for n in (1, 2, 3, 10)] == pytest.approx(
        [1, 2, 4, 60], rel=1e-3
    )
    assert policy.delay(5, None, lambda: 0.0) == 0
