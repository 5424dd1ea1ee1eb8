"""Opaque ids: UUIDs as text (RFC 9562), random ones for what comes from outside, derived ones for what follows.

Whatever a step of the machine makes is named by a digest of the message that caused it and a number. So a rerun
after a crash, a replay under new rules and an idempotency key given to the outside all agree (ADR 10). A digest
tells nothing of what it was made from: who called whom stays private.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2b
from typing import TypeAlias

from msgspec import Struct

IdSource: TypeAlias = Callable[[], str]

_BLOCK = 256


def random_ids(random_bytes: Callable[[int], bytes] = os.urandom) -> IdSource:
    """A source of version 4 UUIDs; `random_bytes` is injected by tests.

    They are cut from one block of random bytes at a time: `uuid.uuid4()` asks the operating system each time and
    builds an object where only text is needed.
    """
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
            except IndexError:  # not looked for before: a handler in a thread may take the last one meanwhile
                refill()

    return take


class DerivedIds(Struct):
    """The ids that follow from a seed, in order: version 8 UUIDs, the same for the same seed for ever."""

    seed: str
    prefix: str = ""
    count: int = 0

    def new_id(self) -> str:
        """The next id."""
        if not self.prefix:
            d = blake2b(self.seed.encode(), digest_size=16).hexdigest()
            self.prefix = f"{d[:8]}-{d[8:12]}-8{d[12:15]}-8{d[15:18]}-{d[18:24]}"
        self.count = count = self.count + 1
        return f"{self.prefix}{count:06x}"
