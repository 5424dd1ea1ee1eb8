"""Whether a backend may be asked. Pure: the caller passes the time.

Two levels: the account (its key, its credit) and each model there. A state is `healthy`, `cold` until a time, or
`probing`: after the cold time exactly one request is let through, and its end decides.

Failures of tries that were on their way at the same time are one episode: only what began after the last counted
failure was heard counts as another one, and only its success heals. Many calls that hear the same refusal know no
more than one does.

A provider that says how long to wait is taken at its word, up to `cap`. Without a word, waits double with each
episode in a row, from `base` up to `cap`. Re-cooling never shortens a wait.
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
    """The state of one account, or of one model at one backend.

    Attributes:
        failures: episodes in a row.
        heard: when the last of them was counted, in seconds of the router's clock.
        until: how long it is left alone; 0 when it is not.
        last_error: why.
    """

    __slots__ = ("_probe", "failures", "heard", "last_error", "until")

    def __init__(self) -> None:
        self.failures = 0
        self.heard = 0.0
        self.until = 0.0
        self.last_error: BackendError | None = None
        self._probe: float | None = None  # when the probe began, while there is one

    def state(self, now: float) -> str:
        """`healthy`, `cold`, `half-open` (a probe may start) or `probing`."""
        if not self.until:
            return "healthy"
        if self._probe is not None:
            return "probing"
        return "cold" if now < self.until else "half-open"

    def is_old(self, started: float) -> bool:
        """Whether a try of this start says nothing that the last counted failure had not said."""
        return self.failures > 0 and started < self.heard

    def count(self, now: float, error: BackendError) -> None:
        """A new episode began."""
        self.failures += 1
        self.heard = now
        self.last_error = error
        self._probe = None

    def cool(self, until: float) -> None:
        """Leave it alone until then, or until a later time set before."""
        self.until = max(self.until, until)

    def begin_probe(self, now: float) -> None:
        """A request that began now decides."""
        self._probe = now

    def end_probe(self, started: float) -> None:
        """A request ended without a verdict on this circuit; if it was the probe, another one may start."""
        if self._probe == started:
            self._probe = None


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
                one.begin_probe(now)
                probe = True
                self._on_change(name, "probing", "")
        return probe

    def abandon(self, model: str, started: float) -> None:
        """A request that began then ended without telling anything about the backend."""
        self.account.end_probe(started)
        if model in self.models:
            self.models[model].end_probe(started)

    def settle(self, fact: Answered) -> bool:
        """What the end of an attempt says about the backend; True when calls that wait should look again."""
        if fact.error is not None:
            self.failed(fact.model, fact.error, fact.started, fact.at)
            return True
        if fact.outcome == "cancelled":
            self.abandon(fact.model, fact.started)
            return True
        return self.succeeded(fact.model, fact.started)

    def succeeded(self, model: str, started: float) -> bool:
        """An answer came to a request that began then; True when that healed something that was out."""
        healed = False
        if self.account.failures and not self.account.is_old(started):
            self.account = Circuit()
            self._on_change("", "healthy", "")
            healed = True
        circuit = self.models.get(model)
        if circuit is not None and not circuit.is_old(started):
            del self.models[model]
            if circuit.until:
                self._on_change(model, "healthy", "")
                healed = True
        self.clear = not (self.models or self.account.failures)
        return healed

    def failed(self, model: str, error: BackendError, started: float, now: float) -> None:
        """A request that began then failed; what it means for account and model is decided by the error's class."""
        if not error.failover:  # the caller's fault says that the backend works
            self.succeeded(model, started)
            return
        self.clear = False
        self.abandon(model, started)  # a verdict on one of the two is none on the other
        if isinstance(error, (AuthenticationError, QuotaExhaustedError)):
            if not self.account.is_old(started):
                self.account.count(now, error)
                self.account.cool(now + ACCOUNT_COLD)
                self._on_change("", "dead", str(error))
            return
        if model not in self.models and len(self.models) >= MAX_CIRCUITS:
            del self.models[next(iter(self.models))]
        circuit = self.models.setdefault(model, Circuit())
        told = min(error.retry_after or 0.0, self.policy.cap)
        refused = told > 0 or isinstance(error, (ModelNotFoundError, RateLimitedError, OverloadedError))
        if circuit.is_old(started) and (circuit.until or not refused):
            if told:  # the provider may name a later time to one call than to another
                circuit.cool(now + told)
            return
        probe_failed = circuit.until > 0
        circuit.count(now, error)
        if isinstance(error, ModelNotFoundError):
            wait = MODEL_COLD
        elif refused:
            wait = told or self._backoff(circuit.failures - 1)
        elif circuit.failures >= FAILURES_BEFORE_COLD or probe_failed:
            wait = self._backoff(max(0, circuit.failures - FAILURES_BEFORE_COLD))
        else:
            return
        circuit.cool(now + wait)
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
