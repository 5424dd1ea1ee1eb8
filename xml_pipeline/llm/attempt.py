"""One try at one backend: the request, and what its end means for accounts, limits, health and what is learned."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from xml_pipeline.errors import Attempt, BackendError, BackendTimeoutError, MalformedAnswerError
from xml_pipeline.events import LLMCalled
from xml_pipeline.llm.completion import Call
from xml_pipeline.llm.emulation import with_calls
from xml_pipeline.llm.http.transport import as_backend_error
from xml_pipeline.llm.limits.rate_limiter import Permit
from xml_pipeline.llm.routing.endpoint import Route
from xml_pipeline.llm.types import LLMResponse, Usage

_MAYBE_BILLED = (BackendTimeoutError, MalformedAnswerError)


class Try:
    """One try. Exactly one of `answered`, `dropped`, `failed` and `abandoned` ends it."""

    __slots__ = ("_ended", "call", "permit", "route", "started")

    def __init__(self, call: Call, route: Route, permit: Permit) -> None:
        self.call = call
        self.route = route
        self.permit = permit
        self.started = call.core.clock.monotonic()
        self._ended = False
        route.endpoint.breaker.begin(route.model, self.started)

    async def complete(self) -> LLMResponse:
        """Ask for a whole answer.

        Raises:
            BackendError: it failed; whether to go on is for `Call.check` to say.
        """
        endpoint = self.route.endpoint
        limit = self.call.core.timeouts.attempt
        try:
            client = await endpoint.client()
            request = self.call.request_for(self.route)
            if limit is None:
                response = await endpoint.backend._do_completion(client, request)
            else:
                async with asyncio.timeout(limit):
                    response = await endpoint.backend._do_completion(client, request)
            if not isinstance(response, LLMResponse):
                raise MalformedAnswerError(
                    f"{type(endpoint.backend).__name__} returned {type(response).__name__}, no LLMResponse"
                )
        except Exception as raised:
            raise self.failed(raised) from None
        except BaseException:
            self.abandoned()
            raise
        else:
            if self.call.reads_calls(self.route):
                response = with_calls(response, self.call.turn)
            self.answered(response)
            return response
        finally:
            self.permit.release()

    def answered(self, response: LLMResponse) -> None:
        """An answer came: account it, learn from it, and fill in what the router knows."""
        self._ended = True
        call, route = self.call, self.route
        core, endpoint = call.core, route.endpoint
        usage = Usage.of(response.usage)
        if usage.prompt_tokens or usage.completion_tokens:
            endpoint.estimator(route.model).observe(call.size, usage.prompt_tokens, usage.completion_tokens)
        else:
            usage = response.usage = self._estimated(len(response.content))
        self.permit.settle(usage.total_tokens)
        if endpoint.limiter.has_rate_limits and response.headers is not None:
            self._read_limits(response.headers)  # after settling: the provider's count has this call in it
        now = core.clock.monotonic()
        call.attempts.append(Attempt(route.name, route.model, seconds=now - self.started))
        micro_usd = self._settle(response.model, usage)
        response.backend = route.name
        response.provider = endpoint.backend.provider
        response.attempts = tuple(call.attempts)
        response.cost = None if micro_usd is None else micro_usd / 1_000_000
        response.latency = now - call.started
        if core.on_event is not None:
            core.emit(self._event(usage, response.cost, response.latency))

    def dropped(self, partial: LLMResponse, characters: int) -> None:
        """A stream's consumer left after the first content: it is billed up to there, reported or estimated."""
        self._ended = True
        reported, produced = Usage.of(partial.usage), self._estimated(characters)
        usage = Usage(
            reported.prompt_tokens or produced.prompt_tokens,
            max(reported.completion_tokens, produced.completion_tokens),
            reported.cached_tokens,
            reported.cache_write_tokens,
            reported.reasoning_tokens,
            estimated=True,
        )
        self.permit.settle(usage.total_tokens)
        self._note("Dropped")
        micro_usd = self._settle(partial.model, usage)
        core = self.call.core
        if core.on_event is not None:
            cost = None if micro_usd is None else micro_usd / 1_000_000
            core.emit(self._event(usage, cost, core.clock.monotonic() - self.call.started, "Dropped"))

    def failed(self, raised: Exception) -> BackendError:
        """It failed: account it, tell the backend's health, let the call plan; gives the typed error."""
        self._ended = True
        call, route = self.call, self.route
        core, endpoint = call.core, route.endpoint
        error = endpoint.complete_error(as_backend_error(raised, endpoint.secrets), route.model)
        self._note(type(error).__name__, error.status)
        core.usage.backend_failed(route.name, route.model)
        if isinstance(error, _MAYBE_BILLED):
            self._unconfirmed()
        else:
            self.permit.settle(0)
        now = core.clock.monotonic()
        endpoint.breaker.failed(route.model, error, now)
        call.plan_after(route, error, now)
        core.changes.notify()
        return error

    def abandoned(self) -> None:
        """It was cancelled: it may have been billed, and says nothing about the backend."""
        self._ended = True
        self._note("Cancelled")
        self._unconfirmed()
        self.route.endpoint.breaker.abandon(self.route.model)
        self.call.core.changes.notify()

    def close(self) -> None:
        """Leave nothing behind: a task that is cancelled before its first step never comes to its own end."""
        if not self._ended:
            self._ended = True
            self.permit.unused()
            self.route.endpoint.breaker.abandon(self.route.model)
            self.call.core.changes.notify()
        self.permit.release()

    def _note(self, error: str, status: int | None = None) -> None:
        seconds = self.call.core.clock.monotonic() - self.started
        self.call.attempts.append(Attempt(self.route.name, self.route.model, error, status, seconds))

    def _settle(self, model: str, usage: Usage) -> int | None:
        """Charge everybody; gives the price in micro-USD, None when unknown."""
        call, route = self.call, self.route
        core = call.core
        if route.endpoint.breaker.succeeded(route.model):
            core.changes.notify()
        micro_usd = call.price(route, model, usage)
        core.usage.answered(call.charge, route.name, route.model, usage, micro_usd)
        if call.reservation is not None:
            call.reservation.settle(usage.total_tokens, micro_usd)
        return micro_usd

    def _unconfirmed(self) -> None:
        """Nobody will tell what it used: the limits and budgets count what was expected."""
        call, route, tokens = self.call, self.route, self.permit.tokens
        call.core.usage.unconfirmed(call.charge, route.name, route.model, tokens)
        if call.reservation is not None:
            prompt = min(tokens, route.endpoint.estimator(route.model).prompt_tokens(call.size))
            price = call.price(route, route.model, Usage(prompt, tokens - prompt))
            call.reservation.add_unconfirmed(tokens, price or 0)

    def _estimated(self, characters: int) -> Usage:
        """Usage for an answer that came without."""
        estimator = self.route.endpoint.estimator(self.route.model)
        prompt = estimator.prompt_tokens(self.call.size)
        return Usage(prompt, round(characters / estimator.bytes_per_token), estimated=True)

    def _read_limits(self, headers: Mapping[str, str]) -> None:
        """Let the provider's headers correct our view of its limits."""
        endpoint = self.route.endpoint
        if endpoint.backend.dialect is not None:
            limits = endpoint.backend.dialect.rate_limits(headers, self.call.core.clock.wall())
            if limits is not None:
                endpoint.limiter.correct(limits)

    def _event(self, usage: Usage, cost: float | None, seconds: float, error: str = "") -> LLMCalled:
        charge = self.call.charge
        return LLMCalled(
            charge.agent,
            charge.thread_id,
            charge.conversation_id,
            self.route.name,
            self.route.model,
            usage.prompt_tokens,
            usage.completion_tokens,
            cost,
            seconds,
            error,
        )
