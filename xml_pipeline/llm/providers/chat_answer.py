"""Reading the parts that a whole chat completion and its stream share. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xml_pipeline.llm.providers.history import count
from xml_pipeline.llm.types import Usage

FINISH_REASONS = {
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "function_call": "tool_calls",
}


def content_text(content: Any) -> str:
    """The text of an answer's content, which some servers send in parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return ""


def reasoning_text(message: Mapping[str, Any]) -> str:
    """The reasoning beside the content, as `reasoning_content` (DeepSeek, SGLang) or `reasoning` (vLLM)."""
    for key in ("reasoning_content", "reasoning"):
        text = message.get(key)
        if isinstance(text, str) and text:
            return text
    return ""


def finish_reason(reason: Any, *, calls: bool) -> str:
    """The neutral finish reason; several servers say `stop` though there are tool calls."""
    word = str(reason or "stop")
    word = FINISH_REASONS.get(word, word)
    return "tool_calls" if calls and word == "stop" else word


def read_usage(usage: Any) -> Usage:
    """Usage; xAI's `completion_tokens` leaves the reasoning out, which shows in its `total_tokens`."""
    if not isinstance(usage, Mapping):
        return Usage()
    prompt = count(usage.get("prompt_tokens"))
    completion = count(usage.get("completion_tokens"))
    prompt_details = usage.get("prompt_tokens_details") or {}
    completion_details = usage.get("completion_tokens_details") or {}
    reasoning = count(completion_details.get("reasoning_tokens"))
    if reasoning and count(usage.get("total_tokens")) == prompt + completion + reasoning:
        completion += reasoning
    return Usage(
        prompt,
        completion,
        count(prompt_details.get("cached_tokens")),
        count(prompt_details.get("cache_write_tokens")),
        reasoning,
    )
