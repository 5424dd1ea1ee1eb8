"""How long something is kept, or how long ago it was, as people write it: `90s`, `15m`, `12h`, `7d`."""

from __future__ import annotations

PATTERN = "^[1-9][0-9]{0,8}[smhd]$"

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(span: str) -> float:
    """The seconds of a text that `PATTERN` fits."""
    return int(span[:-1]) * _SECONDS[span[-1]]
