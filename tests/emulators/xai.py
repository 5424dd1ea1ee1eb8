"""api.x.ai: chat completions in OpenAI's dialect, own errors and usage (source: docs.x.ai, late 2026)."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from . import chat_rules
from .openai import OpenAIEmulator
from .script import Answer, Fail, Failure, Recorded
from .server import Refusal

REASONING = re.compile(r"^grok-(3-mini|4(?!.*non-reasoning)|code)")
EFFORTS = {"grok-4.7": ("low", "medium", "high", "xhigh"), "grok-4.3": ("none", "low", "medium", "high")}


def error(status: int, code: str, message: str) -> Refusal:
    """xAI's error body: the message is the `error` itself."""
    return Refusal(status, {"code": code, "error": message})


class XAIEmulator(OpenAIEmulator):
    """POST /v1/chat/completions of xAI."""

    provider: ClassVar[str] = "xai"
    default_key = "xai-emulated0123456789abcdefghijKLMNOPQR"
    reasoning_field = "reasoning_content"
    reasoning_rules = False

    def bad_key(self, given: str) -> Refusal:
        if not given:
            return error(
                401, "Unauthenticated", "No API key provided. Set the header 'Authorization: Bearer <key>'."
            )
        return error(
            400,
            "Client specified an invalid argument",
            f"Incorrect API key provided: {given}. You can obtain an API key from https://console.x.ai.",
        )

    def invalid(self, wrong: chat_rules.Wrong) -> Refusal:
        return error(400, "Client specified an invalid argument", wrong.message)

    def check_request(self, request: Recorded) -> None:
        super().check_request(request)
        if not REASONING.match(request.model):
            return
        for name in ("presence_penalty", "frequency_penalty", "stop"):
            if name in request.body:
                raise error(
                    400,
                    "Client specified an invalid argument",
                    f"Argument not supported on this model: {name}",
                )
        effort = request.body.get("reasoning_effort") or (request.body.get("reasoning") or {}).get("effort")
        if effort is not None and effort not in EFFORTS.get(request.model, ("low", "medium", "high")):
            raise error(
                400,
                "Client specified an invalid argument",
                f"Model {request.model} does not support parameter reasoningEffort={effort}.",
            )

    def not_found(self, request: Recorded) -> Refusal:
        return Refusal(404, b"", {})

    def headers(self, request: Recorded) -> dict[str, str]:
        return {key: value for key, value in super().headers(request).items() if "reset" not in key}

    def usage(self, answer: Answer, request: Recorded) -> dict[str, Any]:
        """`completion_tokens` leaves the reasoning out; `total_tokens` counts it."""
        found = super().usage(answer, request)
        found["completion_tokens"] -= self.reasoning_tokens(answer)
        return {**found, "num_sources_used": 0}

    def refusal(self, fail: Fail, request: Recorded) -> Refusal:
        wrong = "Client specified an invalid argument"
        match fail.failure:
            case Failure.BAD_REQUEST:
                return error(400, wrong, "Messages cannot be empty.")
            case Failure.CONTEXT_WINDOW:
                return error(
                    400,
                    wrong,
                    "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
                )
            case Failure.CONTENT_POLICY:
                return error(
                    403,
                    "The caller does not have permission to execute the specified operation",
                    "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO",
                )
            case Failure.BAD_KEY:
                return self.bad_key(self.key)
            case Failure.FORBIDDEN:
                return error(
                    403,
                    "The caller does not have permission to execute the specified operation",
                    "API key is blocked.",
                )
            case Failure.NO_CREDIT:
                return error(402, "Payment required", "Your team has run out of credits.")
            case Failure.NO_MODEL:
                return error(
                    404,
                    "Some requested entity was not found",
                    f"The model {request.model} does not exist or your team does not have access to it.",
                )
            case Failure.RATE:
                return error(
                    429,
                    "Some resource has been exhausted",
                    "Too many requests for team. Your team's rate limit"
                    " is: Requests per Minute (actual/limit): 61/60.",
                )
            case Failure.QUOTA:
                return error(
                    429,
                    "Some resource has been exhausted",
                    "Your team has either used all available credits or reached its monthly spending limit.",
                )
            case Failure.INTERNAL:
                return error(500, "Internal error", "Internal server error")
            case Failure.UNAVAILABLE:
                return error(
                    503,
                    "The service is currently unavailable",
                    "Service temporarily unavailable. The model is"
                    " at capacity and currently cannot serve this request.",
                )
        return super().refusal(fail, request)
