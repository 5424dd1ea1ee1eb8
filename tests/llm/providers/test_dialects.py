"""What every mapping does alike: model names, unchanged requests, chunks that are none."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from genai_prices.data import providers
from hypothesis import example, given
from hypothesis import strategies as st

from xml_pipeline.errors import (
    MalformedAnswerError,
    ServerError,
)
from xml_pipeline.llm import PROVIDER_CLASSES, ToolSpec
from xml_pipeline.llm.http.dialect import loaded
from xml_pipeline.llm.types import TextDelta

from .cases import CASES
from .dialects import ADD, ask, body, dialect

WIRE = Path(__file__).parents[3] / "xml_pipeline" / "llm" / "providers"


@pytest.mark.parametrize("module", sorted(WIRE.rglob("*.py")), ids=lambda path: str(path.relative_to(WIRE)))
def test_wire_mappings_do_no_io(module: Path) -> None:
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(module.read_text()))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    allowed = {"asyncio"} if module.parent.name == "scripted" else set()  # it lets time pass
    assert not imported & {"httpx", "aiohttp", "asyncio", "socket", "os", "time", "random", "uuid"} - allowed


def test_every_price_provider_has_prices() -> None:
    backends = [case.backend("http://127.0.0.1:1", "k") for case in CASES]
    named = {backend.price_provider for backend in backends} - {""}
    assert named == {"openai", "anthropic", "google", "x-ai", "openrouter"}
    assert named <= {provider.id for provider in providers}


class TestModelNames:
    @pytest.mark.parametrize(
        ("provider", "served", "not_served"),
        [
            ("xai", ["grok-4.1", "Grok-3-mini"], ["gpt-4o", "claude-sonnet-4"]),
            ("anthropic", ["claude-sonnet-4", "claude-opus-5-5"], ["grok-4.1"]),
            (
                "openai",
                [
                    "gpt-4o",
                    "gpt-6.2-sol",
                    "o1",
                    "o1-mini",
                    "o3-pro",
                    "o4-mini",
                    "chatgpt-4o-latest",
                    "ft:gpt-4o:me",
                ],
                ["claude-sonnet-4", "gpt-oss:20b", "ollama", "o"],
            ),
            ("gemini", ["gemini-3-pro", "models/gemini-2.5-flash"], ["gemma-3"]),
            ("ollama", ["llama3", "anything"], []),
        ],
    )
    def test_rules(self, provider: str, served: list[str], not_served: list[str]) -> None:
        backend = PROVIDER_CLASSES[provider]()
        assert [model for model in served if not backend.serves_model(model)] == []
        assert [model for model in not_served if backend.serves_model(model)] == []


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini", "ollama", "xai"])
class TestEveryDialect:
    def test_a_request_is_not_changed(self, provider: str) -> None:
        call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
        history: list[dict[str, Any]] = [
            {"role": "system", "content": "rules"},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": "x", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
        ]
        before = json.dumps([history, ADD.parameters])
        body(provider, ask("m", *history, tools=[ADD], cache_prompt=True, extra={"options": {"x": 1}}))
        assert json.dumps([history, ADD.parameters]) == before

    @pytest.mark.parametrize("chunk", ["{", "[]", "null", '"x"', "{}x"])
    def test_a_chunk_that_is_none(self, provider: str, chunk: str) -> None:
        with pytest.raises(MalformedAnswerError):
            dialect(provider).stream_decoder(ask("m")).feed(chunk, "")

    def test_an_error_object_is_an_error(self, provider: str) -> None:
        with pytest.raises(ServerError):
            dialect(provider).decode({"error": {"message": "boom"}, "type": "error"}, ask("m"))

    def test_text_keeps_unusual_separators(self, provider: str) -> None:
        text = "a\u2028b\x85c"
        chunks = {
            "anthropic": {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": text},
            },
            "gemini": {"candidates": [{"content": {"parts": [{"text": text}]}}]},
            "ollama": {"message": {"content": text}},
        }
        chunk = chunks.get(provider, {"choices": [{"delta": {"content": text}}]})
        (event, *_) = dialect(provider).stream_decoder(ask("m")).feed(json.dumps(chunk), "")
        assert event == TextDelta(text)

    def test_a_tool_without_a_description(self, provider: str) -> None:
        sent = body(provider, ask("m", tools=[ToolSpec("add")]))
        assert "description" not in json.dumps(sent["tools"])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda some: st.lists(some, max_size=4) | st.dictionaries(st.text(), some, max_size=4),
    max_leaves=10,
)


@given(st.binary(max_size=30) | VALUES.map(lambda value: json.dumps(value).encode()))
@example(b"\xef\xbb\xbf{}")
@example(b"NaN")
@example(b"1e400")
@example(b"-0")
@example(b"123456789012345678901234567890")
@example(b'"\\ud83d"')
@example(b'{"a": 1, "a": 2}')
@example(b"[1,]")
def test_json_is_read_as_the_patient_parser_reads_it(text: bytes) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):
            loaded(text)
    else:
        assert repr(loaded(text)) == repr(expected)
