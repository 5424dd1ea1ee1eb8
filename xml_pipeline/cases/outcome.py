"""What came of a case."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of one case.

    Attributes:
        problems: what is not as it was expected, each in one line or several; none when it passed.
        trace: what was said, a line each.
        tokens: that models used.
        usd: what they cost; None when a price is not known.
        capped: whether the money for real models was used up, so that the run says nothing of the case.
    """

    problems: tuple[str, ...]
    trace: tuple[str, ...]
    tokens: int = 0
    usd: float | None = 0.0
    capped: bool = False

    @property
    def passed(self) -> bool:
        """Whether all is as it was expected."""
        return not self.problems
