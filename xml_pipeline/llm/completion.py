"""One call on its way: which backend next, what a failure means, when to stop.

One deadline and one attempt budget hold for the whole call. Another healthy backend comes before waiting;
waiting comes only when none is left, and never after the last attempt or beyond the deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xml_pipeline.errors import (
    Attempt,
    BackendError,
    BackendTimeoutError,
    NoBackendError,
    RateLimitedError,
)
from xml_pipeline.events import LLMCalled
from xml_pipeline.llm.accounting.budgets import Reservation
from xml_pipeline.llm.accounting.prices import PriceTable, Rates
from xml_pipeline.llm.accounting.usage import Charge
from xml_pipeline.llm.core import Core
from xml_pipeline.llm.emulation import emulated
from xml_pipeline.llm.limits.rate_limiter import Permit
from xml_pipeline.llm.routing.endpoint import Route
from xml_pipeline.llm.types import LLMRequest, Message, ResponseSchema, Usage

_TRAIL_SHOWN = 5  # failures that the final error's text repeats


class Call:
    """The state of one call.

    Args:
        core: the router's shared parts.
        model: as the caller named it.
        groups: routes in the order of the fallback chain; within a group the strategy decides.
        fields: what `LLMRequest` takes beside model and estimate, without `messages`.
        messages: normalised.
        size: of the prompt, in bytes.
        charge: who pays.
        deadline: on the core's monotonic clock.
        schema: asked for where the backend knows JSON Schema, else `fallback_messages` are sent.
    """

    __slots__ = (
        "_counted",
        "_excluded",
        "_failures",
        "_fallback_messages",
        "_fields",
        "_messages",
        "_retry_at",
        "_schema",
        "_trail",
        "attempts",
        "charge",
        "core",
        "deadline",
        "groups",
        "last_error",
        "model",
        "reservation",
        "size",
        "started",
    )

    def __init__(
        self,
        core: Core,
        model: str,
        groups: Sequence[Sequence[Route]],
        messages: Sequence[Message],
        fields: dict[str, Any],
        size: int,
        charge: Charge,
        deadline: float,
        schema: ResponseSchema | None = None,
        fallback_messages: Sequence[Message] = (),
    ) -> None:
        self.core = core
        self.model = model
        self.groups = groups
        self.charge = charge
        self.size = size
        self.deadline = deadline
        self.started = core.clock.monotonic()
        self.attempts: list[Attempt] = []
        self.last_error: BackendError | None = None
        self.reservation: Reservation | None = None
        self._messages = messages
        self._fallback_messages = fallback_messages
        self._schema = schema
        self._fields = fields
        self._failures: dict[Route, int] = {}
        self._retry_at: dict[Route, float] = {}
        self._excluded: set[Route] = set()
        self._counted = 0
        self._trail: list[str] = []

    # What budgets need to know

    @property
    def max_tokens(self) -> int | None:
        """The output limit that goes to the backend."""
        limit: int | None = self._fields["max_tokens"]
        return limit

    def limit_output(self, max_tokens: int) -> None:
        """Set the output limit of a call that states none."""
        self._fields["max_tokens"] = max_tokens

    def release_budget(self) -> None:
        """Give back what is reserved, unless an answer settled it."""
        if self.reservation is not None:
            self.reservation.settle(0, 0)

    def needs_prices(self, prices: PriceTable) -> bool:
        """Whether the built-in prices must be read before this call can be priced."""
        return any(
            prices.needs_loading(route.endpoint.backend.price_provider, route.model)
            for group in self.groups
            for route in group
        )

    def most_prompt_tokens(self) -> int:
        """Tokens that the prompt will hardly pass, at the backend that counts it highest."""
        return max(
            route.endpoint.estimator(route.model).most_prompt_tokens(self.size)
            for group in self.groups
            for route in group
        )

    def known_rates(self) -> list[Rates]:
        """The prices of all routes; routes without a known price are dropped, because no budget could hold them.

        Raises:
            NoBackendError: no price is known at all.
        """
        wall, prices = self.core.clock.wall(), self.core.prices
        priced: list[list[Route]] = []
        rates: list[Rates] = []
        for group in self.groups:
            known = [(route, found) for route in group if (found := route.rates(prices, route.model, wall))]
            priced.append([route for route, _ in known])
            rates += [found for _, found in known]
        if not rates:
            raise NoBackendError(
                f"a USD budget applies, and the price of {self.model!r} is unknown, so no call can be held to it."
                " Add the model under llm.prices (0 for a free one)"
            )
        self.groups = [group for group in priced if group]
        return rates

    # Choosing

    async def next_route(self) -> tuple[Route, Permit]:
        """The next backend to ask, with its permit; waits when none is ready.

        Raises:
            BackendError: nothing is left that could answer before the deadline.
        """
        clock = self.core.clock.monotonic
        while True:
            now = clock()
            choice = self._pick(now)
            if isinstance(choice, Route):
                permit = await choice.endpoint.limiter.acquire(self.estimate(choice))
                if choice.endpoint.breaker.available(choice.model, clock()):
                    self.core.strategy.taken(choice)
                    return choice, permit
                permit.unused()  # it went cold while we stood in its queue
            elif choice is None or choice > self.deadline:
                raise self.exhausted()
            else:
                await self.core.changes.wait(choice - now)

    def _pick(self, now: float) -> Route | float | None:
        """A route to take, the time to look again, or None when nothing is left."""
        full: list[Route] = []
        for group in self.groups:
            fresh = self._fresh(group, now)
            if not fresh:
                continue
            ordered = self.core.strategy.order(fresh) if len(fresh) > 1 else fresh
            for route in ordered:
                if route.endpoint.limiter.admits(self.estimate(route)):
                    return route
            full = full or list(ordered)
        if full:
            return min(full, key=self._queue)
        return self._pick_again(now)

    def _fresh(self, group: Sequence[Route], now: float) -> list[Route]:
        return [
            route
            for route in group
            if route not in self._failures
            and route not in self._excluded
            and route.endpoint.breaker.available(route.model, now)
        ]

    def _queue(self, route: Route) -> tuple[float, float]:
        gate = route.endpoint.limiter
        return gate.expected_wait(self.estimate(route)), gate.waiting / gate.max_concurrent

    def _pick_again(self, now: float) -> Route | float | None:
        """Everything was tried or is cold: the earliest of them."""
        best: Route | None = None
        earliest: float | None = None
        probing = False
        for route in (route for group in self.groups for route in group):
            ready = None if route in self._excluded else route.endpoint.breaker.ready_at(route.model, now)
            if ready is None:
                continue
            ready = max(ready, self._retry_at.get(route, now))
            if ready <= now and not route.endpoint.breaker.available(route.model, now):
                probing = True
            elif earliest is None or ready < earliest:
                best, earliest = route, ready
        if best is not None and earliest is not None and earliest <= now:
            return best
        if probing:  # the end of the probe wakes us
            return self.deadline if earliest is None else min(earliest, self.deadline)
        return earliest

    def other_route(self, taken: Route) -> Route | None:
        """Another healthy backend with room right now, for a hedge."""
        choice = self._pick(self.core.clock.monotonic())
        if not isinstance(choice, Route) or choice in self._failures:
            return None
        candidates = [
            route
            for group in self.groups
            for route in self._fresh(group, self.core.clock.monotonic())
            if route.endpoint is not taken.endpoint and route.endpoint.limiter.admits(self.estimate(route))
        ]
        return candidates[0] if candidates else None

    # What a try needs

    def estimate(self, route: Route) -> int:
        """Tokens to reserve at this backend."""
        estimator = route.endpoint.estimator(route.model)
        return estimator.prompt_tokens(self.size) + estimator.output_tokens(self._fields["max_tokens"])

    def uses_schema(self, route: Route) -> bool:
        """Whether the answer's form is asked for natively there."""
        return self._schema is not None and route.endpoint.backend.supports("schema", route.model)

    def request_for(self, route: Route) -> LLMRequest:
        """The request as this backend gets it."""
        native = self._schema is None or self.uses_schema(route)
        request = LLMRequest(
            model=route.model,
            messages=self._messages if native else self._fallback_messages,
            response_schema=self._schema if native else None,
            prompt_tokens_estimate=route.endpoint.estimator(route.model).prompt_tokens(self.size),
            agent=self.charge.agent,
            **self._fields,
        )
        return emulated(request) if self._in_words(route) else request

    def reads_calls(self, route: Route) -> bool:
        """Whether tool calls have to be read from the text of the answer there."""
        return bool(self._fields["tools"]) and self._fields["tool_choice"] != "none" and self._in_words(route)

    @property
    def turn(self) -> int:
        """Tells this answer from others of one history."""
        return len(self._messages)

    def _in_words(self, route: Route) -> bool:
        """Whether the backend has no tools of its own, and this request has some."""
        if route.endpoint.backend.supports("tools", route.model):
            return False
        return bool(self._fields["tools"]) or any(
            message["role"] == "tool" or message.get("tool_calls") for message in self._messages
        )

    def price(self, route: Route, model: str, usage: Usage) -> int | None:
        """Micro-USD of a usage: by the model that answered, else by the one asked; None when unknown."""
        core = self.core
        wall = core.clock.wall()
        rates = route.rates(core.prices, route.model, wall)
        if model != route.model and model:
            rates = route.rates(core.prices, model, wall) or rates
        return None if rates is None else rates.micro_usd(usage)

    # What the end of a try means

    def plan_after(self, route: Route, error: BackendError, now: float) -> None:
        """Remember a failure, and when this backend may be asked again in this call."""
        self.last_error = error
        self._trail.append(f"{route.name}: {type(error).__name__}: {error}")
        if not error.failover:
            return
        if not error.retryable:
            self._excluded.add(route)
            return
        self._counted += 1
        failures = self._failures[route] = self._failures.get(route, 0) + 1
        self._retry_at[route] = now + self.core.retry.delay(failures, error.retry_after, self.core.random)

    def check(self, error: BackendError) -> None:
        """Raise when the call ends with this failure; return when it goes on."""
        if not error.failover:
            error.attempts = tuple(self.attempts)
            raise error from None
        if self._counted > self.core.retry.retries:
            raise self.exhausted()

    def exhausted(self) -> BackendError:
        """The error of a call that nobody answered."""
        error = self.last_error or self._cold_error()
        if error is None:
            return RateLimitedError(f"no backend for {self.model!r} has room before the deadline")
        shown = "; ".join(self._trail[-_TRAIL_SHOWN:]) or str(error)
        tries = len(self.attempts)
        text = f"after {tries} {'try' if tries == 1 else 'tries'}" if tries else "every backend is out"
        advice = self._advice(error)
        final = type(error)(
            f"no backend answered for {self.model!r}, {text}: {shown}" + (f". {advice}" if advice else ""),
            provider=error.provider,
            backend=error.backend,
            model=error.model,
            status=error.status,
            code=error.code,
            request_id=error.request_id,
            retry_after=error.retry_after,
            attempts=self.attempts,
        )
        final.retryable, final.failover = error.retryable, error.failover
        return final

    def _advice(self, error: BackendError) -> str:
        routes = (route for group in self.groups for route in group)
        return next((one.endpoint.advice(error) for one in routes if one.name == error.backend), "")

    def _cold_error(self) -> BackendError | None:
        for route in (route for group in self.groups for route in group):
            error = route.endpoint.breaker.last_error(route.model)
            if error is not None:
                return error
        return None

    def timed_out(self) -> BackendTimeoutError:
        """The error of a call whose deadline passed."""
        seconds = self.deadline - self.started
        trail = "; ".join(self._trail[-_TRAIL_SHOWN:])
        return BackendTimeoutError(
            f"no answer for {self.model!r} within {seconds:g} s" + (f": {trail}" if trail else ""),
            backend=self.attempts[-1].backend if self.attempts else "",
            model=self.attempts[-1].model if self.attempts else self.model,
            attempts=self.attempts,
        )

    def ended_badly(self, error: BaseException) -> None:
        """Account a call that gets no answer."""
        core = self.core
        core.usage.failed(self.charge)
        if core.on_event is not None:
            last = self.attempts[-1] if self.attempts else None
            core.emit(
                LLMCalled(
                    self.charge.agent,
                    self.charge.thread_id,
                    self.charge.conversation_id,
                    last.backend if last else "",
                    last.model if last else self.model,
                    0,
                    0,
                    None,
                    core.clock.monotonic() - self.started,
                    type(error).__name__,
                )
            )
