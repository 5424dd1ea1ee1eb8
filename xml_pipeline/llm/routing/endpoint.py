"""A configured backend with its running state: limits, circuit breaker, what was learned, its connections."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from xml_pipeline.errors import BackendError, LLMError
from xml_pipeline.events import BackendStateChanged
from xml_pipeline.llm.accounting.estimate import Estimator
from xml_pipeline.llm.accounting.prices import FREE, PriceTable, Rates
from xml_pipeline.llm.accounting.usage import Answered, UsageTotals
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.http.dialect import LONGEST_TIER
from xml_pipeline.llm.http.secrets import Scrubber, in_headers, words_in_headers
from xml_pipeline.llm.http.transport import Transport, TransportSettings, as_backend_error, is_loopback
from xml_pipeline.llm.limits.rate_limiter import Permit, RateLimiter
from xml_pipeline.llm.routing.circuit_breaker import CircuitBreaker, CoolingPolicy
from xml_pipeline.llm.types import Feature, LLMRequest, LLMResponse, Usage
from xml_pipeline.payload.text import encodable

logger = logging.getLogger(__name__)

MAX_ESTIMATORS = 1024  # models of one backend of which something is learned; the oldest is forgotten first


class Endpoint:
    """One backend at work.

    Args:
        backend: what is configured.
        name: unique in its router.
        clock: the router's monotonic seconds.
        cooling: how long failures keep it out.
        transport: how it is reached.
        on_change: told when its circuit breaker opens or closes.
    """

    __slots__ = ("backend", "breaker", "estimators", "limiter", "loopback", "name", "refused", "transport")

    def __init__(
        self,
        backend: Backend,
        name: str,
        *,
        clock: Callable[[], float],
        cooling: CoolingPolicy,
        transport: TransportSettings,
        on_change: Callable[[BackendStateChanged], None],
    ) -> None:
        self.backend = backend
        self.name = name
        self.limiter = RateLimiter(
            max_concurrent=backend.max_concurrent,
            tokens_per_minute=backend.rate_limit_tpm,
            requests_per_minute=backend.rate_limit_rpm,
            clock=clock,
        )
        self.breaker = CircuitBreaker(
            cooling,
            lambda model, state, reason: on_change(BackendStateChanged(name, model, state, reason)),
        )
        self.estimators: dict[str, Estimator] = {}
        self.refused: dict[tuple[str, Feature], None] = {}  # what a model does not know natively
        self.transport = Transport(backend, transport)
        self.loopback = backend.offline or is_loopback(backend.base_url)

    @property
    def scrubber(self) -> Scrubber:
        """What takes this backend's secrets out of a text."""
        backend = self.backend
        secrets = (str(backend.api_key), *in_headers(backend.headers), *self.transport.secrets)
        return Scrubber(secrets, words_in_headers(backend.headers))

    def estimator(self, model: str) -> Estimator:
        """What is learned about a model here."""
        estimator = self.estimators.get(model)
        if estimator is None:
            if len(self.estimators) >= MAX_ESTIMATORS:
                del self.estimators[next(iter(self.estimators))]
            estimator = self.estimators[model] = Estimator()
        return estimator


def serves(backend: Backend, model: str) -> bool:
    """Whether a backend serves a model of this name, by its configuration or its provider's rule."""
    if model in backend.model_map:
        return True
    if backend.supported_models:
        return any(
            model == name or fnmatchcase(model.lower(), name.lower()) for name in backend.supported_models
        )
    return backend.serves_model(model)


