"""What a task will cost, before anything is spent: the arithmetic of the bill, with tokens that are estimated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xml_pipeline.llm.accounting.prices import Rates
from xml_pipeline.llm.types import Usage

Caching = Literal["", "5m", "1h"]
"""Whether the beginning of a prompt is kept between calls, and how long: "" for not at all."""


@dataclass(frozen=True, slots=True)
class Trips:
    """Calls of one task, one after the other: a beginning that is always the same, and what is new each time.

    Attributes:
        stable: tokens of the beginning.
        fresh: tokens of each prompt beside it.
        output: tokens of all answers together.
        count: of the calls.
    """

    stable: int
    fresh: int
    output: int
    count: int = 1


def cost(trips: Trips, rates: Rates, caching: Caching = "") -> int:
    """What they cost in micro-USD: the first one writes the beginning to the cache, the others read it there."""
    prompt, written = trips.stable + trips.fresh, trips.stable if caching else 0
    hour = written if caching == "1h" else 0
    first = rates.micro_usd(
        Usage(prompt, trips.output, cache_write_tokens=written, cache_write_1h_tokens=hour)
    )
    later = rates.micro_usd(Usage(prompt, cached_tokens=written))
    return first + later * (trips.count - 1)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a task will come to, before it is begun.

    Attributes:
        listener: who works on it; "" for a single call.
        model, backend: who would be asked first.
        priced_as: whose prices those are; "" when they are unknown.
        input_tokens: of the first prompt, as estimated: what was learned of the model, or else bytes.
        input_at_most: what that can come to at most.
        stable_tokens: of them, the beginning that every call of the task has: what a cache can keep.
        least_cacheable: tokens below which this model's provider caches nothing; None where nobody says.
        caching: whether and how long the beginning would be kept.
        output_cap: tokens that one answer may have.
        turns: calls that the task may need at most.
        usd_short: of one call that the model answers with a word; the prompt is estimated, and may be some tenths off
            while nothing is learned of the model.
        usd_once: of one call with an answer of the usual length (its cap, while nothing is learned).
        usd_most: of all turns, each with the largest prompt and answer that it may have; None when no price is known.
    """

    listener: str
    model: str
    backend: str
    priced_as: str
    input_tokens: int
    input_at_most: int
    stable_tokens: int
    least_cacheable: int | None
    caching: Caching
    output_cap: int
    turns: int
    usd_short: float | None
    usd_once: float | None
    usd_most: float | None

    @property
    def clears(self) -> bool | None:
        """Whether the beginning is long enough to be cached; None where nobody says."""
        return None if self.least_cacheable is None else self.stable_tokens >= self.least_cacheable
