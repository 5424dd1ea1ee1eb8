"""A completion: one value that says what is asked of a model, who pays, where it may go and until when."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from msgspec import Struct, structs

from xml_pipeline.errors import InvalidRequestError, NoBackendError, cut
from xml_pipeline.ledger import Asked, Recalled
from xml_pipeline.llm.accounting.bound import Extent, extent_of
from xml_pipeline.llm.accounting.budgets import Meter, Most
from xml_pipeline.llm.accounting.prices import PriceTable, Rates
from xml_pipeline.llm.accounting.usage import Charge
from xml_pipeline.llm.emulation import emulated
from xml_pipeline.llm.limits.rate_limiter import loop_time
from xml_pipeline.llm.routing.endpoint import Route
from xml_pipeline.llm.routing.table import Groups
from xml_pipeline.llm.types import MOST_TOKENS, LLMRequest, Message, token_count

_LIMITS = frozenset(
    ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "num_predict")
)
_ANSWERS = frozenset(("n", "best_of", "candidateCount", "candidate_count"))
_TIERS = frozenset(("service_tier", "serviceTier", "speed"))
LEAST_OUTPUT = 256  # tokens; below this a call without max_tokens waits for others to settle, or is refused


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits in time, in seconds.

    Attributes:
        request: one call from its start to its answer, all tries and waits included.
        attempt: one try that does not stream; None for none beside `request`.
        first_token: a stream's first content, of one try.
        idle: between two pieces of a stream.
        hedge_after: start a second try elsewhere when the first has not answered by then; None for never. Streams
            have no second try: `first_token` says when they move on.
    """

    request: float = 600.0
    attempt: float | None = None
    first_token: float = 120.0
    idle: float = 60.0
    hedge_after: float | None = None


@dataclass(frozen=True, slots=True)
class Clock:
    """Where times come from.

    Attributes:
        monotonic: seconds of the running event loop, so that deadlines and limits agree with its timers (a test's
            loop with virtual time moves both).
        wall: unix time in seconds; for daily and monthly budgets, price dates and HTTP dates.
    """

    monotonic: Callable[[], float] = loop_time
    wall: Callable[[], float] = time.time


