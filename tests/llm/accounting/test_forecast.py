"""The arithmetic before: the same as after."""

from __future__ import annotations

import pytest

from xml_pipeline.llm import Price
from xml_pipeline.llm.accounting.forecast import Caching, Trips, cost
from xml_pipeline.llm.accounting.prices import PriceTable

OPUS = Price(5, 25, cached=0.5, cache_write=6.25, cache_write_1h=10)
WEEKLY = Trips(stable=12_000, fresh=5_000, output=50_000, count=10)


@pytest.mark.parametrize(
    ("caching", "usd"),
    [
        ("", 0.85 + 1.25),
        ("5m", 0.1 + 9 * 0.031 + 1.25),
        ("1h", 0.145 + 9 * 0.031 + 1.25),
    ],
)
def test_a_weekly_digest_costs_what_the_provider_s_own_arithmetic_says(caching: Caching, usd: float) -> None:
    rates = PriceTable({"m": OPUS}).own("m")
    assert rates is not None
    assert cost(WEEKLY, rates, caching) == round(usd * 1_000_000)
    assert round(52 * cost(WEEKLY, rates, caching) / 1_000_000) == {"": 109, "5m": 85, "1h": 87}[caching]


async def test_it_is_the_same_with_the_prices_that_are_installed() -> None:
    prices = PriceTable()
    await prices.load()
    rates = prices.rates("anthropic", "claude-opus-4-6", 1_790_000_000)
    assert rates is not None
    assert [round(cost(WEEKLY, rates, caching) / 1_000_000, 2) for caching in ("", "5m", "1h")] == [
        2.10,
        1.63,
        1.67,
    ]


def test_one_trip_only_pays_for_the_writing() -> None:
    rates = PriceTable({"m": OPUS}).own("m")
    assert rates is not None
    once = Trips(12_000, 5_000, 0, 1)
    assert cost(once, rates, "5m") - cost(once, rates) == 12_000 * 1.25
