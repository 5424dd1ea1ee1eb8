"""Servers that speak OpenAI's dialect with an accent of their own, one class each.

Sources: vLLM `entrypoints/openai/protocol.py`, SGLang `entrypoints/openai`, LM Studio REST docs, llama.cpp
`tools/server/README.md`, TGI `router/src/lib.rs`, LiteLLM `proxy/_types.py`, openrouter.ai/docs/errors.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from . import chat_rules
from .openai import OpenAIEmulator
from .script import Answer, Fail, Failure, Recorded
from .server import Frame, Refusal, dump, pieces

STATUS = {
    Failure.BAD_REQUEST: 400,
    Failure.CONTEXT_WINDOW: 400,
    Failure.CONTENT_POLICY: 400,
    Failure.BAD_KEY: 401,
    Failure.FORBIDDEN: 403,
    Failure.NO_CREDIT: 402,
    Failure.NO_MODEL: 404,
    Failure.TIMEOUT_408: 408,
    Failure.CONFLICT: 409,
    Failure.TOO_LARGE: 413,
    Failure.UNPROCESSABLE: 422,
    Failure.RATE: 429,
    Failure.QUOTA: 429,
    Failure.INTERNAL: 500,
    Failure.BAD_GATEWAY: 502,
    Failure.UNAVAILABLE: 503,
    Failure.GATEWAY_TIMEOUT: 504,
    Failure.OVERLOADED: 529,
}


class CompatibleEmulator(OpenAIEmulator):
    """What local servers share: no key unless one is set, only `max_tokens`, unknown parameters ignored."""

    provider: ClassVar[str] = "openai-compatible"
    preset: ClassVar[str] = ""
    default_key = ""
    strict_parameters = False
    reasoning_rules = False
    has_responses = False
    reasoning_field = "reasoning_content"
    knows_completion_limit: ClassVar[bool] = False
    serves_models: ClassVar[bool] = True  # itself, with a chat template of its own

    def check_key(self, request: Recorded) -> None:
        if self.key:
            super().check_key(request)

    def bad_key(self, given: str) -> Refusal:
        return self.say(401, f"Invalid API key: {given}", "authentication_error")

    def check_request(self, request: Recorded) -> None:
        super().check_request(request)
        if not self.knows_completion_limit and "max_completion_tokens" in request.body:
            raise AssertionError(f"{self.preset} would ignore max_completion_tokens; send max_tokens")
        if not self.serves_models:
            return
        if any(message["role"] == "system" for message in request.body["messages"][1:]):
            raise self.say(400, "System message must be at the beginning.", "BadRequestError")
        if request.body.get("tools") and request.body.get("response_format", {}).get("type") == "json_schema":
            raise self.say(400, "Cannot use custom grammar constraints with tools.", "BadRequestError")

    def headers(self, request: Recorded) -> dict[str, str]:
        return {}

    def invalid(self, wrong: chat_rules.Wrong) -> Refusal:
        return self.say(400, wrong.message, "BadRequestError")

    def say(self, status: int, message: str, kind: str) -> Refusal:
        """The server's error envelope."""
        return Refusal(status, {"error": {"message": message, "type": kind, "param": None, "code": status}})

    def refusal(self, fail: Fail, request: Recorded) -> Refusal:
        if fail.failure in (Failure.BAD_GATEWAY, Failure.GATEWAY_TIMEOUT):
            return super().refusal(fail, request)
        kind, message = self.words(fail.failure, request)
        return self.say(STATUS[fail.failure], message, kind)

    def words(self, failure: Failure, request: Recorded) -> tuple[str, str]:
        """Type and message of a failure."""
        return {
            Failure.CONTEXT_WINDOW: (
                "BadRequestError",
                "This model's maximum context length is 4096 tokens. However, you requested 5000"
                " tokens (4000 in the"
                " messages, 1000 in the completion). Please reduce the length of the messages or completion.",
            ),
            Failure.CONTENT_POLICY: ("content_policy_violation", "The prompt violates the content policy."),
            Failure.BAD_KEY: ("Unauthorized", f"Unauthorized ({self.key})"),
            Failure.NO_MODEL: ("NotFoundError", f"The model `{request.model}` does not exist."),
            Failure.RATE: ("RateLimitError", "Too many requests."),
            Failure.QUOTA: (
                "insufficient_quota",
                "You exceeded your current quota, please check your plan and billing details.",
            ),
            Failure.NO_CREDIT: ("billing_error", "Payment required."),
            Failure.INTERNAL: ("InternalServerError", "EngineCore encountered an issue."),
            Failure.UNAVAILABLE: ("ServiceUnavailableError", "The server is overloaded."),
            Failure.OVERLOADED: ("overloaded_error", "Overloaded."),
        }.get(failure, ("BadRequestError", f"Refused: {failure}."))


