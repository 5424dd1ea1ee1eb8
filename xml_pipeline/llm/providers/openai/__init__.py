"""api.openai.com."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from xml_pipeline.errors import ConfigError
from xml_pipeline.llm.http.backend import Key
from xml_pipeline.llm.http.background import BackgroundBackend
from xml_pipeline.llm.http.dialect import Dialect
from xml_pipeline.llm.providers.chat.rules import rule
from xml_pipeline.llm.providers.responses import ChatOrResponsesDialect, check_api

_SAMPLING = "temperature top_p"
_EFFORTS = "none low medium high xhigh"

RULES = (
    rule(r"(gpt-[34]|gpt-5(\.\d+)?-chat|chatgpt-)"),
    rule(r"o\d", f"{_SAMPLING} stop", "low medium high"),
    rule(r"gpt-5(-|$)", f"{_SAMPLING} stop", "minimal low medium high"),
    rule(r"gpt-5\.[0-3](\D|$)", f"{_SAMPLING} stop", _EFFORTS, sampling_without_effort=True),
    rule(
        r"gpt-(5\.|6-(sol|luna))",
        f"{_SAMPLING} stop",
        _EFFORTS,
        sampling_without_effort=True,
        responses_for_tools=True,
    ),
    rule(r"gpt-\d", f"{_SAMPLING} stop", "low medium high xhigh", responses_for_tools=True),
)
"""What OpenAI's models take, newest names last; unknown `gpt-` models count as the newest reasoning ones.

Sources: platform.openai.com/docs/guides/reasoning and the GPT-6 migration guide (late 2026).
"""

LEAST_CACHEABLE = 1024
"""Tokens that a prompt has to have to be cached (platform.openai.com/docs/guides/prompt-caching)."""

_MODEL = re.compile(r"(ft:)?(gpt-(?!oss)|chatgpt-|o[1-9](-|$))")


class OpenAIDialect(ChatOrResponsesDialect):
    """The APIs of api.openai.com."""

    name = "openai"

    def least_cacheable(self, model: str) -> int | None:
        return LEAST_CACHEABLE


@dataclass
class OpenAIBackend(BackgroundBackend):
    """OpenAI: `gpt-*`, `chatgpt-*`, `o1-*`, `o3-*`, `o4-*` and fine-tuned ones."""

    provider: str = "openai"
    base_url: str = "https://api.openai.com/v1"
    organization: Annotated[str, Key("Sent as `OpenAI-Organization` when given.")] = ""
    project: Annotated[str, Key("Sent as `OpenAI-Project` when given.")] = ""
    api: Annotated[
        str,
        Key("`chat`, `responses`, or `auto`: as the model needs it."),
    ] = "auto"
    background: Annotated[
        bool,
        Key(
            "Ask for answers that OpenAI goes on with and stores when the connection, or this process, ends. With a"
            " journal they are fetched after a crash instead of being paid again; they come in one piece."
        ),
    ] = False

    default_key_env: ClassVar[str] = "OPENAI_API_KEY"
    requires_key: ClassVar[bool] = True
    price_provider: ClassVar[str] = "openai"
    usual_models: ClassVar[tuple[str, ...]] = ("gpt-*", "o1-*", "o3-*", "o4-*")
    endpoints: ClassVar[tuple[str, ...]] = ("/chat/completions", "/completions", "/responses", "/models")

    @classmethod
    def check(cls, given: Mapping[str, Any]) -> None:
        name, api = given.get("name") or cls.provider, given.get("api", cls.api)
        check_api(api, name)
        if given.get("background") and api == "chat":
            raise ConfigError(
                f"backend {name}: background needs the Responses API; write `api: responses`, or leave `api` out"
            )
        super().check(given)

    def _auth_headers(self) -> dict[str, str]:
        headers = super()._auth_headers()
        if self.organization:
            headers["OpenAI-Organization"] = self.organization
        if self.project:
            headers["OpenAI-Project"] = self.project
        return headers

    def serves_model(self, model: str) -> bool:
        return _MODEL.match(model.lower()) is not None

    def _make_dialect(self) -> Dialect:
        return OpenAIDialect(RULES, "responses" if self.background else self.api)

    @property
    def detached(self) -> bool:  # type: ignore[override]  # read only here, and a constant elsewhere
        return self.background
