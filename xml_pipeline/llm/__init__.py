"""The LLM router: ask for a model by name, get an answer although providers fail, limits bind and budgets end.

from xml_pipeline.llm import complete

response = await complete("grok-4.1", [{"role": "user", "content": "Hello!"}])
print(response.content, response.usage["total_tokens"], response.cost)
"""

from xml_pipeline.errors import (
    Attempt,
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    BudgetExceededError,
    ConnectionFailedError,
    ContentPolicyError,
    ContextWindowError,
    InvalidRequestError,
    LLMError,
    MalformedAnswerError,
    ModelNotFoundError,
    NoBackendError,
    OverloadedError,
    QuotaExhaustedError,
    RateLimitedError,
    ServerError,
    StructuredOutputError,
)
from xml_pipeline.llm.accounting.budgets import Budget, Budgets
from xml_pipeline.llm.accounting.prices import Price
from xml_pipeline.llm.accounting.usage import UsageTotals
from xml_pipeline.llm.completion import Timeouts
from xml_pipeline.llm.default import (
    complete,
    complete_sync,
    configure_router,
    get_router,
    stream,
    stream_sync,
    use_router,
)
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
    "Attempt",
    "AuthenticationError",
    "Backend",
    "BackendError",
    "BackendStatus",
    "BackendTimeoutError",
    "Budget",
    "BudgetExceededError",
    "Budgets",
    "ConnectionFailedError",
    "ContentPolicyError",
    "ContextWindowError",
    "InvalidRequestError",
    "LLMError",
    "LLMRequest",
    "LLMResponse",
    "MalformedAnswerError",
    "ModelNotFoundError",
    "NoBackendError",
    "OverloadedError",
    "Price",
    "QuotaExhaustedError",
    "RateLimitedError",
    "ReasoningDelta",
    "Router",
    "ServerError",
    "StreamEnd",
    "StreamEvent",
    "StructuredOutputError",
    "TextDelta",
    "Timeouts",
    "ToolCall",
    "ToolCallDelta",
    "ToolSpec",
    "TransportSettings",
    "Usage",
    "UsageTotals",
    "complete",
    "complete_sync",
    "configure_router",
    "forbid_real_requests",
    "get_router",
    "stream",
    "stream_sync",
    "use_router",
]