class VLLMEmulator(CompatibleEmulator):
    """vLLM: `reasoning` beside the content; no `id` in the deltas after a call's first one; `stop_reason`."""

    preset = "vllm"
    reasoning_field = "reasoning"
    knows_completion_limit = True

    def render(self, answer: Answer, request: Recorded) -> Any:
        body = super().render(answer, request)
        body["choices"][0]["stop_reason"] = None
        body["choices"][0]["message"].setdefault("tool_calls", [])
        body["prompt_logprobs"] = None
        return body


class SGLangEmulator(CompatibleEmulator):
    """SGLang: errors without an `error` key; a `matched_stop`."""

    preset = "sglang"

    def say(self, status: int, message: str, kind: str) -> Refusal:
        return Refusal(
            status, {"object": "error", "message": message, "type": kind, "param": None, "code": status}
        )

    def stream_error(self, fail: Fail, request: Recorded) -> bytes:
        refusal = self.refusal(fail, request)
        return b"data: " + dump({"error": refusal.body}) + b"\n\n"


class LMStudioEmulator(CompatibleEmulator):
    """LM Studio: 200 with `{"error": text}` for an unknown path; `json_schema` alone for structure."""

    preset = "lm-studio"

    def check_request(self, request: Recorded) -> None:
        super().check_request(request)
        form = request.body.get("response_format", {}).get("type", "text")
        if form not in ("json_schema", "text"):
            raise Refusal(400, {"error": "'response_format.type' must be 'json_schema' or 'text'"})

    def say(self, status: int, message: str, kind: str) -> Refusal:
        return Refusal(status, {"error": message})

    def not_found(self, request: Recorded) -> Refusal:
        return Refusal(200, {"error": f"Unexpected endpoint or method. ({request.method} {request.path})"})

    def words(self, failure: Failure, request: Recorded) -> tuple[str, str]:
        if failure is Failure.NO_MODEL:
            return "", f"Model not found: {request.model}"
        return super().words(failure, request)

    def stream_error(self, fail: Fail, request: Recorded) -> bytes:
        _, message = self.words(fail.failure, request)
        body = {"error": {"message": message}, "message": message}
        return b"event: error\ndata: " + dump(body) + b"\n\n"


class LlamaCppEmulator(CompatibleEmulator):
    """llama.cpp server: numeric codes, `Loading model`, exact context errors, `timings`."""

    preset = "llama.cpp"

    def words(self, failure: Failure, request: Recorded) -> tuple[str, str]:
        own = {
            Failure.CONTEXT_WINDOW: (
                "exceed_context_size_error",
                "the request exceeds the available context size. try increasing the context size or"
                " enable context"
                " shift",
            ),
            Failure.BAD_KEY: ("authentication_error", "Invalid API Key"),
            Failure.UNAVAILABLE: ("unavailable_error", "Loading model"),
            Failure.NO_MODEL: ("not_found_error", "model not found"),
            Failure.BAD_REQUEST: ("invalid_request_error", "Failed to parse messages"),
        }
        return own.get(failure) or super().words(failure, request)

    def render(self, answer: Answer, request: Recorded) -> Any:
        return {
            **super().render(answer, request),
            "timings": {"prompt_n": request.prompt_tokens, "predicted_ms": 8.5},
        }


class TGIEmulator(CompatibleEmulator):
    """TGI: `{"error", "error_type"}`; tool arguments as an object; 424 when generation fails."""

    preset = "tgi"

    def say(self, status: int, message: str, kind: str) -> Refusal:
        return Refusal(status, {"error": message, "error_type": kind})

    def words(self, failure: Failure, request: Recorded) -> tuple[str, str]:
        own = {
            Failure.CONTEXT_WINDOW: (
                "validation",
                "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given:"
                " 4000 `inputs`"
                " tokens and 1000 `max_new_tokens`",
            ),
            Failure.RATE: ("overloaded", "Model is overloaded"),
            Failure.INTERNAL: ("incomplete_generation", "Incomplete generation"),
            Failure.BAD_REQUEST: ("validation", "Input validation error"),
            Failure.UNPROCESSABLE: ("template_error", "Template error: conversation roles must alternate"),
        }
        return own.get(failure) or super().words(failure, request)

    def refusal(self, fail: Fail, request: Recorded) -> Refusal:
        found = super().refusal(fail, request)
        return Refusal(422, found.body) if fail.failure is Failure.CONTEXT_WINDOW else found

    def render(self, answer: Answer, request: Recorded) -> Any:
        body = super().render(answer, request)
        for call in body["choices"][0]["message"].get("tool_calls", ()):
            try:
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
            except ValueError:
                continue
        return body


