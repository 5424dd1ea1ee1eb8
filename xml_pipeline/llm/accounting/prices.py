"""What tokens cost, in integer micro-USD.

Prices come from the configuration's own table first, then from the snapshot that the genai-prices package
carries (nothing is downloaded). A model without a price costs None, never 0.

A price is read once into whole numbers, fine enough for every price that the package has: so sums are exact, and are
rounded once, at their end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from math import ceil
from typing import Any

from xml_pipeline.errors import ConfigError, cut
from xml_pipeline.llm.types import Usage, is_amount

_SCALE = 10**18
"""Parts of a micro-USD that prices are kept in; 1 USD per million tokens is one micro-USD per token."""
REFRESH_SECONDS = 900.0  # prices may depend on date and hour; all of them change on a quarter of an hour
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
        cache_write_1h: input written to a cache for an hour; as `cache_write` when None.
        cache_storage: input that a provider stores by name (Gemini), for each hour; unknown when None.

    Raises:
        ConfigError: one of them is no number from 0.
    """

    input: float
    output: float
    cached: float | None = None
    cache_write: float | None = None
    cache_write_1h: float | None = None
    cache_storage: float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not ((value is None and each.default is None) or is_amount(value)):
                raise ConfigError(f"a price's {each.name} is a number of USD from 0, not {cut(repr(value))}")


@dataclass(frozen=True, slots=True)
class _Tiers:
    """A price that depends on the length of the prompt, for each token."""

    base: int
    steps: tuple[tuple[int, int], ...] = ()

    def at(self, prompt_tokens: int) -> int:
        price = self.base
        for start, step in self.steps:
            if prompt_tokens > start:
                price = step
        return price

    def most(self, prompt_tokens: int) -> int:
        """The highest price of any prompt that is not longer."""
        return max(self.base, *(step for start, step in self.steps if prompt_tokens > start), 0)


