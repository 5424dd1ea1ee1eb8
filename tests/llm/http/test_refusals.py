"""A model that refuses tools or JSON Schema is asked in words: at once, by itself, and from then on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.emulators import Answer
from tests.emulators.raw import LAST, Exchange, RawServer, chunk, head
from tests.llm.providers.cases import Case
from tests.llm.providers.recorded import ADD, DIALECTS, recording
from xml_pipeline.errors import InvalidRequestError
from xml_pipeline.llm import LLMResponse, Router, StreamEnd, TextDelta
from xml_pipeline.llm.http.classify import error_from
from xml_pipeline.payload import xmlify

over_dialects = pytest.mark.parametrize("case", DIALECTS, ids=str)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])

CALLING = Answer('I add. <tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>')
TOOLS = (
    (400, "registry.ollama.ai/library/gemma:2b does not support tools"),
    (404, "No endpoints found that support tool use. Try disabling add."),
    (500, "tools param requires --jinja flag"),
    (200, "gemma:2b does not support tools"),  # inside a good answer, or as a stream's first line
)
SCHEMA = (
    (400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."),
    (400, "This response_format type is unavailable now"),
)


@xmlify
@dataclass
class City:
    """A city."""

    name: str
    people: int


class Refusing(RawServer):
    """Refuses each request in whose body something stands; answers all others."""

    def __init__(self, case: Case, refused: str, status: int, message: str, *answers: Answer) -> None:
        self.refused = refused
        body = json.dumps({"type": "error", "error": {"message": message, "type": "invalid_request_error"}})

        async def play(exchange: Exchange) -> None:
            asked = json.loads(exchange.body)
            if self.refused and any(key in json.dumps(asked) for key in self.refused.split()):
                await exchange.send(head(status), chunk(body.encode()), LAST)
                return
            recorded = recording(case, answers[0])
            streams = asked.get("stream") or b"streamGenerate" in exchange.head
            await exchange.send(head(kind=recorded.stream_type if streams else "application/json"))
            await exchange.send(chunk(recorded.stream if streams else recorded.whole), LAST)

        super().__init__(play)


def router(case: Case, server: RawServer, **more: Any) -> Router:
    return Router([case.backend(server.origin, "sk-refusing-key", **more)], retries=0)


async def ask(one: Router, case: Case, stream: bool, **options: Any) -> LLMResponse:
    if not stream:
        return await one.complete(case.model, "1 + 2?", **options)
    *events, end = [event async for event in one.stream(case.model, "1 + 2?", **options)]
    assert isinstance(end, StreamEnd)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text.strip() == end.response.content.strip()
    return end.response


NATIVE_TOOLS = '"tools"'
NATIVE_SCHEMA = "response_format json_schema responseJsonSchema responseSchema output_format output_config"


@pytest.mark.parametrize(("status", "message"), TOOLS)
@both_ways
@over_dialects
async def test_refused_tools_are_put_into_words(case: Case, stream: bool, status: int, message: str) -> None:
    async with Refusing(case, NATIVE_TOOLS, status, message, CALLING) as server, router(case, server) as one:
        for known in (False, True):
            before = len(server.requests)
            response = await ask(one, case, stream, tools=[ADD])
            assert [call.arguments for call in response.tool_calls] == [{"a": 1, "b": 2}]
            assert response.finish_reason == "tool_calls"
            assert [attempt.error for attempt in response.attempts] == [""]
            assert len(server.requests) - before == (1 if known else 2)
        total, status_now = one.get_total_usage(), one.describe()[0]
        assert (total.request_count, total.failure_count) == (2, 0)
        assert (status_now.health, status_now.in_flight) == ("healthy", 0)
        assert not one.supports("tools", case.model)


@both_ways
@over_dialects
async def test_only_the_model_that_refused_is_asked_in_words(case: Case, stream: bool) -> None:
    async with (
        Refusing(case, NATIVE_TOOLS, *TOOLS[0], CALLING) as server,
        router(case, server, model_map={"other": f"{case.model}-2"}) as one,
    ):
        await ask(one, case, stream, tools=[ADD])
        server.refused = ""
        await one.complete("other", "1 + 2?", tools=[ADD])
        assert b'"tools"' in server.requests[-1].body
        await ask(one, case, stream, tools=[ADD])
        assert b'"tools"' not in server.requests[-1].body


@pytest.mark.parametrize(("status", "message"), SCHEMA)
@over_dialects
async def test_a_refused_schema_is_put_into_words(case: Case, status: int, message: str) -> None:
    if case.name == "ollama":
        refused = '"format"'
    elif str(case) == "openai-responses":
        refused = "json_schema"
    else:
        refused = NATIVE_SCHEMA
    city = Answer("<City><name>Bonn</name><people>330000</people></City>")
    async with Refusing(case, refused, status, message, city) as server, router(case, server) as one:
        for known in (False, True):
            before = len(server.requests)
            response = await one.complete(case.model, "Which city?", response_type=City)
            assert response.parsed == City("Bonn", 330000)
            native = one.backends[case.name].supports("schema", case.model)
            assert len(server.requests) - before == (1 if known or not native else 2)
        assert one.get_total_usage().failure_count == 0
        assert not one.supports("schema", case.model)


@both_ways
@over_dialects
async def test_a_model_that_refuses_the_words_too_is_an_error(case: Case, stream: bool) -> None:
    refused = '"tools" tool_call'
    async with Refusing(case, refused, *TOOLS[0], CALLING) as server, router(case, server) as one:
        with pytest.raises(InvalidRequestError, match="does not support tools"):
            await ask(one, case, stream, tools=[ADD])
        assert len(server.requests) == 2
        assert one.describe()[0].in_flight == 0


@both_ways
@over_dialects
async def test_a_refusal_of_what_was_not_asked_teaches_nothing(case: Case, stream: bool) -> None:
    async with Refusing(case, "1 + 2", *TOOLS[0], CALLING) as server, router(case, server) as one:
        with pytest.raises(InvalidRequestError):
            await ask(one, case, stream)
        assert len(server.requests) == 1
        assert one.supports("tools", case.model)


SAID: dict[str, list[tuple[int | None, str]]] = {
    "tools": [
        *TOOLS,
        (400, "`tool calling` is not supported with this model"),
        (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        (400, "deepseek-reasoner does not support Function Calling"),
        (400, "Function calling is not enabled for models/gemma-3-27b-it"),
        (400, "Unsupported parameter: 'tools' is not supported with this model."),
        (
            400,
            "litellm.UnsupportedParamsError: x does not support parameters: ['top_k', 'tools'], for model=y",
        ),
        (405, "deepinfra error: Tool calling is not supported for model: z"),
        (500, "Unsupported param: tools"),
        (None, "m does not support tools"),
    ],
    "schema": [
        *SCHEMA,
        (400, "This model does not support response format `json_schema`."),
        (400, "JSON mode is not enabled for models/gemma-3-27b-it"),
        (
            400,
            "litellm.UnsupportedParamsError: x does not support parameters: ['response_format'], for model=y",
        ),
        (400, "output_format: Extra inputs are not permitted"),
    ],
}


@pytest.mark.parametrize("feature", SAID)
def test_the_words_of_refusals(feature: str) -> None:
    for status, message in SAID[feature]:
        assert error_from(status, {}, {"error": {"message": message}}).refuses == feature, message


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "messages.3: tool_use ids were found without tool_result blocks"),
        (400, "Invalid schema for function 'add': 'x' is not of type 'object'"),
        (400, "Invalid schema for response_format 'City'"),
        (401, "Your key does not support tools"),
        (429, "m does not support tools at this rate"),
        (400, "deepseek-reasoner does not support this tool_choice"),
    ],
)
def test_other_errors_about_tools_are_no_refusals(status: int, message: str) -> None:
    assert error_from(status, {}, {"error": {"message": message}}).refuses is None
