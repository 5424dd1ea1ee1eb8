"""What goes to and comes from OpenAI's two APIs, and servers that speak the first."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from xml_pipeline.errors import (
    ConfigError,
    MalformedAnswerError,
    RateLimitedError,
    ServerError,
)
from xml_pipeline.llm import PROVIDER_CLASSES, ToolSpec, Usage
from xml_pipeline.llm.types import ResponseSchema, StreamFinished, ToolCallDelta

from .dialects import ADD, USER, ask, body, dialect


class TestChat:
    @pytest.mark.parametrize(
        "model", ["o3", "o4-mini", "gpt-5", "gpt-5-mini", "gpt-5.6-sol", "gpt-6.2-astra", "gpt-9"]
    )
    def test_reasoning_models_get_no_sampling(self, model: str) -> None:
        sent = body("openai", ask(model, temperature=0.2, top_p=0.5, stop=["x"], max_tokens=9, seed=1))
        assert not sent.keys() & {"temperature", "top_p", "stop", "max_tokens"}
        assert sent["max_completion_tokens"] == 9
        assert sent["seed"] == 1

    @pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1-mini", "gpt-5-chat-latest", "ft:gpt-4o:acme::1"])
    def test_others_do(self, model: str) -> None:
        sent = body("openai", ask(model, temperature=0.2, stop=["x"], reasoning_effort="high"))
        assert sent["temperature"] == 0.2
        assert sent["stop"] == ["x"]
        assert "reasoning_effort" not in sent

    def test_sampling_is_back_without_reasoning(self) -> None:
        sent = body("openai", ask("gpt-5.6-sol", temperature=0.2, reasoning_effort="none"))
        assert (sent["temperature"], sent["reasoning_effort"]) == (0.2, "none")

    @pytest.mark.parametrize(
        ("model", "asked", "sent"),
        [
            ("o3", "minimal", "low"),
            ("o3", "max", "high"),
            ("gpt-5", "none", "minimal"),
            ("gpt-6.2-sol", "none", "low"),
        ],
    )
    def test_the_nearest_effort(self, model: str, asked: str, sent: str) -> None:
        assert body("openai", ask(model, reasoning_effort=asked))["reasoning_effort"] == sent

    def test_an_effort_newer_than_we_are_passes(self) -> None:
        assert body("openai", ask("gpt-9", reasoning_effort="ultra"))["reasoning_effort"] == "ultra"

    def test_extra_comes_last_and_merges(self) -> None:
        sent = body("openai", ask("gpt-4o", extra={"stream_options": {"x": 1}, "user": "u"}), stream=True)
        assert sent["stream_options"] == {"include_usage": True, "x": 1}
        assert sent["user"] == "u"

    def test_usage_is_asked_for_in_streams(self) -> None:
        assert body("openai", ask("gpt-4o"), stream=True)["stream_options"] == {"include_usage": True}
        assert "stream_options" not in body("openai", ask("gpt-4o"))

    def test_marks_and_foreign_data_stay_home(self) -> None:
        part = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
        answered = {"role": "assistant", "content": "x", "provider_data": {"anthropic": {"content": ["…"]}}}
        sent = body("openai", ask("gpt-4o", {"role": "user", "content": [part]}, answered, USER))
        assert "cache_control" not in json.dumps(sent)
        assert "provider_data" not in json.dumps(sent)

    @pytest.mark.parametrize("preset", ["openrouter", "litellm"])
    def test_gateways_are_asked_to_cache_for_claude(self, preset: str) -> None:
        turns = [
            {"role": "system", "content": "rules"},
            USER,
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "Go on"},
        ]

        def marked(model: str, **options: Any) -> list[int]:
            sent = body("openai-compatible", ask(model, *turns, **options), preset=preset)
            return [at for at, each in enumerate(sent["messages"]) if "cache_control" in json.dumps(each)]

        claude = "anthropic/claude-sonnet-5"
        assert marked(claude) == []
        assert marked(claude, cache_prompt=True) == [0, 1]
        assert marked(claude, cache_prompt=True, changing=0) == [0, 3]
        assert marked("openai/gpt-5.4", cache_prompt=True) == []

    def test_gateways_get_the_marks_of_messages_and_tools(self) -> None:
        mark = {"type": "ephemeral"}
        message = {"role": "user", "content": "Hi", "cache_control": mark}
        request = ask("anthropic/claude-sonnet-5", message, tools=[replace(ADD, cache_control=mark)])
        sent = body("openai-compatible", request, preset="openrouter")
        assert sent["messages"][0]["content"] == [{"type": "text", "text": "Hi", "cache_control": mark}]
        assert sent["tools"][0]["cache_control"] == mark
        assert "cache_control" not in json.dumps(body("openai", replace(request, model="gpt-4o")))

    def test_openrouter_keeps_marks_and_gets_its_reasoning_back(self) -> None:
        details = [{"type": "reasoning.text", "text": "Hm.", "signature": "s"}]
        router = dialect("openai-compatible", preset="openrouter")
        answer = {
            "choices": [{"message": {"content": "x", "reasoning_details": details}, "finish_reason": "stop"}]
        }
        message = router.decode(answer, ask("m")).message
        again = router.encode(ask("m", USER, message, USER), stream=False).body["messages"][1]
        assert again["reasoning_details"] == details
        elsewhere = body("openai-compatible", ask("m", USER, message, USER), preset="vllm")["messages"][1]
        assert "reasoning_details" not in elsewhere

    def test_streamed_reasoning_details_are_put_together(self) -> None:
        decoder = dialect("openai-compatible", preset="openrouter").stream_decoder(ask("m"))
        for piece in ({"text": "Hm"}, {"text": ", well."}, {"signature": "sig"}):
            detail = {"type": "reasoning.text", "index": 0, **piece}
            decoder.feed(json.dumps({"choices": [{"delta": {"reasoning_details": [detail]}}]}), "")
        (end,) = decoder.feed(json.dumps({"choices": [{"delta": {}, "finish_reason": "stop"}]}), "")
        assert isinstance(end, StreamFinished)
        kept = end.provider_data["openrouter"]["reasoning_details"]
        assert kept == [{"type": "reasoning.text", "index": 0, "text": "Hm, well.", "signature": "sig"}]

    def test_open_models_get_one_system_message(self) -> None:
        rules = [{"role": "system", "content": text} for text in ("one", "two")]
        parts = {"role": "system", "content": [{"type": "text", "text": "three"}]}
        request = ask("m", *rules, parts, USER, rules[0])
        local = body("openai-compatible", request, preset="llama.cpp")["messages"]
        assert [message["content"] for message in local] == ["one\n\ntwo\n\nthree", "Hi", "one"]
        assert len(body("openai-compatible", request, preset="openrouter")["messages"]) == 5

    def test_strict_only_where_the_schema_allows_it(self) -> None:
        closed = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
        for schema, strict in ((closed, True), ({**closed, "required": []}, False)):
            sent = body("openai", ask("gpt-4o", response_schema=ResponseSchema("City.Info", schema)))
            named = sent["response_format"]["json_schema"]
            assert (named["strict"], named["name"]) == (strict, "City_Info")

    @pytest.mark.parametrize(
        ("answer", "what"),
        [
            ([], "no JSON object"),
            ({}, "`choices`"),
            ({"choices": []}, "`choices`"),
            ({"choices": [{}]}, r"`choices\[0\].message`"),
            ({"choices": [{"message": {"tool_calls": [{"id": "x"}]}}]}, "no function name"),
            ({"choices": [{"message": {"tool_calls": {"a": 1}}}]}, "no list"),
        ],
    )
    def test_a_malformed_answer_says_what_is_missing(self, answer: Any, what: str) -> None:
        with pytest.raises(MalformedAnswerError, match=what):
            dialect("openai").decode(answer, ask("gpt-4o"))

    def test_servers_that_number_no_calls(self) -> None:
        decoder = dialect("openai-compatible", preset="tgi").stream_decoder(ask("m", tools=[ADD]))
        first = {"function": {"name": "add", "arguments": {"a": 1}}}
        chunk = {"choices": [{"delta": {"tool_calls": first}, "finish_reason": "eos_token"}]}
        call, end = decoder.feed(json.dumps(chunk), "")
        assert isinstance(call, ToolCallDelta)
        assert (call.name, json.loads(call.arguments)) == ("add", {"a": 1})
        assert call.id
        assert isinstance(end, StreamFinished)
        assert end.finish_reason == "tool_calls"

    def test_usage_of_xai_counts_the_reasoning(self) -> None:
        usage = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 235}
        usage["completion_tokens_details"] = {"reasoning_tokens": 194}  # type: ignore[assignment]  # a mixed dict
        answer = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": usage}
        assert Usage.of(dialect("xai").decode(answer, ask("grok-4.1")).usage).completion_tokens == 203

    def test_an_unknown_preset(self) -> None:
        with pytest.raises(ConfigError, match=r"allowed: vllm, sglang.*openrouter"):
            PROVIDER_CLASSES["openai-compatible"](preset="vlm")  # type: ignore[call-arg]  # this class's own field
        with pytest.raises(ConfigError, match="base_url"):
            PROVIDER_CLASSES["openai-compatible"]()


class TestResponses:
    """OpenAI's other API."""

    REASONING: dict[str, Any] = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "encrypted_content": "sealed",
    }
    MESSAGE: dict[str, Any] = {
        "type": "message",
        "role": "assistant",
        "phase": "commentary",
        "content": [{"type": "output_text", "text": "I add."}],
    }
    CALL: dict[str, Any] = {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "c1",
        "name": "add",
        "arguments": '{"a": 1}',
    }

    @pytest.mark.parametrize(
        ("model", "tools", "settings", "path"),
        [
            ("gpt-6.2-sol", [ADD], {}, "/responses"),
            ("gpt-5.4", [ADD], {}, "/responses"),
            ("gpt-6.2-sol", [], {}, "/chat/completions"),
            ("gpt-5.1", [ADD], {}, "/chat/completions"),
            ("gpt-4o", [ADD], {}, "/chat/completions"),
            ("gpt-4o", [ADD], {"api": "responses"}, "/responses"),
            ("gpt-6.2-sol", [ADD], {"api": "chat"}, "/chat/completions"),
        ],
    )
    def test_tools_decide_the_api(
        self, model: str, tools: list[ToolSpec], settings: dict[str, Any], path: str
    ) -> None:
        assert dialect("openai", **settings).encode(ask(model, tools=tools), stream=False).path == path

    def test_an_unknown_api(self) -> None:
        with pytest.raises(ConfigError, match="allowed: auto, chat, responses"):
            dialect("openai", api="assistants")

    def test_nothing_is_stored(self) -> None:
        sent = body(
            "openai", ask("gpt-6.2-sol", tools=[ADD], max_tokens=9, cache_key="k", stop=["x"], seed=1)
        )
        assert (sent["store"], sent["include"]) == (False, ["reasoning.encrypted_content"])
        assert (sent["max_output_tokens"], sent["prompt_cache_key"]) == (9, "k")
        assert not sent.keys() & {"stop", "seed", "messages"}

    def test_sealed_reasoning_goes_back_in_its_place(self) -> None:
        wire = dialect("openai")
        request = ask("gpt-6.2-sol", tools=[ADD])
        second = {**self.CALL, "call_id": "c2"}
        items = [self.REASONING, self.MESSAGE, self.CALL, {**self.REASONING, "id": "rs_2"}, second]
        answer = wire.decode({"status": "completed", "output": items}, request)
        assert answer.finish_reason == "tool_calls"
        results = [{"role": "tool", "tool_call_id": ident, "content": "1"} for ident in ("c1", "c2")]
        sent = wire.encode(ask("gpt-6.2-sol", USER, answer.message, *results, tools=[ADD]), stream=False).body
        came = [item.get("id") or item.get("call_id") or item.get("phase") for item in sent["input"][1:6]]
        assert came == ["rs_1", "commentary", "c1", "rs_2", "c2"]
        changed = {**answer.message, "tool_calls": answer.message["tool_calls"][:1]}
        sent = wire.encode(ask("gpt-6.2-sol", USER, changed, results[0], tools=[ADD]), stream=False).body
        assert all(item.get("type") != "reasoning" for item in sent["input"])

    @pytest.mark.parametrize(
        ("reason", "finish"), [("max_output_tokens", "length"), ("content_filter", "content_filter")]
    )
    def test_an_incomplete_answer(self, reason: str, finish: str) -> None:
        data = {"status": "incomplete", "incomplete_details": {"reason": reason}, "output": [self.MESSAGE]}
        answer = dialect("openai", api="responses").decode(data, ask("gpt-6.2-sol"))
        assert (answer.content, answer.finish_reason) == ("I add.", finish)

    def test_a_refusal(self) -> None:
        refused = {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}
        answer = dialect("openai", api="responses").decode({"output": [refused]}, ask("gpt-6.2-sol"))
        assert (answer.content, answer.finish_reason) == ("No.", "content_filter")

    def test_failures_inside_a_200(self) -> None:
        failed = {"status": "failed", "error": {"code": "server_error", "message": "boom"}, "output": []}
        wire = dialect("openai", api="responses")
        with pytest.raises(ServerError, match="boom"):
            wire.decode(failed, ask("gpt-6.2-sol"))
        event = {"type": "response.failed", "response": failed}
        with pytest.raises(ServerError, match="boom"):
            wire.stream_decoder(ask("gpt-6.2-sol")).feed(json.dumps(event), "response.failed")
        error = {"type": "error", "code": "rate_limit_exceeded", "message": "slower"}
        with pytest.raises(RateLimitedError, match="slower"):
            wire.stream_decoder(ask("gpt-6.2-sol")).feed(json.dumps(error), "error")

    @pytest.mark.parametrize(
        ("data", "what"), [({}, "`output`"), ({"output": [{"type": "function_call"}]}, "no call_id")]
    )
    def test_a_malformed_answer(self, data: Any, what: str) -> None:
        with pytest.raises(MalformedAnswerError, match=what):
            dialect("openai", api="responses").decode(data, ask("gpt-6.2-sol"))
