"""A time as people type it: how long ago, a day, or a day and a time."""

from __future__ import annotations

import argparse
import time
from datetime import datetime

MOMENT = "`2h` (ago; s, m, h, d), `2026-11-26` or `2026-11-26 12:00`"


def moment(text: str) -> float:
    """A type of `argument`: `90s`, `15m`, `2h` or `7d` ago, or an ISO 8601 day or time; in seconds of Unix time.

    A day begins at its midnight; a time without a zone is one of this machine's.
    """
    from xml_pipeline.journal.span import seconds_of

    try:
        return time.time() - seconds_of(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(f"a time is needed, as {MOMENT}, not {text!r}") from None


def span(text: str) -> float:
    """A type of `argument`: how long, as `90s`, `15m`, `12h` or `7d`; in seconds."""
    from xml_pipeline.journal.span import seconds_of

    try:
        return seconds_of(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"how long is needed, as 90s, 15m, 12h or 7d, not {text!r}"
        ) from None
