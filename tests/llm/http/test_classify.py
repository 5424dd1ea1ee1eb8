"""Which error an answer is: one test for each row of the table, in the bodies that providers send."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline import errors
from xml_pipeline.llm.http.classify import (
    BY_CODE,
    BY_GENERIC_TYPE,
    BY_MESSAGE,
    BY_STATUS,
    ErrorRule,
    error_from,
)


def openai(message: str = "", code: str | None = None, kind: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "code": code, "type": kind, "param": None}}


def anthropic(kind: str, message: str = "") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def gemini(code: int, status: str, message: str = "", *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "status": status, "message": message, "details": list(details)}}


QUOTA_PER_DAY = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
}
QUOTA_PER_MINUTE = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}],
}
RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7.5s"}

CASES: list[tuple[int | None, Any, type[errors.BackendError]]] = [
    # quota, in all its disguises, before rate limits
    *(
        (429, openai("no", code), errors.QuotaExhaustedError)
        for code in (
            "insufficient_quota",
            "credit_balance_exhausted",
            "organization_spend_limit_exceeded",
            "project_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
            "billing_hard_limit_reached",
        )
    ),
    (429, openai("You exceeded your current quota", None, "insufficient_quota"), errors.QuotaExhaustedError),
    (400, anthropic("invalid_request_error", "Your credit balance is too low"), errors.QuotaExhaustedError),
    (400, anthropic("enforced_spend_limit_reached"), errors.QuotaExhaustedError),
    (429, gemini(429, "RESOURCE_EXHAUSTED", "quota", QUOTA_PER_DAY), errors.QuotaExhaustedError),
    (402, openai("Payment required"), errors.QuotaExhaustedError),
    # rate limits
    (429, openai("Rate limit reached", "rate_limit_exceeded", "tokens"), errors.RateLimitedError),
    (429, anthropic("rate_limit_error"), errors.RateLimitedError),
    (429, gemini(429, "RESOURCE_EXHAUSTED", "quota", QUOTA_PER_MINUTE, RETRY_INFO), errors.RateLimitedError),
    (429, "Too Many Requests", errors.RateLimitedError),
    # keys
    (401, openai("Incorrect API key provided", "invalid_api_key"), errors.AuthenticationError),
    (401, anthropic("authentication_error"), errors.AuthenticationError),
    (403, anthropic("permission_error"), errors.AuthenticationError),
    (
        400,
        gemini(400, "INVALID_ARGUMENT", "API key not valid.", {"reason": "API_KEY_INVALID"}),
        errors.AuthenticationError,
    ),
    (
        400,
        {"code": "invalid argument", "error": "Incorrect API key provided: xa***12"},
        errors.AuthenticationError,
    ),
    (403, "forbidden", errors.AuthenticationError),
    # models
    (404, openai("The model does not exist", "model_not_found"), errors.ModelNotFoundError),
    (404, anthropic("not_found_error", "model: claude-9"), errors.ModelNotFoundError),
    (404, {"error": "model 'llama9' not found"}, errors.ModelNotFoundError),
    (404, gemini(404, "NOT_FOUND", "models/x is not found"), errors.ModelNotFoundError),
    # context windows
    (400, openai("maximum context length is 8192", "context_length_exceeded"), errors.ContextWindowError),
    (400, anthropic("invalid_request_error", "prompt is too long: 250000 tokens"), errors.ContextWindowError),
    (
        400,
        gemini(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum"),
        errors.ContextWindowError,
    ),
    (
        400,
        {"error": {"code": 400, "message": "too big", "type": "exceed_context_size_error"}},
        errors.ContextWindowError,
    ),
    (
        400,
        {"object": "error", "message": "This model's maximum context length is 4096"},
        errors.ContextWindowError,
    ),
    # content policy
    (400, openai("no", "content_policy_violation"), errors.ContentPolicyError),
    (400, openai("no", "content_filter"), errors.ContentPolicyError),
    # overload
    (529, anthropic("overloaded_error"), errors.OverloadedError),
    (503, gemini(503, "UNAVAILABLE", "The model is overloaded."), errors.OverloadedError),
    (503, openai("slow", "slow_down"), errors.OverloadedError),
    (503, openai("busy", "server_is_overloaded"), errors.OverloadedError),
    (429, {"error": "Model is overloaded", "error_type": "overloaded"}, errors.OverloadedError),
    # the caller's fault
    (400, openai("bad", "invalid_request_error"), errors.InvalidRequestError),
    (413, anthropic("request_too_large"), errors.InvalidRequestError),
    (422, {"detail": "wrong"}, errors.InvalidRequestError),
    (405, "", errors.InvalidRequestError),
    # the server's
    (408, "", errors.ServerError),
    (409, "", errors.ServerError),
    (500, openai("oops", None, "server_error"), errors.ServerError),
    (502, "<html>Bad Gateway</html>", errors.ServerError),
    (503, "", errors.ServerError),
    (504, "", errors.ServerError),
    (500, anthropic("api_error"), errors.ServerError),
    # an error object inside a 200, or in a stream
    (200, anthropic("overloaded_error"), errors.OverloadedError),
    (200, {"error": {"code": 429, "message": "limit"}}, errors.RateLimitedError),
    (200, {"error": {"code": 502, "message": "upstream"}}, errors.ServerError),
    (None, anthropic("rate_limit_error"), errors.RateLimitedError),
    (None, anthropic("invalid_request_error"), errors.InvalidRequestError),
    (None, {"error": "something broke"}, errors.ServerError),
    (None, [gemini(503, "UNAVAILABLE")], errors.OverloadedError),
    (302, "", errors.MalformedAnswerError),
]


@pytest.mark.parametrize(("status", "body", "kind"), CASES)
def test_every_kind_of_answer_is_the_right_error(
    status: int | None, body: Any, kind: type[errors.BackendError]
) -> None:
    error = error_from(status, {}, body)
    assert type(error) is kind
    assert error.retryable == (kind.retryable and status != 302)
    assert error.failover == kind.failover


def test_the_caller_is_blamed_and_nobody_else_asked_only_for_its_own_faults() -> None:
    kinds = {kind for _, _, kind in CASES}
    assert {kind.__name__ for kind in kinds if not kind.failover} == {
        "InvalidRequestError",
        "ContextWindowError",
        "ContentPolicyError",
    }
    assert {kind.__name__ for kind in kinds if kind.retryable} == {
        "RateLimitedError",
        "OverloadedError",
        "ServerError",
        "MalformedAnswerError",
    }


def test_openrouters_402_that_asks_to_wait_is_a_rate_limit() -> None:
    error = error_from(402, {"retry-after": "3"}, openai("budget in flight"))
    assert type(error) is errors.RateLimitedError
    assert error.retry_after == 3


def test_the_server_may_say_itself_whether_to_retry() -> None:
    assert error_from(500, {"x-should-retry": "false"}, "").retryable is False
    assert error_from(400, {"x-should-retry": "true"}, "").retryable is True


def test_what_the_provider_said_is_kept() -> None:
    headers = {"x-request-id": "req-7", "retry-after": "1.5"}
    error = error_from(429, headers, openai("Rate limit reached", "rate_limit_exceeded"))
    assert str(error) == "HTTP 429 (rate_limit_exceeded): Rate limit reached"
    assert (error.status, error.code, error.request_id, error.retry_after) == (
        429,
        "rate_limit_exceeded",
        "req-7",
        1.5,
    )
    assert "redirects to https://elsewhere" in str(error_from(301, {"location": "https://elsewhere"}, ""))


def test_a_providers_own_rows_come_first() -> None:
    mine = ErrorRule(errors.ContextWindowError, contains=("too chatty",), statuses=frozenset((500,)))
    assert type(error_from(500, {}, openai("Too chatty!"), [mine])) is errors.ContextWindowError
    assert type(error_from(400, {}, openai("Too chatty!"), [mine])) is errors.InvalidRequestError


def test_no_row_is_hidden_by_an_earlier_one() -> None:
    """Each code of the tables leads to its own row."""
    for rule in BY_CODE:
        for code in (*rule.codes, *rule.code_contains):
            assert type(error_from(418, {}, openai("", code))) is rule.error
    for rule in BY_MESSAGE:
        for text in rule.contains:
            for status in rule.statuses or (400,):
                assert type(error_from(status, {}, openai(text))) is rule.error
    for rule in BY_STATUS:
        for status in rule.statuses:
            assert issubclass(type(error_from(status, {}, "")), errors.BackendError)
    assert BY_GENERIC_TYPE[-1] == ErrorRule(errors.ServerError)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "type", "message", "details", "status"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.none() | st.integers(100, 599), json_values)
def test_any_body_becomes_some_typed_error(status: int | None, body: Any) -> None:
    error = error_from(status, {}, body)
    assert isinstance(error, errors.BackendError)
    assert len(str(error)) < 700
