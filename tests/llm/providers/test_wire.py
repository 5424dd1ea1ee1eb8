"""What each provider's mapping sends and reads, where the contract leaves it to the provider."""

from __future__ import annotations

import json
from typing import Any

import pytest

from xml_pipeline.errors import (
    ConfigError,
    ContextWindowError,
    InvalidRequestError,
    MalformedAnswerError,
    RateLimitedError,
    ServerError,
)
from xml_pipeline.llm import PROVIDER_CLASSES, LLMRequest, ToolSpec, Usage
from xml_pipeline.llm.types import ResponseSchema, StreamFinished, TextDelta, ToolCallDelta
from xml_pipeline.llm.wire import Dialect

USER: dict[str, Any] = {"role": "user", "content": "Hi"}
ADD = ToolSpec(
    "add", "Adds.", {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
)


def dialect(provider: str, **settings: Any) -> Dialect:
    found = PROVIDER_CLASSES[provider](**settings).dialect
    assert found is not None
    return found


def body(provider: str, request: LLMRequest, *, stream: bool = False, **settings: Any) -> dict[str, Any]:
    return dialect(provider, **settings).encode(request, stream=stream).body


def ask(model: str, *messages: dict[str, Any], **more: Any) -> LLMRequest:
    return LLMRequest(model, messages or (USER,), **more)


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


class TestAnthropic:
    def test_all_system_messages_stay(self) -> None:
        rules = [{"role": "system", "content": text} for text in ("one", "two", "three")]
        sent = body("anthropic", ask("claude-sonnet-5", rules[0], rules[1], USER, rules[2]))
        assert [block["text"] for block in sent["system"]] == ["one", "two", "three"]
        assert sent["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]

    @pytest.mark.parametrize(
        "model", ["claude-opus-4-7", "claude-sonnet-5", "claude-haiku-5-5", "claude-new-9"]
    )
    def test_newer_models_get_no_sampling(self, model: str) -> None:
        wire = dialect("anthropic").encode(ask(model, temperature=0.5, top_p=0.5), stream=False)
        assert not wire.body.keys() & {"temperature", "top_p"}
        assert wire.headers["anthropic-version"] == "2026-10-21"

    def test_sampling_goes_by_the_version_that_knows_it(self) -> None:
        wire = dialect("anthropic").encode(ask("claude-sonnet-4-6", temperature=1.7), stream=False)
        assert wire.body["temperature"] == 1.0
        assert wire.headers["anthropic-version"] == "2023-06-01"
        pinned = dialect("anthropic", api_version="2026-10-21").encode(
            ask("claude-sonnet-4-6", temperature=0.7), stream=False
        )
        assert "temperature" not in pinned.body

    def test_max_tokens_is_always_there(self) -> None:
        assert body("anthropic", ask("claude-sonnet-5"), max_tokens=77)["max_tokens"] == 77
        assert body("anthropic", ask("claude-sonnet-5", max_tokens=5))["max_tokens"] == 5

    def test_effort_is_a_budget_for_older_models(self) -> None:
        sent = body(
            "anthropic", ask("claude-sonnet-4-5", max_tokens=100, reasoning_effort="medium", temperature=0.1)
        )
        assert sent["thinking"] == {"type": "enabled", "budget_tokens": 4096}
        assert sent["max_tokens"] == 4196
        assert "temperature" not in sent

    def test_effort_is_adaptive_for_newer_ones(self) -> None:
        sent = body("anthropic", ask("claude-opus-4-7", reasoning_effort="xhigh"))
        assert sent["thinking"] == {"type": "adaptive"}
        assert sent["output_config"] == {"effort": "xhigh"}

    def test_caching_marks_the_prefix_and_the_end(self) -> None:
        rule = {"role": "system", "content": "rules"}
        sent = body(
            "anthropic", ask("claude-sonnet-5", rule, USER, tools=[ADD], cache_prompt=True), cache_ttl="1h"
        )
        mark = {"type": "ephemeral", "ttl": "1h"}
        assert sent["system"][-1]["cache_control"] == mark
        assert sent["messages"][-1]["content"][-1]["cache_control"] == mark
        assert "cache_control" not in sent["tools"][-1]
        without = body("anthropic", ask("claude-sonnet-5", tools=[ADD], cache_prompt=True))
        assert without["tools"][-1]["cache_control"] == {"type": "ephemeral"}

    def test_own_marks_are_kept_up_to_four(self) -> None:
        mark = {"type": "ephemeral"}
        parts = [{"type": "text", "text": str(number), "cache_control": mark} for number in range(6)]
        sent = body("anthropic", ask("claude-sonnet-5", {"role": "user", "content": parts}))
        marked = ["cache_control" in block for block in sent["messages"][0]["content"]]
        assert marked == [False, False, True, True, True, True]

    def test_nothing_is_marked_unasked(self) -> None:
        assert "cache_control" not in json.dumps(body("anthropic", ask("claude-sonnet-5", tools=[ADD])))

    def test_thinking_goes_back_in_its_place(self) -> None:
        content = [
            {"type": "thinking", "thinking": "Hm.", "signature": "s1"},
            {"type": "text", "text": "I add."},
            {"type": "thinking", "thinking": "Well.", "signature": "s2"},
            {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}},
        ]
        wire = dialect("anthropic")
        answer = wire.decode(
            {"content": content, "stop_reason": "tool_use"}, ask("claude-sonnet-5", tools=[ADD])
        )
        result = {"role": "tool", "tool_call_id": "toolu_1", "content": "3"}
        sent = wire.encode(ask("claude-sonnet-5", USER, answer.message, result), stream=False).body
        assert sent["messages"][1]["content"] == content
        changed = {**answer.message, "content": "Something else."}
        sent = wire.encode(ask("claude-sonnet-5", USER, changed, result), stream=False).body
        kinds = [block["type"] for block in sent["messages"][1]["content"]]
        assert kinds == ["thinking", "thinking", "text", "tool_use"]

    def test_results_come_first_and_together(self) -> None:
        def call(ident: str) -> dict[str, Any]:
            return {"id": ident, "type": "function", "function": {"name": "add", "arguments": "{}"}}

        history = [
            USER,
            {"role": "assistant", "content": None, "tool_calls": [call("c1"), call("c2")]},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
            {"role": "tool", "tool_call_id": "c2", "content": "no", "is_error": True},
            {"role": "user", "content": "And?"},
        ]
        last = body("anthropic", ask("claude-sonnet-5", *history))["messages"][-1]["content"]
        assert [block["type"] for block in last] == ["tool_result", "tool_result", "text"]
        assert last[1]["is_error"] is True

    def test_a_schema_without_native_form_is_asked_in_words(self) -> None:
        schema = {
            "type": "object",
            "properties": {"m": {"type": "object", "additionalProperties": {"type": "string"}}},
        }
        sent = body("anthropic", ask("claude-sonnet-5", response_schema=ResponseSchema("Map", schema)))
        assert "output_config" not in sent
        assert "additionalProperties" in sent["system"][-1]["text"]

    def test_limits_move_into_the_description(self) -> None:
        schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}
        sent = body("anthropic", ask("claude-sonnet-5", response_schema=ResponseSchema("N", schema)))
        number = sent["output_config"]["format"]["schema"]["properties"]["n"]
        assert number == {"type": "integer", "description": "(minimum: 1)"}

    def test_usage_counts_the_cache(self) -> None:
        usage = {
            "input_tokens": 5,
            "cache_read_input_tokens": 70,
            "cache_creation_input_tokens": 20,
            "output_tokens": 3,
        }
        answer = dialect("anthropic").decode({"content": [], "usage": usage}, ask("claude-sonnet-5"))
        assert answer.usage == Usage(95, 3, 70, 20)

    @pytest.mark.parametrize(
        ("events", "what"),
        [
            ([{"type": "content_block_delta", "index": 0, "delta": {}}], "never started"),
            ([{"type": "content_block_start", "content_block": {}}], "`index`"),
            ([{"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use"}}], "no id"),
            ([{}], "`type`"),
        ],
    )
    def test_a_malformed_stream(self, events: list[dict[str, Any]], what: str) -> None:
        decoder = dialect("anthropic").stream_decoder(ask("claude-sonnet-5"))
        with pytest.raises(MalformedAnswerError, match=what):
            [decoder.feed(json.dumps(event), "") for event in events]

    def test_what_is_newer_than_this_is_passed_over(self) -> None:
        decoder = dialect("anthropic").stream_decoder(ask("claude-sonnet-5"))
        assert list(decoder.feed('{"type": "brand_new_event", "x": 1}', "brand_new_event")) == []


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
        assert "?" not in wire.path
        assert "#" not in wire.path


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
