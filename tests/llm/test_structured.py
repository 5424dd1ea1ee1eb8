"""`response_type=`: answers that are payloads."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from xml_pipeline.errors import PayloadError, StructuredOutputError
from xml_pipeline.llm import Price, Router, ToolCall, Usage
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.payload import xmlify


@xmlify
@dataclass
class Verdict:
    """What a reviewer thinks."""

    score: int
    reason: str


GOOD_JSON = '{"score": 7, "reason": "fine & short"}'
GOOD_XML = "<Verdict><score>7</score><reason>fine &amp; short</reason></Verdict>"
USAGE = {"prompt_tokens": 10, "completion_tokens": 5}


def backend(*replies: str, schema: bool) -> ScriptedBackend:
    rules = tuple(Rule(reply=reply, times=1, usage=USAGE) for reply in replies)
    return ScriptedBackend(rules=rules, native_schema=schema)


@pytest.mark.parametrize(
    "text", [GOOD_JSON, f"```json\n{GOOD_JSON}\n```", GOOD_XML, f"Here you are:\n```xml\n{GOOD_XML}\n```"]
)
@pytest.mark.parametrize("schema", [True, False])
async def test_the_answer_is_an_instance(text: str, schema: bool) -> None:
    response = await Router([backend(text, schema=schema)]).complete("m", "judge", response_type=Verdict)
    assert response.parsed == Verdict(7, "fine & short")
    assert response.content == text


async def test_a_backend_with_native_output_gets_the_json_schema_and_others_the_instruction() -> None:
    native, plain = backend(GOOD_JSON, schema=True), backend(GOOD_XML, schema=False)
    system = {"role": "system", "content": "be brief"}
    messages = [system, {"role": "user", "content": "judge"}]
    await Router([native]).complete("m", messages, response_type=Verdict)
    await Router([plain]).complete("m", messages, response_type=Verdict)
    asked = native.requests[0]
    assert asked.response_schema is not None
    assert asked.response_schema.name == "Verdict"
    assert set(asked.response_schema.schema["properties"]) == {"score", "reason"}
    assert asked.messages == messages
    asked = plain.requests[0]
    assert asked.response_schema is None
    assert [message["role"] for message in asked.messages] == ["system", "system", "user"]
    assert "<Verdict>" in asked.messages[1]["content"]


async def test_an_invalid_answer_is_repaired_and_all_rounds_are_accounted() -> None:
    model = backend('{"score": "seven", "reason": "x"}', "I cannot say", GOOD_JSON, schema=True)
    router = Router([model], prices={"m": Price(1.0, 2.0)})
    response = await router.complete("m", "judge", response_type=Verdict, agent_id="judge")
    assert response.parsed == Verdict(7, "fine & short")
    assert response.usage == Usage(30, 15)
    assert response.cost == pytest.approx(60e-6)
    assert len(response.attempts) == 3
    assert router.get_agent_usage("judge").total_tokens == 45
    repair = model.requests[1].messages[-1]["content"]
    assert "score" in repair
    assert model.requests[1].messages[-2] == {
        "role": "assistant",
        "content": '{"score": "seven", "reason": "x"}',
    }
    assert len(model.requests[2].messages) == 5


async def test_after_two_repairs_it_is_an_error_with_the_violations() -> None:
    model = backend(*["<Verdict><score>many</score><reason>x</reason></Verdict>"] * 5, schema=False)
    with pytest.raises(StructuredOutputError) as caught:
        await Router([model]).complete("m", "judge", response_type=Verdict)
    assert len(model.requests) == 3
    assert "Verdict.score" in caught.value.violations[0].field
    assert "in 3 answers" in str(caught.value)


async def test_a_payload_class_is_a_tool() -> None:
    model = ScriptedBackend(rules=(Rule(tool="Verdict", arguments={"score": 1, "reason": "x"}),))
    response = await Router([model]).complete("m", "judge", tools=[Verdict], tool_choice="Verdict")
    tool = model.requests[0].tools[0]
    assert (tool.name, tool.description) == ("Verdict", "What a reviewer thinks.")
    assert tool.parameters["type"] == "object"
    assert response.tool_calls[0].arguments == {"score": 1, "reason": "x"}
    assert response.finish_reason == "tool_calls"


@pytest.mark.parametrize("text", ['{"a": 1', "[1]", "7", "{'a': 1}"])
def test_a_tool_call_with_broken_json_says_what_to_do(text: str) -> None:
    with pytest.raises(PayloadError, match="Call the tool again with one JSON object"):
        ToolCall("1", "add", text).arguments


def test_a_tool_call_without_arguments_has_none() -> None:
    assert ToolCall("1", "add", "").arguments == {}
    assert ToolCall.of("1", "add", {"ü": [1]}).arguments == {"ü": [1]}


async def test_json_without_end_is_an_invalid_answer() -> None:
    model = backend('{"score": ' + "[" * 100_000, GOOD_JSON, schema=True)
    response = await Router([model]).complete("m", "judge", response_type=Verdict)
    assert response.parsed == Verdict(7, "fine & short")
    assert "no valid JSON" in model.requests[1].messages[-1]["content"]
