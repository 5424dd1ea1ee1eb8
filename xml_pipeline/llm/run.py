"""A completion on its way, from the reservation to the answer.

    Completion → budgets reserve it → leases, one after the other → request → Answered → everybody settles

Whole answers and streams take the same way. An attempt begins in one place (a lease that `answer` or `stream` takes)
and ends in one fact in one place (`Run.settle`): usage, budgets, limits, estimator and circuit breaker take it in
there. What must be written down before a request, or after its answer, belongs at these two places (ADR 15).
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from msgspec import structs

from xml_pipeline.errors import (
    Attempt,
    BackendError,
    BudgetExceededError,
    JournalError,
    LLMError,
    MalformedAnswerError,
    NoBackendError,
    described,
)
from xml_pipeline.events import Event, Hook, LLMCalled
from xml_pipeline.ledger import Ledger
from xml_pipeline.llm.accounting.bound import Extent
from xml_pipeline.llm.accounting.budgets import BudgetBook, Meter, Most, Reservation
from xml_pipeline.llm.accounting.estimate import answer_size
from xml_pipeline.llm.accounting.prices import PriceTable, Rates
from xml_pipeline.llm.accounting.usage import Answered, Outcome, UsageTally
from xml_pipeline.llm.cache_health import CacheWatch
from xml_pipeline.llm.completion import Clock, Completion, Timeouts
from xml_pipeline.llm.emulation import with_calls
from xml_pipeline.llm.entrance import carriable_answer
from xml_pipeline.llm.entries import begun, ended
from xml_pipeline.llm.hedging import hedged
from xml_pipeline.llm.http.assembly import as_events
from xml_pipeline.llm.http.transport import as_backend_error, may_be_billed
from xml_pipeline.llm.lines import Lines
from xml_pipeline.llm.prefixes import Prefixes
from xml_pipeline.llm.routing.endpoint import Route
from xml_pipeline.llm.routing.leases import Changes, Lease, Leases, Policy
from xml_pipeline.llm.streaming import Partial, StreamedAttempt
from xml_pipeline.llm.types import LLMRequest, LLMResponse, StreamEvent, Usage
from xml_pipeline.terminal import visible

logger = logging.getLogger(__name__)

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
        home: the event loop of the calls in flight; what they share is not made for several threads.
        calls: in flight.
        told_of_hedges: whether it was said that streams have none.
        ledger: where each attempt is written down; None for nowhere.
        caches: what turns left in their providers' prompt caches.
        lines: where it is written as JSON, for other programs; None for nowhere.
        prefixes: what stands in providers' stores.
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
    told_of_hedges: bool = False
    ledger: Ledger | None = None
    lines: Lines | None = None
    caches: CacheWatch = field(default_factory=CacheWatch)
    prefixes: Prefixes = field(default_factory=Prefixes)
    home: asyncio.AbstractEventLoop | None = None
    calls: int = 0
    _moving: threading.Lock = field(default_factory=threading.Lock)
    _process: int = field(default_factory=os.getpid)

    def enter(self) -> asyncio.AbstractEventLoop:
        """A call begins here; gives the loop that it has to `leave`.

        Raises:
            RuntimeError: the router is in use in another event loop, such as another thread's.
        """
        here = asyncio.get_running_loop()
        with self._moving:
            if self.home is not here:
                self._move(here)
            self.calls += 1
        return here

    def close(self) -> None:
        """No further try begins, and what waits for one ends."""
        self.closed = True
        self.policy.changes.close(closed)
        self.settlements.close(closed)

    def leave(self, entered: asyncio.AbstractEventLoop) -> None:
        """A call ended; perhaps one that was thrown away long after its loop had ended."""
        if self.home is entered:
            self.calls -= 1

    def rest(self) -> None:
        """Belong to whichever loop asks next, if no call is open: this one runs on, and will not ask by itself."""
        with self._moving:
            if not self.calls:
                self.home = None

    def move(self, here: asyncio.AbstractEventLoop) -> None:
        """Belong to another loop from now on, if nothing is open in the one before.

        Raises:
            RuntimeError: that loop still runs, or holds calls.
        """
        with self._moving:
            self._move(here)

    def _move(self, here: asyncio.AbstractEventLoop) -> None:
        home = self.serving()
        if home is not here:
            if home is not None and not home.is_closed() and (home.is_running() or self.calls):
                raise RuntimeError(
                    "this router is in use in another event loop (another thread?), and serves one loop at a time."
                    " Make a Router for each thread, or hand the call to the router's own loop:"
                    " asyncio.run_coroutine_threadsafe(router.complete(...), loop).result()"
                )
            self.home, self.calls = here, 0

    def serving(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that has the router; None also in a forked process, where no loop came along."""
        if self._process != os.getpid():
            self.home, self.calls, self._process = None, 0, os.getpid()
        return self.home

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
        completion: what is asked, as the caller stated it.
        shared: the router's.
        leases: of this call; set when its budgets have let it start.
        meters: of the budgets that hold for it.
    """

    __slots__ = (
        "_extents",
        "_gone",
        "_held",
        "_rates",
        "_reservations",
        "completion",
        "leases",
        "meters",
        "shared",
    )

    def __init__(self, completion: Completion, shared: Shared) -> None:
        self.completion = completion
        self.shared = shared
        self.leases = Leases(completion, shared.policy, completion.started)
        self.meters: Sequence[Meter] = ()
        self._rates: Sequence[Rates] = ()
        self._extents: dict[object, tuple[Extent, ...]] = {}
        self._gone = False  # what an earlier life had asked for
        self._held: Reservation | None = None  # for the next attempt
        self._reservations: list[Reservation] = []  # all that were made

    async def answer(self) -> LLMResponse:
        """The first whole answer.

        Raises:
            BackendError: nobody answered, or the request itself is wrong; with the trail of attempts.
            BudgetExceededError, NoBackendError: it may not start, or not be tried again.
            RuntimeError: the router is in use in another event loop.
        """
        hedge_after = self.completion.timeouts.hedge_after
        home = self.shared.enter()
        try:
            if self._must_prepare():
                await self._prepare()
            async for lease in self.leases:
                lease.held, self._held = self._held, None
                if hedge_after is None:
                    response = await self.send(lease)
                else:
                    response = await hedged(self, lease, hedge_after)
                if response is not None:
                    return response
                if self.meters:
                    await self._hold_again()
            raise AssertionError("leases end with an answer or an error")
        except LLMError as error:
            self._ended_badly(error)
            raise
        finally:
            self.close()
            self.shared.leave(home)

    async def stream(self) -> AsyncGenerator[StreamEvent, None]:
        """The events of the first backend that streams content; the last one is `StreamEnd`. Raises as `answer`."""
        home = self.shared.enter()
        self._tell_of_hedges()
        try:
            if self._must_prepare():
                await self._prepare()
            async for lease in self.leases:
                lease.held, self._held = self._held, None
                attempt = StreamedAttempt(self, lease)
                async with aclosing(attempt.events()) as events:
                    async for event in events:
                        yield event
                if attempt.answered:
                    return
                if self.meters:
                    await self._hold_again()
        except LLMError as error:
            self._ended_badly(error)
            raise
        finally:
            self.close()
            self.shared.leave(home)

    def _tell_of_hedges(self) -> None:
        shared = self.shared
        if self.completion.timeouts.hedge_after is not None and not shared.told_of_hedges:
            shared.told_of_hedges = True
            logger.warning(
                "hedge_after holds for whole answers only: a stream asks one backend at a time."
                " first_token_timeout says when it moves on to the next"
            )

    def close(self) -> None:
        """No further attempt will be made: nothing is held any more, whatever happened. Idempotent."""
        for held in self._reservations:
            held.close()

    # Before an attempt

    def _must_prepare(self) -> bool:
        shared = self.shared
        if shared.closed:
            raise closed()
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
            await self._hold()
        self.leases = Leases(self._held_to(self._held), shared.policy, shared.clock.monotonic())

    async def _hold(self) -> None:
        """Take an upper bound of what one attempt can use from all budgets that apply.

        A call that would fit if the calls in flight used less than they reserved waits for them.

        Raises:
            BudgetExceededError: it does not fit; nothing was spent on it.
            NoBackendError: a USD budget applies, and no backend's price is known.
        """
        shared = self.shared
        while True:
            self.meters = shared.book.meters(self.completion.charge)
            if not self.meters:
                return
            try:
                self._held = self.reserve()
                return
            except BudgetExceededError as exceeded:
                if not self._could_fit():
                    free = self.completion.free(shared.prices, shared.clock.wall())
                    if exceeded.unit != "usd" or free is None:
                        raise
                    self.completion = free  # what costs nothing may be asked with no money left
                    continue
                await shared.settlements.wait(self.completion.deadline - shared.clock.monotonic())

    def _could_fit(self) -> bool:
        """Whether the call fits if those in flight use less than they hold, and there is time to wait for that."""
        if self.completion.deadline <= self.shared.clock.monotonic():
            return False
        rooms = [(meter, meter.unspent) for meter in self.meters if not meter.budget.soft]
        alone = self._most(rooms)
        fits = all(alone.of(meter.unit) <= max(room, 0) for meter, room in rooms)
        return fits and any(meter.reserved for meter in self.meters)

    async def _hold_again(self) -> None:
        """After a failed attempt: the next one may cost as much again, so it needs room of its own.

        Raises:
            BackendError: there is no next one.
            BudgetExceededError: the budgets have no room for it.
        """
        if self._held is not None:
            return
        self.leases.check()
        try:
            await self._hold()
        except BudgetExceededError as error:
            raise error from self.leases.last_error

    def reserve(self) -> Reservation:
        """Take it now; raises as `_hold`."""
        meters = self.meters
        if any(meter.unit == "usd" and not meter.budget.soft for meter in meters):
            self.completion, self._rates = self.completion.priced(
                self.shared.prices, self.shared.clock.wall()
            )
        most = self._most([(meter, meter.headroom()) for meter in meters if not meter.budget.soft])
        held = self.shared.book.reserve(meters, most)
        self._reservations.append(held)
        return held

    def _held_to(self, held: Reservation | None) -> Completion:
        """What is asked, with the output limit of the reservation that one attempt has."""
        return self.completion if held is None else self.completion.limited(held.most.limit)

    def request(self, lease: Lease) -> LLMRequest:
        """What this attempt sends, never with room for more than it holds."""
        completion = self.completion if lease.held is None else self._held_to(lease.held)
        return completion.at(lease.route)

    def _most(self, rooms: Sequence[tuple[Meter, int]]) -> Most:
        prompt = max(
            route.estimator.bound.most(extent)
            for route in self.completion.routes()
            for extent in self._extents_of(route)
        )
        return self.completion.most(prompt, self._rates, rooms, self.shared.book.budgets.default_max_tokens)

    def _extents_of(self, route: Route) -> tuple[Extent, ...]:
        """The same for all backends that get the same request."""
        asked = _asked_alike(route)
        extents = self._extents.get(asked)
        if extents is None:
            extents = self._extents[asked] = self.completion.extents(route)
        return extents

    # One attempt

    async def send(self, lease: Lease) -> LLMResponse | None:
        """Ask for a whole answer; None when the attempt failed (the leases know how it goes on).

        Raises:
            BackendTimeoutError: the call's deadline passed.
        """
        route, limit = lease.route, self.completion.timeouts.attempt
        left = self.completion.deadline - lease.started
        scope: asyncio.Timeout | None = None
        try:
            client = await self.client(route)
            if self.shared.ledger is not None:
                await self.write_down(lease)
            scope = asyncio.timeout(left if limit is None else min(left, limit))
            lease.sent = True
            async with scope:
                response = await self._ask(lease, client)
            if not isinstance(response, LLMResponse):
                raise MalformedAnswerError(
                    f"{type(route.backend).__name__} returned {type(response).__name__}, no LLMResponse"
                )
            if self.completion.reads_calls(route):
                response = with_calls(response, len(self.completion.request.messages))
            response = carriable_answer(response)
        except JournalError:  # not the backend's fault: nothing can be written down, so nobody is asked
            self.cancelled(lease)
            raise
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
            if not lease.settled:
                self.cancelled(lease)
            lease.permit.release()

    async def write_down(self, lease: Lease) -> None:
        """Write down that the backend is asked, before it is; again does nothing.

        Raises:
            JournalError: that cannot be done.
        """
        ledger, completion, route = self.shared.ledger, self.completion, lease.route
        if ledger is None or lease.row:
            return
        known = completion.known
        if known is not None and not self._gone and route.name == known.backend:
            lease.fetches = True
            lease.row, lease.response_id = known.number, known.response_id
            return
        wall = self.shared.clock.wall()
        rates = route.rates(self.shared.prices, wall, "", completion.tier)
        lease.row, durable = ledger.begin(begun(completion, lease, rates, wall))
        await durable

    async def client(self, route: Route) -> Any:
        """What the backend is asked through.

        Raises:
            NoBackendError: the router was closed since the call began; nothing is opened behind its back.
        """
        if self.shared.closed:
            raise closed()
        return route.transport.client() or await route.transport.open()

    async def _ask(self, lease: Lease, client: Any) -> LLMResponse:
        """One attempt's request; another one at once where the model refuses what can be put into words."""
        route = lease.route
        while True:
            request = self.request(lease)
            if route.backend.stores:
                request = await self.shared.prefixes.named(self, lease, request)
            try:
                if route.backend.detached:
                    return await self._go_on(lease, client, request)
                return await route.backend._do_completion(client, request)
            except Exception as raised:
                if not self.again(lease, request, raised):
                    raise

    async def _go_on(self, lease: Lease, client: Any, request: LLMRequest) -> LLMResponse:
        """An answer that its provider works on by itself: asked for, unless it was, and fetched."""
        backend, ledger = lease.route.backend, self.shared.ledger
        if lease.fetches:
            try:
                return await backend._fetch(client, request, lease.response_id)
            except Exception as raised:
                if as_backend_error(raised).retryable:
                    raise
                self._gone, lease.fetches, lease.row, lease.response_id = True, False, 0, ""
                logger.warning(
                    "%s has the answer no more that an earlier life asked for (%s): it counts as spent, and is"
                    " asked for again",
                    lease.route.name,
                    type(raised).__name__,
                )
                await self.write_down(lease)
        lease.response_id = await backend._submit(client, request)
        if ledger is not None:
            ledger.named(lease.row, lease.response_id)
        return await backend._fetch(client, request, lease.response_id)

    def again(self, lease: Lease, request: LLMRequest, raised: Exception) -> bool:
        """Whether the same is asked again at once: in words what the model refuses, whole what is stored no more."""
        shared = self.shared
        if request.stored and shared.prefixes.lost(request, raised, shared.clock.monotonic()):
            return True
        return lease.route.learns(raised, request)

    async def in_one_piece(
        self, lease: Lease, client: Any, request: LLMRequest
    ) -> AsyncIterator[StreamEvent]:
        """The events of an answer that its provider works on by itself."""
        for event in as_events(await self._go_on(lease, client, request)):
            yield event

    # What an attempt came to

    def answered(self, lease: Lease, response: LLMResponse) -> None:
        """An answer came: settle, and fill in what the router knows."""
        route, shared = lease.route, self.shared
        usage = Usage.of(response.usage)
        if not usage.prompt_tokens or not usage.completion_tokens:
            received = 0 if usage.completion_tokens else answer_size(response)
            usage = response.usage = self._completed(lease, usage, received)
        if route.backend.tier_header and response.headers is not None:
            usage = response.usage = route.tiered(usage, response.headers)
        fact = self._fact(lease, "answered", usage, response.model)
        response.backend = route.name
        response.provider = route.backend.provider
        response.cost = fact.cost
        response.latency = fact.at - self.completion.started
        self.settle(lease, fact, response)
        if self.completion.request.cache_prompt and fact.charge.thread_id:
            collapsed = shared.caches.turn(fact, self.completion.request, route.backend.cache_seconds)
            if collapsed is not None:
                shared.emit(collapsed)
        if route.limiter.has_rate_limits:  # after settling: the provider's count has this call in it
            route.read_limits(response, shared.clock.wall())
        response.attempts = tuple(self.leases.attempts)

    def left(self, lease: Lease, partial: Partial) -> None:
        """A stream's consumer left: it is charged for what came until then."""
        usage = self._partly(lease, partial)
        if usage is None:
            self.cancelled(lease)
        else:
            outcome: Outcome = "dropped" if partial.begun else "cancelled"
            self.settle(lease, self._fact(lease, outcome, usage, partial.model))

    def failed(self, lease: Lease, raised: Exception, partial: Partial | None = None) -> BackendError:
        """It failed, perhaps after a part of its answer, and may have been billed; gives the typed error."""
        try:
            error = lease.route.typed(raised)
        except LLMError:  # no error of a provider: a backend that asks a router of its own
            self.cancelled(lease)
            raise
        confirmed = True
        usage = None if partial is None else self._partly(lease, partial)
        if usage is None:
            confirmed = not (lease.sent and may_be_billed(error))
            usage = _UNSENT if confirmed else self._expected(lease)
        fact = structs.replace(self._fact(lease, "failed", usage), error=error, confirmed=confirmed)
        self.leases.failed(lease.route, error, fact.at)
        self.settle(lease, fact)
        reason = " ".join(visible(described(error)).split())
        with suppress(Exception):  # a defect of a program's logging changes nothing
            logger.warning("backend %s failed (model %s): %s", error.backend, error.model, reason)
        return error

    def cancelled(self, lease: Lease) -> None:
        """The caller left: it may have been billed if it was sent, and says nothing about the backend."""
        fact = self._fact(lease, "cancelled", self._expected(lease) if lease.sent else _UNSENT)
        self.settle(lease, structs.replace(fact, confirmed=not lease.sent))

    def _partly(self, lease: Lease, partial: Partial) -> Usage | None:
        """What an answer that broke off came to: the provider's count, and an estimate of what that has not in it.

        None when nothing came of it.
        """
        if not partial.received and not partial.usage.total_tokens:
            return None
        return self._completed(lease, partial.usage, partial.uncounted)

    def _completed(self, lease: Lease, counted: Usage, uncounted: int) -> Usage:
        """A provider's count, with an estimate of so many bytes of the answer that it has not in it."""
        usage = lease.route.estimator.completed(counted, self.completion.size, uncounted)
        return self._bounded(lease, usage, counted)

    def _expected(self, lease: Lease) -> Usage:
        """The usage of an attempt of which nobody will tell: what was expected of it."""
        estimator = lease.route.estimator
        prompt = estimator.prompt_tokens(self.completion.size)
        output = estimator.output_tokens(self._held_to(lease.held).request.max_tokens)
        return self._bounded(lease, Usage(prompt, output, estimated=True))

    def _bounded(self, lease: Lease, usage: Usage, counted: Usage = _UNSENT) -> Usage:
        """An estimate never passes what the attempt can come to at most; what its provider counted may."""
        held = lease.held
        if held is None or not usage.estimated:
            return usage
        return replace(
            usage,
            prompt_tokens=max(counted.prompt_tokens, min(usage.prompt_tokens, held.most.prompt)),
            completion_tokens=max(counted.completion_tokens, min(usage.completion_tokens, held.most.output)),
        )

    def settle(self, lease: Lease, fact: Answered, response: LLMResponse | None = None) -> None:
        """Give the one fact of an attempt, and its answer, to everybody who settles by it."""
        lease.settled = True
        error, route, held = fact.error, lease.route, lease.held
        name = _ENDS[fact.outcome] if error is None else type(error).__name__
        status = None if error is None else error.status
        self.leases.attempts.append(Attempt(route.name, route.model, name, status, fact.at - lease.started))
        changed = route.settle(fact, lease.permit)
        self.shared.usage.settle(fact)
        if lease.row and (response is not None or not lease.fetches):
            self._write_end(lease, fact, response)
        if self.shared.lines is not None:
            self.shared.lines.add(self.completion.model, fact, response, self.shared.clock.wall())
        if held is not None and not held.settle(fact):
            if self._held is None:
                self._held = held  # it cost nothing: the next attempt goes on with it
            else:
                held.close()
        if changed:
            self.leases.tell_others()
        if self.shared.observers:
            ended = fact.outcome in ("answered", "dropped")
            if ended or fact.usage.total_tokens:
                self._tell(
                    (fact.backend, fact.model), fact.usage, fact.cost, fact.at, name, fact.confirmed, ended
                )

    def _write_end(self, lease: Lease, fact: Answered, response: LLMResponse | None) -> None:
        shared, completion = self.shared, self.completion
        assert shared.ledger is not None
        if lease.fetches and (known := completion.known) is not None:
            shared.book.give_back(fact.charge, known)
        shared.ledger.end(lease.row, ended(completion.asked, fact, response, shared.clock.wall()))

    def _fact(self, lease: Lease, outcome: Outcome, usage: Usage, model: str = "") -> Answered:
        """What an attempt came to; `model` is the one that answered, when it has another name."""
        completion, route, shared = self.completion, lease.route, self.shared
        wall = shared.clock.wall()
        tier = usage.service_tier or (completion.tier if completion.request.extra else "")
        rates = route.rates(shared.prices, wall, model, tier) if model and model != route.model else None
        if rates is None:
            rates = route.rates(shared.prices, wall, "", tier)
        cost = None if rates is None else rates.micro_usd(usage)
        return Answered(
            completion.charge,
            route.name,
            route.model,
            outcome,
            usage,
            True,
            cost,
            lease.started,
            shared.clock.monotonic(),
            completion.size,
            None,
            self._extents.get(_asked_alike(route), (None,))[0] if self._extents else None,
            rates.plain_micro_usd(usage)
            if rates is not None and usage.cached_tokens + usage.cache_write_tokens
            else cost,
            "" if rates is None else rates.name,
            lease.attempt,
        )

    def _ended_badly(self, error: BaseException) -> None:
        """Account a call that gets no answer."""
        shared, attempts = self.shared, self.leases.attempts
        shared.usage.failed(self.completion.charge)
        if shared.observers:
            last = (attempts[-1].backend, attempts[-1].model) if attempts else ("", self.completion.model)
            self._tell(last, _UNSENT, None, shared.clock.monotonic(), type(error).__name__)

    def _tell(
        self,
        asked: tuple[str, str],
        usage: Usage,
        cost: float | None,
        at: float,
        error: str,
        confirmed: bool = True,
        ended: bool = True,
    ) -> None:
        """Tell the observers what became of a call, or of one try; `asked` is (backend, model)."""
        charge = self.completion.charge
        self.shared.emit(
            LLMCalled(
                charge.agent,
                charge.thread_id,
                charge.conversation_id,
                *asked,
                usage.prompt_tokens,
                usage.completion_tokens,
                cost,
                at - self.completion.started,
                error,
                charge.message_id,
                charge.attempt,
                usage.estimated,
                confirmed,
                ended,
            )
        )


def closed() -> NoBackendError:
    """The error of a call on a closed router."""
    return NoBackendError("the router is closed; calls are possible between its start and its close only")


def _asked_alike(route: Route) -> object:
    """What decides how a backend is asked: equal for those that get the same request."""
    return type(route.backend), route.supports("tools"), route.supports("schema")
