"""A configured backend with its running state: limits, circuit breaker, what was learned, its clients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from xml_pipeline.errors import BackendError
from xml_pipeline.events import BackendStateChanged
from xml_pipeline.llm.accounting.estimate import Estimator
from xml_pipeline.llm.accounting.prices import FREE, PriceTable, Rates
from xml_pipeline.llm.accounting.usage import UsageTotals
from xml_pipeline.llm.clock import Clock
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.http.secrets import scrub
from xml_pipeline.llm.http.transport import Clients, TransportSettings
from xml_pipeline.llm.limits.rate_limiter import RateLimiter
from xml_pipeline.llm.routing.advice import advice_for
from xml_pipeline.llm.routing.circuit_breaker import CircuitBreaker, CoolingPolicy

MAX_ESTIMATORS = 1024  # models of one backend of which something is learned; the oldest is forgotten first
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Endpoint:
    """One backend at work."""

    __slots__ = ("backend", "breaker", "clients", "estimators", "limiter", "loopback", "name", "secrets")

    def __init__(
        self,
        backend: Backend,
        name: str,
        *,
        clock: Clock,
        cooling: CoolingPolicy,
        transport: TransportSettings,
        on_change: Callable[[BackendStateChanged], None],
    ) -> None:
        self.backend = backend
        self.name = name
        self.secrets = (str(backend.api_key),) if backend.api_key else ()
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
        self.clients = Clients(backend.base_url, backend.max_concurrent, transport)
        self.loopback = backend.offline or urlsplit(backend.base_url).hostname in LOOPBACK

    async def client(self) -> Any:
        """The running loop's `httpx.AsyncClient`; None for a backend that opens no connection."""
        return None if self.backend.offline else await self.clients.get()

    def serves(self, model: str) -> bool:
        """Whether this backend serves a model of this name, by its configuration or its provider's rule."""
        backend = self.backend
        if model in backend.model_map:
            return True
        if backend.supported_models:
            return any(
                model == name or fnmatchcase(model.lower(), name.lower()) for name in backend.supported_models
            )
        return backend.serves_model(model)

    def estimator(self, model: str) -> Estimator:
        """What is learned about a model here."""
        estimator = self.estimators.get(model)
        if estimator is None:
            if len(self.estimators) >= MAX_ESTIMATORS:
                del self.estimators[next(iter(self.estimators))]
            estimator = self.estimators[model] = Estimator()
        return estimator

    def advice(self, error: BackendError) -> str:
        """What to do about an error from here, or ""."""
        backend = self.backend
        return advice_for(error, self.name, backend.base_url, backend.api_key_env or backend.default_key_env)

    def complete_error(self, error: BackendError, model: str) -> BackendError:
        """Fill in who failed, and take the key out of the text."""
        error.provider = error.provider or self.backend.provider
        error.backend = self.name
        error.model = error.model or model
        error.args = (scrub(str(error), self.secrets),)
        return error


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One way to serve a model: an endpoint and the model's name there. A strategy's `Candidate`.

    Attributes:
        endpoint: where.
        model: the name there.
        name: the backend's name.
        priority: the backend's.
        max_concurrent: the backend's.
    """

    endpoint: Endpoint
    model: str
    name: str
    priority: int
    max_concurrent: int

    @classmethod
    def of(cls, endpoint: Endpoint, model: str) -> Route:
        backend = endpoint.backend
        return cls(
            endpoint,
            backend.model_map.get(model, model),
            endpoint.name,
            backend.priority,
            backend.max_concurrent,
        )

    @property
    def in_flight(self) -> int:
        """Requests in flight now."""
        return self.endpoint.limiter.in_flight

    def rates(self, prices: PriceTable, model: str, wall: float) -> Rates | None:
        """What `model` costs at this backend, None when unknown."""
        backend = self.endpoint.backend
        rates = prices.rates(backend.price_provider, model, wall)
        return FREE if rates is None and backend.offline else rates


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
        health: `healthy`, `cold`, `half-open`, `probing`, `dead` (key or account) or `no key`.
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
    variable = backend.api_key_env or backend.default_key_env
    missing = backend.key_missing
    return BackendStatus(
        name=endpoint.name,
        provider=backend.provider,
        base_url=backend.base_url,
        offline=backend.offline,
        key="present" if backend.api_key else "missing" if missing else "not needed",
        key_variable=variable,
        models=tuple(backend.supported_models),
        model_map=dict(backend.model_map),
        priority=backend.priority,
        max_concurrent=backend.max_concurrent,
        rate_limit_tpm=backend.rate_limit_tpm,
        rate_limit_rpm=backend.rate_limit_rpm,
        health="no key" if missing else endpoint.breaker.state(now),
        reason=f"set {variable}" if missing else endpoint.breaker.reason(now),
        in_flight=limiter.in_flight,
        waiting=limiter.waiting,
        tokens_available=limiter.tokens_available(now),
        usage=usage,
    )
