"""Whether a backend may be asked. Pure: the caller passes the time.

Two levels: the account (its key, its credit) and each model there. A state is `healthy`, `cold` until a time, or
`probing`: after the cold time exactly one request is let through, and its end decides.

Waits double with each failure in a row, from `base` up to `cap`; a provider's hint counts when it is longer, but
no hint keeps a backend out for longer than `cap` without a probe. Re-cooling never shortens a wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xml_pipeline.errors import (
    AuthenticationError,
    BackendError,
    ModelNotFoundError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitedError,
)
from xml_pipeline.llm.accounting.usage import Answered

ACCOUNT_COLD = 300.0  # seconds a dead key or an exhausted account stays out before a probe
MODEL_COLD = 600.0  # seconds a model that the backend does not have stays out
MAX_CIRCUITS = (
    1024  # models of one backend with a failure; the oldest is forgotten first, and may be asked again
)
FAILURES_BEFORE_COLD = 3  # failures in a row of one model, other than rate limits and overload


@dataclass(frozen=True, slots=True)
class CoolingPolicy:
    """How long a failing backend is left alone: seconds."""

    base: float = 1.0
    cap: float = 60.0


class Circuit:
    """The state of one account, or of one model at one backend."""

    __slots__ = ("_probing", "failures", "last_error", "until")

    def __init__(self) -> None:
        self.failures = 0
        self.until = 0.0
        self.last_error: BackendError | None = None
        self._probing = False

    def state(self, now: float) -> str:
        """`healthy`, `cold`, `half-open` (a probe may start) or `probing`."""
        if not self.until:
            return "healthy"
        if self._probing:
            return "probing"
        return "cold" if now < self.until else "half-open"

    def cool(self, until: float, error: BackendError) -> None:
        """Leave it alone until then, or until a later time set before."""
        self.until = max(self.until, until)
        self.last_error = error
        self._probing = False

    def heal(self) -> None:
        """It works."""
        self.failures = 0
        self.until = 0.0
        self.last_error = None
        self._probing = False

    def begin_probe(self) -> None:
        self._probing = True

    def abandon_probe(self) -> None:
        """The probing request ended without a verdict (it was cancelled)."""
        self._probing = False


class CircuitBreaker:
    """The circuits of one backend.

    Args:
        policy: how long failures cool.
        on_change: called with (model or "" for the account, state, reason).

    Attributes:
        clear: nothing has failed since it last worked; then there is nothing to ask, to begin or to heal.
    """

    __slots__ = ("_on_change", "account", "clear", "models", "policy")

    def __init__(self, policy: CoolingPolicy, on_change: Callable[[str, str, str], None]) -> None:
        self.policy = policy
        self.account = Circuit()
        self.models: dict[str, Circuit] = {}
        self._on_change = on_change
        self.clear = True

    def available(self, model: str, now: float) -> bool:
        """Whether a request may go there now (perhaps as the probe)."""
        circuit = self.models.get(model)
        if not self.account.until and (circuit is None or not circuit.until):
            return True
        return self.account.state(now) in ("healthy", "half-open") and (
            circuit is None or circuit.state(now) in ("healthy", "half-open")
        )

    def ready_at(self, model: str, now: float) -> float | None:
        """When the next request may go there; `now` if it may, or if a probe runs (its end will tell).

        None when waiting is no help: the key is dead, the account is out, there is no such model.
        """
        if self.account.state(now) in ("cold", "probing"):
            return None
        circuit = self.models.get(model)
        if circuit is None or not circuit.until:
            return now
        if isinstance(circuit.last_error, ModelNotFoundError) and circuit.state(now) != "half-open":
            return None
        return max(now, circuit.until)

    def begin(self, model: str, now: float) -> bool:
        """A request goes there; True when it is the probe of a half-open circuit."""
        probe = False
        circuit = self.models.get(model)
        for one, name in ((self.account, ""), (circuit, model)):
            if one is not None and one.until and one.state(now) == "half-open":
                one.begin_probe()
                probe = True
                self._on_change(name, "probing", "")
        return probe

    def abandon(self, model: str) -> None:
        """The request ended without telling anything about the backend."""
        self.account.abandon_probe()
        if model in self.models:
            self.models[model].abandon_probe()

    def settle(self, fact: Answered) -> bool:
        """What the end of an attempt says about the backend; True when calls that wait should look again."""
        if fact.error is not None:
            self.failed(fact.model, fact.error, fact.at)
            return True
        if fact.outcome == "cancelled":
            self.abandon(fact.model)
            return True
        return self.succeeded(fact.model)

    def succeeded(self, model: str) -> bool:
        """An answer came; True when that healed something that was out."""
        healed = False
        for one, name in ((self.account, ""), (self.models.get(model), model)):
            if one is not None and (one.until or one.failures):
                was_cold = bool(one.until)
                one.heal()
                if one is not self.account:
                    del self.models[model]
                if was_cold:
                    healed = True
                    self._on_change(name, "healthy", "")
        self.clear = not (self.models or self.account.until or self.account.failures)
        return healed

    def failed(self, model: str, error: BackendError, now: float) -> None:
        """An error came; what it means for account and model is decided by its class."""
        if not error.failover:  # the caller's fault says that the backend works
            self.succeeded(model)
            return
        self.clear = False
        policy = self.policy
        if isinstance(error, (AuthenticationError, QuotaExhaustedError)):
            self.account.failures += 1
            self.account.cool(now + ACCOUNT_COLD, error)
            self._on_change("", "dead", str(error))
            return
        self.account.abandon_probe()
        if model not in self.models and len(self.models) >= MAX_CIRCUITS:
            del self.models[next(iter(self.models))]
        circuit = self.models.setdefault(model, Circuit())
        circuit.failures += 1
        probe_failed = circuit.until > 0
        if isinstance(error, ModelNotFoundError):
            wait = MODEL_COLD
        elif isinstance(error, (RateLimitedError, OverloadedError)):
            wait = max(self._backoff(circuit.failures - 1), min(error.retry_after or 0.0, policy.cap))
        elif circuit.failures >= FAILURES_BEFORE_COLD or probe_failed:
            wait = self._backoff(max(0, circuit.failures - FAILURES_BEFORE_COLD))
        else:
            return
        circuit.cool(now + wait, error)
        self._on_change(model, "cold", str(error))

    def _backoff(self, step: int) -> float:
        return min(self.policy.cap, self.policy.base * 2.0 ** min(step, 32))

    def state(self, now: float) -> str:
        """One word for the whole backend: the account's state, or the worst of its models'."""
        account = self.account.state(now)
        if account != "healthy":
            return "dead" if account == "cold" else account
        states = {circuit.state(now) for circuit in self.models.values()}
        return next((word for word in ("cold", "half-open", "probing") if word in states), "healthy")

    def reason(self, now: float) -> str:
        """Why it is not healthy, or ""."""
        circuits = (self.account, *self.models.values())
        errors = (one.last_error for one in circuits if one.state(now) != "healthy")
        return next((str(error) for error in errors if error is not None), "")

    def last_error(self, model: str) -> BackendError | None:
        """Why it is cold, or None."""
        circuit = self.models.get(model)
        return self.account.last_error or (circuit.last_error if circuit is not None else None)
