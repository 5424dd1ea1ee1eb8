"""How the final error of a call reads: what was tried, what failed, and what the user can do about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xml_pipeline.errors import (
    Attempt,
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    ConnectionFailedError,
    MalformedAnswerError,
    ModelNotFoundError,
    QuotaExhaustedError,
    RateLimitedError,
)

if TYPE_CHECKING:
    from xml_pipeline.llm.completion import Completion

_TRAIL_SHOWN = 5  # failures that the final error's text repeats

_ADVICE: dict[type[BackendError], str] = {
    AuthenticationError: "Check the key of backend {name}{variable}",
    QuotaExhaustedError: "Add credit to the account of backend {name}, or configure another backend",
    ModelNotFoundError: "Check the model's name (a backend's model_map renames it), and that {url} is the API's whole"
    " address, with its prefix",
    RateLimitedError: "Set rate_limit_rpm and rate_limit_tpm of backend {name} to what the account has, or configure"
    " another backend",
    ConnectionFailedError: "Check that base_url {url} of backend {name} is right, and that its server runs",
    MalformedAnswerError: "Check that base_url {url} of backend {name} is the address of such an API",
    BackendTimeoutError: "Raise request_timeout or attempt_timeout, or configure another backend",
}


def exhausted(asked: Completion, attempts: Sequence[Attempt], errors: Sequence[BackendError]) -> BackendError:
    """The error of a call that nobody answered.

    Args:
        asked: the call.
        attempts: all that was tried.
        errors: the failures among them, in their order.
    """
    error = errors[-1] if errors else _cold(asked)
    if error is None:
        return RateLimitedError(f"no backend for {asked.model!r} has room before the deadline")
    tries = len(attempts)
    text = f"after {tries} {'try' if tries == 1 else 'tries'}" if tries else "every backend is out"
    advice = _advice(asked, error)
    final = type(error)(
        f"no backend answered for {asked.model!r}, {text}: {_trail(errors) or error}"
        + (f". {advice}" if advice else ""),
        provider=error.provider,
        backend=error.backend,
        model=error.model,
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        retry_after=error.retry_after,
        attempts=attempts,
    )
    final.retryable, final.failover = error.retryable, error.failover
    return final


def timed_out(
    asked: Completion, attempts: Sequence[Attempt], errors: Sequence[BackendError]
) -> BackendTimeoutError:
    """The error of a call whose deadline passed; arguments as of `exhausted`."""
    trail, seconds = _trail(errors), asked.deadline - asked.started
    return BackendTimeoutError(
        f"no answer for {asked.model!r} within {seconds:g} s" + (f": {trail}" if trail else ""),
        backend=attempts[-1].backend if attempts else "",
        model=attempts[-1].model if attempts else asked.model,
        attempts=attempts,
    )


def _trail(errors: Sequence[BackendError]) -> str:
    return "; ".join(f"{one.backend}: {type(one).__name__}: {one}" for one in errors[-_TRAIL_SHOWN:])


def _cold(asked: Completion) -> BackendError | None:
    """Why a backend is out that nobody could ask."""
    found = (route.breaker.last_error(route.model) for route in asked.routes())
    return next((error for error in found if error is not None), None)


def _advice(asked: Completion, error: BackendError) -> str:
    """What to do about it, or "" where the provider's own words have to do."""
    backend = next((route.backend for route in asked.routes() if route.name == error.backend), None)
    text = _ADVICE.get(type(error), "")
    if backend is None or ("{url}" in text and not backend.base_url):
        return ""
    variable = backend.key_variable
    where = f" (environment variable {variable})" if variable else ""
    if backend.api_key_ref:
        where = f": `xp auth set {backend.api_key_ref}` stores another one"
    return text.format(name=error.backend, url=backend.base_url, variable=where)
