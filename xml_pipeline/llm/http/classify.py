"""Which error an answer is: by the provider's code or type first, then by its message, then by the status.

The table is data. A row matches when each of its conditions that is not empty holds; the first match decides.
Quota stands before rate limits, because an exhausted account answers 429 too and no waiting helps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from xml_pipeline.errors import (
    AuthenticationError,
    BackendError,
    ContentPolicyError,
    ContextWindowError,
    InvalidRequestError,
    MalformedAnswerError,
    ModelNotFoundError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitedError,
    ServerError,
    cut,
)
from xml_pipeline.llm.http.rate_limit_headers import retry_after
from xml_pipeline.llm.types import Feature, is_whole

MESSAGE_CUT = 500  # characters of a provider's error text that an error shows
DEEPEST = 8  # levels of an error object that are looked into


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """One row of the table.

    Attributes:
        error: the class to raise.
        codes: any of these is one of the answer's codes, types, statuses or reasons (lower case).
        contains: any of these is in its message (lower case).
        statuses: the HTTP status is one of these.
        code_contains: any of these is part of one of its codes (lower case).
    """

    error: type[BackendError]
    codes: frozenset[str] = frozenset()
    contains: tuple[str, ...] = ()
    statuses: frozenset[int] = frozenset()
    code_contains: tuple[str, ...] = ()

    def matches(self, facts: ErrorFacts) -> bool:
        """Whether every condition of this row holds."""
        return (
            (not self.codes or not self.codes.isdisjoint(facts.codes))
            and (not self.statuses or facts.status in self.statuses)
            and (not self.contains or any(text in facts.text for text in self.contains))
            and (
                not self.code_contains
                or any(part in code for part in self.code_contains for code in facts.codes)
            )
        )


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """What an error answer says.

    Attributes:
        status: the HTTP status, or the numeric code of an error object inside a 200; None without either.
        codes: all codes, types, statuses and reasons found, lower case.
        code: the most telling one as the provider wrote it, or "".
        message: its message as it wrote it.
        text: the same in lower case.
    """

    status: int | None
    codes: frozenset[str]
    code: str
    message: str
    text: str


def _codes(written: str) -> frozenset[str]:
    """Codes, written with blanks between them."""
    return frozenset(written.split())


def _texts(written: str) -> tuple[str, ...]:
    """Texts, written with bars between them."""
    return tuple(written.split("|"))


BY_CODE: tuple[ErrorRule, ...] = (
    ErrorRule(
        QuotaExhaustedError,
        codes=_codes(
            "insufficient_quota credit_balance_exhausted organization_spend_limit_exceeded"
            " project_spend_limit_exceeded organization_usage_limit_exceeded"
            " billing_hard_limit_reached billing_not_active billing_error"
            " enforced_spend_limit_reached insufficient_credits insufficient_balance"
        ),
    ),
    ErrorRule(QuotaExhaustedError, code_contains=("perday",)),  # Gemini's QuotaFailure.quotaId
    ErrorRule(
        AuthenticationError,
        codes=_codes(
            "invalid_api_key api_key_invalid authentication_error permission_error"
            " permission_denied unauthenticated account_deactivated"
            " unsupported_country_region_territory"
        ),
    ),
    ErrorRule(ModelNotFoundError, codes=_codes("model_not_found not_found_error model_not_available")),
    ErrorRule(
        ContextWindowError,
        codes=_codes("context_length_exceeded exceed_context_size_error model_context_window_exceeded"),
    ),
    ErrorRule(
        ContentPolicyError,
        codes=_codes("content_policy_violation content_filter responsibleaipolicyviolation"),
    ),
    ErrorRule(
        OverloadedError,
        codes=_codes(
            "overloaded_error overloaded server_is_overloaded slow_down unavailable engine_overloaded"
        ),
    ),
)

BY_MESSAGE: tuple[ErrorRule, ...] = (
    ErrorRule(
        QuotaExhaustedError,
        contains=_texts(
            "credit balance is too low"
            "|exceeded your current quota, please check your plan and billing"
            "|insufficient balance|insufficient credits|spend limit|billing hard limit"
            "|used all available credits"
        ),
    ),
    ErrorRule(
        AuthenticationError,
        contains=_texts(
            "incorrect api key|invalid api key|api key not valid|invalid x-api-key|api key expired|no api key"
        ),
    ),
    ErrorRule(
        ContextWindowError,
        contains=_texts(
            "maximum context length|context length exceeded|exceeds the context window"
            "|exceeds the available context size|prompt is too long"
            "|longer than the model's context length|input token count|maximum prompt length"
            "|exceed context limit|inputs tokens + max_new_tokens"
        ),
        statuses=frozenset((400, 413, 422)),
    ),
    # The name of LiteLLM's exception: its proxy passes it on with various statuses, and inside streams.
    ErrorRule(ContextWindowError, contains=("contextwindowexceedederror",)),
    ErrorRule(
        ContentPolicyError,
        contains=_texts("content policy|usage policies|content management policy|safety system"),
        statuses=frozenset((400, 403, 422)),
    ),
    ErrorRule(
        ModelNotFoundError,
        contains=_texts("model not found|no such model|unknown model|model does not exist"),
        statuses=frozenset((400, 404, 422)),
    ),
    ErrorRule(
        OverloadedError, contains=("overloaded",), statuses=frozenset((424, 429, 500, 502, 503, 504, 529))
    ),
)

BY_STATUS: tuple[ErrorRule, ...] = (
    ErrorRule(AuthenticationError, statuses=frozenset((401, 403))),
    ErrorRule(QuotaExhaustedError, statuses=frozenset((402,))),
    ErrorRule(ModelNotFoundError, statuses=frozenset((404,))),
    ErrorRule(ServerError, statuses=frozenset((408, 409, 424, 425))),
    ErrorRule(RateLimitedError, statuses=frozenset((429,))),
    ErrorRule(OverloadedError, statuses=frozenset((529,))),
    ErrorRule(InvalidRequestError, statuses=frozenset(range(400, 500))),
    ErrorRule(ServerError, statuses=frozenset(range(500, 600))),
    ErrorRule(MalformedAnswerError, statuses=frozenset(range(300, 400))),
)

REFUSALS: Mapping[Feature, tuple[str, ...]] = {
    "tools": _texts(
        "does not support tools|does not support tool use|does not support tool calling"
        "|does not support function calling|not support parameters: […tools|support tool use"
        "|supports tool calling for this model|function calling is not enabled|tools is not supported"
        "|tools are not supported|tool calling is not supported|tool use is not supported"
        "|function calling is not supported|unsupported param: tools|unsupported parameter: tools"
        "|enable-auto-tool-choice|tools param requires"
    ),
    "schema": _texts(
        "response_format…not supported|not support response_format|not support response format"
        "|not support parameters: […response_format|response_format type is unavailable|json mode is not enabled"
        "|unsupported param: response_format|unsupported parameter: response_format|json_schema is not supported"
        "|not support structured output|structured outputs are not supported|not support output format"
        "|output_format: extra inputs|output_config.format: extra inputs"
    ),
}
"""How servers say that a model has no tools, or takes no JSON Schema for its answer.

