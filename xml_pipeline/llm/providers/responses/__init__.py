"""Providers with two APIs: chat completions, and the Responses API where it is asked for or needed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xml_pipeline.errors import ConfigError
from xml_pipeline.llm.http.dialect import StreamDecoder, WireRequest
from xml_pipeline.llm.providers.chat import ChatDialect, Flavour
from xml_pipeline.llm.providers.chat.rules import ModelRule, rule_for
from xml_pipeline.llm.providers.responses.answer import ResponsesStreamDecoder, decode_response
from xml_pipeline.llm.providers.responses.request import encode_request
from xml_pipeline.llm.types import LLMRequest, LLMResponse

APIS = ("auto", "chat", "responses")


class ChatOrResponsesDialect(ChatDialect):
    """Both APIs of one provider.

    Args:
        rules: what its models take.
        api: `chat`, `responses`, or `auto`: chat completions, except where a model takes tools only at
            `/responses`.
        cache_header: the header that its chat completions take for a `cache_key`, or "" for a key of the body.
    """

    name = "responses"

    def __init__(self, rules: Sequence[ModelRule], api: str = "auto", cache_header: str = "") -> None:
        flavour = Flavour(
            limit="max_completion_tokens", rules=rules, cache_key=True, cache_header=cache_header
        )
        super().__init__(flavour)
        self.api = api

    def _responds(self, request: LLMRequest) -> bool:
        if self.api != "auto":
            return self.api == "responses"
        return bool(request.tools) and rule_for(request.model, self.flavour.rules).responses_for_tools

    def encode(self, request: LLMRequest, *, stream: bool) -> WireRequest:
        if not self._responds(request):
            return super().encode(request, stream=stream)
        rule = rule_for(request.model, self.flavour.rules)
        return encode_request(request, rule, dialect=self.name, stream=stream)

    def decode(self, data: Any, request: LLMRequest) -> LLMResponse:
        if not self._responds(request):
            return super().decode(data, request)
        return decode_response(self, data, request)

    def stream_decoder(self, request: LLMRequest) -> StreamDecoder:
        if not self._responds(request):
            return super().stream_decoder(request)
        return ResponsesStreamDecoder(self, request)


def check_api(api: str, backend: str) -> None:
    """Whether a backend's `api` is one of `APIS`.

    Raises:
        ConfigError: it is none.
    """
    if api not in APIS:
        raise ConfigError(f"backend {backend}: api {api!r} is not known; allowed: {', '.join(APIS)}")
