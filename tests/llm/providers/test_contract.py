"""What every backend must do, through the router, against its emulator."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.emulators import Answer, Fail, Failure, Fault, Place, ToolUse, closed_port
from xml_pipeline.errors import (
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    ConnectionFailedError,
    ContentPolicyError,
    ContextWindowError,
    InvalidRequestError,
    MalformedAnswerError,
    ModelNotFoundError,
    OverloadedError,
    PayloadError,
    QuotaExhaustedError,
    RateLimitedError,
    ServerError,
)
from xml_pipeline.llm import (
    LLMResponse,
    ReasoningDelta,
    Router,
    StreamEnd,
    StreamEvent,
    TextDelta,
    Timeouts,
    ToolCallDelta,
    ToolSpec,
    Usage,
)
from xml_pipeline.payload import xmlify

from .conftest import Provider

UNUSUAL = "naïve \u2028 line, 日本 🎉 end"
ADD = ToolSpec(
    "calculator.add",
    "Adds two integers.",
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
)
CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "You are terse."},
    {"role": "user", "content": "What is 1 + 2?"},
]
NO_REASONING = ("openai", "openai-responses", "xai-responses")  # never shown, or only when asked for


@xmlify
@dataclass
class City:
    """A city."""

    name: str
    people: int


async def collect(router: Router, model: str, **options: Any) -> tuple[list[StreamEvent], LLMResponse]:
    """All events of a stream, and its whole answer."""
    events = [event async for event in router.stream(model, CHAT, **options)]
    last = events[-1]
    assert isinstance(last, StreamEnd)
    return events, last.response


def wire_name(provider: Provider) -> str:
    """The tool's name as it goes over the wire: what the emulated model calls."""
    return "calculator.add" if provider.case.name == "gemini" else "calculator_add"


# Answers


async def test_answer(provider: Provider) -> None:
    provider.server.script.say(UNUSUAL, cached_tokens=0)
    response = await provider.router.complete(provider.model, CHAT, max_tokens=50)
    assert response.content == UNUSUAL
    assert response.finish_reason == "stop"
    assert response.model == provider.model
    assert response.provider == provider.case.name
    tally = provider.server.tally
    assert (response.usage["prompt_tokens"], response.usage["completion_tokens"]) == (
        tally.prompt_tokens,
        tally.completion_tokens,
    )
    assert response.message["content"] == UNUSUAL


async def test_stream(provider: Provider) -> None:
    provider.server.script.say(UNUSUAL, fragment=5)
    events, response = await collect(provider.router, provider.model)
    texts = [event.text for event in events if isinstance(event, TextDelta)]
    assert "".join(texts) == response.content == UNUSUAL
    assert len(texts) > 1
    assert response.finish_reason == "stop"
    tally = provider.server.tally
    usage = Usage.of(response.usage)
    assert (usage.prompt_tokens, usage.completion_tokens) == (tally.prompt_tokens, tally.completion_tokens)
    assert not usage.estimated


async def test_the_output_limit_ends_the_answer(provider: Provider) -> None:
    provider.server.script.say("cut he", finish="length").say("cut he", finish="length")
    assert (await provider.router.complete(provider.model, CHAT)).finish_reason == "length"
    assert (await collect(provider.router, provider.model))[1].finish_reason == "length"


async def test_reasoning(provider: Provider) -> None:
    provider.server.script.say("Three.", reasoning="One and two, well.").say(
        "Three.", reasoning="One and two, well."
    )
    whole = await provider.router.complete(provider.model, CHAT)
    events, streamed = await collect(provider.router, provider.model)
    shown = "" if str(provider.case) in NO_REASONING else "One and two, well."
    assert (whole.reasoning, streamed.reasoning) == (shown, shown)
    assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == shown
    tally = provider.server.tally
    total = Usage.of(whole.usage).completion_tokens + Usage.of(streamed.usage).completion_tokens
    assert total == tally.completion_tokens


