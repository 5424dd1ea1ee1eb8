"""Why an answer ended: the neutral word for programs, the provider's own for who has to know more."""

from __future__ import annotations

import json
from typing import Any

import pytest

from xml_pipeline.llm.types import StreamFinished

from .dialects import ask, dialect

TEXT = {"role": "assistant", "content": "a"}


def chat(**choice: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "message": TEXT, **choice}]}


def message(reason: str, sequence: str | None = None) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": "a"}], "stop_reason": reason, "stop_sequence": sequence}


def gemini(reason: str) -> dict[str, Any]:
    return {
        "candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": reason}],
        "usageMetadata": {},
    }


def response(status: str, reason: str | None = None) -> dict[str, Any]:
    item = {"type": "message", "content": [{"type": "output_text", "text": "a"}]}
    return {"output": [item], "status": status, "incomplete_details": reason and {"reason": reason}}


CUT = response("incomplete", "max_output_tokens")
CASES: list[tuple[str, dict[str, Any], Any, tuple[str, str, str]]] = [
    ("anthropic", {}, message("end_turn"), ("stop", "end_turn", "")),
    ("anthropic", {}, message("stop_sequence", "END"), ("stop", "stop_sequence", "END")),
    ("anthropic", {}, message("max_tokens"), ("length", "max_tokens", "")),
    ("openai", {"api": "chat"}, chat(finish_reason="stop"), ("stop", "stop", "")),
    ("compatible", {"preset": "vllm"}, chat(finish_reason="stop", stop_reason="END"), ("stop", "stop", "END")),
    ("compatible", {"preset": "vllm"}, chat(finish_reason="stop", stop_reason=128009), ("stop", "stop", "")),
    ("compatible", {"preset": "sglang"}, chat(finish_reason="stop", matched_stop="END"), ("stop", "stop", "END")),
    ("compatible", {"preset": "tgi"}, chat(finish_reason="stop_sequence"), ("stop", "stop_sequence", "")),
    ("openai", {"api": "responses"}, response("completed"), ("stop", "completed", "")),
    ("openai", {"api": "responses"}, CUT, ("length", "max_output_tokens", "")),
    ("gemini", {}, gemini("STOP"), ("stop", "STOP", "")),
    ("gemini", {}, gemini("MAX_TOKENS"), ("length", "MAX_TOKENS", "")),
    ("ollama", {}, {"message": TEXT, "done": True, "done_reason": "stop"}, ("stop", "stop", "")),
]  # fmt: skip


def made(provider: str, settings: dict[str, Any]) -> Any:
    if provider == "compatible":
        provider, settings = "openai-compatible", {"base_url": "http://127.0.0.1", **settings}
    return dialect(provider, **settings)


@pytest.mark.parametrize(("provider", "settings", "data", "expected"), CASES)
def test_a_whole_answer_says_it(
    provider: str, settings: dict[str, Any], data: Any, expected: tuple[str, str, str]
) -> None:
    read = made(provider, settings).decode(data, ask("m"))
    assert (read.finish_reason, read.stop_reason, read.stop_sequence) == expected


def chunks(provider: str, data: Any) -> list[dict[str, Any]]:
    """The last chunks of the stream that ends as the answer does."""
    if provider == "anthropic":
        delta = {key: data[key] for key in ("stop_reason", "stop_sequence")}
        return [{"type": "message_delta", "delta": delta}, {"type": "message_stop"}]
    if "status" in data:
        kind = "response.completed" if data["status"] == "completed" else "response.incomplete"
        return [{"type": kind, "response": data}]
    if "choices" in data:
        return [{"choices": [{**data["choices"][0], "delta": {}}]}]
    return [data]


@pytest.mark.parametrize(("provider", "settings", "data", "expected"), CASES)
def test_a_stream_says_the_same(
    provider: str, settings: dict[str, Any], data: Any, expected: tuple[str, str, str]
) -> None:
    decoder = made(provider, settings).stream_decoder(ask("m"))
    events = [event for chunk in chunks(provider, data) for event in decoder.feed(json.dumps(chunk), "")]
    (end,) = [event for event in events if isinstance(event, StreamFinished)]
    assert (end.finish_reason, end.stop_reason, end.stop_sequence) == expected
