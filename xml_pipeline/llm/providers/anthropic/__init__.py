"""api.anthropic.com: the Messages API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from xml_pipeline.errors import ContentPolicyError
from xml_pipeline.llm.http.backend import Backend, Key
from xml_pipeline.llm.http.classify import ErrorRule
from xml_pipeline.llm.http.dialect import Dialect, WireRequest
from xml_pipeline.llm.providers.anthropic.answer import AnthropicStreamDecoder, decode_message
from xml_pipeline.llm.providers.anthropic.request import MessagesSettings, encode_request, thinking_tokens
from xml_pipeline.llm.providers.anthropic.rules import least_cacheable, rule_for
from xml_pipeline.llm.types import Feature, LLMRequest, LLMResponse


class AnthropicDialect(Dialect):
    """The Messages API (source: platform.claude.com/docs/en/api/messages)."""

    name = "anthropic"
    finish_reasons: ClassVar[Mapping[str, str]] = {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "tool_use": "tool_calls",
        "refusal": "content_filter",
    }
    error_rules = (ErrorRule(ContentPolicyError, contains=("content filtering policy",)),)

    def __init__(self, settings: MessagesSettings | None = None) -> None:
        self.settings = settings or MessagesSettings()

    def encode(self, request: LLMRequest, *, stream: bool) -> WireRequest:
        return encode_request(request, self.settings, dialect=self.name, stream=stream)

    def beyond_limit(self, request: LLMRequest) -> int:
        return thinking_tokens(request, rule_for(request.model))

    def least_cacheable(self, model: str) -> int | None:
        return least_cacheable(model)

    def decode(self, data: Any, request: LLMRequest) -> LLMResponse:
        if isinstance(data, dict) and data.get("type") == "error":
            raise self.error(200, {}, data)
        return decode_message(self, data, request)

    def stream_decoder(self, request: LLMRequest) -> AnthropicStreamDecoder:
        return AnthropicStreamDecoder(self, request)


@dataclass
class AnthropicBackend(Backend):
    """Anthropic: `claude-*`."""

    provider: str = "anthropic"
    base_url: str = "https://api.anthropic.com"
    max_tokens: Annotated[
        int, Key("Output limit of calls that give none; the API always wants one.", ge=1)
    ] = 16_384
    cache_ttl: Annotated[str, Key("How long a cached prompt lives, `5m` or `1h`.")] = "5m"
    api_version: Annotated[str, Key("`anthropic-version` of every request; by the request when empty.")] = ""
    beta: Annotated[str, Key("Further features, sent as `anthropic-beta`.")] = ""

    default_key_env: ClassVar[str] = "ANTHROPIC_API_KEY"
    requires_key: ClassVar[bool] = True
    price_provider: ClassVar[str] = "anthropic"
    usual_models: ClassVar[tuple[str, ...]] = ("claude-*",)
    endpoints: ClassVar[tuple[str, ...]] = ("/v1/messages", "/messages")

    def _auth_headers(self) -> dict[str, str]:
        return {"x-api-key": self.api_key} if self.api_key else {}

    def serves_model(self, model: str) -> bool:
        return model.lower().startswith("claude-")

    def supports(self, feature: Feature, model: str) -> bool:
        return feature != "schema" or rule_for(model).schema

    @property
    def cache_seconds(self) -> float:
        return 3600.0 if self.cache_ttl == "1h" else 300.0

    def _make_dialect(self) -> Dialect:
        return AnthropicDialect(
            MessagesSettings(self.max_tokens, self.cache_ttl, self.api_version, self.beta)
        )