async def test_cached_tokens_are_part_of_the_prompt(provider: Provider) -> None:
    if provider.case.name == "ollama":
        pytest.skip("Ollama reports no cache")
    provider.server.script.say("Hi.", cached_tokens=7).say("Hi.", cached_tokens=7)
    whole = await provider.router.complete(provider.model, CHAT)
    _, streamed = await collect(provider.router, provider.model)
    for response in (whole, streamed):
        usage = Usage.of(response.usage)
        assert usage.cached_tokens == 7
        assert usage.prompt_tokens == provider.server.tally.prompt_tokens // 2


async def test_all_system_messages_arrive(provider: Provider) -> None:
    messages = [*CHAT[:1], {"role": "system", "content": "Second rule."}, *CHAT[1:]]
    await provider.router.complete(provider.model, messages)
    sent = json.dumps(provider.server.last.body)
    assert "You are terse." in sent
    assert "Second rule." in sent


async def test_blank_turns_and_parts_do_no_harm(provider: Provider) -> None:
    blank = [{"type": "text", "text": ""}, {"type": "text", "text": " \n"}]
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": " "},
        {"role": "user", "content": blank},
        {"role": "assistant", "content": " \n"},
        {"role": "user", "content": [*blank, {"type": "text", "text": "Well?"}]},
    ]
    assert (await provider.router.complete(provider.model, messages)).content


async def test_every_option_reaches_the_wire(provider: Provider) -> None:
    await provider.router.complete(
        provider.model, CHAT, temperature=0.5, top_p=0.9, seed=7, stop=["END"], max_tokens=321, extra={}
    )
    sent = json.dumps(provider.server.last.body)
    assert "321" in sent
    if "responses" in str(provider.case):  # takes no stop, and its model no sampling
        return
    assert "END" in sent or provider.case.name == "xai"
    assert "0.5" in sent


# Tools and structure


async def test_tools(provider: Provider) -> None:
    name = wire_name(provider)
    provider.server.script.then(
        Answer("I add.", tools=(ToolUse(name, {"a": 1, "b": 2}), ToolUse(name, {"a": 3, "b": 4})))
    )
    response = await provider.router.complete(provider.model, CHAT, tools=[ADD])
    assert response.finish_reason == "tool_calls"
    assert response.content == "I add."
    assert [call.name for call in response.tool_calls] == ["calculator.add"] * 2
    assert [call.arguments for call in response.tool_calls] == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    assert len({call.id for call in response.tool_calls}) == 2
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "3", "name": call.name}
        for call in response.tool_calls
    ]
    provider.server.script.say("Three.")
    final = await provider.router.complete(provider.model, [*CHAT, response, *results], tools=[ADD])
    assert final.content == "Three."


async def test_streamed_tools(provider: Provider) -> None:
    name = wire_name(provider)
    answer = Answer(
        "",
        tools=(ToolUse(name, {"a": 1, "b": 2}), ToolUse(name, {"a": 3, "b": 4})),
        reasoning="I add.",
        fragment=9,
    )
    provider.server.script.then(answer).say("Three.")
    events, response = await collect(provider.router, provider.model, tools=[ADD])
    assert any(isinstance(event, ToolCallDelta) for event in events)
    assert [call.name for call in response.tool_calls] == ["calculator.add"] * 2
    assert [call.arguments for call in response.tool_calls] == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    assert response.finish_reason == "tool_calls"
    results = [{"role": "tool", "tool_call_id": call.id, "content": "3"} for call in response.tool_calls]
    final = await provider.router.complete(provider.model, [*CHAT, response, *results], tools=[ADD])
    assert final.content == "Three."


@pytest.mark.parametrize("choice", ["auto", "none", "required", "calculator.add"])
async def test_tool_choice(provider: Provider, choice: str) -> None:
    await provider.router.complete(provider.model, CHAT, tools=[ADD], tool_choice=choice)
    assert provider.server.last.outcome == "answered"


