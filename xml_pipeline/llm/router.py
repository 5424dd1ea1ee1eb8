"""The router: asks for a model by name, and gets an answer although providers fail.

async with Router([XAIBackend(api_key=…), OllamaBackend()]) as router:
    response = await router.complete("grok-4.1", [{"role": "user", "content": "Hello!"}])
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Container, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from random import random as default_random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, Unpack

from msgspec import structs

from xml_pipeline.attribution import Caller, current_caller
from xml_pipeline.errors import ConfigError, PayloadError, StructuredOutputError
from xml_pipeline.events import Event, Hook
from xml_pipeline.ledger import Amended, Asked, Forgiven, Ledger, LedgerFile, Recalled
from xml_pipeline.llm.accounting.budgets import Budget, BudgetBook, Budgets
from xml_pipeline.llm.accounting.estimate import prompt_size
from xml_pipeline.llm.accounting.forecast import Estimate
from xml_pipeline.llm.accounting.prices import Price, PriceTable
from xml_pipeline.llm.accounting.usage import UsageTally, UsageTotals, charge_of
from xml_pipeline.llm.completion import Clock, Completion, Timeouts, states_a_limit
from xml_pipeline.llm.estimating import estimated
from xml_pipeline.llm.http.assembly import as_events
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.http.transport import TransportSettings
from xml_pipeline.llm.lines import Lines
from xml_pipeline.llm.options import CallOptions, StreamOptions, request_of
from xml_pipeline.llm.presets import Preset, Routing, presets_of
from xml_pipeline.llm.routing.circuit_breaker import CoolingPolicy
from xml_pipeline.llm.routing.endpoint import BackendStatus, Endpoint, status_of
from xml_pipeline.llm.routing.key_search import KeySearch
from xml_pipeline.llm.routing.leases import Changes, Policy
from xml_pipeline.llm.routing.retry import RetryPolicy
from xml_pipeline.llm.routing.strategies import Strategy, strategy_of
from xml_pipeline.llm.routing.table import Groups, RoutingTable
from xml_pipeline.llm.run import Run, Shared, closed
from xml_pipeline.llm.structured import MAX_REPAIRS, joined, read, repair_request, schema_of, with_instruction
from xml_pipeline.llm.tape import asked_by, difference
from xml_pipeline.llm.tape import read as read_answer
from xml_pipeline.llm.types import (
    LLMRequest,
    LLMResponse,
    Message,
    ReasoningDelta,
    StreamEnd,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
)
from xml_pipeline.payload import Codec, codec_of

if TYPE_CHECKING:
    from xml_pipeline.keys.keys import Keys

logger = logging.getLogger(__name__)


class Router:
    """Backends behind one door.

    Args:
        backends: in the order in which equal priorities are tried. Names that are missing or taken get a number.
        strategy: `failover`, `round-robin`, `least-loaded`, or an object with `order` and `taken`.
        retries: tries after the first, over all backends of one call.
        retry_base_delay: seconds of the first backoff, doubled with each failure of the same backend.
        retry_max_delay: seconds; the longest backoff, cooldown and granted `Retry-After`.
        timeouts: in seconds, see `Timeouts`.
        models: name → model, or fallback chain of models, or `Preset`.
        routing: operation → model or name of `models`, for calls that name no model; `default` for all others.
        budgets: see `Budgets`.
        prices: exact model name or glob → `Price`, before the built-in prices.
        transport: connections, proxies, certificates.
        on_event: gets `LLMCalled`, `BudgetWarning`, `CacheCollapsed`, `BackendStateChanged`; an organism sets its own
            when it is None.
        hook: gets the same, whatever becomes of `on_event`.
        keys: where keys are looked up that backends name by `api_key_ref`; default: by the process's environment.
        clock, random: injected times and jitter.
        ledger: where each try is written down, so that budgets outlive the process; an organism with a journal has it
            there. None for nowhere.
        lines: where tries are written as lines of JSON; None for nowhere.

    Raises:
        ConfigError: an unknown strategy, two backends of one name, an alias that leads to itself.
    """

    def __init__(
        self,
        backends: Iterable[Backend] = (),
        *,
        strategy: str | Strategy = "failover",
        retries: int = 3,
        retry_base_delay: float = 1.0,
        retry_max_delay: float = 60.0,
        timeouts: Timeouts | None = None,
        models: Mapping[str, str | Sequence[str] | Preset] | None = None,
        routing: Mapping[str, str] | None = None,
        budgets: Budgets | None = None,
        prices: Mapping[str, Price] | None = None,
        transport: TransportSettings | None = None,
        on_event: Hook | None = None,
        hook: Hook | None = None,
        keys: Keys | None = None,
        clock: Clock | None = None,
        random: Callable[[], float] | None = None,
        ledger: LedgerFile | None = None,
        lines: Lines | None = None,
    ) -> None:
        clock = clock or Clock()
        retry = RetryPolicy(retries, retry_base_delay, retry_max_delay)
        settlements = Changes()
        self._usage = UsageTally()
        self._book = BudgetBook(budgets or Budgets(), clock.wall, self._emit, settlements.notify)
        self._shared = Shared(
            policy=Policy(strategy_of(strategy), retry, clock.monotonic, random or default_random, Changes()),
            timeouts=timeouts or Timeouts(),
            clock=clock,
            book=self._book,
            usage=self._usage,
            prices=PriceTable(prices),
            settlements=settlements,
            lines=lines,
        )
        self._hook = hook
        self._file = ledger
        self.on_event = on_event
        cooling = CoolingPolicy(retry_base_delay, retry_max_delay)
        self._endpoints: dict[str, Endpoint] = {}
        for backend in backends:
            provider = backend.provider or type(backend).__name__
            name = unique_name(backend.name, provider, self._endpoints)
            self._endpoints[name] = Endpoint(
                backend,
                name,
                clock=clock.monotonic,
                cooling=cooling,
                transport=transport or TransportSettings(),
                on_change=self._emit,
            )
        presets = presets_of(models or {})
        self._how = {name: preset for name, preset in presets.items() if preset.says_how}
        self._routing = Routing(routing)
        chains = {name: preset.chain for name, preset in presets.items()}
        self._table = RoutingTable(list(self._endpoints.values()), chains)
        self._search = KeySearch(self._endpoints.values(), keys, self._table.forget)

    # Calling

    async def complete(
        self,
        model: str | None,
        messages: str | Iterable[Message | LLMResponse],
        **options: Unpack[CallOptions],
    ) -> LLMResponse:
        """Ask a model.

        Args:
            model: a model's name, or an alias of the configuration; None for the one that `routing` says.
            messages: OpenAI-style dicts (see `types`), earlier responses, or one text.
            options: see `CallOptions`: agent_id, temperature, max_tokens, tools, response_type, timeout, …

        Raises:
            NoBackendError: no backend can serve the model; says why.
            BudgetExceededError: a budget has no room; nothing was spent.
            StructuredOutputError: no valid payload of `response_type` after two repairs.
            BackendError: all backends failed (with the trail in `attempts`), or the request itself is wrong.
        """
        request = self._request(model, messages, options)
        if self._file is not None or self._search.waiting:
            await self._ready(request.model)
        response_type = options.get("response_type")
        if response_type is not None:
            return await self._structured(request, options, codec_of(response_type))
        if self._shared.ledger is None:
            return await Run(self._completion(request, options), self._shared).answer()
        return await self._answer(request, partial(self._completion, request, options))

    def _request(
        self,
        model: str | None,
        messages: str | Iterable[Message | LLMResponse],
        options: CallOptions | StreamOptions,
        *,
        streaming: bool = False,
    ) -> LLMRequest:
        """What is asked: of the model that is meant, with what its preset says where the call does not."""
        if model is None:
            model = self._routing.model(charge_of(None, options.get("operation") or "").operation)
        request = request_of(model, messages, options, streaming=streaming)
        preset = self._how.get(request.model)
        return request if preset is None else preset.of(request)

    async def _ready(self, model: str) -> None:
        """Open the ledger, and look up the keys of the backends that could be asked, where that is to be done."""
        if self._file is not None:
            await self._file.ready(self.take_up)
        if self._search.waiting:
            await self._search.end(self._table.chain(model))

    async def _answer(self, request: LLMRequest, make: Callable[[], Completion]) -> LLMResponse:
        """The answer of an earlier life to the same call of the same handler, or that of a backend."""
        call = self._recalled(request)
        if call.answer is not None:
            return call.answer
        return await Run(call.of(make()), self._shared).answer()

    def _recalled(self, request: LLMRequest) -> _Call:
        ledger, caller = self._shared.ledger, current_caller.get()
        if ledger is None or caller is None:
            return _Call()
        asked = asked_by(caller, request)
        found = ledger.recall(asked) if caller.attempt > 1 else None
        if found is not None and found.answer is not None:
            return _Call(asked, read_answer(found.answer))
        if found is not None and found.response_id:
            return _Call(asked, None, found)
        if found is not None and not found.confirmed:
            logger.warning(
                "%s was asked in an earlier life, and its answer never came (message %s): it counts as spent, and"
                " is asked again",
                found.backend,
                asked.message_id,
            )
        elif found is None and caller.attempt > 1:
            self._say_what_differs(ledger, caller, asked)
        return _Call(asked)

    def _say_what_differs(self, ledger: Ledger, caller: Caller, asked: Asked) -> None:
        """Tell of an answer that is not used because the handler asks for something else this time."""
        unused = (each for each in ledger.others(asked) if caller.times(each.request) <= each.nth)
        other = next(unused, None)
        if other is not None:
            logger.warning(
                "%s asks a model for something else than before it was interrupted: %s differs (message %s). The"
                " answer that it got is not used, and another one is paid. metadata.received_at and"
                " metadata.new_id() are the same each time",
                caller.listener,
                difference(asked, other) or "nothing that can be told",
                asked.message_id,
            )

    async def stream(
        self,
        model: str | None,
        messages: str | Iterable[Message | LLMResponse],
        **options: Unpack[StreamOptions],
    ) -> AsyncGenerator[StreamEvent, None]:
        """Ask a model, and get the answer in pieces.

        Yields `TextDelta`, `ReasoningDelta` and `ToolCallDelta`, and at last one `StreamEnd` with the whole
        response. Fails over unseen until the first piece, never after it. A consumer that stops early should
        close the iterator (`contextlib.aclosing`); it is charged for what came. Arguments and errors as `complete`.
        """
        request = self._request(model, messages, options, streaming=True)
        if self._file is not None or self._search.waiting:
            await self._ready(request.model)
        call = self._recalled(request)
        if call.answer is not None:
            for event in as_events(call.answer):
                if isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta):
                    yield event
            yield StreamEnd(call.answer)
            return
        run = Run(call.of(self._completion(request, options)), self._shared)
        async with aclosing(run.stream()) as events:
            async for event in events:
                yield event

    def _completion(
        self,
        request: LLMRequest,
        options: StreamOptions,
        in_words: Sequence[Message] = (),
        deadline: float | None = None,
    ) -> Completion:
        shared = self._shared
        groups = self._table.open_routes(request.model)
        charge = charge_of(options.get("agent_id"), options.get("operation") or "")
        now = shared.clock.monotonic()
        timeouts = self._timeouts(request.model) if self._how else shared.timeouts
        if deadline is None:
            deadline = now + (options.get("timeout") or timeouts.request)
        size = prompt_size(request.messages, request.tools)
        limit: int | None = self._book.budgets.default_max_tokens
        if request.extra and states_a_limit(request.extra):
            limit = None
        return Completion(
            request, groups, charge, size, now, deadline, in_words, usual_limit=limit, timeouts=timeouts
        )

    def _timeouts(self, model: str) -> Timeouts:
        preset = self._how.get(model)
        return self._shared.timeouts if preset is None or preset.timeouts is None else preset.timeouts

    async def _structured(self, request: LLMRequest, options: CallOptions, codec: Codec[Any]) -> LLMResponse:
        shared = self._shared
        deadline = shared.clock.monotonic() + (
            options.get("timeout") or self._timeouts(request.model).request
        )
        request = replace(request, response_schema=schema_of(codec))
        rounds: list[LLMResponse] = []
        while True:
            in_words = with_instruction(request.messages, codec)
            response = await self._answer(
                request, partial(self._completion, request, options, in_words, deadline)
            )
            rounds.append(response)
            if response.tool_calls:  # no answer yet: the tools come first, and `parsed` stays None
                return joined(rounds)
            try:
                response.parsed = read(codec, response.content)
            except PayloadError as error:
                if len(rounds) > MAX_REPAIRS:
                    raise StructuredOutputError(
                        f"{response.model} gave no valid <{codec.root}> in {len(rounds)} answers: {error}",
                        error.violations,
                    ) from None
                repair = repair_request(response, error)
                request = replace(request, messages=[*request.messages, *repair])
            else:
                return joined(rounds)

    async def estimate(
        self,
        model: str | None,
        messages: str | Iterable[Message | LLMResponse],
        *,
        stable: int = 0,
        turns: int = 1,
        **options: Unpack[StreamOptions],
    ) -> Estimate:
        """What a call would cost; nobody is asked.

        Args:
            model, messages, options: as of `complete`.
            stable: how many of the first messages every call of the task has.
            turns: calls that the task may need at most.

        Raises:
            NoBackendError, InvalidRequestError, TypeError: as `complete`.
        """
        request = self._request(model, messages, options, streaming=True)
        completion, prices = self._completion(request, options), self._shared.prices
        route = completion.groups[0][0]
        if prices.needs_loading(route.price_provider, route.model):
            await prices.load()
        rates = route.rates(prices, self._shared.clock.wall())
        return estimated(completion, route, rates, stable=stable, turns=turns)

    def routes(self, model: str) -> Groups:
        """The backends that would be asked for a model: one group for each step of a fallback chain.

        Raises:
            NoBackendError: none can serve it; says why.
        """
        return self._table.routes(model)

    def supports(self, feature: Literal["tools", "schema"], model: str) -> bool:
        """Whether every backend that would be asked for this model has the feature natively."""
        return all(route.supports(feature) for group in self.routes(model) for route in group)

    # Looking at it

    async def priced_as(self, model: str) -> dict[tuple[str, str], str]:
        """Whose prices hold for a model, by backend and by the model's name there.

        As `openai/gpt-5.4`, or as `llm.prices` names it; `free` for what asks no model, "" where it is unknown.

        Raises:
            NoBackendError: nobody serves it.
        """
        await self._shared.prices.load()
        wall = self._shared.clock.wall()
        routes = [route for group in self.routes(model) for route in group]
        found = [(route, route.rates(self._shared.prices, wall)) for route in routes]
        return {(route.name, route.model): rates.name if rates else "" for route, rates in found}

    def forget_thread(self, thread_id: str) -> None:
        """Free what is kept for a thread: it has ended."""
        self._book.forget_thread(thread_id)
        self._shared.caches.forget(thread_id)
        self._shared.prefixes.forget(thread_id)

    def forget_conversation(self, conversation_id: str) -> None:
        """Free what is kept for a conversation: it has ended."""
        self._book.forget_conversation(conversation_id)

    @property
    def backends(self) -> Mapping[str, Backend]:
        """The backends by their unique names."""
        return {name: endpoint.backend for name, endpoint in self._endpoints.items()}

    @property
    def keys(self) -> Keys:
        """Where the keys are looked up that backends name by `api_key_ref`."""
        return self._search.keys

    @property
    def models(self) -> Mapping[str, tuple[str, ...]]:
        """The configured aliases and their chains."""
        return self._table.aliases

    def describe(self) -> list[BackendStatus]:
        """Every backend as it is now: key, models, limits, health, requests in flight, usage."""
        now = self._shared.clock.monotonic()
        usage = self._usage.all("backend")
        return [
            status_of(endpoint, now, usage.get(name, UsageTotals()))
            for name, endpoint in self._endpoints.items()
        ]

    def _emit(self, event: Event) -> None:
        self._shared.emit(event)

    async def open(self) -> None:
        """Open its ledger, if it has a file of its own; otherwise the first call does.

        Raises:
            JournalError: another process uses the file, or it cannot be used.
        """
        if self._file is not None:
            await self._file.ready(self.take_up)

    @property
    def file(self) -> LedgerFile | None:
        """Its ledger, where that is a file of its own."""
        return self._file

    @property
    def keeps_books(self) -> bool:
        """Whether each attempt is written down, or will be."""
        return self._file is not None or self._shared.ledger is not None

    def let_go(self) -> None:
        """Write attempts down no more: whose ledger it was has stopped."""
        self._shared.ledger = None
        self._book.go_on(None)

    async def take_up(self, ledger: Ledger) -> None:
        """Write down each attempt from now on, and go on with what the rows say was spent before this router was.

        Raises:
            JournalError: they cannot be read.
        """
        first, self._shared.ledger = self._shared.ledger is None, ledger
        if not first:
            self._book.go_on(ledger)
            return
        earlier = await ledger.spent_since(self._book.since()) if self._book.active else ()
        self._book.take_up(ledger, earlier)

    def forgiven(self, what: Forgiven) -> None:
        """Hold something no more against a budget: it stands in the ledger so."""
        self._book.forgive(what)

    def amended(self, what: Amended) -> None:
        """Go on with a call as it was put right in the ledger; usage stays as the provider told it."""
        self._book.amend(what)

    @property
    def on_event(self) -> Hook | None:
        """The observer of calls, budgets, caches and backends, as the constructor has it; may be set later."""
        return self._on_event

    @on_event.setter
    def on_event(self, hook: Hook | None) -> None:
        self._on_event = hook
        self._shared.observers = tuple(one for one in (hook, self._hook) if one is not None)

    # Usage

    def get_agent_usage(self, agent_id: str) -> UsageTotals:
        """What an agent has used; zeros for one that never called."""
        return self._usage.one("agent", agent_id)

    def get_all_usage(self) -> dict[str, UsageTotals]:
        """What every agent has used, by name."""
        return self._usage.all("agent")

    def reset_agent_usage(self, agent_id: str | None = None) -> None:
        """Forget the usage of one agent, or of all. Budgets and the total are not touched."""
        self._usage.reset_agents(None if agent_id is None else (agent_id,))

    def get_thread_usage(self, thread_id: str) -> UsageTotals:
        """What a thread and everything below it has used."""
        return self._usage.one("thread", thread_id)

    def get_conversation_usage(self, conversation_id: str) -> UsageTotals:
        """What a conversation has used."""
        return self._usage.one("conversation", conversation_id)

    def get_model_usage(self) -> dict[str, UsageTotals]:
        """Usage by model, as the backends name them; failures count tries."""
        return self._usage.all("model")

    def get_backend_usage(self) -> dict[str, UsageTotals]:
        """Usage by backend; failures count tries."""
        return self._usage.all("backend")

    def get_total_usage(self) -> UsageTotals:
        """Everything together."""
        return self._usage.total()

    def set_thread_budget(self, thread_id: str, *limits: Budget) -> None:
        """Budgets for one thread and everything below it, beside the configured ones; none takes them away.

        A new one counts from now on. The configured ones, and one that is set again as it was, go on counting. With a
        journal it holds until the thread ends, also in the next life of the organism.
        """
        conversation_id = charge_of(None).conversation_id
        self._book.set_thread_budget(thread_id, *limits, conversation_id=conversation_id)

    # Lifetime

    @property
    def home(self) -> asyncio.AbstractEventLoop | None:
        """The running event loop that the router belongs to; None where any may ask."""
        home = self._shared.serving()
        return home if home is not None and home.is_running() else None

    def rest(self) -> None:
        """Let another event loop have the router, if no call is open; the running one keeps its connections."""
        self._shared.rest()

    async def aclose(self) -> None:
        """Close the connections of the running loop; further calls are refused.

        Calls that run end with an error: nothing is sent any more, no other try and nothing that waits for room.

        Raises:
            RuntimeError: the router is in use in another event loop, such as another thread's.
        """
        here = asyncio.get_running_loop()
        if self._shared.home is not here:
            self._shared.move(here)
        self._shared.close()
        for endpoint in self._endpoints.values():
            endpoint.limiter.refuse(closed)
        await self._shared.prefixes.aclose()
        for endpoint in self._endpoints.values():
            await endpoint.transport.aclose()
        if self._file is not None:
            await self._file.close()
        if self._shared.lines is not None:
            self._shared.lines.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Router({', '.join(self._endpoints) or 'no backends'})"


class _Call(NamedTuple):
    """A call of a handler.

    Attributes:
        asked: which one; None outside of handlers, or where nothing is kept.
        answer: that an earlier life got.
        going_on: what an earlier life was told of an answer that is on its way still.
    """

    asked: Asked | None = None
    answer: LLMResponse | None = None
    going_on: Recalled | None = None

    def of(self, completion: Completion) -> Completion:
        """The completion of this call."""
        if self.asked is None:
            return completion
        completion = structs.replace(completion, asked=self.asked)
        return completion if self.going_on is None else completion.going_on(self.going_on)


def unique_name(name: str, provider: str, taken: Container[str]) -> str:
    """What a backend is called in its router: its own name, or its provider's with a number if need be.

    Raises:
        ConfigError: its own name is taken.
    """
    if name:
        if name in taken:
            raise ConfigError(f"two backends have the name {name!r}; give each its own")
        return name
    name, number = provider, 1
    while name in taken:
        number += 1
        name = f"{provider}-{number}"
    return name
