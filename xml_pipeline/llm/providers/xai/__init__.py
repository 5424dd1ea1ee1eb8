"""api.x.ai: OpenAI's chat completions with parameter rules, errors and usage of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from xml_pipeline.errors import (
    AuthenticationError,
    ContentPolicyError,
    ModelNotFoundError,
    QuotaExhaustedError,
)
from xml_pipeline.llm.http.backend import Backend, Key
from xml_pipeline.llm.http.classify import ErrorRule
from xml_pipeline.llm.http.dialect import Dialect
from xml_pipeline.llm.providers.chat.rules import rule
from xml_pipeline.llm.providers.responses import ChatOrResponsesDialect, check_api

RULES = (
    rule(r"grok-3-mini", "stop", "low high"),
    rule(r"grok-4\.7", "stop", "low medium high xhigh"),
    rule(r"grok-4\.3", "stop", "none low medium high"),
    rule(r"grok-.*non-reasoning"),
    rule(r"grok-(4(-|$)|4\.[01]|4-fast|code)", "stop"),
    rule(r"grok-4\.", "stop", "low medium high"),
)
"""What xAI's reasoning models refuse, and which efforts they know (docs.x.ai/docs/guides/reasoning, late 2026)."""


CACHE_HEADER = "x-grok-conv-id"
"""What chat completions take; the Responses API has `prompt_cache_key`
(docs.x.ai/developers/advanced-api-usage/prompt-caching/maximizing-cache-hits)."""


class XAIDialect(ChatOrResponsesDialect):
    """The APIs of api.x.ai."""

    name = "xai"
    error_rules = (
        ErrorRule(ContentPolicyError, contains=("violates usage guidelines", "safety_check_type")),
        ErrorRule(
            QuotaExhaustedError,
            contains=("used all available credits", "run out of credits", "doesn't have any credits"),
        ),
        ErrorRule(
            AuthenticationError, contains=("incorrect api key", "api key is blocked", "no api key provided")
        ),
        ErrorRule(ModelNotFoundError, contains=("does not exist or your team",)),
    )


@dataclass
class XAIBackend(Backend):
    """xAI: `grok-*`."""

    provider: str = "xai"
    base_url: str = "https://api.x.ai/v1"
    api: Annotated[str, Key("`chat`, or `responses`, which keeps sealed reasoning between turns.")] = "chat"

    default_key_env: ClassVar[str] = "XAI_API_KEY"
    requires_key: ClassVar[bool] = True
    price_provider: ClassVar[str] = "x-ai"
    usual_models: ClassVar[tuple[str, ...]] = ("grok-*",)
    endpoints: ClassVar[tuple[str, ...]] = ("/chat/completions", "/completions", "/responses", "/models")

    @classmethod
    def check(cls, given: Mapping[str, Any]) -> None:
        check_api(given.get("api", cls.api), given.get("name") or cls.provider)
        super().check(given)

    def serves_model(self, model: str) -> bool:
        return model.lower().startswith("grok-")

    def _make_dialect(self) -> Dialect:
        return XAIDialect(RULES, self.api, CACHE_HEADER)
