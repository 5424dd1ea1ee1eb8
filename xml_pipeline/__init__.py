"""Multi-agent systems over typed, validated XML messages, with an LLM layer that never spends past a limit.

Names are loaded when they are first used, so that `import xml_pipeline` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from xml_pipeline.envelope import Gathered, Huh, SystemError, extract_payloads
    from xml_pipeline.errors import (
        AnswerError,
        AskTimeout,
        BackendError,
        BudgetExceededError,
        ConfigError,
        NoReply,
        PayloadError,
        XmlPipelineError,
    )
    from xml_pipeline.llm import complete, complete_sync, stream, stream_sync
    from xml_pipeline.organism import Organism
    from xml_pipeline.payload import xmlify
    from xml_pipeline.pump import Approval, HandlerMetadata, HandlerResponse, Keep, once

_HOME = {
    "AnswerError": "errors",
    "Approval": "pump",
    "AskTimeout": "errors",
    "BackendError": "errors",
    "BudgetExceededError": "errors",
    "ConfigError": "errors",
    "Gathered": "envelope",
    "HandlerMetadata": "pump",
    "HandlerResponse": "pump",
    "Huh": "envelope",
    "Keep": "pump",
    "NoReply": "errors",
    "Organism": "organism",
    "PayloadError": "errors",
    "SystemError": "envelope",
    "XmlPipelineError": "errors",
    "complete": "llm",
    "complete_sync": "llm",
    "extract_payloads": "envelope",
    "once": "pump",
    "stream": "llm",
    "stream_sync": "llm",
    "xmlify": "payload",
}

__all__ = [
    "AnswerError",
    "Approval",
    "AskTimeout",
    "BackendError",
    "BudgetExceededError",
    "ConfigError",
    "Gathered",
    "HandlerMetadata",
    "HandlerResponse",
    "Huh",
    "Keep",
    "NoReply",
    "Organism",
    "PayloadError",
    "SystemError",
    "XmlPipelineError",
    "complete",
    "complete_sync",
    "extract_payloads",
    "once",
    "stream",
    "stream_sync",
    "xmlify",
]


if not TYPE_CHECKING:  # a type checker that saw it would take any misspelt name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