async def test_a_call_with_broken_arguments_is_reported_not_fatal(provider: Provider) -> None:
    if provider.case.name == "gemini":
        pytest.skip("Gemini's arguments are an object by its own account")
    provider.server.script.call(wire_name(provider), '{"a": 1, "b"').call(
        wire_name(provider), '{"a": 1, "b"'
    ).say("Sorry.")
    whole = await provider.router.complete(provider.model, CHAT, tools=[ADD])
    _, streamed = await collect(provider.router, provider.model, tools=[ADD])
    for response in (whole, streamed):
        (call,) = response.tool_calls
        assert call.arguments_text == '{"a": 1, "b"'
        with pytest.raises(PayloadError, match="no valid JSON"):
            _ = call.arguments
    result = {
        "role": "tool",
        "tool_call_id": streamed.tool_calls[0].id,
        "content": "broken",
        "is_error": True,
    }
    final = await provider.router.complete(provider.model, [*CHAT, streamed, result], tools=[ADD])
    assert final.content == "Sorry."


async def test_structured(provider: Provider) -> None:
    provider.server.script.say('{"name": "Köln", "people": 1084000}')
    response = await provider.router.complete(provider.model, CHAT, response_type=City)
    assert response.parsed == City("Köln", 1084000)
    assert "people" in json.dumps(provider.server.last.body)


async def test_structured_with_tools(provider: Provider) -> None:
    provider.server.script.call(wire_name(provider), {"a": 1, "b": 2}).say('{"name": "Köln", "people": 3}')
    question = [*CHAT[:1], {"role": "system", "content": "Second rule."}, *CHAT[1:]]
    first = await provider.router.complete(provider.model, question, tools=[ADD], response_type=City)
    (call,) = first.tool_calls
    result = {"role": "tool", "tool_call_id": call.id, "content": "3"}
    final = await provider.router.complete(
        provider.model, [*question, first, result], tools=[ADD], response_type=City
    )
    assert final.parsed == City("Köln", 3)
    sent = json.dumps(provider.server.last.body)
    assert "people" in sent
    assert "Second rule." in sent


# Failures

EXPECTED: dict[Failure, type[BackendError]] = {
    Failure.BAD_REQUEST: InvalidRequestError,
    Failure.CONTEXT_WINDOW: ContextWindowError,
    Failure.CONTENT_POLICY: ContentPolicyError,
    Failure.BAD_KEY: AuthenticationError,
    Failure.FORBIDDEN: AuthenticationError,
    Failure.NO_CREDIT: QuotaExhaustedError,
    Failure.NO_MODEL: ModelNotFoundError,
    Failure.TIMEOUT_408: ServerError,
    Failure.CONFLICT: ServerError,
    Failure.TOO_LARGE: InvalidRequestError,
    Failure.UNPROCESSABLE: InvalidRequestError,
    Failure.RATE: RateLimitedError,
    Failure.QUOTA: QuotaExhaustedError,
    Failure.INTERNAL: ServerError,
    Failure.BAD_GATEWAY: ServerError,
    Failure.UNAVAILABLE: ServerError,
    Failure.GATEWAY_TIMEOUT: ServerError,
    Failure.OVERLOADED: OverloadedError,
}
OVERLOAD = (Failure.UNAVAILABLE, Failure.RATE)  # some providers say that they are overloaded


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("failure", EXPECTED)
async def test_failure(provider: Provider, failure: Failure, streamed: bool) -> None:
    provider.server.script.fail(failure)
    asked = (
        collect(provider.router, provider.model)
        if streamed
        else provider.router.complete(provider.model, CHAT)
    )
    with pytest.raises(BackendError) as caught:
        await asked
    error = caught.value
    allowed = (EXPECTED[failure], OverloadedError) if failure in OVERLOAD else (EXPECTED[failure],)
    assert type(error) in allowed, f"{type(error).__name__}: {error}"
    assert error.provider == provider.case.name
    assert error.model == provider.model
    if provider.server.key:
        assert provider.server.key not in f"{error!r} {error}"
    assert len(provider.server.requests) == 1


async def test_a_rate_limit_says_how_long(provider: Provider) -> None:
    provider.server.script.fail(Failure.RATE, retry_after="7.5")
    with pytest.raises(BackendError) as caught:
        await provider.router.complete(provider.model, CHAT)
    assert caught.value.retry_after == 7.5
    assert caught.value.status == 429