class Completion(Struct, frozen=True):
    """One call of a model, as it was asked.

    Attributes:
        request: neutral, with the model as the caller named it.
        groups: the routes of each step of the fallback chain.
        charge: who pays.
        size: of the prompt, in bytes.
        started, deadline: in seconds of the router's monotonic clock.
        in_words: the messages for backends that know no JSON Schema; empty without a `response_schema`.
        asked: which call of a handler it is; None outside of handlers, or where nothing is kept.
        timeouts: of each try.
        usual_limit: tokens that the answer may have where the request states no limit; None for the provider's own.
        known: what an earlier life was told of an answer that its provider goes on with; None for nothing.
    """

    request: LLMRequest
    groups: Groups
    charge: Charge
    size: int
    started: float
    deadline: float
    in_words: Sequence[Message] = ()
    asked: Asked | None = None
    known: Recalled | None = None
    usual_limit: int | None = None
    timeouts: Timeouts = Timeouts()

    @property
    def model(self) -> str:
        """As the caller named it."""
        return self.request.model

    @property
    def tier(self) -> str:
        """The tier that is asked for, or ""; it holds where a provider does not say in which one it served."""
        return next(iter(tiers_in(self.request.extra)), "")

    def going_on(self, known: Recalled) -> Completion:
        """The call, with the backend first that goes on with its answer; as it is, if there is no such backend."""
        route = next(
            (each for each in self.routes() if each.name == known.backend and each.backend.detached),
            None,
        )
        if route is None:
            return self
        return structs.replace(self, known=known, groups=((route,), *self.groups))

    def routes(self) -> Iterator[Route]:
        """All backends that could be asked."""
        return (route for group in self.groups for route in group)

    def expected_tokens(self, route: Route) -> int:
        """Tokens to reserve at this backend."""
        return route.estimator.tokens(self.size, self.request.max_tokens)

    def at(self, route: Route, *, in_words: bool = False) -> LLMRequest:
        """The request as this backend gets it; `in_words`: if its model refuses tools and schema."""
        asked = self.request
        native = asked.response_schema is None or (route.supports("schema") and not in_words)
        request = LLMRequest(
            route.model,
            asked.messages if native else self.in_words,
            asked.temperature,
            self.usual_limit if asked.max_tokens is None else asked.max_tokens,
            asked.tools,
            asked.tool_choice,
            asked.response_schema if native else None,
            asked.top_p,
            asked.seed,
            asked.stop,
            asked.reasoning_effort,
            asked.cache_prompt,
            asked.cache_key,
            asked.extra,
            route.estimator.prompt_tokens(self.size),
            self.charge.agent,
            asked.cache_ttl,
            asked.changing,
        )
        return emulated(request) if (in_words and asked.tools) or self._needs_words(route) else request

    def reads_calls(self, route: Route) -> bool:
        """Whether tool calls have to be read from the text of the answer there."""
        asked = self.request
        return bool(asked.tools) and asked.tool_choice != "none" and not route.supports("tools")

    def _needs_words(self, route: Route) -> bool:
        """Whether the backend has no tools of its own, and this request or its history has some."""
        asked = self.request
        if asked.tools:
            return not route.supports("tools")
        for message in asked.messages:
            if message["role"] == "tool" or message.get("tool_calls"):
                return not route.supports("tools")
        return False

    # What budgets need to know

    def priced(self, prices: PriceTable, wall: float) -> tuple[Completion, list[Rates]]:
        """The call without the routes whose price is unknown, because no USD budget could hold them; and the prices.

        Raises:
            NoBackendError: no price is known at all.
        """
        known = {route: rates for route in self.routes() if (rates := route.rates(prices, wall))}
        tiers = tiers_in(self.request.extra)
        dearer = [
            rates for route in known for tier in tiers if (rates := route.rates(prices, wall, "", tier))
        ]
        if not known:
            raise NoBackendError(
                f"a USD budget applies, and the price of {self.model!r} is unknown, so no call can be held to it."
                " Add the model under llm.prices (0 for a free one)"
            )
        groups = [tuple(route for route in group if route in known) for group in self.groups]
        left = tuple(group for group in groups if group)
        return structs.replace(self, groups=left), [*known.values(), *dearer]

    def free(self, prices: PriceTable, wall: float) -> Completion | None:
        """The call with the routes alone that cost nothing; None if there are none, or no others."""
        found = {route for route in self.routes() if (rates := route.rates(prices, wall)) and rates.free}
        groups = tuple(tuple(route for route in group if route in found) for group in self.groups)
        if not found or groups == self.groups:
            return None
        return structs.replace(self, groups=tuple(group for group in groups if group))

    def extents(self, route: Route) -> tuple[Extent, ...]:
        """The size of the prompt as this backend gets it, for an upper bound of its tokens.

        The first is that of the request as it is asked; another, as it would be asked in words after a refusal.
        """
        dialect, asked = route.backend.dialect, self.request
        written = None if dialect is None else lambda request: dialect.encode(request, stream=False).body
        first = extent_of(self.at(route), written)
        if (asked.tools and route.supports("tools")) or (asked.response_schema and route.supports("schema")):
            return first, extent_of(self.at(route, in_words=True), written)
        return (first,)

    def most(
        self, prompt: int, rates: Sequence[Rates], rooms: Sequence[tuple[Meter, int]], default_max_tokens: int
    ) -> Most:
        """An upper bound of what one attempt can use.

        Args:
            prompt: tokens of the prompt at most, over all routes.
            rates: of all routes; empty when no money is counted.
            rooms: each meter that applies, and its room; a call that states no output limit is fitted into them.
            default_max_tokens: output limit of such a call, if there is room.

        Raises:
            InvalidRequestError: `extra` takes the output limit away, so there is no bound.
        """
        stated, answers = stated_in(self.request.extra)
        beyond = self._beyond_limit()
        limit = self.request.max_tokens
        if limit is None and not stated:
            limit = default_max_tokens
            for meter, room in rooms:
                if meter.unit == "tokens":
                    limit = min(limit, (room - prompt - beyond) // answers)
                elif meter.unit == "output_tokens":
                    limit = min(limit, (room - beyond) // answers)
                elif meter.unit == "usd":
                    limit = min(
                        limit, *((rate.output_for(room, prompt) - beyond) // answers for rate in rates)
                    )
            limit = max(limit, min(LEAST_OUTPUT, default_max_tokens))
        output = max(limit or 0, stated) * answers + beyond
        micro_usd = max((rate.highest(prompt, output) for rate in rates), default=0)
        return Most(prompt, output, micro_usd, limit)

    def _beyond_limit(self) -> int:
        """Tokens that an answer may have on top of the output limit, at any backend."""
        dialects = ((route, route.backend.dialect) for route in self.routes())
        return max(
            (dialect.beyond_limit(self.at(route)) for route, dialect in dialects if dialect is not None),
            default=0,
        )

    def limited(self, max_tokens: int | None) -> Completion:
        """The call with this output limit."""
        if self.request.max_tokens == max_tokens:
            return self
        return structs.replace(self, request=replace(self.request, max_tokens=max_tokens))


def tiers_in(extra: Mapping[str, Any]) -> list[str]:
    """The tiers that further keys of a provider's body ask for: they may have prices of their own."""
    asked = (value for name, value in extra.items() if name in _TIERS and isinstance(value, str))
    return [
        tier.lower().removeprefix("service_tier_") for tier in asked
    ]  # Gemini's enumeration has the prefix


def states_a_limit(extra: Mapping[str, Any], depth: int = 4) -> bool:
    """Whether further keys of a provider's body say how long the answer may be, or that it has no end."""
    return any(
        name in _LIMITS or (depth > 0 and isinstance(value, Mapping) and states_a_limit(value, depth - 1))
        for name, value in extra.items()
    )


def stated_in(extra: Mapping[str, Any]) -> tuple[int, int]:
    """What further keys of a provider's body say about the size of the answer: (output limit or 0, answers at once).

    They are merged into the body last, so they hold instead of the call's own `max_tokens`.

    Raises:
        InvalidRequestError: a limit is none, as None or Ollama's -1: the answer would have no end.
    """
    limit, answers = 0, 1
    for name, value in extra.items():
        if isinstance(value, Mapping):
            inner, times = stated_in(value)
            limit, answers = max(limit, inner), max(answers, times)
        elif name in _LIMITS:
            tokens = token_count(value)
            if not tokens:
                raise InvalidRequestError(
                    f"extra sets {name} to {cut(repr(value))}, and a budget applies: no answer without a limit can be"
                    f" held to it. Write a number of tokens from 1 to {MOST_TOKENS:,}, or leave it out"
                )
            limit = max(limit, tokens)
        elif name in _ANSWERS:
            answers = max(answers, token_count(value) or 0)
    return limit, answers
