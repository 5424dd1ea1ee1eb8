"""generativelanguage.googleapis.com: generateContent (source: ai.google.dev/api, late 2026)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from . import gemini_rules
from .script import Answer, Fail, Failure, Recorded, Script
from .server import Emulator, Frame, Refusal, count_tokens, dump, pieces

FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
PATH = re.compile(r"^/v1(?:beta)?/models/([^:/]+):(generateContent|streamGenerateContent)$")
CACHES = re.compile(r"^/v1beta/(cachedContents)(?:/([^/:]+))?$")
GOOGLE = "type.googleapis.com/google.rpc."


def _seconds(ttl: str) -> float:
    """A duration as Google writes it, `300s`."""
    if not re.fullmatch(r"\d+(\.\d{1,9})?s", str(ttl)):
        raise error(400, f"Invalid value at 'cached_content.ttl': {ttl}", "INVALID_ARGUMENT")
    return float(ttl[:-1])


def error(status: int, message: str, name: str, details: list[dict[str, Any]] | None = None) -> Refusal:
    """Google's error envelope."""
    body: dict[str, Any] = {"code": status, "message": message, "status": name}
    if details:
        body["details"] = details
    return Refusal(status, {"error": body})


@dataclass
class Cached:
    """A CachedContent.

    Attributes:
        body: as it was asked for.
        tokens: of it.
        until: in seconds of the emulator's clock.
    """

    body: dict[str, Any]
    tokens: int
    until: float