class Route:
    """One way to serve a model: an endpoint, and everything that a call wants of it for this one model.

    A strategy sees it as a `Candidate`.

    Attributes:
        endpoint, backend: where, and what is configured there.
        model: the name there.
        name, priority, max_concurrent: the backend's.
        price_provider: its id in genai-prices, "" for none.
        estimator: what is learned about the model there.
        limiter, breaker, transport: the endpoint's.
    """

    __slots__ = (
        *("backend", "breaker", "endpoint", "estimator", "limiter", "max_concurrent"),
        *("model", "name", "price_provider", "priority", "transport"),
    )

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        backend = endpoint.backend
        self.endpoint = endpoint
        self.backend = backend
        self.model = backend.model_map.get(model, model)
        self.name = endpoint.name
        self.priority = backend.priority
        self.max_concurrent = backend.max_concurrent
        self.price_provider = backend.price_provider
        self.estimator = endpoint.estimator(self.model)
        self.limiter = endpoint.limiter
        self.breaker = endpoint.breaker
        self.transport = endpoint.transport

    @property
    def in_flight(self) -> int:
        """Requests in flight now."""
        return self.limiter.in_flight

    def try_acquire(self, tokens: int, now: float) -> Permit | None:
        """A permit if the backend is healthy and has room now; a half-open one is then being probed."""
        breaker = self.breaker
        if not breaker.clear and not breaker.available(self.model, now):
            return None
        permit = self.limiter.try_acquire(tokens, now)
        if permit is not None and not breaker.clear:
            breaker.begin(self.model, now)
        return permit

    def available(self, now: float) -> bool:
        """Whether a request may go there now, as far as its health goes."""
        return self.breaker.clear or self.breaker.available(self.model, now)

    def settle(self, fact: Answered, permit: Permit) -> bool:
        """Limits, breaker and estimator each take in what an attempt came to; True when the breaker changed."""
        permit.settle(fact.usage.total_tokens)
        self.estimator.settle(fact)
        changes_nothing = fact.outcome == "answered" and self.breaker.clear
        return not changes_nothing and self.breaker.settle(fact)

    def read_limits(self, response: LLMResponse, wall: float) -> None:
        """Let the provider's headers correct our view of its limits."""
        dialect = self.backend.dialect
        if dialect is not None and response.headers is not None:
            limits = dialect.rate_limits(response.headers, wall)
            if limits is not None:
                self.limiter.correct(limits)

    def tiered(self, usage: Usage, headers: Mapping[str, str]) -> Usage:
        """The usage with the tier that the provider's headers name."""
        tier = headers.get(self.backend.tier_header, "")
        return replace(usage, service_tier=tier[:LONGEST_TIER]) if tier else usage

    def supports(self, feature: Feature) -> bool:
        """Whether the model there has the feature natively, as far as is known."""
        return (self.model, feature) not in self.endpoint.refused and self.backend.supports(
            feature, self.model
        )

    def learns(self, raised: Exception, asked: LLMRequest) -> bool:
        """Whether this failure says that the model has no such thing as the request used.

        It is remembered, and the same call can be asked again at once: it will be put into words.
        """
        if isinstance(raised, LLMError) and not isinstance(raised, BackendError):
            return False
        feature = as_backend_error(raised).refuses
        used = asked.tools if feature == "tools" else asked.response_schema
        if feature is None or not used:
            return False
        refused = self.endpoint.refused
        if (self.model, feature) not in refused:
            if len(refused) >= MAX_ESTIMATORS:
                del refused[next(iter(refused))]
            refused[self.model, feature] = None
            what = "tools" if feature == "tools" else "JSON Schema for answers"
            logger.info("backend %s: %s has no %s; put into words from now on", self.name, self.model, what)
        return True

    def rates(self, prices: PriceTable, wall: float, model: str = "", tier: str = "") -> Rates | None:
        """What the model (or another one) costs there, served in a tier, None when unknown."""
        rates = prices.rates(self.price_provider, model or self.model, wall, tier)
        return FREE if rates is None and self.backend.offline else rates

    def typed(self, raised: Exception) -> BackendError:
        """What an exception of the backend means, with who failed filled in and the key taken out."""
        scrub = self.endpoint.scrubber
        error = as_backend_error(raised)
        error.provider = error.provider or self.backend.provider
        error.backend = self.name
        error.model = error.model or self.model
        error.args = (str(error),)
        for place, value in (("args", error.args), *vars(error).items()):
            if isinstance(value, str):
                setattr(error, place, scrub(encodable(value)))
            elif isinstance(value, list | tuple) and all(isinstance(text, str) for text in value):
                setattr(error, place, type(value)(scrub(encodable(text)) for text in value))
        # What led to it may hold the whole answer (a JSONDecodeError does), or what was sent.
        error.__cause__ = error.__context__ = None
        return error


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """One backend as it is now.

    Attributes:
        name, provider, base_url: as configured.
        offline: True for a backend that asks no model.
        key: `present`, `missing` or `not needed`.
        key_variable: the environment variable that holds the key, or "".
        models: names and globs it is configured for; empty when the provider's own rule decides.
        model_map: name in the request → name there.
        priority: lower is preferred by `failover`.
        max_concurrent, rate_limit_tpm, rate_limit_rpm: limits; None for none.
        health: `healthy`, `cold`, `half-open`, `probing`, `dead` (key or account), `no key`;
            `failing` when its last try failed and it is not out yet; `not tried` while nobody has asked it.
        reason: why it is not healthy, or "".
        in_flight, waiting: requests now.
        tokens_available: of this minute; None without a limit.
        usage: since the start.
    """

    name: str
    provider: str
    base_url: str
    offline: bool
    key: str
    key_variable: str
    key_ref: str
    models: tuple[str, ...]
    model_map: dict[str, str]
    priority: int
    max_concurrent: int
    rate_limit_tpm: int | None
    rate_limit_rpm: int | None
    health: str
    reason: str
    in_flight: int
    waiting: int
    tokens_available: int | None
    usage: UsageTotals


def status_of(endpoint: Endpoint, now: float, usage: UsageTotals) -> BackendStatus:
    """The status of one backend; `now` is of the router's monotonic clock."""
    backend, limiter = endpoint.backend, endpoint.limiter
    variable, missing = backend.key_variable, backend.key_missing
    return BackendStatus(
        name=endpoint.name,
        provider=backend.provider,
        base_url=backend.base_url,
        offline=backend.offline,
        key=_key(backend),
        key_variable=variable,
        key_ref=backend.api_key_ref,
        models=tuple(backend.supported_models),
        model_map=dict(backend.model_map),
        priority=backend.priority,
        max_concurrent=backend.max_concurrent,
        rate_limit_tpm=backend.rate_limit_tpm,
        rate_limit_rpm=backend.rate_limit_rpm,
        health="no key" if missing else _health(endpoint, now, usage),
        reason=(backend.key_problem or f"set {variable}") if missing else endpoint.breaker.reason(now),
        in_flight=limiter.in_flight,
        waiting=limiter.waiting,
        tokens_available=limiter.tokens_available(now),
        usage=usage,
    )


def _key(backend: Backend) -> str:
    if backend.api_key:
        return "present"
    if backend.key_missing:
        return "missing"
    return "not looked up" if backend.key_pending else "not needed"


def _health(endpoint: Endpoint, now: float, usage: UsageTotals) -> str:
    """The breaker's word; where it lets requests through, whether anything speaks for the backend."""
    state = endpoint.breaker.state(now)
    if state != "healthy":
        return state
    if not endpoint.breaker.clear:
        return "failing"
    asked = endpoint.backend.offline or usage.request_count or usage.failure_count
    return state if asked else "not tried"