@dataclass(frozen=True, slots=True)
class Rates:
    """The prices of one model, ready for sums of integers.

    Attributes:
        input, output, cached, cache_write, cache_write_1h, reasoning: of each kind of token.
        request: of the call itself, whatever it uses.
        name: whose prices they are, as `openai/gpt-5.4`, with the tier where it has prices of its own, as
            `openai/gpt-5.4 (flex)`; of the configuration's own, as it names the model.
        storage: of a token that is stored for an hour; None where nobody says.
    """

    input: _Tiers
    output: _Tiers
    cached: _Tiers
    cache_write: _Tiers
    cache_write_1h: _Tiers
    reasoning: _Tiers
    request: int = 0
    name: str = ""
    storage: int | None = None

    def stored_micro_usd(self, tokens: int, seconds: float) -> int | None:
        """What it costs to store so many tokens for so long, in micro-USD, rounded up; None when unknown."""
        if self.storage is None:
            return None
        return -(-self.storage * tokens * ceil(seconds) // (3600 * _SCALE))

    def micro_usd(self, usage: Usage) -> int:
        """The cost of a call in micro-USD, rounded up: thousands of small calls are not free."""
        prompt = usage.prompt_tokens
        cached = min(usage.cached_tokens, prompt)  # both are parts of the prompt, whatever a provider says
        written = min(usage.cache_write_tokens, prompt - cached)
        total = self.request + (prompt - cached - written) * self.input.at(prompt)
        if cached:
            total += cached * self.cached.at(prompt)
        if written:
            hour = min(usage.cache_write_1h_tokens, written)
            total += hour * self.cache_write_1h.at(prompt) + (written - hour) * self.cache_write.at(prompt)
        if self.reasoning is self.output:
            total += usage.completion_tokens * self.output.at(prompt)
        else:
            reasoning = min(usage.reasoning_tokens, usage.completion_tokens)
            total += (usage.completion_tokens - reasoning) * self.output.at(prompt)
            total += reasoning * self.reasoning.at(prompt)
        return -(-total // _SCALE)

    def plain_micro_usd(self, usage: Usage) -> int:
        """What the call would have cost with nothing read from a cache and nothing written to one; as `micro_usd`."""
        return self.micro_usd(replace(usage, cached_tokens=0, cache_write_tokens=0))

    @property
    def free(self) -> bool:
        """Whether nothing costs anything."""
        kinds = (*self._prompts, self.output, self.reasoning)
        return not self.request and not any(
            kind.base or any(step for _, step in kind.steps) for kind in kinds
        )

    @property
    def _prompts(self) -> tuple[_Tiers, ...]:
        return self.input, self.cached, self.cache_write, self.cache_write_1h

    def output_for(self, micro_usd: int, prompt_tokens: int) -> int:
        """Output tokens that so much money pays for beside the prompt; may be negative."""
        if self.free:
            return _PLENTY
        price = max(self.output.most(prompt_tokens), self.reasoning.most(prompt_tokens))
        left = micro_usd - self.highest(prompt_tokens, 0)
        return left * _SCALE // price if price else (_PLENTY if left >= 0 else left)

    def highest(self, prompt_tokens: int, completion_tokens: int) -> int:
        """An upper bound of the cost before the call, whatever its tokens turn out to be: micro-USD, rounded up."""
        dearest = max(kind.most(prompt_tokens) for kind in self._prompts)
        answer = max(self.output.most(prompt_tokens), self.reasoning.most(prompt_tokens))
        total = self.request + prompt_tokens * dearest + completion_tokens * answer
        return -(-total // _SCALE)


_NOTHING = _Tiers(0)
FREE = Rates(*(_NOTHING,) * 6, name="free", storage=0)


def _exact(price: object) -> int:
    """A price in USD per million tokens, as it is written, per token; rounded up beyond what is kept."""
    return ceil(Decimal(str(price)) * _SCALE)


def _own(price: Price, name: str) -> Rates:
    def tiers(value: float | None, usual: _Tiers) -> _Tiers:
        return usual if value is None else _Tiers(_exact(value))

    plain, output = _Tiers(_exact(price.input)), _Tiers(_exact(price.output))
    written = tiers(price.cache_write, plain)
    cached, hour = tiers(price.cached, plain), tiers(price.cache_write_1h, written)
    storage = None if price.cache_storage is None else _exact(price.cache_storage)
    return Rates(plain, output, cached, written, hour, output, name=name, storage=storage)


class PriceTable:
    """Prices by provider and model.

    Args:
        own: exact model name or glob → price; before the snapshot, exact names before globs.
    """

    def __init__(self, own: Mapping[str, Price] | None = None) -> None:
        self._own = {name: _own(price, name) for name, price in (own or {}).items()}
        self._found: dict[tuple[str, str, str], tuple[float, Rates | None]] = {}
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
            and (provider, model, "") not in self._found
            and self.own(model) is None
        )

    def rates(self, provider: str, model: str, now: float, tier: str = "") -> Rates | None:
        """The rates of a model, None when unknown.

        Args:
            provider: its id in genai-prices; "" for none, then only own prices count.
            model: as the provider names it.
            now: unix time in seconds.
            tier: how the provider says that it serves, such as `priority`, `flex`, `batch` or `fast`; "" when it does
                not say. Own prices hold for all of them.
        """
        found = self._found.get((provider, model, tier))
        if found is not None and now < found[0]:
            return found[1]
        rates = self.own(model)
        if rates is None and provider and self._snapshot is not None:
            rates = _from_snapshot(self._snapshot, provider, model, now, tier)
        if len(self._found) >= MAX_REMEMBERED:
            self._found.clear()
        until = now - now % REFRESH_SECONDS + REFRESH_SECONDS
        self._found[(provider, model, tier)] = (until, rates)
        return rates


def _load_snapshot() -> Any:
    from genai_prices.data_snapshot import get_snapshot

    return get_snapshot()


def _from_snapshot(snapshot: Any, provider: str, model: str, now: float, tier: str) -> Rates | None:
    try:
        source, info = snapshot.find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    when = datetime.fromtimestamp(now, UTC)
    name, prices = f"{source.id}/{info.id}", info.get_prices(when)
    if tier:
        # Providers say it in different words: `service_tier: flex`, `processing: batch`, `speed: fast`.
        others = info.get_prices(when, {"service_tier": tier, "processing": tier, "speed": tier})
        if others != prices:
            name, prices = f"{name} ({tier})", others
    return _compiled(prices, name)


def _compiled(prices: Any, name: str) -> Rates | None:
    """genai-prices' prices as whole numbers; a kind without a price of its own is a part of a wider one."""

    def tiers(kind: str, usual: _Tiers | None = None) -> _Tiers | None:
        price = getattr(prices, kind)
        if price is None:
            return usual
        steps = getattr(price, "tiers", None)
        if steps is None:
            return _Tiers(_exact(price))
        return _Tiers(_exact(price.base), tuple((step.start, _exact(step.price)) for step in steps))

    plain, output = tiers("input_mtok"), tiers("output_mtok", _NOTHING)
    if plain is None and prices.output_mtok is None:
        return None
    plain, output = plain or _NOTHING, output or _NOTHING
    written = tiers("cache_write_mtok", plain) or plain
    each = prices.requests_kcount
    return Rates(
        plain,
        output,
        tiers("cache_read_mtok", plain) or plain,
        tiers("cache_write_5m_mtok", written) or written,
        tiers("cache_write_1h_mtok", written) or written,
        tiers("output_reasoning_mtok", output) or output,
        0 if each is None else _exact(each * 1000),
        name,
    )
