"""A text that does not show itself."""

from __future__ import annotations

MASK = "***"


class Secret(str):
    """A string whose `repr` is masked.

    `str()` and f-strings give the value, because `f"Bearer {self.api_key}"` is how a backend uses its key;
    everything that shows objects (`repr`, dataclass reprs, tracebacks of locals, `%r`) gives `***`.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Secret({MASK!r})" if self else "Secret('')"
