"""What providers say about limits in headers: `Retry-After` in all its forms, and what is left of a minute.

Sources: OpenAI `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` with resets as `6m0s` or `120ms`;
Anthropic `anthropic-ratelimit-{requests,tokens,…}-{limit,remaining,reset}` with resets in RFC 3339;
Azure `retry-after-ms`, `x-ms-retry-after-ms`; RFC 9110 §10.2.3 (seconds or HTTP date); Google's
`google.rpc.RetryInfo.retryDelay` (`7s`) in the body.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

LONGEST = 64  # characters of a duration or a count that is read
_DURATION = re.compile(r"(?<!\d)(\d++(?:\.\d++)?+)(ms|us|µs|ns|h|m|s|d)")
MOST_A_MINUTE = 10**12  # tokens or requests; a header that says more is wrong
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, slots=True)
class RateLimits:
    """One answer's view of the limits; None where it says nothing. Resets in seconds from now."""

    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens: float | None = None
    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests: float | None = None


def parse_duration(text: str) -> float | None:
    """`6m0s`, `1.5s`, `120ms`, or plain seconds → seconds; None for anything else."""
    text = text.strip()
    if len(text) > LONGEST:
        return None
    try:
        seconds = float(text)
    except ValueError:
        if not text or _DURATION.sub("", text):
            return None
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))
    return seconds if math.isfinite(seconds) else None


def retry_after(headers: Mapping[str, str], data: Any = None, now: float | None = None) -> float | None:
    """Seconds that the provider asks to wait, never negative; None when it says nothing understandable.

    Args:
        headers: lower-case names.
        data: the parsed error body; only Google's `RetryInfo` is read from it.
        now: unix time, for HTTP dates when the answer has no `date` header; the system's by default.
    """
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        milliseconds = parse_duration(headers.get(name, ""))
        if milliseconds is not None:
            return max(0.0, milliseconds / 1000)
    text = headers.get("retry-after", "")
    seconds = parse_duration(text)
    if seconds is not None:
        return max(0.0, seconds)
    until = _http_date(text)
    if until is not None:
        sent = _http_date(headers.get("date", ""))
        if sent is None:
            sent = time.time() if now is None else now
        return max(0.0, until - sent)
    return _retry_info(data)


def _http_date(text: str) -> float | None:
    if not text:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _retry_info(data: Any) -> float | None:
    if isinstance(data, list) and data:
        data = data[0]
    error = data.get("error") if isinstance(data, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("retryDelay"), str):
            return parse_duration(detail["retryDelay"])
    return None


def _count(text: str | None) -> int | None:
    try:
        count = None if text is None or len(text) > LONGEST else int(float(text))
    except (ValueError, OverflowError):
        return None
    return count if count is not None and 0 <= count <= MOST_A_MINUTE else None


def _reset(text: str | None, now: float) -> float | None:
    if text is None:
        return None
    seconds = parse_duration(text)
    if seconds is None:
        try:
            seconds = datetime.fromisoformat(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds)


_FORMS = ("x-ratelimit-{what}-{unit}", "anthropic-ratelimit-{unit}-{what}")


def read_rate_limits(headers: Mapping[str, str], now: float) -> RateLimits | None:
    """The common forms of rate-limit headers; None when there are none. `now` is unix time in seconds."""
    for form in _FORMS:
        found = [
            tuple(headers.get(form.format(what=what, unit=unit)) for what in ("limit", "remaining", "reset"))
            for unit in ("tokens", "requests")
        ]
        if any(limit for limit, _, _ in found):
            (tokens, left, reset), (requests, left_requests, reset_requests) = found
            return RateLimits(
                *(_count(tokens), _count(left), _reset(reset, now)),
                *(_count(requests), _count(left_requests), _reset(reset_requests, now)),
            )
    return None