class GeminiEmulator(Emulator):
    """POST /v1beta/models/{model}:generateContent and :streamGenerateContent?alt=sse, also under /v1.

    And `cachedContents` (source: ai.google.dev/api/caching): POST, PATCH of the ttl, DELETE.

    Attributes:
        caching: what becomes of requests for `cachedContents`; they are carried out when it is empty.
        cached: what is stored, by name.
        clock: seconds by which it expires.
        least: tokens that are worth storing.
    """

    caching: Script
    cached: dict[str, Cached]
    clock: Callable[[], float] = staticmethod(time.time)
    least = 4096

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.caching = Script()
        self.cached = {}

    provider: ClassVar[str] = "gemini"
    default_key = "AIzaEmulated0123456789abcdefghijklmnopq"
    signature_prefix: ClassVar[str] = "R2VtaW5p"

    def is_generation(self, request: Recorded) -> bool:
        match = PATH.match(request.path)
        if request.method != "POST" or match is None:
            return False
        request.model = match[1]
        request.stream = match[2] == "streamGenerateContent"
        return True

    def check_key(self, request: Recorded) -> None:
        given = request.headers.get("x-goog-api-key") or request.query.get("key")
        if not given:
            raise error(
                403,
                "Method doesn't allow unregistered callers (callers without established identity). Please"
                " use API Key or other form of API consumer identity to call this API.",
                "PERMISSION_DENIED",
            )
        if given != self.key:
            raise self.refusal(Fail(Failure.BAD_KEY), request)

    def check_request(self, request: Recorded) -> None:
        if request.stream and request.query.get("alt") != "sse":
            raise error(400, "This emulator streams with alt=sse only.", "INVALID_ARGUMENT")
        try:
            gemini_rules.check(request.body, request.model, signature_prefix=self.signature_prefix)
        except gemini_rules.Wrong as wrong:
            raise error(400, str(wrong), "INVALID_ARGUMENT") from wrong
        if self.models and request.model not in self.models:
            raise self.refusal(Fail(Failure.NO_MODEL), request)
        name = request.body.get("cachedContent")
        if name is not None:
            found = self._living(name)
            if found.body["model"] != f"models/{request.model}":
                raise error(
                    400,
                    f"Model used by GenerateContent request (models/{request.model}) and CachedContent"
                    f" ({found.body['model']}) has to be the same.",
                    "INVALID_ARGUMENT",
                )

    # -- stored beginnings --------------------------------------------------------------------------------

    async def beside(self, request: Recorded) -> Any:
        match = CACHES.match(request.path)
        if match is None:
            return None
        step = self.caching.take(request)
        if isinstance(step, Fail):
            request.outcome = "failed"
            raise self._scripted(step, request)
        if step.gate is not None:
            await self._wait(step.gate)
        name = f"cachedContents/{match[2]}"
        if request.method == "POST" and match[2] is None:
            return self._create(request)
        if match[2] is None:
            raise self.not_found(request)
        found = self._living(name)
        if request.method == "DELETE":
            del self.cached[name]
            return {}
        if (
            request.method != "PATCH"
            or set(request.body) - {"ttl"}
            or request.query.get("updateMask") != "ttl"
        ):
            raise error(400, "CachedContent: only ttl and expireTime can be updated.", "INVALID_ARGUMENT")
        found.until = self.clock() + _seconds(request.body["ttl"])
        return self._resource(name, found)

    def _create(self, request: Recorded) -> Any:
        body = request.body
        try:
            gemini_rules.check_cached(body)
        except gemini_rules.Wrong as wrong:
            raise error(400, str(wrong), "INVALID_ARGUMENT") from wrong
        kept = {key: body[key] for key in ("systemInstruction", "tools", "contents") if key in body}
        tokens = count_tokens(dump(kept).decode())
        if tokens < self.least:
            raise error(
                400,
                f"Cached content is too small. total_token_count={tokens}, min_total_token_count={self.least}",
                "INVALID_ARGUMENT",
            )
        name = self.serial("cachedContents/c")
        self.cached[name] = Cached(body, tokens, self.clock() + _seconds(body.get("ttl", "3600s")))
        return self._resource(name, self.cached[name])

    def _living(self, name: str) -> Cached:
        found = self.cached.get(name)
        if found is None or found.until <= self.clock():
            self.cached.pop(name, None)
            raise error(403, "CachedContent not found (or permission denied)", "PERMISSION_DENIED")
        return found

    def _resource(self, name: str, found: Cached) -> dict[str, Any]:
        return {
            "name": name,
            "model": found.body["model"],
            "expireTime": datetime.fromtimestamp(found.until, UTC).isoformat().replace("+00:00", "Z"),
            "usageMetadata": {"totalTokenCount": found.tokens},
        }

    def malformed(self, detail: str) -> Refusal:
        return error(400, f"Invalid JSON payload received. {detail}", "INVALID_ARGUMENT")

    def not_found(self, request: Recorded) -> Refusal:
        return Refusal(
            404, b"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>", {"Content-Type": "text/html"}
        )

    def listing(self, request: Recorded) -> Any:
        if request.path != "/v1beta/models":
            return None
        return {"models": [{"name": f"models/{name}", "displayName": name} for name in self.models]}

    def prompt_of(self, request: Recorded) -> Any:
        body = request.body
        if body.get("cachedContent"):
            body = {**self._living(body["cachedContent"]).body, **body}
        return [body.get("systemInstruction"), body["contents"], body.get("tools")]

    # -- answers ------------------------------------------------------------------------------------------

    def usage(self, answer: Answer, request: Recorded, share: float = 1.0) -> dict[str, Any]:
        """Candidates exclude thoughts; the prompt includes what was cached."""
        thoughts = self.reasoning_tokens(answer)
        written = max(0, request.completion_tokens - thoughts)
        found = {
            "promptTokenCount": request.prompt_tokens,
            "candidatesTokenCount": int(written * share),
            "totalTokenCount": request.prompt_tokens + int(written * share) + thoughts,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": request.prompt_tokens}],
        }
        if thoughts:
            found["thoughtsTokenCount"] = thoughts
        name = request.body.get("cachedContent")
        cached = self._living(name).tokens if name else answer.cached_tokens
        if cached:
            found["cachedContentTokenCount"] = cached
        return found

    def parts(self, answer: Answer, request: Recorded) -> list[dict[str, Any]]:
        """The parts of the answer; the first call is signed, as Gemini 3 does."""
        found: list[dict[str, Any]] = []
        if answer.reasoning:
            found.append({"text": answer.reasoning, "thought": True})
        if answer.text:
            found.append({"text": answer.text})
        for index, tool in enumerate(answer.tools):
            args = tool.arguments if not isinstance(tool.arguments, str) else {"raw": tool.arguments}
            call: dict[str, Any] = {"name": tool.name, "args": args}
            if tool.id:
                call["id"] = tool.id
            part: dict[str, Any] = {"functionCall": call}
            if index == 0:
                part["thoughtSignature"] = self.serial(self.signature_prefix)
            found.append(part)
        if found and not answer.tools and request.model.startswith("gemini-3"):
            found[-1] = {**found[-1], "thoughtSignature": self.serial(self.signature_prefix)}
        return found

    def body(self, request: Recorded, parts: list[dict[str, Any]], finish: str | None, usage: Any) -> Any:
        """One GenerateContentResponse."""
        candidate: dict[str, Any] = {"index": 0}
        if parts:
            candidate["content"] = {"parts": parts, "role": "model"}
        if finish:
            candidate["finishReason"] = finish
        return {
            "candidates": [candidate],
            "usageMetadata": usage,
            "modelVersion": request.model,
            "responseId": f"resp-{len(self.requests):06d}",
        }

    def render(self, answer: Answer, request: Recorded) -> Any:
        finish = FINISH.get(answer.finish, answer.finish)
        return self.body(request, self.parts(answer, request), finish, self.usage(answer, request))

    def frames(self, answer: Answer, request: Recorded) -> list[Frame]:
        cut: list[dict[str, Any]] = []
        for part in self.parts(answer, request):
            texts = pieces(part["text"]) if "text" in part else []
            rest = {key: value for key, value in part.items() if key not in ("text", "thoughtSignature")}
            cut += [{**rest, "text": text} for text in texts] if texts else [part]
            if texts and "thoughtSignature" in part:
                cut.append({"text": "", "thoughtSignature": part["thoughtSignature"]})
        frames = []
        finish = FINISH.get(answer.finish, answer.finish)
        for index, part in enumerate(cut):
            last = index == len(cut) - 1
            usage = self.usage(answer, request, 1.0 if last else index / len(cut))
            body = self.body(request, [part], finish if last else None, usage)
            frames.append(self._frame(body, bool(part.get("text") or "functionCall" in part)))
        return frames or [self._frame(self.body(request, [], finish, self.usage(answer, request)), False)]

    @staticmethod
    def _frame(body: Any, content: bool) -> Frame:
        return Frame(b"data: " + dump(body) + b"\r\n\r\n", content)

    # -- failures -----------------------------------------------------------------------------------------

    def _quota(self, quota_id: str, delay: str) -> list[dict[str, Any]]:
        violation = {
            "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
            "quotaId": quota_id,
            "quotaValue": "10",
        }
        return [
            {"@type": GOOGLE + "QuotaFailure", "violations": [violation]},
            {"@type": GOOGLE + "RetryInfo", "retryDelay": delay},
        ]

    def refusal(self, fail: Fail, request: Recorded) -> Refusal:
        invalid = "INVALID_ARGUMENT"
        exceeded = "You exceeded your current quota, please check your plan and billing details."
        match fail.failure:
            case Failure.BAD_REQUEST | Failure.UNPROCESSABLE:
                return error(400, "* GenerateContentRequest.contents: contents is not specified", invalid)
            case Failure.CONTEXT_WINDOW:
                return error(
                    400,
                    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
                    invalid,
                )
            case Failure.CONTENT_POLICY:  # Gemini answers 200 and blocks the prompt
                usage = {"promptTokenCount": 9, "totalTokenCount": 9}
                return Refusal(
                    200,
                    {
                        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
                        "usageMetadata": usage,
                        "modelVersion": request.model,
                        "responseId": "resp-blocked",
                    },
                )
            case Failure.BAD_KEY:
                reason = {
                    "@type": GOOGLE + "ErrorInfo",
                    "reason": "API_KEY_INVALID",
                    "domain": "googleapis.com",
                }
                return error(
                    400, f"API key not valid. Please pass a valid API key. ({self.key})", invalid, [reason]
                )
            case Failure.FORBIDDEN:
                return error(403, "The caller does not have permission", "PERMISSION_DENIED")
            case Failure.NO_CREDIT:
                return error(402, "Your prepayment credits are depleted.", "FAILED_PRECONDITION")
            case Failure.NO_MODEL:
                return error(
                    404,
                    f"models/{request.model} is not found for API version v1beta, or is not supported for"
                    " generateContent.",
                    "NOT_FOUND",
                )
            case Failure.TIMEOUT_408:
                return error(408, "Request timeout", "DEADLINE_EXCEEDED")
            case Failure.CONFLICT:
                return error(409, "The operation was aborted.", "ABORTED")
            case Failure.TOO_LARGE:
                return error(413, "Request payload size exceeds the limit: 20971520 bytes.", invalid)
            case Failure.RATE:
                return error(
                    429,
                    exceeded,
                    "RESOURCE_EXHAUSTED",
                    self._quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "7s"),
                )
            case Failure.QUOTA:
                return error(
                    429,
                    exceeded,
                    "RESOURCE_EXHAUSTED",
                    self._quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "41s"),
                )
            case Failure.INTERNAL:
                return error(500, "An internal error has occurred.", "INTERNAL")
            case Failure.BAD_GATEWAY:
                return Refusal(502, b"<html><title>Error 502</title></html>", {"Content-Type": "text/html"})
            case Failure.UNAVAILABLE:
                return error(503, "The model is overloaded. Please try again later.", "UNAVAILABLE")
            case Failure.GATEWAY_TIMEOUT:
                return error(504, "Deadline expired before operation could complete.", "DEADLINE_EXCEEDED")
            case Failure.OVERLOADED:
                return error(529, "The model is overloaded.", "UNAVAILABLE")
        raise AssertionError(fail.failure)

    def stream_error(self, fail: Fail, request: Recorded) -> bytes:
        body = self.refusal(fail, request).body
        return b"data: " + (body if isinstance(body, bytes) else dump(body)) + b"\r\n\r\n"
