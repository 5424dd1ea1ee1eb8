"""What a console or `llm list` shows of a backend."""

from __future__ import annotations

from dataclasses import dataclass

from xml_pipeline.llm.endpoint import Endpoint
from xml_pipeline.llm.usage import UsageTotals


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
    backend, gate = endpoint.backend, endpoint.gate
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
        health="no key" if missing else endpoint.health.state(now),
        reason=f"set {variable}" if missing else endpoint.health.reason(now),
        in_flight=gate.in_flight,
        waiting=gate.waiting,
        tokens_available=gate.tokens_available(now),
        usage=usage,
    )
