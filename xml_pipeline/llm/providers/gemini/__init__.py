"""generativelanguage.googleapis.com: Google's generateContent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

from xml_pipeline.errors import AuthenticationError, ContentPolicyError, QuotaExhaustedError, RateLimitedError
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.http.classify import ErrorRule
from xml_pipeline.llm.http.dialect import Dialect, WireRequest
from xml_pipeline.llm.providers.gemini.answer import GeminiStreamDecoder, decode_answer
from xml_pipeline.llm.providers.gemini.request import encode_body
from xml_pipeline.llm.types import LLMRequest, LLMResponse


class GeminiDialect(Dialect):
    """generateContent and its stream (source: ai.google.dev/api/generate-content)."""

    name = "gemini"
    finish_reasons: ClassVar[Mapping[str, str]] = {
        "STOP": "stop",
        "MAX_TOKENS": "length",
        **dict.fromkeys(
            (
                "SAFETY",
                "RECITATION",
                "BLOCKLIST",
                "PROHIBITED_CONTENT",
                "SPII",
                "IMAGE_SAFETY",
                "MODEL_ARMOR",
            ),
            "content_filter",
        ),
    }
    error_rules = (
        ErrorRule(AuthenticationError, contains=("unregistered callers", "api key expired")),
        ErrorRule(ContentPolicyError, codes=frozenset(("prompt_blocked",))),
        ErrorRule(QuotaExhaustedError, contains=("spending cap", "prepayment credits")),
        # Both kinds of limit come with the same text; only the violated quota's id tells them apart.
        ErrorRule(QuotaExhaustedError, code_contains=("perday",)),
        ErrorRule(RateLimitedError, codes=frozenset(("resource_exhausted",))),
    )

    def encode(self, request: LLMRequest, *, stream: bool) -> WireRequest:
        folder, _, name = request.model.rpartition("/")
        if folder not in ("models", "tunedModels"):
            folder, name = "models", request.model
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return WireRequest(f"/{folder}/{quote(name, safe='')}:{method}", encode_body(request, self.name))

    def decode(self, data: Any, request: LLMRequest) -> LLMResponse:
        if isinstance(data, list) and len(data) == 1:  # how Google wraps some errors
            data = data[0]
        if isinstance(data, dict) and data.get("error"):
            raise self.error(200, {}, data)
        return decode_answer(self, data, request)

    def stream_decoder(self, request: LLMRequest) -> GeminiStreamDecoder:
        return GeminiStreamDecoder(self, request)


@dataclass
class GeminiBackend(Backend):
    """Google: `gemini-*`."""

    provider: str = "gemini"
    base_url: str = "https://generativelanguage.googleapis.com/v1beta"

    default_key_env: ClassVar[str] = "GEMINI_API_KEY"
    requires_key: ClassVar[bool] = True
    price_provider: ClassVar[str] = "google"
    tier_header: ClassVar[str] = "x-gemini-service-tier"
    usual_models: ClassVar[tuple[str, ...]] = ("gemini-*",)
    endpoints: ClassVar[tuple[str, ...]] = ("/models",)

    def _auth_headers(self) -> dict[str, str]:
        return {"x-goog-api-key": self.api_key} if self.api_key else {}

    def serves_model(self, model: str) -> bool:
        return model.lower().removeprefix("models/").startswith("gemini-")

    def _make_dialect(self) -> Dialect:
        return GeminiDialect()
