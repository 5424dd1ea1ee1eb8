"""What a user can do about a provider's failure, as the last sentence of an error. Pure."""

from __future__ import annotations

from xml_pipeline.errors import (
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    ConnectionFailedError,
    MalformedAnswerError,
    ModelNotFoundError,
    QuotaExhaustedError,
    RateLimitedError,
)

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


def advice_for(error: BackendError, name: str, base_url: str, variable: str) -> str:
    """What to do about it, or "" where the provider's own words have to do.

    Args:
        error: of the backend.
        name: of the backend.
        base_url: of the backend; holds no key.
        variable: environment variable of its key, or "".
    """
    text = _ADVICE.get(type(error), "")
    if "{url}" in text and not base_url:
        return ""
    return text.format(
        name=name, url=base_url, variable=f" (environment variable {variable})" if variable else ""
    )
