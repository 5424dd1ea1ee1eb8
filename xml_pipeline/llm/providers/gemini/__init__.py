"""generativelanguage.googleapis.com: Google's generateContent."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

from xml_pipeline.errors import (
    AuthenticationError,
    ContentPolicyError,
    MalformedAnswerError,
    QuotaExhaustedError,
    RateLimitedError,
    cut,
)
from xml_pipeline.llm.http.backend import Backend, Key
from xml_pipeline.llm.http.classify import ErrorRule
from xml_pipeline.llm.http.dialect import Dialect, WireRequest
from xml_pipeline.llm.providers.gemini.answer import GeminiStreamDecoder, decode_answer
from xml_pipeline.llm.providers.gemini.request import encode_body, stored_body
from xml_pipeline.llm.types import LLMRequest, LLMResponse, token_count


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
        folder, name = _resource(request.model)
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return WireRequest(f"/{folder}/{quote(name, safe='')}:{method}", encode_body(request, self.name))

    def least_cacheable(self, model: str) -> int | None:
        """As the page on context caching has it (ai.google.dev/gemini-api/docs/caching, late 2026)."""
        return 2048 if "gemini-2.5" in model.lower() else 4096

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
    cached_content: Annotated[
        bool,
        Key(
            "Store system prompt and tools of sessions as `cachedContents`, for 5 minutes, or an hour by `cache_ttl`"
            " of a preset. That is billed as input, and for its time. Without it Gemini caches what it likes."
        ),
    ] = False

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

    # Stored beginnings (ai.google.dev/api/caching)

    @property
    def stores(self) -> bool:  # type: ignore[override]  # read only here, and a constant elsewhere
        return self.cached_content

    def _prefix(self, request: LLMRequest) -> bytes | None:
        body = stored_body(request)
        return json.dumps(body, default=str).encode() if body else None

    async def _store(self, client: Any, request: LLMRequest, seconds: int) -> tuple[str, int]:
        model = "/".join(_resource(request.model))
        wire = WireRequest(_STORE, {"model": model, **stored_body(request), "ttl": f"{seconds}s"})
        made = await self._object(await self._post(client, wire), wire)
        counted = made.get("usageMetadata")
        tokens = token_count(counted.get("totalTokenCount")) if isinstance(counted, dict) else 0
        return _name_of(made), tokens or 0

    async def _keep(self, client: Any, name: str, seconds: int) -> None:
        wire = WireRequest(f"/{name}?updateMask=ttl", {"ttl": f"{seconds}s"})
        await self._object(await self._request(client, "PATCH", wire), wire)

    async def _drop(self, client: Any, name: str) -> None:
        wire = WireRequest(f"/{name}", {})
        await self._object(await self._request(client, "DELETE", wire), wire)


_STORE = "/cachedContents"
_NAME = re.compile(r"cachedContents/[A-Za-z0-9_-]{1,200}")


def _name_of(made: dict[str, Any]) -> str:
    """The name of what was stored. Raises MalformedAnswerError: there is none that fits into a path."""
    name = made.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise MalformedAnswerError(f"cachedContents gave no usable name: {cut(repr(name))}")
    return name


def _resource(model: str) -> tuple[str, str]:
    """(folder, name) of a model."""
    folder, _, name = model.rpartition("/")
    return (folder, name) if folder in ("models", "tunedModels") else ("models", model)
