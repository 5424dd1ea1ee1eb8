"""A completion on its way, from the reservation to the answer.

    Completion → budgets reserve it → leases, one after the other → request → Answered → everybody settles

Whole answers and streams take the same way. An attempt begins in one place (a lease that `answer` or `stream` takes)
and ends in one fact in one place (`Run.settle`): usage, budgets, limits, estimator and circuit breaker take it in
there. What must be written down before a request, or after its answer, belongs at these two places (ADR 15).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

from xml_pipeline.errors import (
    Attempt,
    BackendError,
    BackendTimeoutError,
    BudgetExceededError,
    LLMError,
    MalformedAnswerError,
    NoBackendError,
    described,
)
from xml_pipeline.events import Event, Hook, LLMCalled
from xml_pipeline.llm.accounting.budgets import BudgetBook, Reservation
from xml_pipeline.llm.accounting.prices import PriceTable, Rates
from xml_pipeline.llm.accounting.usage import Answered, Outcome, UsageTally
from xml_pipeline.llm.completion import Clock, Completion, Timeouts
from xml_pipeline.llm.emulation import with_calls
from xml_pipeline.llm.entrance import carriable_answer
from xml_pipeline.llm.routing.leases import Changes, Lease, Leases, Policy
from xml_pipeline.llm.streaming import StreamedAttempt
from xml_pipeline.llm.types import LLMResponse, StreamEvent, Usage
from xml_pipeline.terminal import visible

logger = logging.getLogger(__name__)

_MAYBE_BILLED = (BackendTimeoutError, MalformedAnswerError)
_UNSENT = Usage()
_ENDS = {"answered": "", "dropped": "Dropped", "cancelled": "Cancelled"}


@dataclass(slots=True, eq=False)
class Shared:
    """What all calls of one router share.

    Attributes:
        policy: how they choose backends.
        settlements: of any budget's reservations.
        observers: who is told of events.
        closed: whether calls are refused.
    """

    policy: Policy
    timeouts: Timeouts
    clock: Clock
    book: BudgetBook
    prices: PriceTable
    usage: UsageTally
    settlements: Changes
    observers: Sequence[Hook] = ()
    closed: bool = False

    def emit(self, event: Event) -> None:
        """Tell the observers; their failure changes nothing."""
        for observer in self.observers:
            try:
                observer(event)
            except Exception:
                logger.exception("an observer of the router failed")


class Run:
    """One completion on its way.

    Attributes:
        completion: what is asked; a budget may set its output limit.
        shared: the router's.
        leases: of this call; set when its budgets have let it start.
    """

    __slots__ = ("_reservation", "completion", "leases", "shared")

    def __init__(self, completion: Completion, shared: Shared) -> None:
        self.completion = completion
        self.shared = shared
        self.leases = Leases(completion, shared.policy, completion.started)
        self._reservation: Reservation | None = None

    async def answer(self) -> LLMResponse:
        """The first whole answer.

        Raises:
            BackendError: nobody answered, or the request itself is wrong; with the trail of attempts.
            BudgetExceededError, NoBackendError: it may not start.
        """
        hedge_after = self.shared.timeouts.hedge_after
        try:
            if self._must_prepare():
                await self._prepare()
            async for lease in self.leases:
                if hedge_after is None:
                    response = await self._send(lease)
                else:
                    response = await self._hedged(lease, hedge_after)
                if response is not None:
                    return response
            raise AssertionError("leases end with an answer or an error")
        except LLMError as error:
            self._ended_badly(error)
            raise
        finally:
            self.close()

    async def stream(self) -> AsyncGenerator[StreamEvent, None]:
        """The events of the first backend that streams content; the last one is `StreamEnd`. Raises as `answer`."""
        try:
            if self._must_prepare():
                await self._prepare()
            async for lease in self.leases:
                attempt = StreamedAttempt(self, lease)
                async with aclosing(attempt.events()) as events:
                    async for event in events:
                        yield event
                if attempt.answered:
                    return
        except LLMError as error:
            self._ended_badly(error)
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Nothing more will be spent: what is reserved becomes what was spent. Idempotent."""
        if self._reservation is not None:
            self._reservation.close()

    # Before the first attempt

    def _must_prepare(self) -> bool:
        shared = self.shared
        if shared.closed:
            raise NoBackendError(
                "the router is closed; calls are possible between its start and its close only"
            )
        return shared.book.active or self._needs_prices()

    def _needs_prices(self) -> bool:
        """Whether the built-in prices must be read before this call can be priced."""
        prices = self.shared.prices
        for group in self.completion.groups:
            for route in group:
                if route.price_provider and prices.needs_loading(route.price_provider, route.model):
                    return True
        return False

    async def _prepare(self) -> None:
        shared = self.shared
        if self._needs_prices():
            await shared.prices.load()
        if shared.book.active:
            await self._reserve()
        self.leases = Leases(self.completion, shared.policy, shared.clock.monotonic())

    async def _reserve(self) -> None:
        """Take an upper bound of what the call can use from all budgets that apply.

        A call that would fit if the calls in flight used less than they reserved waits for them.

        Raises:
            BudgetExceededError: it does not fit; nothing was spent.
            NoBackendError: a USD budget applies, and no backend's price is known.
        """
        shared, completion = self.shared, self.completion
        while True:
            meters = shared.book.meters(completion.charge)
            if not meters:
                return
            rates: list[Rates] = []
            if any(meter.unit == "usd" for meter in meters):
                completion, rates = completion.priced(shared.prices, shared.clock.wall())
            default = shared.book.budgets.default_max_tokens
            rooms = [(meter, meter.headroom()) for meter in meters]
            tokens, micro_usd, output = completion.most(rates, rooms, default)
            try:
                self._reservation = shared.book.reserve(meters, tokens, micro_usd)
            except BudgetExceededError:
                remaining = completion.deadline - shared.clock.monotonic()
                if remaining <= 0 or not any(meter.reserved for meter in meters):
                    raise
                rooms = [(meter, meter.unspent) for meter in meters]
                alone, alone_usd, _ = completion.most(rates, rooms, default)
                if any((alone_usd if meter.unit == "usd" else alone) > room for meter, room in rooms):
                    raise
                await shared.settlements.wait(remaining)
            else:
                self.completion = completion.limited(output)
                return

    # One attempt

    async def _send(self, lease: Lease) -> LLMResponse | None:
        """Ask for a whole answer; None when the attempt failed (the leases know how it goes on).

        Raises:
            BackendTimeoutError: the call's deadline passed.
        """
        route, limit = lease.route, self.shared.timeouts.attempt
        left = self.completion.deadline - lease.started
        scope: asyncio.Timeout | None = None
        try:
            client = route.transport.client() or await route.transport.open()
            request = self.completion.at(route)
            scope = asyncio.timeout(left if limit is None else min(left, limit))
            async with scope:
                response = await route.backend._do_completion(client, request)
            if not isinstance(response, LLMResponse):
                raise MalformedAnswerError(
                    f"{type(route.backend).__name__} returned {type(response).__name__}, no LLMResponse"
                )
            if self.completion.reads_calls(route):
                response = with_calls(response, len(self.completion.request.messages))
            response = carriable_answer(response)
        except Exception as raised:
            if scope is not None and scope.expired() and (limit is None or left <= limit):
                self.cancelled(lease)  # the caller's impatience is not the backend's fault
                raise self.leases.timed_out() from None
            self.failed(lease, raised)
            return None
        except BaseException:
            self.cancelled(lease)
            raise
        else:
            self.answered(lease, response)
            return response
        finally:
            lease.permit.release()

    async def _hedged(self, lease: Lease, hedge_after: float) -> LLMResponse | None:
        """As `_send`, with a second attempt elsewhere when the first is slow; the first answer counts."""
        tasks = {self._start(lease)}
        try:
            done, _ = await asyncio.wait(tasks, timeout=hedge_after)
            other = None if done else self.leases.hedge(lease.route)
            if other is not None:
                tasks.add(self._start(other))
            pending = set(tasks)
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    response = task.result()
                    if response is not None:
                        return response
                if self.leases.hopeless:
                    break
            return None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, lease: Lease) -> asyncio.Task[LLMResponse | None]:
        task = asyncio.create_task(self._send(lease))
        task.add_done_callback(lambda _: self._never_sent(lease))
        return task

    def _never_sent(self, lease: Lease) -> None:
        """A task that is cancelled before its first step never comes to its own end: leave nothing behind."""
        if not lease.settled:
            lease.settled = True
            lease.permit.unused()
            lease.route.breaker.abandon(lease.route.model)
            self.leases.tell_others()

    # What an attempt came to

    def answered(self, lease: Lease, response: LLMResponse) -> None:
        """An answer came: settle, and fill in what the router knows."""
        route, shared = lease.route, self.shared
        usage = Usage.of(response.usage)
        if not usage.prompt_tokens and not usage.completion_tokens:
            usage = response.usage = route.estimator.answer(self.completion.size, len(response.content))
        fact = self._fact(lease, "answered", usage, response.model)
        self.settle(lease, fact)
        if route.limiter.has_rate_limits:  # after settling: the provider's count has this call in it
            route.read_limits(response, shared.clock.wall())
        response.backend = route.name
        response.provider = route.backend.provider
        response.attempts = tuple(self.leases.attempts)
        response.cost = fact.cost
        response.latency = fact.at - self.completion.started

    def dropped(self, lease: Lease, partial: LLMResponse, characters: int) -> None:
        """A stream's consumer left after the first content: it is billed up to there, reported or estimated."""
        reported = Usage.of(partial.usage)
        produced = lease.route.estimator.answer(self.completion.size, characters)
        usage = replace(
            reported,
            prompt_tokens=reported.prompt_tokens or produced.prompt_tokens,
            completion_tokens=max(reported.completion_tokens, produced.completion_tokens),
            estimated=True,
        )
        self.settle(lease, self._fact(lease, "dropped", usage, partial.model))

    def failed(self, lease: Lease, raised: Exception) -> BackendError:
        """It failed, and may have been billed; gives the typed error."""
        try:
            error = lease.route.typed(raised)
        except LLMError:  # no error of a provider: a backend that asks a router of its own
            self.cancelled(lease)
            raise
        unbilled = not isinstance(error, _MAYBE_BILLED)
        usage = _UNSENT if unbilled else self._expected(lease)
        fact = replace(self._fact(lease, "failed", usage), error=error, confirmed=unbilled)
        self.leases.failed(lease.route, error, fact.at)
        self.settle(lease, fact)
        reason = " ".join(visible(described(error)).split())
        with suppress(Exception):  # a defect of a program's logging changes nothing
            logger.warning("backend %s failed (model %s): %s", error.backend, error.model, reason)
        return error

    def cancelled(self, lease: Lease) -> None:
        """The caller left: it may have been billed, and says nothing about the backend."""
        fact = self._fact(lease, "cancelled", self._expected(lease))
        self.settle(lease, replace(fact, confirmed=False))

    def settle(self, lease: Lease, fact: Answered) -> None:
        """Give the one fact of an attempt to everybody who settles by it."""
        lease.settled = True
        error, route = fact.error, lease.route
        name = _ENDS[fact.outcome] if error is None else type(error).__name__
        status = None if error is None else error.status
        self.leases.attempts.append(Attempt(route.name, route.model, name, status, fact.at - lease.started))
        changed = route.settle(fact, lease.permit)
        self.shared.usage.settle(fact)
        if self._reservation is not None:
            self._reservation.settle(fact)
        if changed:
            self.leases.tell_others()
        if self.shared.observers and fact.confirmed and error is None:
            self._tell((fact.backend, fact.model), fact.usage, fact.cost, fact.at, name)

    def _fact(self, lease: Lease, outcome: Outcome, usage: Usage, model: str = "") -> Answered:
        """What an attempt came to; `model` is the one that answered, when it has another name."""
        completion, route, shared = self.completion, lease.route, self.shared
        wall = shared.clock.wall()
        rates = route.rates(shared.prices, wall, model) if model and model != route.model else None
        if rates is None:
            rates = route.rates(shared.prices, wall)
        cost = None if rates is None else rates.micro_usd(usage)
        at = shared.clock.monotonic()
        return Answered(
            completion.charge, route.name, route.model, outcome, usage, True, cost, at, completion.size
        )

    def _expected(self, lease: Lease) -> Usage:
        """The usage of an attempt of which nobody will tell: what was expected of it."""
        tokens = lease.permit.tokens
        prompt = min(tokens, lease.route.estimator.prompt_tokens(self.completion.size))
        return Usage(prompt, tokens - prompt, estimated=True)

    def _ended_badly(self, error: BaseException) -> None:
        """Account a call that gets no answer."""
        shared, attempts = self.shared, self.leases.attempts
        shared.usage.failed(self.completion.charge)
        if shared.observers:
            last = (attempts[-1].backend, attempts[-1].model) if attempts else ("", self.completion.model)
            self._tell(last, _UNSENT, None, shared.clock.monotonic(), type(error).__name__)

    def _tell(self, asked: tuple[str, str], usage: Usage, cost: float | None, at: float, error: str) -> None:
        """Tell the observers what became of the call; `asked` is (backend, model)."""
        charge, seconds = self.completion.charge, at - self.completion.started
        tokens = (usage.prompt_tokens, usage.completion_tokens)
        who = (charge.agent, charge.thread_id, charge.conversation_id)
        made = LLMCalled(*who, *asked, *tokens, cost, seconds, error, charge.message_id, charge.attempt)
        self.shared.emit(made)
