"""What goes to and comes from Ollama."""

from __future__ import annotations

from typing import Any

import pytest

from xml_pipeline.errors import (
    ContextWindowError,
    InvalidRequestError,
)
from xml_pipeline.llm.providers.ollama import OllamaBackend

from .dialects import USER, ask, body


class TestOllama:
    @pytest.mark.parametrize(
        ("prompt", "limit", "window"),
        [(100, None, 8192), (7000, None, 16_384), (20_000, 500, 32_768), (100_000, 30_000, 131_072)],
    )
    def test_the_window_fits_the_prompt_in_steps(self, prompt: int, limit: int | None, window: int) -> None:
        sent = body("ollama", ask("llama3", prompt_tokens_estimate=prompt, max_tokens=limit))
        assert sent["options"]["num_ctx"] == window

    def test_a_prompt_longer_than_any_window_is_refused(self) -> None:
        with pytest.raises(ContextWindowError, match="max_num_ctx"):
            body("ollama", ask("llama3", prompt_tokens_estimate=200_000))
        with pytest.raises(ContextWindowError):
            body("ollama", ask("llama3", prompt_tokens_estimate=5000), num_ctx=4096)

    def test_a_fixed_window(self) -> None:
        sent = body("ollama", ask("llama3", prompt_tokens_estimate=10), num_ctx=40_000)
        assert sent["options"]["num_ctx"] == 40_000

    @pytest.mark.parametrize(("given", "sent"), [("5m", "5m"), ("-1", -1), ("0", 0)])
    def test_keep_alive(self, given: str, sent: Any) -> None:
        assert body("ollama", ask("llama3"), keep_alive=given)["keep_alive"] == sent

    @pytest.mark.parametrize(
        ("model", "effort", "think"),
        [("qwen3", "high", True), ("qwen3", "none", False), ("gpt-oss:20b", "max", "high")],
    )
    def test_thinking(self, model: str, effort: str, think: Any) -> None:
        assert body("ollama", ask(model, reasoning_effort=effort))["think"] == think

    def test_images_are_bare(self) -> None:
        part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        sent = body(
            "ollama", ask("llama3", {"role": "user", "content": [{"type": "text", "text": "see"}, part]})
        )
        assert sent["messages"][0] == {"role": "user", "content": "see", "images": ["AAAA"]}
        part["image_url"] = {"url": "https://example.com/x.png"}
        with pytest.raises(InvalidRequestError, match="data: URLs"):
            body("ollama", ask("llama3", {"role": "user", "content": [part]}))

    def test_results_carry_the_tools_name(self) -> None:
        call = {
            "id": "c1",
            "type": "function",
            "function": {"name": "calculator.add", "arguments": '{"a": 1}'},
        }
        history = [
            USER,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
        ]
        sent = body("ollama", ask("llama3", *history))["messages"]
        assert sent[1]["tool_calls"] == [{"function": {"name": "calculator_add", "arguments": {"a": 1}}}]
        assert sent[2] == {"role": "tool", "content": "1", "tool_name": "calculator_add"}

    def test_models_without_tools(self) -> None:
        backend = OllamaBackend(native_tools=False)
        assert not backend.supports("tools", "llama3")
        assert backend.supports("schema", "llama3")