Quotes are left out, and `…` stands for anything between two parts. Sources: the words of Ollama, vLLM, llama.cpp,
LiteLLM, OpenRouter, OpenAI, Groq, DeepSeek, DeepInfra and Gemini.
"""
_QUOTES = str.maketrans("", "", "'\"`")

# Only for an error object without a telling status (inside a 200, in a stream).
BY_GENERIC_TYPE: tuple[ErrorRule, ...] = (
    ErrorRule(
        RateLimitedError,
        codes=_codes("rate_limit_error rate_limit_exceeded resource_exhausted too_many_requests"),
    ),
    ErrorRule(
        InvalidRequestError,
        codes=_codes("invalid_request_error invalid_argument request_too_large invalid_prompt"),
    ),
    ErrorRule(ModelNotFoundError, codes=_codes("not_found")),
    ErrorRule(ServerError),
)


def error_facts(status: int | None, data: Any) -> ErrorFacts:
    """What the body of an error answer says; `data` is parsed JSON, or text."""
    codes: list[str] = []
    messages: list[str] = []
    numeric: list[int] = []
    _collect(data, codes, messages, numeric)
    if (status is None or status < 300) and numeric:
        status = numeric[0]
    message = next((text for text in messages if text), "")
    if isinstance(data, dict) and isinstance(data.get("detail"), list):
        message = "; ".join(text for text in messages if text)  # several rules, each of which is broken
    if not message and isinstance(data, str):
        message = " ".join(data.split())
    return ErrorFacts(
        None if status is not None and status < 300 else status,
        frozenset(code.lower() for code in codes),
        next(iter(codes), ""),
        cut(message, MESSAGE_CUT),
        " ".join(messages).lower() if messages else message.lower(),
    )


def _collect(
    data: Any, codes: list[str], messages: list[str], numeric: list[int], left: int = DEEPEST
) -> None:
    """Walk the known places of an error object: `error`, `detail`, `details`, `violations`, `metadata`."""
    if not left:
        return
    if isinstance(data, list):
        for item in data[:8]:
            _collect(item, codes, messages, numeric, left - 1)
        return
    if not isinstance(data, dict):
        return
    inner = data.get("error")
    if isinstance(inner, dict):
        _collect(inner, codes, messages, numeric, left - 1)
    elif isinstance(inner, str):
        messages.append(inner)
    for key in ("code", "type", "status", "reason", "quotaId", "error_type"):
        value = data.get(key)
        if isinstance(value, str) and value and value != "error":
            codes.append(value)
        elif is_whole(value) and 400 <= value < 600:
            numeric.append(value)
    for key in ("message", "detail"):
        value = data.get(key)
        if isinstance(value, str):
            messages.append(value)
    if isinstance(data.get("msg"), str):
        messages.append(_placed(data["msg"], data.get("loc")))
    for key in ("detail", "details", "violations", "metadata", "errors"):
        if isinstance(data.get(key), (dict, list)):
            _collect(data[key], codes, messages, numeric, left - 1)


def _placed(rule: str, place: Any) -> str:
    """One broken rule of FastAPI's 422, with the place in the request: `body.tools.0: field required`."""
    where = ".".join(str(part) for part in place[:8]) if isinstance(place, list) else ""
    return f"{where}: {rule}" if where else rule


