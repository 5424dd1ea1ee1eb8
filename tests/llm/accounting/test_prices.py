"""Prices: our sums are those of genai-prices, and unknown is not free."""

from __future__ import annotations

import time

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from hypothesis import given, settings
from hypothesis import strategies as st

from xml_pipeline.llm import Price, Usage
from xml_pipeline.llm.accounting.prices import PriceTable

MODELS = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-2.5-pro"),
    ("x-ai", "grok-4"),
]


async def table(own: dict[str, Price] | None = None) -> PriceTable:
    prices = PriceTable(own)
    await prices.load()
    return prices


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(MODELS),
    st.integers(0, 400_000),
    st.integers(0, 100_000),
    st.integers(0, 100),
    st.integers(0, 100),
)
def test_costs_agree_with_genai_prices(
    model: tuple[str, str], prompt: int, output: int, cached_share: int, written_share: int
) -> None:
    cached = prompt * cached_share // 100
    written = (prompt - cached) * written_share // 100 if model[0] == "anthropic" else 0
    theirs = calc_price(
        TheirUsage(
            input_tokens=prompt, output_tokens=output, cache_read_tokens=cached, cache_write_tokens=written
        ),
        model[1],
        provider_id=model[0],
    )
    rates = TABLE.rates(*model, time.time())
    assert rates is not None
    ours = rates.micro_usd(Usage(prompt, output, cached, written))
    assert ours == pytest.approx(float(theirs.total_price) * 1e6, abs=1)
    assert rates.highest(prompt, output) >= ours - 1


@pytest.fixture(scope="module", autouse=True)
def load_prices() -> None:
    import asyncio

    asyncio.run(TABLE.load())


TABLE = PriceTable()


async def test_own_prices_come_first_exact_names_before_globs() -> None:
    prices = await table({"gpt-4o": Price(1, 1), "gpt-*": Price(2, 2), "local/*": Price(0, 0)})
    for model, expected in (("gpt-4o", 2), ("gpt-4o-mini", 4), ("local/llama", 0)):
        rates = prices.rates("openai", model, 0)
        assert rates is not None
        assert rates.micro_usd(Usage(1, 1)) == expected


async def test_unknown_models_and_providers_have_no_price() -> None:
    prices = await table()
    assert prices.rates("openai", "no-such-model-9", time.time()) is None
    assert prices.rates("no-such-provider", "gpt-4o", time.time()) is None
    assert prices.rates("", "gpt-4o", time.time()) is None


async def test_a_model_that_writes_nothing_has_a_price_all_the_same() -> None:
    rates = (await table()).rates("openai", "text-embedding-3-small", time.time())
    assert rates is not None
    assert rates.micro_usd(Usage(1_000_000, 0)) > 0


async def test_the_snapshot_is_read_only_when_needed() -> None:
    prices = PriceTable({"mine": Price(1, 1)})
    assert not prices.needs_loading("openai", "mine")
    assert not prices.needs_loading("", "gpt-4o")
    assert prices.needs_loading("openai", "gpt-4o")
    await prices.load()
    assert not prices.needs_loading("openai", "gpt-4o")


def test_money_that_is_left_buys_so_much_output() -> None:
    rates = PriceTable({"m": Price(input=2, output=10)}).rates("", "m", 0)
    assert rates is not None
    assert rates.output_for(1000, 100) == 80
    assert rates.highest(100, 80) == 1000
    assert rates.output_for(10, 100) < 0
