"""What tokens cost, in integer micro-USD.

Prices come from the configuration's own table first, then from the snapshot that the genai-prices package
carries (nothing is downloaded). A model without a price costs None, never 0.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from xml_pipeline.errors import ConfigError, cut
from xml_pipeline.llm.types import Usage, is_amount

_SCALE = 1_000_000  # a price of 1 USD per million tokens is 1 micro-USD per token; kept in millionths of that
REFRESH_SECONDS = 900.0  # prices may depend on date and hour
_PLENTY = 1 << 40  # tokens; more than any call uses
MAX_REMEMBERED = 4096  # models whose rates are kept ready


@dataclass(frozen=True, slots=True)
class Price:
    """Own price of a model, USD per million tokens.

    Attributes:
        input: uncached input.
        output: output, reasoning included.
        cached: input read from a cache; as `input` when None.
        cache_write: input written to a cache; as `input` when None.

    Raises:
        ConfigError: one of them is no number from 0.
    """

    input: float
    output: float
    cached: float | None = None
    cache_write: float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not ((value is None and each.default is None) or is_amount(value)):
                raise ConfigError(f"a price's {each.name} is a number of USD from 0, not {cut(repr(value))}")


@dataclass(frozen=True, slots=True)
class _Tiers:
    """A price that depends on the length of the prompt: millionths of a micro-USD per token."""

    base: int
    steps: tuple[tuple[int, int], ...] = ()

    def at(self, prompt_tokens: int) -> int:
        price = self.base
        for start, step in self.steps:
            if prompt_tokens > start:
                price = step
        return price


@dataclass(frozen=True, slots=True)
class Rates:
    """The prices of one model, ready for sums of integers.

    Attributes:
        input, output, cached, cache_write: of each kind of token.
        name: whose prices they are, as `openai/gpt-5.4`; of the configuration's own, as it names the model.
    """

    input: _Tiers
    output: _Tiers
    cached: _Tiers
    cache_write: _Tiers
    name: str = ""

    def micro_usd(self, usage: Usage) -> int:
        """The cost of a call in micro-USD, rounded up: thousands of small calls are not free."""
        prompt = usage.prompt_tokens
        cached = min(usage.cached_tokens, prompt)  # both are parts of the prompt, whatever a provider says
        written = min(usage.cache_write_tokens, prompt - cached)
        total = (prompt - cached - written) * self.input.at(prompt)
        total += usage.completion_tokens * self.output.at(prompt)
        if cached:
            total += cached * self.cached.at(prompt)
        if written:
            total += written * self.cache_write.at(prompt)
        return -(-total // _SCALE)

    def output_for(self, micro_usd: int, prompt_tokens: int) -> int:
        """Output tokens that so much money pays for beside the prompt; may be negative."""
        price = self.output.at(prompt_tokens)
        left = micro_usd - self.highest(prompt_tokens, 0)
        return left * _SCALE // price if price else (_PLENTY if left >= 0 else left)

    def highest(self, prompt_tokens: int, completion_tokens: int) -> int:
        """An upper bound of the cost before the call: micro-USD, rounded up."""
        dearest = max(self.input.at(prompt_tokens), self.cache_write.at(prompt_tokens))
        total = prompt_tokens * dearest + completion_tokens * self.output.at(prompt_tokens)
        return -(-total // _SCALE)


FREE = Rates(_Tiers(0), _Tiers(0), _Tiers(0), _Tiers(0), "free")


def _own(price: Price, name: str) -> Rates:
    def tiers(value: float | None) -> _Tiers:
        return _Tiers(round((price.input if value is None else value) * _SCALE))

    return Rates(tiers(price.input), tiers(price.output), tiers(price.cached), tiers(price.cache_write), name)


class PriceTable:
    """Prices by provider and model.

    Args:
        own: exact model name or glob → price; before the snapshot, exact names before globs.
    """

    def __init__(self, own: Mapping[str, Price] | None = None) -> None:
        self._own = {name: _own(price, name) for name, price in (own or {}).items()}
        self._found: dict[tuple[str, str], tuple[float, Rates | None]] = {}
        self._snapshot: Any = None

    def own(self, model: str) -> Rates | None:
        """The configuration's own price of this model, or None."""
        rates = self._own.get(model)
        if rates is None:
            rates = next((own for name, own in self._own.items() if fnmatchcase(model, name)), None)
        return rates

    async def load(self) -> None:
        """Read the snapshot. It costs 0.2 s of imports: in a thread, so that the loop goes on."""
        if self._snapshot is None:
            self._snapshot = await asyncio.to_thread(_load_snapshot)

    def needs_loading(self, provider: str, model: str) -> bool:
        """Whether `load` must come before `rates` for this model."""
        return (
            self._snapshot is None
            and bool(provider)
            and (provider, model) not in self._found
            and self.own(model) is None
        )

    def rates(self, provider: str, model: str, now: float) -> Rates | None:
        """The rates of a model, None when unknown.

        Args:
            provider: its id in genai-prices; "" for none, then only own prices count.
            model: as the provider names it.
            now: unix time in seconds.
        """
        found = self._found.get((provider, model))
        if found is not None and now < found[0]:
            return found[1]
        rates = self.own(model)
        if rates is None and provider and self._snapshot is not None:
            rates = _from_snapshot(self._snapshot, provider, model, now)
        if len(self._found) >= MAX_REMEMBERED:
            self._found.clear()
        self._found[(provider, model)] = (now + REFRESH_SECONDS, rates)
        return rates


def _load_snapshot() -> Any:
    from genai_prices.data_snapshot import get_snapshot

    return get_snapshot()


def _from_snapshot(snapshot: Any, provider: str, model: str, now: float) -> Rates | None:
    try:
        source, info = snapshot.find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    prices = info.get_prices(datetime.fromtimestamp(now, UTC))

    def tiers(price: Any) -> _Tiers | None:
        if price is None:
            return None
        steps = getattr(price, "tiers", None)
        if steps is None:
            return _Tiers(int(price * _SCALE))
        return _Tiers(
            int(price.base * _SCALE), tuple((tier.start, int(tier.price * _SCALE)) for tier in steps)
        )

    plain, output = tiers(prices.input_mtok), tiers(prices.output_mtok)
    if plain is None and output is None:
        return None
    plain = plain or _Tiers(0)
    return Rates(
        plain,
        output or _Tiers(0),
        tiers(prices.cache_read_mtok) or plain,
        tiers(prices.cache_write_mtok) or plain,
        f"{source.id}/{info.id}",
    )
