"""Prices: our sums are those of genai-prices, and unknown is not free."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from math import ceil
from typing import Any

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot
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
    assert ours == rounded_up(theirs.total_price)


def rounded_up(usd: Decimal) -> int:
    return ceil(usd * 1_000_000)


NOW = datetime(2026, 11, 26, 12, 7, tzinfo=UTC)
USAGES = (
    Usage(1_001, 333),
    Usage(70_003, 5_001, 40_007, 20_011, 1_003, cache_write_1h_tokens=7_001),
    Usage(600_001, 3_007, 100_003, 50_021, 2_003, cache_write_1h_tokens=50_021),
)


def every_model() -> Iterator[tuple[Any, Any]]:
    """All models of genai-prices by provider: as it finds them by their own name."""
    snapshot = get_snapshot()
    for provider in snapshot.providers:
        for model in provider.models:
            try:
                yield snapshot.find_provider_model(model.id, None, provider.id, None)
            except LookupError:
                continue


def test_all_that_genai_prices_knows_costs_here_what_it_costs_there() -> None:
    checked = unpriced = 0
    for provider, model in every_model():
        tiers = {word for variant in model.price_variants or () for word in variant.when.values()}
        for tier in ("", *sorted(tiers & {"flex", "priority", "fast", "batch", "default"})):
            rates = TABLE.rates(provider.id, model.id, NOW.timestamp(), tier)
            if rates is None:  # it is priced by the hour, the page or the picture
                prices = model.get_prices(NOW)
                assert prices.input_mtok is None
                assert prices.output_mtok is None
                unpriced += 1
                continue
            context = {"service_tier": tier, "processing": tier, "speed": tier} if tier else None
            for usage in USAGES:
                theirs = model.calc_price(
                    TheirUsage(
                        input_tokens=usage.prompt_tokens,
                        output_tokens=usage.completion_tokens,
                        cache_read_tokens=usage.cached_tokens,
                        cache_write_tokens=usage.cache_write_tokens,
                        cache_write_1h_tokens=usage.cache_write_1h_tokens,
                        output_reasoning_tokens=usage.reasoning_tokens,
                    ),
                    provider,
                    genai_request_timestamp=NOW,
                    price_context=context,
                )
                cost = rates.micro_usd(usage)
                assert cost == rounded_up(theirs.total_price), (provider.id, model.id, tier, usage)
                assert cost <= rates.highest(usage.prompt_tokens, usage.completion_tokens)
            checked += 1
    assert checked > 2000
    assert unpriced < checked / 5


amounts = st.floats(0, 1000, allow_subnormal=False) | st.none()


@given(
    st.builds(
        Price, amounts.filter(lambda each: each is not None), st.floats(0, 1000), amounts, amounts, amounts
    ),
    st.tuples(*(st.integers(0, 10**6) for _ in range(6))),
    st.integers(0, 10**5),
)
def test_what_is_reserved_is_never_less_than_any_use_of_as_many_tokens_costs(
    price: Price, counts: tuple[int, ...], spare: int
) -> None:
    prompt, output, cached, written, reasoning, for_an_hour = counts
    usage = Usage(prompt, output, cached, written, reasoning, cache_write_1h_tokens=for_an_hour)
    rates = PriceTable({"m": price}).rates("", "m", 0)
    assert rates is not None
    assert rates.micro_usd(usage) <= rates.highest(prompt + spare, output + spare)
    assert rates.plain_micro_usd(usage) == rates.micro_usd(Usage(prompt, output))


@pytest.mark.parametrize(
    ("price", "usage", "micro_usd"),
    [
        (Price(0.28, 1), Usage(100_000_000, 0), 28_000_000),  # as it is written, not as floats have it
        (Price(1, 0, cache_write=2), Usage(10, 0, 0, 10, cache_write_1h_tokens=4), 20),
        (Price(1, 0, cache_write=2, cache_write_1h=5), Usage(10, 0, 0, 10, cache_write_1h_tokens=4), 32),
        (Price(1, 0, cache_write_1h=5), Usage(10, 0, 0, 2, cache_write_1h_tokens=9), 18),
    ],
)
def test_own_prices_are_exact_and_know_both_kinds_of_writes(
    price: Price, usage: Usage, micro_usd: int
) -> None:
    rates = PriceTable({"m": price}).rates("", "m", 0)
    assert rates is not None
    assert rates.micro_usd(usage) == micro_usd


async def test_a_tier_has_prices_of_its_own_and_a_name() -> None:
    prices, now = await table({"own": Price(1, 1)}), NOW.timestamp()
    found = {
        tier: prices.rates("openai", "gpt-5.4", now, tier)
        for tier in ("", "default", "flex", "priority", "?")
    }
    costs = {tier: rates.micro_usd(Usage(1_000_000, 0)) for tier, rates in found.items() if rates}
    assert costs == {
        "": 5_000_000,
        "default": 5_000_000,
        "flex": 2_500_000,
        "priority": 5_000_000,
        "?": 5_000_000,
    }
    names = {tier: rates.name for tier, rates in found.items() if rates}
    assert names == {
        "": "openai/gpt-5.4",
        "default": "openai/gpt-5.4",
        "flex": "openai/gpt-5.4 (flex)",
        "priority": "openai/gpt-5.4 (priority)",
        "?": "openai/gpt-5.4",
    }
    own = prices.rates("openai", "own", now, "priority")
    assert own is not None
    assert own.name == "own"


def test_ten_turns_with_a_long_prefix_cost_what_the_price_list_says() -> None:
    rates = TABLE.rates("anthropic", "claude-opus-4-6", NOW.timestamp())
    assert rates is not None
    fixed, fresh, turns = 12_000, 5_000, 10
    plain = turns * rates.micro_usd(Usage(fixed + fresh, 0))
    read = (turns - 1) * rates.micro_usd(Usage(fixed + fresh, 0, fixed))
    minutes = rates.micro_usd(Usage(fixed + fresh, 0, 0, fixed)) + read
    hour = rates.micro_usd(Usage(fixed + fresh, 0, 0, fixed, cache_write_1h_tokens=fixed)) + read
    assert (plain, minutes, hour) == (850_000, 379_000, 424_000)


async def test_a_price_that_changes_with_the_hour_changes_then() -> None:
    prices = await table()
    when = datetime(2026, 3, 12, 23, 59, tzinfo=UTC).timestamp()  # the day before this model got cheaper
    long_prompt = Usage(300_000, 0)
    costs = []
    for seconds in (0, 59, 60):
        rates = prices.rates("anthropic", "claude-opus-4-6", when + seconds)
        assert rates is not None
        costs.append(rates.micro_usd(long_prompt))
    assert costs == [3_000_000, 3_000_000, 1_500_000]


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
