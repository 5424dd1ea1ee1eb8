"""Servers that speak OpenAI's chat completions: local ones, and gateways. What differs is a table of presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from xml_pipeline.errors import (
    ConfigError,
    ContentPolicyError,
    ContextWindowError,
    ModelNotFoundError,
    OverloadedError,
    QuotaExhaustedError,
)
from xml_pipeline.llm.http.backend import Backend, Key
from xml_pipeline.llm.http.classify import ErrorRule
from xml_pipeline.llm.http.dialect import Dialect
from xml_pipeline.llm.providers.chat import ChatDialect, Flavour
from xml_pipeline.llm.types import Feature


@dataclass(frozen=True, slots=True)
class Preset:
    """One kind of server.

    Attributes:
        base_url: where it listens when nothing else is configured.
        flavour: how it speaks.
        needs_key: it answers nobody without one.
        price_provider: its id in genai-prices, "" for none.
    """

    base_url: str
    flavour: Flavour = field(default_factory=Flavour)
    needs_key: bool = False
    price_provider: str = ""


LOCAL = Flavour(local=True)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "vllm": Preset("http://localhost:8000/v1", Flavour(limit="max_completion_tokens", local=True)),
        "sglang": Preset("http://localhost:30000/v1", LOCAL),
        "lm-studio": Preset("http://localhost:1234/v1", LOCAL),
        "llama.cpp": Preset("http://localhost:8080/v1", LOCAL),
        "tgi": Preset("http://localhost:8080/v1", LOCAL),
        "litellm": Preset(
            "http://localhost:4000/v1",
            Flavour(
                limit="max_completion_tokens",
                cache_control=True,
                replays=("thinking_blocks",),
                call_replays=("provider_specific_fields",),
            ),
        ),
        "openrouter": Preset(
            "https://openrouter.ai/api/v1",
            Flavour(limit="max_completion_tokens", cache_control=True, replays=("reasoning_details",)),
            needs_key=True,
            price_provider="openrouter",
        ),
    }
)
GENERIC = Preset("", Flavour(call_replays=("extra_content",), local=True))
"""Any other server. `extra_content` is where Gemini's OpenAI endpoint puts its signatures."""


class CompatibleDialect(ChatDialect):
    """Chat completions with the errors of the servers that speak them."""

    name = "openai-compatible"
    error_rules = (
        ErrorRule(QuotaExhaustedError, contains=("budget has been exceeded", "free-models-per-day")),
        ErrorRule(ModelNotFoundError, contains=("invalid model name passed", "no endpoints found for")),
        ErrorRule(ModelNotFoundError, contains=("unexpected endpoint or method",)),  # LM Studio, inside a 200
        ErrorRule(ContextWindowError, contains=("`inputs` tokens + `max_new_tokens`",)),
        ErrorRule(ContentPolicyError, contains=("requires moderation and your input was flagged",)),
        ErrorRule(ModelNotFoundError, contains=("model not found",), statuses=frozenset((400, 404))),
        ErrorRule(OverloadedError, contains=("loading model",), statuses=frozenset((503,))),
    )


class LiteLLMDialect(CompatibleDialect):
    """The proxy's own replays stay with the proxy."""

    name = "litellm"


class OpenRouterDialect(CompatibleDialect):
    """OpenRouter's signed reasoning stays with OpenRouter."""

    name = "openrouter"


_DIALECTS = {"litellm": LiteLLMDialect, "openrouter": OpenRouterDialect}


@dataclass
class OpenAICompatibleBackend(Backend):
    """A server that speaks OpenAI's dialect. It serves every model unless `supported_models` says otherwise."""

    provider: str = "openai-compatible"
    preset: Annotated[str, Key("Which server it is, as `vllm`; gives its usual address.")] = ""
    native_tools: Annotated[
        bool, Key("Whether the model can call tools; if not, they are put into words.")
    ] = True
    native_schema: Annotated[bool, Key("Whether it takes a JSON Schema for its answer.")] = True

    endpoints: ClassVar[tuple[str, ...]] = ("/chat/completions", "/completions", "/responses", "/models")

    def __post_init__(self) -> None:
        self.base_url = self.base_url or self._preset.base_url
        super().__post_init__()

    @classmethod
    def check(cls, given: Mapping[str, Any]) -> None:
        name, preset = given.get("name") or cls.provider, given.get("preset", cls.preset)
        if preset and preset not in PRESETS:
            raise ConfigError(
                f"backend {name}: preset {preset!r} is not known; allowed:"
                f" {', '.join(PRESETS)}, or none together with a base_url"
            )
        if not (given.get("base_url") or PRESETS.get(preset, GENERIC).base_url):
            raise ConfigError(
                f"backend {name}: give a base_url (as http://host:8000/v1) or a preset: {', '.join(PRESETS)}"
            )
        super().check(given)

    @property
    def requires_key(self) -> bool:  # type: ignore[override]  # a fixed value elsewhere, the preset's here
        """Whether the preset's server answers nobody without a key."""
        return self._preset.needs_key

    @property
    def price_provider(self) -> str:  # type: ignore[override]  # a fixed text elsewhere, the preset's here
        """The preset's id in genai-prices."""
        return self._preset.price_provider

    @property
    def _preset(self) -> Preset:
        return PRESETS.get(self.preset, GENERIC)

    def serves_model(self, model: str) -> bool:
        return True

    def supports(self, feature: Feature, model: str) -> bool:
        return self.native_tools if feature == "tools" else self.native_schema

    def _make_dialect(self) -> Dialect:
        return _DIALECTS.get(self.preset, CompatibleDialect)(self._preset.flavour)
