"""Providers on loopback: real HTTP servers that speak their dialects as strictly as the real ones.

async with OpenAIEmulator() as server:
    server.script.say("Hello").call("add", {"a": 1, "b": 2}).fail(Failure.RATE, retry_after="1.5")
    ...                      # a client of server.base_url with server.key
    server.requests, server.last.body, server.tally
"""

from .anthropic import LOW_CREDIT, AnthropicEmulator
from .compatible import (
    COMPATIBLE,
    CompatibleEmulator,
    LiteLLMEmulator,
    LlamaCppEmulator,
    LMStudioEmulator,
    OpenRouterEmulator,
    SGLangEmulator,
    TGIEmulator,
    VLLMEmulator,
)
from .gemini import GeminiEmulator
from .ollama import OllamaEmulator
from .openai import OpenAIEmulator
from .script import Answer, Fail, Failure, Fault, Place, Recorded, Script, ToolUse
from .server import Emulator, Refusal, Tally, closed_port, count_tokens
from .xai import XAIEmulator

__all__ = [
    "COMPATIBLE",
    "LOW_CREDIT",
    "Answer",
    "AnthropicEmulator",
    "CompatibleEmulator",
    "Emulator",
    "Fail",
    "Failure",
    "Fault",
    "GeminiEmulator",
    "LMStudioEmulator",
    "LiteLLMEmulator",
    "LlamaCppEmulator",
    "OllamaEmulator",
    "OpenAIEmulator",
    "OpenRouterEmulator",
    "Place",
    "Recorded",
    "Refusal",
    "SGLangEmulator",
    "Script",
    "TGIEmulator",
    "Tally",
    "ToolUse",
    "VLLMEmulator",
    "XAIEmulator",
    "closed_port",
    "count_tokens",
]
