"""What goes to and comes from Gemini."""

from __future__ import annotations

from typing import Any

import pytest

from xml_pipeline.errors import MalformedAnswerError
from xml_pipeline.llm import ToolSpec

from .dialects import ADD, USER, ask, body, dialect


class TestGemini:
    def test_names_with_dots_stay(self) -> None:
        sent = body("gemini", ask("gemini-3-pro", tools=[ToolSpec("calculator.add")]))
        assert sent["tools"][0]["functionDeclarations"][0]["name"] == "calculator.add"

    @pytest.mark.parametrize(
        ("model", "effort", "thinking"),
        [
            ("gemini-3-pro", "low", {"thinkingLevel": "low", "includeThoughts": True}),
            ("gemini-3.1-flash", "none", {"thinkingLevel": "minimal"}),
            ("gemini-3-pro", "max", {"thinkingLevel": "high", "includeThoughts": True}),
            ("gemini-2.5-pro", "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
            ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ],
    )
    def test_effort(self, model: str, effort: str, thinking: dict[str, Any]) -> None:
        sent = body("gemini", ask(model, reasoning_effort=effort))
        assert sent["generationConfig"]["thinkingConfig"] == thinking

    def test_cached_content_holds_system_and_tools(self) -> None:
        rule = {"role": "system", "content": "rules"}
        sent = body(
            "gemini",
            ask("gemini-3-pro", rule, USER, tools=[ADD], extra={"cachedContent": "cachedContents/x"}),
        )
        assert sent.keys() == {"contents", "cachedContent"}

    def test_what_is_stored_is_named_and_not_sent(self) -> None:
        rule = {"role": "system", "content": "rules"}
        asked = ask("gemini-3-pro", rule, USER, tools=[ADD], stored="cachedContents/x", max_tokens=9)
        sent = body("gemini", asked)
        assert sent.keys() == {"contents", "cachedContent", "generationConfig"}
        assert sent["cachedContent"] == "cachedContents/x"

    @pytest.mark.parametrize(
        ("model", "tokens"),
        [("gemini-2.5-flash", 2048), ("models/gemini-2.5-pro", 2048), ("gemini-3.5-flash", 4096)],
    )
    def test_how_much_can_be_cached_at_all(self, model: str, tokens: int) -> None:
        assert dialect("gemini").least_cacheable(model) == tokens

    def test_images(self) -> None:
        parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
        sent = body("gemini", ask("gemini-3-pro", {"role": "user", "content": parts}))
        assert sent["contents"][0]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]

    def test_a_tool_call_that_gemini_could_not_read(self) -> None:
        answer = {"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "add(1"}]}
        with pytest.raises(MalformedAnswerError, match=r"add\(1"):
            dialect("gemini").decode(answer, ask("gemini-3-pro"))

    def test_extra_of_the_generation_config_merges(self) -> None:
        sent = body("gemini", ask("gemini-3-pro", temperature=0.3, extra={"generationConfig": {"topK": 4}}))
        assert sent["generationConfig"] == {"temperature": 0.3, "topK": 4}

    def test_the_models_path_cannot_be_left(self) -> None:
        wire = dialect("gemini").encode(ask("gemini-x/../../evil?x=1#"), stream=False)
        assert wire.path == "/models/gemini-x%2F..%2F..%2Fevil%3Fx%3D1%23:generateContent"
        tuned = dialect("gemini").encode(ask("tunedModels/mine"), stream=True)
        assert tuned.path == "/tunedModels/mine:streamGenerateContent?alt=sse"
