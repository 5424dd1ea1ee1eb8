"""api.openai.com: chat completions, and by `responses.py` the Responses API (platform.openai.com/docs, late 2026)."""

from __future__ import annotations

from typing import Any, ClassVar

from . import chat_rules, responses
from .script import Answer, Fail, Failure, Recorded
from .server import Emulator, Frame, Refusal, arguments_text, dump, pieces

CREATED = 1_795_000_000


def error(status: int, message: str, kind: str, code: str | None = None, param: str | None = None) -> Refusal:
    """OpenAI's error envelope."""
    return Refusal(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})


class OpenAIEmulator(Emulator):
    """POST /v1/chat/completions and /v1/responses, GET /v1/models. `base_url` ends in /v1, as the SDK wants it."""

    provider: ClassVar[str] = "openai"
    base_path = "/v1"
    default_key = "sk-proj-emulated0123456789abcdefghijKLMN"
    reasoning_field: ClassVar[str | None] = None  # api.openai.com never shows the reasoning
    needs_key: ClassVar[bool] = True
    strict_parameters: ClassVar[bool] = True
    reasoning_rules: ClassVar[bool] = True
    has_responses: ClassVar[bool] = True
    looks = 1  # how often a background response is looked at before it is done; negative for never
    look_failures = 0  # looks that get a 503 before
    stored: dict[str, dict[str, Any]]  # background responses, by id

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.stored = {}

    def is_generation(self, request: Recorded) -> bool:
        chat = request.path == f"{self.base_path}/chat/completions"
        if request.method != "POST" or not (chat or self._responds(request)):
            return False
        if isinstance(request.body, dict):
            request.model = str(request.body.get("model", ""))
            request.stream = request.body.get("stream") is True
        return True

    def _responds(self, request: Recorded) -> bool:
        return self.has_responses and request.path == f"{self.base_path}/responses"

    def check_key(self, request: Recorded) -> None:
        if not self.needs_key:
            return
        given = request.headers.get("authorization", "")
        if not given:
            raise self.bad_key("")
        if given != f"Bearer {self.key}":
            raise self.bad_key(given.removeprefix("Bearer "))

    def bad_key(self, given: str) -> Refusal:
        """The refusal for a wrong key; it echoes the key, as gateways do."""
        if not given:
            return error(401, "You didn't provide an API key.", "invalid_request_error")
        message = (
            f"Incorrect API key provided: {given}. You can find your API key at"
            " https://platform.openai.com/account/api-keys."
        )
        return error(401, message, "invalid_request_error", "invalid_api_key")

    def check_request(self, request: Recorded) -> None:
        try:
            if self._responds(request):
                responses.check(request.body)
            else:
                chat_rules.check(
                    request.body,
                    strict_parameters=self.strict_parameters,
                    reasoning_rules=self.reasoning_rules,
                )
        except chat_rules.Wrong as wrong:
            raise self.invalid(wrong) from wrong
        if self.models and request.model not in self.models:
            raise self.refusal(Fail(Failure.NO_MODEL), request)

    def invalid(self, wrong: chat_rules.Wrong) -> Refusal:
        """The refusal for a broken rule."""
        return error(400, wrong.message, "invalid_request_error", wrong.code, wrong.param)

    def malformed(self, detail: str) -> Refusal:
        return self.invalid(chat_rules.Wrong(f"We could not parse the JSON body of your request. ({detail})"))

    def not_found(self, request: Recorded) -> Refusal:
        return error(404, f"Invalid URL ({request.method} {request.path})", "invalid_request_error")

    def listing(self, request: Recorded) -> Any:
        found = self.stored.get(request.path.removeprefix(f"{self.base_path}/responses/"))
        if found is not None:
            if self.look_failures:
                self.look_failures -= 1
                raise self.refusal(Fail(Failure.UNAVAILABLE), request)
            self.looks -= self.looks > 0
            return found if not self.looks else responses.unfinished(found, "in_progress")
        if request.path != f"{self.base_path}/models":
            return None
        models = [
            {"id": name, "object": "model", "created": CREATED, "owned_by": "emulator"}
            for name in self.models
        ]
        return {"object": "list", "data": models}

    def headers(self, request: Recorded) -> dict[str, str]:
        return {
            "x-request-id": f"req_{len(self.requests):06d}",
            "openai-processing-ms": "12",
            "x-ratelimit-limit-requests": "10000",
            "x-ratelimit-remaining-requests": "9999",
            "x-ratelimit-reset-requests": "6ms",
            "x-ratelimit-limit-tokens": "2000000",
            "x-ratelimit-remaining-tokens": "1999000",
            "x-ratelimit-reset-tokens": "1m30s",
        }

    def prompt_of(self, request: Recorded) -> Any:
        return [request.body.get("messages", request.body.get("input")), request.body.get("tools")]

    # -- answers ------------------------------------------------------------------------------------------

    def usage(self, answer: Answer, request: Recorded) -> dict[str, Any]:
        """Prompt tokens include the cached ones, completion tokens the reasoning."""
        return {
            "prompt_tokens": request.prompt_tokens,
            "completion_tokens": request.completion_tokens,
            "total_tokens": request.prompt_tokens + request.completion_tokens,
            "prompt_tokens_details": {
                "cached_tokens": answer.cached_tokens,
                "cache_write_tokens": answer.cache_write_tokens,
                "audio_tokens": 0,
            },
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning_tokens(answer),
                "audio_tokens": 0,
            },
        }

    def finish(self, answer: Answer) -> str:
        """The finish reason."""
        return "tool_calls" if answer.tools and answer.finish == "stop" else answer.finish

    def calls(self, answer: Answer) -> list[dict[str, Any]]:
        """The tool calls of a message."""
        return [
            {
                "id": tool.id or self.serial("call_"),
                "type": "function",
                "function": {"name": tool.name, "arguments": arguments_text(tool.arguments)},
            }
            for tool in answer.tools
        ]

    def render(self, answer: Answer, request: Recorded) -> Any:
        if self._responds(request):
            whole = responses.render(self, answer, request)
            if not request.body.get("background"):
                return whole
            self.stored[whole["id"]] = whole
            return responses.unfinished(whole, "queued")
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None}
        if answer.tools:
            message["tool_calls"] = self.calls(answer)
        if answer.reasoning and self.reasoning_field:
            message[self.reasoning_field] = answer.reasoning
        return {
            "id": self.serial("chatcmpl-"),
            "object": "chat.completion",
            "created": CREATED,
            "model": request.model,
            "service_tier": answer.service_tier or "default",
            "system_fingerprint": "fp_emulated",
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish(answer)}
            ],
            "usage": self.usage(answer, request),
        }

    def chunk(self, request: Recorded, ident: str, delta: dict[str, Any], finish: str | None = None) -> Frame:
        """One event of a stream."""
        body = {
            "id": ident,
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": request.model,
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        }
        options = request.body.get("stream_options") or {}
        if options.get("include_usage"):
            body["usage"] = None
        content = any(delta.get(key) for key in ("content", "tool_calls", self.reasoning_field or "content"))
        return Frame(b"data: " + dump(body) + b"\n\n", content)

    def frames(self, answer: Answer, request: Recorded) -> list[Frame]:
        if self._responds(request):
            return responses.frames(self, answer, request)
        ident = self.serial("chatcmpl-")
        frames = [self.chunk(request, ident, {"role": "assistant", "content": "", "refusal": None})]
        if self.reasoning_field:
            frames += [
                self.chunk(request, ident, {self.reasoning_field: part}) for part in pieces(answer.reasoning)
            ]
        frames += [self.chunk(request, ident, {"content": part}) for part in pieces(answer.text)]
        for index, call in enumerate(self.calls(answer)):
            opened = {**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
            frames.append(self.chunk(request, ident, {"tool_calls": [opened]}))
            written = call["function"]["arguments"]
            for start in range(0, len(written), 7):
                delta = {"index": index, "function": {"arguments": written[start : start + 7]}}
                frames.append(self.chunk(request, ident, {"tool_calls": [delta]}))
        frames.append(self.chunk(request, ident, {}, self.finish(answer)))
        options = request.body.get("stream_options") or {}
        if options.get("include_usage"):
            last = {
                "id": ident,
                "object": "chat.completion.chunk",
                "created": CREATED,
                "model": request.model,
                "service_tier": answer.service_tier or "default",
                "choices": [],
                "usage": self.usage(answer, request),
            }
            frames.append(Frame(b"data: " + dump(last) + b"\n\n"))
        return [*frames, Frame(b"data: [DONE]\n\n")]

    # -- failures -----------------------------------------------------------------------------------------

    def refusal(self, fail: Fail, request: Recorded) -> Refusal:
        invalid, server = "invalid_request_error", "server_error"
        match fail.failure:
            case Failure.BAD_REQUEST:
                return error(400, "Invalid value: 'messages'.", invalid, "invalid_value", "messages")
            case Failure.CONTEXT_WINDOW:
                return error(
                    400,
                    "This model's maximum context length is 8192 tokens. However, your messages"
                    " resulted in 9000"
                    " tokens. Please reduce the length of the"
                    " messages.",
                    invalid,
                    "context_length_exceeded",
                    "messages",
                )
            case Failure.CONTENT_POLICY:
                return error(
                    400,
                    "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
                    invalid,
                    "content_policy_violation",
                )
            case Failure.BAD_KEY:
                return self.bad_key(self.key)
            case Failure.FORBIDDEN:
                return error(
                    403,
                    "Country, region, or territory not supported",
                    "request_forbidden",
                    "unsupported_country_region_territory",
                )
            case Failure.NO_CREDIT:
                return error(
                    402, "Your credit balance is exhausted.", "billing_error", "credit_balance_exhausted"
                )
            case Failure.NO_MODEL:
                message = f"The model `{request.model}` does not exist or you do not have access to it."
                return error(404, message, invalid, "model_not_found")
            case Failure.TIMEOUT_408:
                return error(408, "Request timed out.", server, "request_timeout")
            case Failure.CONFLICT:
                return error(409, "The resource was updated by another request.", invalid, "conflict")
            case Failure.TOO_LARGE:
                return error(
                    413, "The request is larger than the maximum size.", invalid, "request_too_large"
                )
            case Failure.UNPROCESSABLE:
                return error(422, "The request could not be processed.", invalid)
            case Failure.RATE:
                message = "Rate limit reached for gpt-4o in organization org-1 on tokens per min (TPM)."
                return error(429, message, "tokens", "rate_limit_exceeded")
            case Failure.QUOTA:
                message = "You exceeded your current quota, please check your plan and billing details."
                return error(429, message, "insufficient_quota", "insufficient_quota")
            case Failure.INTERNAL:
                return error(500, "The server had an error while processing your request.", server)
            case Failure.BAD_GATEWAY:
                return Refusal(502, b"<html><h1>502 Bad Gateway</h1></html>", {"Content-Type": "text/html"})
            case Failure.UNAVAILABLE:
                return error(
                    503,
                    "That model is currently overloaded with other requests.",
                    server,
                    "server_is_overloaded",
                )
            case Failure.GATEWAY_TIMEOUT:
                return Refusal(504, b"upstream request timeout", {"Content-Type": "text/plain"})
            case Failure.OVERLOADED:
                return error(529, "The server is overloaded.", "overloaded_error", "slow_down")
        raise AssertionError(fail.failure)

    def stream_error(self, fail: Fail, request: Recorded) -> bytes:
        if self._responds(request):
            return responses.stream_error(self, fail, request)
        return b"data: " + dump(self.refusal(fail, request).body) + b"\n\n"
