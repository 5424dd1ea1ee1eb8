"""The offline backend, as tests and the console use it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from xml_pipeline.errors import ConfigError, OverloadedError, RateLimitedError
from xml_pipeline.llm import LLMRequest, LLMResponse, Router, StreamEnd, TextDelta
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.testing import run_in_virtual_time


async def ask(backend: ScriptedBackend, text: str, model: str = "m", **options: Any) -> LLMResponse:
    return await Router([backend], retries=0).complete(model, text, **options)


async def test_without_rules_it_says_that_it_is_offline() -> None:
    response = await ask(ScriptedBackend(), "Hello?")
    assert response.content == "(offline: scripted backend, no model was asked) You wrote: Hello?"
    assert (response.backend, response.provider, response.cost) == ("scripted", "scripted", 0.0)


async def test_the_first_rule_that_fits_answers() -> None:
    backend = ScriptedBackend(
        rules=[
            Rule(match="secret", model="big*", reply="big secret"),
            Rule(match="secret", agent="spy", reply="spy secret"),
            Rule(match=r"add (\d+) and (?P<second>\d+)", reply=r"\1+\g<second>"),
            Rule(when=lambda request: request.temperature == 0, reply="cold"),
            Rule(reply=lambda request: f"{len(request.messages)} message"),
        ]
    )
    assert (await ask(backend, "a secret", "big-1")).content == "big secret"
    assert (await ask(backend, "a secret", agent_id="spy")).content == "spy secret"
    assert (await ask(backend, "add 2 and 40")).content == "2+40"
    assert (await ask(backend, "x", temperature=0)).content == "cold"
    assert (await ask(backend, "x")).content == "1 message"


async def test_rules_for_tool_results_do_not_answer_the_user() -> None:
    backend = ScriptedBackend(
        rules=[
            Rule(match="add", tool="add", arguments='{"a": 2}'),
            Rule(on="tool", reply=r"It is \g<0>.", match=".+"),
        ]
    )
    first = await ask(backend, "add")
    assert first.tool_calls[0].arguments == {"a": 2}
    history = [
        {"role": "user", "content": "add"},
        first,
        {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "42"},
    ]
    second = await Router([backend]).complete("m", history)
    assert second.content == "It is 42."


async def test_rules_hold_as_often_as_they_say() -> None:
    backend = ScriptedBackend(rules=[Rule(times=2, reply="first"), Rule(reply="then")])
    assert [(await ask(backend, "x")).content for _ in range(4)] == ["first", "first", "then", "then"]
    assert [request.model for request in backend.requests] == ["m"] * 4


async def test_errors_by_name_and_by_instance() -> None:
    with pytest.raises(RateLimitedError) as caught:
        await ask(ScriptedBackend(rules=[Rule(error="RateLimitedError", retry_after=1e6)]), "x", timeout=5)
    assert caught.value.retry_after == 1e6
    instance = OverloadedError("busy")
    for _ in range(2):
        with pytest.raises(OverloadedError, match="busy"):
            await ask(ScriptedBackend(rules=[Rule(error=instance)]), "x")
    assert (instance.backend, str(instance)) == ("", "busy"), "the rule's own instance stays as it is"


async def test_usage_is_the_same_every_time_and_can_be_set() -> None:
    first, second = await ask(ScriptedBackend(), "x" * 100), await ask(ScriptedBackend(), "x" * 100)
    assert first.usage == second.usage
    assert first.usage["prompt_tokens"] == 29
    set_by_hand = ScriptedBackend(rules=[Rule(reply="x", usage={"prompt_tokens": 3, "total_tokens": 5})])
    assert (await ask(set_by_hand, "x")).usage["completion_tokens"] == 2


async def test_streams_come_in_words_or_as_told_and_may_break() -> None:
    async def pieces(rule: Rule) -> list[str]:
        router = Router([ScriptedBackend(rules=[rule])], retries=0)
        return [event.text async for event in router.stream("m", "x") if isinstance(event, TextDelta)]

    assert await pieces(Rule(reply=" Hello  big world ")) == [" Hello", "  big", " world "]
    assert await pieces(Rule(reply="abc", chunks=("a", "bc"))) == ["a", "bc"]
    seen: list[str] = []

    async def consume() -> None:
        rule = Rule(reply="one two three", error="OverloadedError", fail_after=2)
        async for event in Router([ScriptedBackend(rules=[rule])]).stream("m", "x"):
            assert not isinstance(event, StreamEnd)
            seen.append(getattr(event, "text", ""))

    with pytest.raises(OverloadedError):
        await consume()
    assert seen == ["one", " two"]


async def test_a_reply_may_be_a_whole_response() -> None:
    def reply(request: LLMRequest) -> LLMResponse:
        return LLMResponse("x", "other-model", {"prompt_tokens": 1, "completion_tokens": 1}, "length")

    response = await ask(ScriptedBackend(rules=[Rule(reply=reply)]), "x")
    assert (response.model, response.finish_reason) == ("other-model", "length")


def test_latency_is_time_that_a_test_can_skip() -> None:
    async def main() -> float:
        await ask(ScriptedBackend(rules=[Rule(reply="x", latency=90)]), "x")
        return asyncio.get_running_loop().time()

    assert run_in_virtual_time(main()) == 90


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ({"match": "("}, "no regular expression"),
        ({"error": "NoSuchError"}, "is none of AuthenticationError, "),
        ({"error": "ValueError"}, "is none of"),
    ],
)
def test_a_wrong_rule_is_a_mistake(rule: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        Rule(**rule)


async def test_several_calls_in_one_answer_have_ids_of_their_own_and_quoted_arguments() -> None:
    calls = [("say", {"text": r"\1", "to": ["all", {"name": r"\1"}]}), ("say", '{"text": "two"}')]
    backend = ScriptedBackend(rules=[Rule(match="(?s)say (.*)", calls=calls)])
    response = await ask(backend, 'say "hi"\nthere')
    assert response.finish_reason == "tool_calls"
    assert len({call.id for call in response.tool_calls}) == 2
    assert [call.arguments for call in response.tool_calls] == [
        {"text": '"hi"\nthere', "to": ["all", {"name": '"hi"\nthere'}]},
        {"text": "two"},
    ]


async def test_a_rule_sees_all_tool_results_since_the_last_answer() -> None:
    backend = ScriptedBackend(rules=[Rule(on="tool", match="(?s)one.*two", reply="both")])
    history = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "on my way"},
        {"role": "tool", "tool_call_id": "1", "content": "one"},
        {"role": "tool", "tool_call_id": "2", "content": "two"},
    ]
    assert (await Router([backend]).complete("m", history)).content == "both"
