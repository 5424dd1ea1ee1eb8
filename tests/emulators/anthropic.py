"""api.anthropic.com: the Messages API (source: platform.claude.com/docs, late 2026)."""

from __future__ import annotations

import json
from typing import Any, ClassVar
from zlib import crc32

from . import message_rules
from .script import Answer, Fail, Failure, Recorded
from .server import Emulator, Frame, Refusal, arguments_text, dump, pieces

VERSIONS = ("2023-06-01", "2026-10-21")
STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}


def error(status: int, kind: str, message: str, **details: Any) -> Refusal:
    """Anthropic's error envelope."""
    body = {
        "type": "error",
        "error": {"type": kind, "message": message, **details},
        "request_id": "req_emulated",
    }
    return Refusal(status, body)


class AnthropicEmulator(Emulator):
    """POST /v1/messages, GET /v1/models. `base_url` has no /v1, as the SDK wants it."""

    provider: ClassVar[str] = "anthropic"
    default_key = "sk-ant-api03-emulated0123456789abcdefghij"
    signature_prefix: ClassVar[str] = "sig-"

    def is_generation(self, request: Recorded) -> bool:
        if request.method != "POST" or request.path != "/v1/messages":
            return False
        if isinstance(request.body, dict):
            request.model = str(request.body.get("model", ""))
            request.stream = request.body.get("stream") is True
        return True

    def check_key(self, request: Recorded) -> None:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        given = request.headers.get("x-api-key") or bearer  # the SDKs of 2026-10-21 send it as a bearer token
        if not given:
            raise error(401, "authentication_error", "x-api-key header is required")
        if given != self.key:
            raise error(401, "authentication_error", f"invalid x-api-key: {given}")

    def check_request(self, request: Recorded) -> None:
        version = request.headers.get("anthropic-version", "")
        if not version:
            raise error(400, "invalid_request_error", "anthropic-version: header is required")
        if version not in VERSIONS:
            raise error(
                400, "invalid_request_error", f'anthropic-version: "{version}" is not a valid version'
            )
        try:
            message_rules.check(request.body, version=version, signature_prefix=self.signature_prefix)
        except message_rules.Wrong as wrong:
            raise error(400, "invalid_request_error", str(wrong)) from wrong
        if self.models and request.model not in self.models:
            raise self.refusal(Fail(Failure.NO_MODEL), request)

    def malformed(self, detail: str) -> Refusal:
        return error(400, "invalid_request_error", f"The request body is not valid JSON: {detail}")

    def not_found(self, request: Recorded) -> Refusal:
        return error(404, "not_found_error", "Not Found")

    def listing(self, request: Recorded) -> Any:
        if request.path != "/v1/models":
            return None
        data = [
            {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
            for name in self.models
        ]
        return {"data": data, "has_more": False, "first_id": None, "last_id": None}

    def headers(self, request: Recorded) -> dict[str, str]:
        reset = "2026-11-21T12:00:30Z"
        limits = {
            "requests": (4000, 3999),
            "tokens": (480000, 479000),
            "input-tokens": (400000, 399000),
            "output-tokens": (80000, 79000),
        }
        found = {"request-id": f"req_{len(self.requests):06d}", "anthropic-organization-id": "org-emulated"}
        for name, (limit, remaining) in limits.items():
            found[f"anthropic-ratelimit-{name}-limit"] = str(limit)
            found[f"anthropic-ratelimit-{name}-remaining"] = str(remaining)
            found[f"anthropic-ratelimit-{name}-reset"] = reset
        return found

    def prompt_of(self, request: Recorded) -> Any:
        return [request.body.get("system"), request.body["messages"], request.body.get("tools")]

    # -- answers ------------------------------------------------------------------------------------------

    def input_usage(self, answer: Answer, request: Recorded) -> dict[str, Any]:
        """`input_tokens` are those neither read from nor written to the cache."""
        fresh = request.prompt_tokens - answer.cached_tokens - answer.cache_write_tokens
        return {
            "input_tokens": max(0, fresh),
            "cache_creation_input_tokens": answer.cache_write_tokens,
            "cache_read_input_tokens": answer.cached_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": answer.cache_write_tokens - answer.cache_write_1h_tokens,
                "ephemeral_1h_input_tokens": answer.cache_write_1h_tokens,
            },
            "service_tier": answer.service_tier or "standard",
        }

    def output_usage(self, answer: Answer, request: Recorded) -> dict[str, Any]:
        """Cumulative, thinking included."""
        return {
            "output_tokens": request.completion_tokens,
            "output_tokens_details": {"thinking_tokens": self.reasoning_tokens(answer)},
        }

    def stop_reason(self, answer: Answer) -> str:
        """Why the model stopped."""
        if answer.tools and answer.finish == "stop":
            return "tool_use"
        return STOP_REASONS.get(answer.finish, answer.finish)

    def blocks(self, answer: Answer) -> list[dict[str, Any]]:
        """The content blocks of the answer."""
        found: list[dict[str, Any]] = []
        if answer.reasoning:
            signed = crc32(answer.reasoning.encode("utf-8", "surrogatepass"))
            signature = f"{self.signature_prefix}{signed}"
            found.append({"type": "thinking", "thinking": answer.reasoning, "signature": signature})
        if answer.text:
            found.append({"type": "text", "text": answer.text})
        for tool in answer.tools:
            ident = tool.id or self.serial("toolu_")
            found.append({"type": "tool_use", "id": ident, "name": tool.name, "input": tool.arguments})
        return found

    def render(self, answer: Answer, request: Recorded) -> Any:
        return {
            "id": self.serial("msg_"),
            "type": "message",
            "role": "assistant",
            "model": request.model,
            "content": self.blocks(answer),
            "stop_reason": self.stop_reason(answer),
            "stop_sequence": None,
            "usage": {**self.input_usage(answer, request), **self.output_usage(answer, request)},
        }

    @staticmethod
    def event(kind: str, content: bool = False, **body: Any) -> Frame:
        """One SSE event; its name is repeated in the data."""
        return Frame(f"event: {kind}\ndata: ".encode() + dump({"type": kind, **body}) + b"\n\n", content)

    def frames(self, answer: Answer, request: Recorded) -> list[Frame]:
        whole = self.render(answer, request)
        message = {
            **whole,
            "content": [],
            "stop_reason": None,
            "usage": {**self.input_usage(answer, request), "output_tokens": 1},
        }
        frames = [self.event("message_start", message=message), self.event("ping")]
        for index, block in enumerate(whole["content"]):
            frames += self._block(index, block)
        delta = {"stop_reason": self.stop_reason(answer), "stop_sequence": None}
        frames.append(self.event("message_delta", delta=delta, usage=self.output_usage(answer, request)))
        return [*frames, self.event("message_stop")]

    def _block(self, index: int, block: dict[str, Any]) -> list[Frame]:
        empty: dict[str, Any]
        deltas: list[dict[str, Any]]
        match block["type"]:
            case "thinking":
                empty = {"type": "thinking", "thinking": "", "signature": ""}
                deltas = [{"type": "thinking_delta", "thinking": part} for part in pieces(block["thinking"])]
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
            case "text":
                empty = {"type": "text", "text": ""}
                deltas = [{"type": "text_delta", "text": part} for part in pieces(block["text"])]
            case _:
                empty = {**block, "input": {}}
                written = arguments_text(block["input"])
                cut = [written[start : start + 7] for start in range(0, len(written), 7)]
                deltas = [{"type": "input_json_delta", "partial_json": part} for part in ["", *cut]]
        frames = [self.event("content_block_start", index=index, content_block=empty)]
        frames += [self.event("content_block_delta", True, index=index, delta=delta) for delta in deltas]
        return [*frames, self.event("content_block_stop", index=index)]

    # -- failures -----------------------------------------------------------------------------------------

    def refusal(self, fail: Fail, request: Recorded) -> Refusal:
        invalid = "invalid_request_error"
        match fail.failure:
            case Failure.BAD_REQUEST:
                return error(400, invalid, "messages: at least one message is required")
            case Failure.CONTEXT_WINDOW:
                return error(400, invalid, "prompt is too long: 210000 tokens > 200000 maximum")
            case Failure.CONTENT_POLICY:
                return error(400, invalid, "Output blocked by content filtering policy")
            case Failure.BAD_KEY:
                return error(401, "authentication_error", f"invalid x-api-key: {self.key}")
            case Failure.FORBIDDEN:
                return error(
                    403, "permission_error", "Your API key does not have permission to use the resource."
                )
            case Failure.NO_CREDIT:
                return error(
                    402, "billing_error", "There is an issue with your billing or payment information."
                )
            case Failure.NO_MODEL:
                return error(404, "not_found_error", f"model: {request.model}")
            case Failure.TIMEOUT_408:
                return error(408, "timeout_error", "The request took too long to arrive.")
            case Failure.CONFLICT:
                return error(409, "conflict_error", "The resource was modified.")
            case Failure.TOO_LARGE:
                return error(413, "request_too_large", "Request exceeds the maximum allowed number of bytes.")
            case Failure.UNPROCESSABLE:
                return error(422, invalid, "Unprocessable request.")
            case Failure.RATE:
                return error(
                    429,
                    "rate_limit_error",
                    "This request would exceed your rate limit of 400,000 input tokens per minute.",
                )
            case Failure.QUOTA:
                return error(
                    429,
                    "rate_limit_error",
                    "Your organization has reached its spend limit.",
                    details={"error_code": "enforced_spend_limit_reached"},
                )
            case Failure.INTERNAL:
                return error(500, "api_error", "Internal server error")
            case Failure.BAD_GATEWAY:
                return Refusal(502, b"<html><h1>502 Bad Gateway</h1></html>", {"Content-Type": "text/html"})
            case Failure.UNAVAILABLE:
                return error(503, "api_error", "Service unavailable")
            case Failure.GATEWAY_TIMEOUT:
                return error(504, "timeout_error", "Request timed out")
            case Failure.OVERLOADED:
                return error(529, "overloaded_error", "Overloaded")
        raise AssertionError(fail.failure)

    def stream_error(self, fail: Fail, request: Recorded) -> bytes:
        body = self.refusal(fail, request).body
        return b"event: error\ndata: " + (body if isinstance(body, bytes) else dump(body)) + b"\n\n"


LOW_CREDIT = json.dumps(
    {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "Your credit balance is too low to access the Anthropic API. Please go to"
            " Plans & Billing to"
            " upgrade or purchase credits.",
        },
        "request_id": "req_emulated",
    }
).encode()  # sent with status 400