class LiteLLMEmulator(CompatibleEmulator):
    """LiteLLM proxy: the text "None" for null, the status as text, a key, upstream messages inside."""

    preset = "litellm"
    default_key = "sk-litellm-emulated-0123456789"
    serves_models = False
    knows_completion_limit = True

    def say(self, status: int, message: str, kind: str) -> Refusal:
        body = {"message": f"litellm.{kind}: {message}", "type": "None", "param": "None", "code": str(status)}
        return Refusal(status, {"error": body})

    def bad_key(self, given: str) -> Refusal:
        message = f"Authentication Error, Invalid proxy server token passed. Received API Key = {given}"
        return Refusal(
            401, {"error": {"message": message, "type": "auth_error", "param": "None", "code": "401"}}
        )

    def words(self, failure: Failure, request: Recorded) -> tuple[str, str]:
        own = {
            Failure.CONTEXT_WINDOW: (
                "ContextWindowExceededError",
                "prompt is too long: 210000 tokens > 200000 maximum",
            ),
            Failure.CONTENT_POLICY: ("ContentPolicyViolationError", "blocked by the content policy"),
            Failure.NO_MODEL: (
                "NotFoundError",
                f"{{'error': '/chat/completions: Invalid model name passed in model={request.model}'}}",
            ),
            Failure.QUOTA: (
                "RateLimitError",
                "OpenAIException - You exceeded your current quota, please check your plan"
                " and billing details.",
            ),
        }
        return own.get(failure) or super().words(failure, request)

    def headers(self, request: Recorded) -> dict[str, str]:
        return {"x-litellm-call-id": f"call-{len(self.requests)}", "x-litellm-model-id": "0"}


class OpenRouterEmulator(CompatibleEmulator):
    """OpenRouter: comments while it waits, numeric codes, errors inside a choice, signed reasoning."""

    preset = "openrouter"
    default_key = "sk-or-v1-emulated0123456789abcdef"
    serves_models = False
    reasoning_field = "reasoning"
    knows_completion_limit = True

    def say(self, status: int, message: str, kind: str) -> Refusal:
        return Refusal(status, {"error": {"code": status, "message": message}, "user_id": "user_emulated"})

    def words(self, failure: Failure, request: Recorded) -> tuple[str, str]:
        own = {
            Failure.NO_CREDIT: (
                "",
                "Insufficient credits. Add more using https://openrouter.ai/settings/credits",
            ),
            Failure.QUOTA: (
                "",
                "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model"
                " requests per day. Insufficient credits.",
            ),
            Failure.CONTENT_POLICY: ("", "Your chosen model requires moderation and your input was flagged"),
            Failure.NO_MODEL: ("", f"No endpoints found for {request.model}."),
        }
        return own.get(failure) or super().words(failure, request)

    def refusal(self, fail: Fail, request: Recorded) -> Refusal:
        found = super().refusal(fail, request)
        if fail.failure is Failure.CONTENT_POLICY:
            found.body["error"]["code"] = 403
            found.body["error"]["metadata"] = {"reasons": ["violence"], "flagged_input": "…"}
            return Refusal(403, found.body)
        return found

    def render(self, answer: Answer, request: Recorded) -> Any:
        body = super().render(answer, request)
        if answer.reasoning:
            body["choices"][0]["message"]["reasoning_details"] = [self._detail(answer.reasoning)]
        body["choices"][0]["native_finish_reason"] = "STOP"
        body["provider"] = "Emulated"
        return body

    def _detail(self, text: str) -> dict[str, Any]:
        return {
            "type": "reasoning.text",
            "text": text,
            "signature": "or-sig",
            "index": 0,
            "format": "anthropic-claude-v1",
        }

    def chunk(self, request: Recorded, ident: str, delta: dict[str, Any], finish: str | None = None) -> Frame:
        if delta.get("reasoning"):
            piece = {"type": "reasoning.text", "index": 0, "text": delta["reasoning"]}
            delta = {**delta, "reasoning_details": [piece]}
        return super().chunk(request, ident, delta, finish)

    def frames(self, answer: Answer, request: Recorded) -> list[Frame]:
        frames = [Frame(b": OPENROUTER PROCESSING\n\n"), *super().frames(answer, request)]
        if answer.reasoning:  # the signature comes after the last piece
            seal = {**self._detail(""), "text": None}
            place = 2 + len(pieces(answer.reasoning))
            frames.insert(place, self.chunk(request, "gen-1", {"reasoning_details": [seal]}))
        return frames

    def stream_error(self, fail: Fail, request: Recorded) -> bytes:
        found = self.refusal(fail, request)
        inner = (
            found.body["error"] if isinstance(found.body, dict) else {"code": 502, "message": "Bad gateway"}
        )
        body = {
            "id": "gen-1",
            "object": "chat.completion.chunk",
            "model": request.model,
            "error": inner,
            "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
        }
        return b"data: " + dump(body) + b"\n\n"


COMPATIBLE: tuple[type[CompatibleEmulator], ...] = (
    VLLMEmulator,
    SGLangEmulator,
    LMStudioEmulator,
    LlamaCppEmulator,
    TGIEmulator,
    LiteLLMEmulator,
    OpenRouterEmulator,
)
