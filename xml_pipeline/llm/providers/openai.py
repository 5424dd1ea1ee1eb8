"""api.openai.com."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from xml_pipeline.errors import ConfigError
from xml_pipeline.llm.backend import Backend
from xml_pipeline.llm.providers.chat import ChatDialect, Flavour
from xml_pipeline.llm.providers.chat_rules import rule, rule_for
from xml_pipeline.llm.providers.responses_answer import ResponsesStreamDecoder, decode_response
from xml_pipeline.llm.providers.responses_request import encode_request
from xml_pipeline.llm.types import LLMRequest, LLMResponse
from xml_pipeline.llm.wire import Dialect, StreamDecoder, WireRequest

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

APIS = ("auto", "chat", "responses")
_MODEL = re.compile(r"(ft:)?(gpt-(?!oss)|chatgpt-|o[1-9](-|$))")


class OpenAIDialect(ChatDialect):
    """api.openai.com: chat completions, and the Responses API where a model takes tools only there.

    Args:
        api: `chat`, `responses`, or `auto` to choose for each request.
    """

    name = "openai"

    def __init__(self, api: str = "auto") -> None:
        super().__init__(Flavour(limit="max_completion_tokens", rules=RULES, cache_key=True))
        self.api = api

    def _responds(self, request: LLMRequest) -> bool:
        if self.api != "auto":
            return self.api == "responses"
        return bool(request.tools) and rule_for(request.model, RULES).responses_for_tools

    def encode(self, request: LLMRequest, *, stream: bool) -> WireRequest:
        if not self._responds(request):
            return super().encode(request, stream=stream)
        rule = rule_for(request.model, RULES)
        return encode_request(request, rule, dialect=self.name, stream=stream)

    def decode(self, data: Any, request: LLMRequest) -> LLMResponse:
        if not self._responds(request):
            return super().decode(data, request)
        return decode_response(self, data, request)

    def stream_decoder(self, request: LLMRequest) -> StreamDecoder:
        if not self._responds(request):
            return super().stream_decoder(request)
        return ResponsesStreamDecoder(self, request)


@dataclass
class OpenAIBackend(Backend):
    """OpenAI: `gpt-*`, `chatgpt-*`, `o1-*`, `o3-*`, `o4-*` and fine-tuned ones.

    Attributes:
        organization: sent as `OpenAI-Organization` when given.
        project: sent as `OpenAI-Project` when given.
        api: `auto`, `chat` or `responses`; `auto` is chat completions, except where a model takes tools only at
            `/responses`.
    """

    provider: str = "openai"
    base_url: str = "https://api.openai.com/v1"
    organization: str = ""
    project: str = ""
    api: str = "auto"

    default_key_env: ClassVar[str] = "OPENAI_API_KEY"
    requires_key: ClassVar[bool] = True
    price_provider: ClassVar[str] = "openai"

    def __post_init__(self) -> None:
        if self.api not in APIS:
            raise ConfigError(
                f"backend {self.name or self.provider}: api {self.api!r} is not known; allowed: {', '.join(APIS)}"
            )
        super().__post_init__()

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
        return OpenAIDialect(self.api)
