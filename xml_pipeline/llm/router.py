"""The router: asks for a model by name, and gets an answer although providers fail.

    async with Router([XAIBackend(api_key=…), OllamaBackend()]) as router:
        response = await router.complete("grok-4.1", [{"role": "user", "content": "Hello!"}])

One module-level default stands behind `get_router()`, `complete()` and `stream()`; `use_router` scopes another.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Literal, Self, Unpack

from xml_pipeline.errors import (
    ConfigError,
    InvalidRequestError,
    LLMError,
    NoBackendError,
    PayloadError,
    StructuredOutputError,
    cut,
)
from xml_pipeline.events import Event, Hook
from xml_pipeline.llm.accounts import Accounts
from xml_pipeline.llm.backend import Backend
from xml_pipeline.llm.budgets import BudgetBook, Budgets
from xml_pipeline.llm.call import Call
from xml_pipeline.llm.clock import Clock
from xml_pipeline.llm.core import Core, Timeouts
from xml_pipeline.llm.dispatch import answer
from xml_pipeline.llm.endpoint import Endpoint
from xml_pipeline.llm.estimate import prompt_size
from xml_pipeline.llm.guard import real_requests_forbidden
from xml_pipeline.llm.health import CoolingPolicy
from xml_pipeline.llm.messages import normalise_messages, tools_size
from xml_pipeline.llm.options import CallOptions, StreamOptions, request_fields
from xml_pipeline.llm.prices import Price, PriceTable
from xml_pipeline.llm.reserve import reserve
from xml_pipeline.llm.retry import RetryPolicy
from xml_pipeline.llm.routing import Groups, RoutingTable, on_this_machine
from xml_pipeline.llm.status import BackendStatus, status_of
from xml_pipeline.llm.strategies import Strategy, strategy_of
from xml_pipeline.llm.streaming import stream_answer
from xml_pipeline.llm.structured import MAX_REPAIRS, joined, read, repair_request, schema_of, with_instruction
from xml_pipeline.llm.transport import TransportSettings
from xml_pipeline.llm.types import LLMResponse, Message, StreamEvent
from xml_pipeline.llm.usage import UsageTotals, charge_of
from xml_pipeline.payload import Codec, codec_of

__all__ = [
    "Router",
    "complete",
    "configure_router",
    "get_router",
    "stream",
    "use_router",
]


class Router(Accounts):
    """Backends behind one door.

    Args:
        backends: in the order in which equal priorities are tried. Names that are missing or taken get a number.
        strategy: `failover`, `round-robin`, `least-loaded`, or an object with `order` and `taken`.
        retries: tries after the first, over all backends of one call.
        retry_base_delay: seconds of the first backoff, doubled with each failure of the same backend.
        retry_max_delay: seconds; the longest backoff, cooldown and granted `Retry-After`.
        timeouts: in seconds, see `Timeouts`.
        models: alias → model name or fallback chain of names.
        budgets: see `Budgets`.
        prices: exact model name or glob → `Price`, before the built-in prices.
        transport: connections, proxies, certificates.
        on_event: gets `LLMCalled`, `BudgetWarning`, `BackendStateChanged`.
        clock, random: injected times and jitter.

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
        models: Mapping[str, str | Sequence[str]] | None = None,
        budgets: Budgets | None = None,
        prices: Mapping[str, Price] | None = None,
        transport: TransportSettings | None = None,
        on_event: Hook | None = None,
        clock: Clock | None = None,
        random: Callable[[], float] | None = None,
    ) -> None:
        clock = clock or Clock()
        self._core = core = Core(
            strategy=strategy_of(strategy),
            retry=RetryPolicy(retries, retry_base_delay, retry_max_delay),
            timeouts=timeouts or Timeouts(),
            book=BudgetBook(
                budgets or Budgets(), clock.wall, self._emit, lambda: self._core.settlements.notify()
            ),
            prices=PriceTable(prices),
            clock=clock,
            on_event=on_event,
        )
        if random is not None:
            core.random = random
        cooling = CoolingPolicy(retry_base_delay, retry_max_delay)
        self._endpoints: dict[str, Endpoint] = {}
        for backend in backends:
            provider = backend.provider or type(backend).__name__
            name = unique_name(backend.name, provider, self._endpoints)
            self._endpoints[name] = Endpoint(
                backend,
                name,
                clock=clock,
                cooling=cooling,
                transport=transport or TransportSettings(),
                on_change=self._emit,
            )
        chains = {
            name: (chain,) if isinstance(chain, str) else chain for name, chain in (models or {}).items()
        }
        self._table = RoutingTable(list(self._endpoints.values()), chains)
        self._closed = False

    # Calling

    async def complete(
        self, model: str, messages: str | Iterable[Message | LLMResponse], **options: Unpack[CallOptions]
    ) -> LLMResponse:
        """Ask a model.

        Args:
            model: a model's name, or an alias of the configuration.
            messages: OpenAI-style dicts (see `types`), earlier responses, or one text.
            options: see `CallOptions`: agent_id, temperature, max_tokens, tools, response_type, timeout, …

        Raises:
            NoBackendError: no backend can serve the model; says why.
            BudgetExceededError: a budget has no room; nothing was spent.
            StructuredOutputError: no valid payload of `response_type` after two repairs.
            BackendError: all backends failed (with the trail in `attempts`), or the request itself is wrong.
        """
        fields = request_fields(options)
        checked = normalise_messages(messages)
        response_type = options.get("response_type")
        if response_type is not None:
            return await self._structured(model, checked, fields, options, codec_of(response_type))
        return await self._answer(self._call(model, checked, fields, options))

    async def stream(
        self, model: str, messages: str | Iterable[Message | LLMResponse], **options: Unpack[StreamOptions]
    ) -> AsyncGenerator[StreamEvent, None]:
        """Ask a model, and get the answer in pieces.

        Yields `TextDelta`, `ReasoningDelta` and `ToolCallDelta`, and at last one `StreamEnd` with the whole
        response. Fails over unseen until the first piece, never after it. A consumer that stops early should
        close the iterator (`contextlib.aclosing`); it is charged for what came. Arguments and errors as `complete`.
        """
        fields = request_fields(options, streaming=True)
        call = self._call(model, normalise_messages(messages), fields, options)
        events = stream_answer(call)
        try:
            await self._prepare(call)
            async for event in events:
                yield event
        except LLMError as error:
            call.ended_badly(error)
            raise
        finally:
            await events.aclose()
            call.release_budget()

    async def _answer(self, call: Call) -> LLMResponse:
        try:
            await self._prepare(call)
            return await answer(call)
        except LLMError as error:
            call.ended_badly(error)
            raise
        finally:
            call.release_budget()

    async def _prepare(self, call: Call) -> None:
        if self._closed:
            raise NoBackendError(
                "the router is closed; calls are possible between its start and its close only"
            )
        prices = self._core.prices
        if call.needs_prices(prices):
            await prices.load()
        if not self._core.book.empty:
            call.reservation = await reserve(call)

    async def _structured(
        self,
        model: str,
        messages: list[Message],
        fields: dict[str, Any],
        options: CallOptions,
        codec: Codec[Any],
    ) -> LLMResponse:
        deadline = self._core.clock.monotonic() + (options.get("timeout") or self._core.timeouts.request)
        rounds: list[LLMResponse] = []
        while True:
            call = self._call(model, messages, dict(fields), options, codec, deadline)
            response = await self._answer(call)
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
                messages = [*messages, *repair_request(response, error)]
            else:
                return joined(rounds)

    def _call(
        self,
        model: str,
        messages: list[Message],
        fields: dict[str, Any],
        options: StreamOptions,
        codec: Codec[Any] | None = None,
        deadline: float | None = None,
    ) -> Call:
        groups = self.routes(model)
        if real_requests_forbidden():
            groups = on_this_machine(model, groups)
        core = self._core
        if deadline is None:
            deadline = core.clock.monotonic() + (options.get("timeout") or core.timeouts.request)
        return Call(
            core,
            model,
            groups,
            messages,
            fields,
            prompt_size(messages, tools_size(fields["tools"]) if fields["tools"] else 0),
            charge_of(options.get("agent_id")),
            deadline,
            schema_of(codec) if codec else None,
            with_instruction(messages, codec) if codec else (),
        )

    def routes(self, model: str) -> Groups:
        """The backends that would be asked for a model: one group for each step of a fallback chain.

        Raises:
            NoBackendError: none can serve it; says why.
        """
        if not isinstance(model, str) or not model:
            raise InvalidRequestError(f"model is the name of a model, not {cut(model)}")
        return self._table.routes(model)

    def supports(self, feature: Literal["tools", "schema"], model: str) -> bool:
        """Whether every backend that would be asked for this model has the feature natively."""
        return all(
            route.endpoint.backend.supports(feature, route.model)
            for group in self.routes(model)
            for route in group
        )

    # Looking at it

    def forget_thread(self, thread_id: str) -> None:
        """Free what is kept for a thread: it has ended."""
        self._core.book.forget_thread(thread_id)

    def forget_conversation(self, conversation_id: str) -> None:
        """Free what is kept for a conversation: it has ended."""
        self._core.book.forget_conversation(conversation_id)

    @property
    def backends(self) -> Mapping[str, Backend]:
        """The backends by their unique names."""
        return {name: endpoint.backend for name, endpoint in self._endpoints.items()}

    @property
    def models(self) -> Mapping[str, tuple[str, ...]]:
        """The configured aliases and their chains."""
        return self._table.aliases

    def describe(self) -> list[BackendStatus]:
        """Every backend as it is now: key, models, limits, health, requests in flight, usage."""
        now = self._core.clock.monotonic()
        usage = self._core.ledger.backends()
        return [
            status_of(endpoint, now, usage.get(name, UsageTotals()))
            for name, endpoint in self._endpoints.items()
        ]

    def _emit(self, event: Event) -> None:
        self._core.emit(event)

    @property
    def on_event(self) -> Hook | None:
        """The observer of `LLMCalled`, `BudgetWarning` and `BackendStateChanged`; may be set later."""
        return self._core.on_event

    @on_event.setter
    def on_event(self, hook: Hook | None) -> None:
        self._core.on_event = hook

    # Lifetime

    async def aclose(self) -> None:
        """Close the connections of the running loop; further calls are refused."""
        self._closed = True
        for endpoint in self._endpoints.values():
            await endpoint.clients.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Router({', '.join(self._endpoints) or 'no backends'})"


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


