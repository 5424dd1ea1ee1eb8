"""Opaque ids: version 4 UUIDs (RFC 9562), cut from one block of random bytes at a time.

`uuid.uuid4()` asks the operating system each time and builds an object; a hop needs two ids and only text.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeAlias

IdSource: TypeAlias = Callable[[], str]

_BLOCK = 256


def uuid_source(random_bytes: Callable[[int], bytes] = os.urandom) -> IdSource:
    """A source of version 4 UUIDs as text; `random_bytes` is injected by tests."""
    stock: list[str] = []

    def refill() -> None:
        digits = random_bytes(16 * _BLOCK).hex()
        for start in range(0, len(digits), 32):
            d = digits[start : start + 32]
            variant = "89ab"[int(d[16], 16) & 3]
            stock.append(f"{d[:8]}-{d[8:12]}-4{d[13:16]}-{variant}{d[17:20]}-{d[20:]}")

    def take() -> str:
        while True:
            try:
                return stock.pop()
            except IndexError:  # asked for, not looked for: handlers in threads take ids too
                refill()

    return take
