"""What goes to and comes from Anthropic's Messages API."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from xml_pipeline.errors import MalformedAnswerError
from xml_pipeline.llm import ToolCall, Usage
from xml_pipeline.llm.types import ResponseSchema

from .dialects import ADD, USER, ask, body, dialect


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

    def test_caching_marks_the_prefix_and_never_the_last_message(self) -> None:
        rule = {"role": "system", "content": "rules"}
        sent = body(
            "anthropic", ask("claude-sonnet-5", rule, USER, tools=[ADD], cache_prompt=True), cache_ttl="1h"
        )
        mark = {"type": "ephemeral", "ttl": "1h"}
        assert sent["system"][-1]["cache_control"] == mark
        assert "cache_control" not in sent["messages"][-1]["content"][-1]
        assert "cache_control" not in sent["tools"][-1]
        without = body("anthropic", ask("claude-sonnet-5", tools=[ADD], cache_prompt=True))
        assert without["tools"][-1]["cache_control"] == {"type": "ephemeral"}

    @pytest.mark.parametrize(
        ("changing", "marked"), [(0, (2, 0)), (1, (1, 0)), (2, (0, 0)), (3, None), (99, None)]
    )
    def test_the_last_message_that_comes_again_is_marked(
        self, changing: int, marked: tuple[int, int] | None
    ) -> None:
        turns = [USER, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Go on"}]
        sent = body("anthropic", ask("claude-sonnet-5", *turns, cache_prompt=True, changing=changing))
        found = [
            (turn, block)
            for turn, message in enumerate(sent["messages"])
            for block, content in enumerate(message["content"])
            if "cache_control" in content
        ]
        assert found == ([] if marked is None else [marked])

    @pytest.mark.parametrize(("calls", "marked"), [(3, [2]), (12, [0, 2])])
    def test_after_many_calls_at_once_the_end_of_the_turn_before_is_marked_too(
        self, calls: int, marked: list[int]
    ) -> None:
        said = [ToolCall.of(f"c{number}", "add", {"a": number}).as_dict() for number in range(calls)]
        results = [
            {"role": "tool", "tool_call_id": f"c{number}", "name": "add", "content": "1"}
            for number in range(calls)
        ]
        turns = [USER, {"role": "assistant", "content": None, "tool_calls": said}, *results]
        request = ask("claude-sonnet-5", *turns, tools=[ADD], cache_prompt=True, changing=0)
        sent = body("anthropic", request)
        found = [
            number for number, turn in enumerate(sent["messages"]) if "cache_control" in json.dumps(turn)
        ]
        assert found == marked
        assert "cache_control" in sent["messages"][2]["content"][-1]

    def test_a_mark_of_a_tool_is_kept(self) -> None:
        mark = {"type": "ephemeral", "ttl": "1h"}
        tools = [replace(ADD, cache_control=mark), replace(ADD, name="sub")]
        sent = body("anthropic", ask("claude-sonnet-5", USER, tools=tools))
        assert [tool.get("cache_control") for tool in sent["tools"]] == [mark, None]

    def test_no_mark_outlives_one_before_it(self) -> None:
        tools = [replace(ADD, cache_control={"type": "ephemeral"})]
        rule = {"role": "system", "content": "rules"}
        sent = body(
            "anthropic", ask("claude-sonnet-5", rule, USER, tools=tools, cache_prompt=True), cache_ttl="1h"
        )
        marks = [sent["tools"][0]["cache_control"], sent["system"][0]["cache_control"]]
        assert [mark.get("ttl", "5m") for mark in marks] == [
            "5m",
            "5m",
        ]  # the API refuses an hour after minutes

    @pytest.mark.parametrize(
        ("model", "tokens"),
        [
            ("claude-opus-5", 512),
            ("claude-sonnet-5", 1024),
            ("claude-sonnet-4-6", 1024),
            ("claude-opus-4-8", 1024),
            ("claude-opus-4-7", 2048),
            ("claude-3-5-haiku-latest", 2048),
            ("claude-opus-4-6", 4096),
            ("claude-haiku-4-5-20251001", 4096),
            ("claude-new-9", None),
        ],
    )
    def test_a_prefix_needs_so_many_tokens_to_be_cached(self, model: str, tokens: int | None) -> None:
        assert dialect("anthropic").least_cacheable(model) == tokens

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