# The default router

_scoped: ContextVar[Router | None] = ContextVar("xml_pipeline_router", default=None)
_default: Router | None = None


def get_router() -> Router:
    """The router in use here: the one of the innermost `use_router`, else the default one.

    The default has no backends until `configure_router` gives it some; a call then says what to do.
    """
    global _default
    router = _scoped.get() or _default
    if router is None:
        router = _default = Router()
    return router


def configure_router(router: Router | Mapping[str, Any] | Iterable[Backend], **settings: Any) -> Router:
    """Set the default router, and return it. The previous one is not closed.

    Args:
        router: a `Router`, backends (then `settings` are those of `Router`), or the `llm:` section of an
            organism.yaml as a dict.

    Raises:
        ConfigError: a section or settings with mistakes.
    """
    global _default
    if isinstance(router, Mapping):
        from xml_pipeline.llm.settings import build_router

        made = build_router(router, **settings)
    elif not isinstance(router, Router):
        made = Router(router, **settings)
    elif settings:
        raise TypeError("a finished Router takes no further settings")
    else:
        made = router
    _default = made
    return made


@contextmanager
def use_router(router: Router) -> Iterator[Router]:
    """Within this block, and in tasks started from it, `get_router()`, `complete()` and `stream()` use this one."""
    token = _scoped.set(router)
    try:
        yield router
    finally:
        _scoped.reset(token)


async def complete(
    model: str, messages: str | Iterable[Message | LLMResponse], **options: Unpack[CallOptions]
) -> LLMResponse:
    """`Router.complete` of the router in use here."""
    return await get_router().complete(model, messages, **options)


def stream(
    model: str, messages: str | Iterable[Message | LLMResponse], **options: Unpack[StreamOptions]
) -> AsyncGenerator[StreamEvent, None]:
    """`Router.stream` of the router in use here."""
    return get_router().stream(model, messages, **options)
