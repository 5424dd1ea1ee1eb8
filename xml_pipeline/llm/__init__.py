"""The LLM router: ask for a model by name, get an answer although providers fail, limits bind and budgets end.

from xml_pipeline.llm import complete

response = await complete("grok-4.1", [{"role": "user", "content": "Hello!"}])
print(response.content, response.usage["total_tokens"], response.cost)
"""

from xml_pipeline.llm.accounting.budgets import Budget, Budgets
from xml_pipeline.llm.accounting.prices import Price
from xml_pipeline.llm.accounting.usage import UsageTotals
from xml_pipeline.llm.completion import Timeouts
from xml_pipeline.llm.default import complete, configure_router, get_router, stream, use_router
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.http.transport import TransportSettings
from xml_pipeline.llm.providers import PROVIDER_CLASSES
from xml_pipeline.llm.router import Router
from xml_pipeline.llm.routing.endpoint import BackendStatus
from xml_pipeline.llm.routing.table import forbid_real_requests
from xml_pipeline.llm.types import (
    LLMRequest,
    LLMResponse,
    ReasoningDelta,
    StreamEnd,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolSpec,
    Usage,
)

__all__ = [
    "PROVIDER_CLASSES",
    "Backend",
    "BackendStatus",
    "Budget",
    "Budgets",
    "LLMRequest",
    "LLMResponse",
    "Price",
    "ReasoningDelta",
    "Router",
    "StreamEnd",
    "StreamEvent",
    "TextDelta",
    "Timeouts",
    "ToolCall",
    "ToolCallDelta",
    "ToolSpec",
    "TransportSettings",
    "Usage",
    "UsageTotals",
    "complete",
    "configure_router",
    "forbid_real_requests",
    "get_router",
    "stream",
    "use_router",
]
