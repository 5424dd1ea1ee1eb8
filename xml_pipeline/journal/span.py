"""How long something is kept, or how long ago it was, as people write it: `90s`, `15m`, `12h`, `7d`."""

from __future__ import annotations

import re

PATTERN = "^[1-9][0-9]{0,8}[smhd]$"

_SPAN = re.compile(PATTERN)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(span: str) -> float:
    """Its seconds. Raises ValueError: it is no such text."""
    if _SPAN.fullmatch(span) is None:
        raise ValueError(f"{span!r} is no number of seconds, minutes, hours or days")
    return int(span[:-1]) * _SECONDS[span[-1]]
