"""The LLM router: ask for a model by name, get an answer although providers fail, limits bind and budgets end.

from xml_pipeline.llm import complete

response = await complete("grok-4.1", [{"role": "user", "content": "Hello!"}])
print(response.content, response.usage["total_tokens"], response.cost)
"""

from xml_pipeline.llm.backend import PROVIDER_CLASSES, Backend
from xml_pipeline.llm.budgets import Budget, Budgets
from xml_pipeline.llm.core import Timeouts
from xml_pipeline.llm.guard import forbid_real_requests
from xml_pipeline.llm.prices import Price
from xml_pipeline.llm.router import Router, complete, configure_router, get_router, stream, use_router
from xml_pipeline.llm.status import BackendStatus
from xml_pipeline.llm.transport import TransportSettings
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
from xml_pipeline.llm.usage import UsageTotals

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