def classify(facts: ErrorFacts, rules: Iterable[ErrorRule] = ()) -> type[BackendError]:
    """The error class for these facts; a provider's own `rules` come before the common table."""
    tables = (tuple(rules), BY_CODE, BY_MESSAGE, BY_STATUS if facts.status else (), BY_GENERIC_TYPE)
    for rule in (rule for table in tables for rule in table):
        if rule.matches(facts):
            return rule.error
    raise AssertionError("the last row matches everything")


def error_from(
    status: int | None, headers: Mapping[str, str], data: Any, rules: Iterable[ErrorRule] = ()
) -> BackendError:
    """The typed error of an answer (see `wire.Dialect.error`)."""
    facts = error_facts(status, data)
    kind = classify(facts, rules)
    wait = retry_after(headers, data)
    if kind is QuotaExhaustedError and facts.status == 402 and wait is not None:
        kind = RateLimitedError  # OpenRouter: a 402 that asks to wait is a budget in flight
    shown = facts.message or "no message"
    redirects = 300 <= (facts.status or 0) < 400
    if redirects:
        shown = f"it redirects to {cut(headers.get('location', '?'))}; set base_url to the right address"
    label = f"HTTP {facts.status}" if facts.status else "error in the answer"
    if facts.code:
        label += f" ({facts.code})"
    error = kind(
        f"{label}: {shown}",
        status=facts.status,
        code=facts.code,
        request_id=headers.get("x-request-id") or headers.get("request-id") or "",
        retry_after=wait,
    )
    error.refuses = refusal(kind, facts)
    should_retry = headers.get("x-should-retry")
    if redirects:
        error.retryable = False  # it will say the same again
    elif should_retry in ("true", "false"):
        error.retryable = should_retry == "true"
    return error


def refusal(kind: type[BackendError], facts: ErrorFacts) -> Feature | None:
    """What the model cannot do natively, as far as the error says so."""
    if kind not in (InvalidRequestError, ModelNotFoundError, ServerError):
        return None
    text = facts.text.translate(_QUOTES)
    for feature, phrases in REFUSALS.items():
        if any(all(part in text for part in phrase.split("…")) for phrase in phrases):
            return feature
    return None
