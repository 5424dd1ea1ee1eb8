"""Ollama's native API, which alone lets the context window be sized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from xml_pipeline.errors import ContextWindowError, QuotaExhaustedError
from xml_pipeline.llm.http.backend import Backend, Key
from xml_pipeline.llm.http.classify import ErrorRule
from xml_pipeline.llm.http.dialect import Dialect, WireRequest
from xml_pipeline.llm.providers.ollama.api import (
    OllamaSettings,
    OllamaStreamDecoder,
    decode_answer,
    encode_body,
)
from xml_pipeline.llm.types import Feature, LLMRequest, LLMResponse


class OllamaDialect(Dialect):
    """`/api/chat` (source: docs.ollama.com/api/chat)."""

    name = "ollama"
    framing = "ndjson"
    finish_reasons: ClassVar[Mapping[str, str]] = {"load": "stop", "unload": "stop"}
    error_rules = (
        ErrorRule(QuotaExhaustedError, contains=("usage limit",), statuses=frozenset((402, 403, 429))),
        ErrorRule(ContextWindowError, contains=("exceeds the context length",)),
    )

    def __init__(self, settings: OllamaSettings | None = None) -> None:
        self.settings = settings or OllamaSettings()

    def encode(self, request: LLMRequest, *, stream: bool) -> WireRequest:
        return WireRequest("/api/chat", encode_body(request, self.settings, dialect=self.name, stream=stream))

    def decode(self, data: Any, request: LLMRequest) -> LLMResponse:
        if isinstance(data, dict) and data.get("error"):
            raise self.error(200, {}, data)
        return decode_answer(self, data, request)

    def stream_decoder(self, request: LLMRequest) -> OllamaStreamDecoder:
        return OllamaStreamDecoder(self, request)


@dataclass
class OllamaBackend(Backend):
    """Ollama. It serves every model unless `supported_models` names them; a key is for ollama.com only."""

    provider: str = "ollama"
    base_url: str = "http://localhost:11434"
    keep_alive: Annotated[str, Key("How long a model stays loaded, as `10m`; `-1` for ever.")] = ""
    num_ctx: Annotated[int, Key("Context length in tokens; by the prompt when absent.", ge=1)] = 0
    min_num_ctx: Annotated[int, Key("The least context length to ask for.", ge=1)] = 8192
    max_num_ctx: Annotated[
        int, Key("The greatest; a longer prompt is refused; Ollama would cut it.", ge=1)
    ] = 131_072
    native_tools: Annotated[
        bool, Key("Whether the model can call tools; if not, they are put into words.")
    ] = True

    requires_key: ClassVar[bool] = False
    endpoints: ClassVar[tuple[str, ...]] = ("/api/chat", "/api/generate", "/chat/completions")

    def serves_model(self, model: str) -> bool:
        return True

    def supports(self, feature: Feature, model: str) -> bool:
        return feature != "tools" or self.native_tools

    def _make_dialect(self) -> Dialect:
        return OllamaDialect(
            OllamaSettings(self.keep_alive, self.num_ctx, self.min_num_ctx, self.max_num_ctx)
        )