async def test_an_error_inside_a_200(provider: Provider) -> None:
    provider.server.script.fail(Failure.INTERNAL, place=Place.BODY).fail(Failure.INTERNAL, place=Place.BODY)
    with pytest.raises(ServerError):
        await provider.router.complete(provider.model, CHAT)
    with pytest.raises(ServerError):
        await collect(provider.router, provider.model)


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("failure", [Failure.OVERLOADED, Failure.RATE, Failure.INTERNAL])
async def test_an_error_inside_a_stream(provider: Provider, failure: Failure, after: int) -> None:
    provider.server.script.then(Fail(failure, place=Place.STREAM, after=after))
    stream = provider.router.stream(provider.model, CHAT)
    for _ in range(after):
        assert isinstance(await anext(stream), TextDelta)
    with pytest.raises((ServerError, OverloadedError, RateLimitedError)):
        await anext(stream)


async def test_refused_connection(provider: Provider) -> None:
    backend = provider.case.backend(f"http://127.0.0.1:{closed_port()}/v1", "sk-unused-key")
    async with Router([backend], retries=0) as router:
        with pytest.raises(ConnectionFailedError):
            await router.complete(provider.model, CHAT)
        with pytest.raises(ConnectionFailedError):
            await collect(router, provider.model)


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.DROPPED])
async def test_broken_connection(provider: Provider, fault: Fault) -> None:
    provider.server.script.say("one two three", fault=fault).say("one two three", fault=fault)
    with pytest.raises(ConnectionFailedError):
        await provider.router.complete(provider.model, CHAT)
    with pytest.raises(ConnectionFailedError):
        await collect(provider.router, provider.model)


async def test_no_answer_in_time(provider: Provider) -> None:
    provider.server.script.then(Answer(fault=Fault.HANG))
    with pytest.raises(BackendTimeoutError):
        await provider.router.complete(provider.model, CHAT, timeout=0.05)


async def test_a_stream_that_stalls(provider: Provider) -> None:
    provider.server.script.then(Answer("one two three", fault=Fault.STALL))
    backend = provider.case.backend(provider.server.base_url, provider.server.key)
    async with Router([backend], retries=0, timeouts=Timeouts(idle=0.05)) as router:
        with pytest.raises(BackendTimeoutError):
            await collect(router, provider.model)


@pytest.mark.parametrize("fault", [Fault.TRUNCATED, Fault.HTML, Fault.EMPTY])
async def test_an_answer_that_is_none(provider: Provider, fault: Fault) -> None:
    provider.server.script.say("one two three", fault=fault)
    with pytest.raises(MalformedAnswerError):
        await provider.router.complete(provider.model, CHAT)


@pytest.mark.parametrize("fault", [Fault.TRUNCATED, Fault.NO_END, Fault.HTML, Fault.EMPTY])
async def test_a_stream_that_ends_early(provider: Provider, fault: Fault) -> None:
    provider.server.script.say("one two three", fault=fault)
    with pytest.raises(MalformedAnswerError):
        await collect(provider.router, provider.model)


async def test_a_dropped_consumer_frees_the_connection(provider: Provider) -> None:
    pace = asyncio.Semaphore(0)
    provider.server.script.then(Answer("one two three four", pace=pace))
    stream = provider.router.stream(provider.model, CHAT)
    assert isinstance(await anext(stream), TextDelta)
    await stream.aclose()
    pace.release()
    assert (await provider.router.complete(provider.model, CHAT)).content


async def test_a_base_url_without_its_prefix(provider: Provider) -> None:
    """LM Studio answers an unknown path with a 200."""
    backend = provider.case.backend(f"{provider.server.origin}/nowhere", provider.server.key)
    async with Router([backend], retries=0) as router:
        with pytest.raises(ModelNotFoundError):
            await router.complete(provider.model, CHAT)


async def test_a_part_nobody_knows_is_the_callers_fault(provider: Provider) -> None:
    messages = [{"role": "user", "content": [{"type": "hologram", "data": "x"}]}]
    with pytest.raises(InvalidRequestError, match="hologram"):
        await provider.router.complete(provider.model, messages)
    assert not provider.server.requests
