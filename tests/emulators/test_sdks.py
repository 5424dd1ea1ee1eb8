"""The official SDKs hold the emulators to the truth: each must parse what its emulator sends."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import anthropic
import httpx
import ollama
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types

from . import (
    COMPATIBLE,
    Answer,
    AnthropicEmulator,
    Fail,
    Failure,
    Fault,
    GeminiEmulator,
    OllamaEmulator,
    OpenAIEmulator,
    Place,
    ToolUse,
    XAIEmulator,
)

ADD = {
    "name": "add",
    "description": "Adds two integers.",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}
CHAT_TOOLS: Any = [{"type": "function", "function": ADD}]
QUESTION: Any = [{"role": "user", "content": "What is 1 + 2?"}]
UNUSUAL = "naïve \u2028 line, 日本 🎉 end"

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading certificates takes longer than these tests
OPENAI_LIKE: list[type[OpenAIEmulator]] = [OpenAIEmulator, XAIEmulator, *COMPATIBLE]


@pytest.fixture(params=OPENAI_LIKE, ids=lambda kind: kind.__name__)
async def chat(request: pytest.FixtureRequest) -> AsyncIterator[tuple[OpenAIEmulator, openai.AsyncOpenAI]]:
    kind: type[OpenAIEmulator] = request.param
    async with kind() as server:
        plain = httpx.AsyncClient(verify=NO_TLS)
        client = openai.AsyncOpenAI(
            api_key=server.key or "none",
            base_url=server.base_url,
            max_retries=0,
            timeout=5,
            http_client=plain,
        )
        async with client:
            yield server, client


def model_of(server: OpenAIEmulator) -> str:
    return {"openai": "gpt-4o", "xai": "grok-4.1"}.get(server.provider, "llama-3")


class TestChatCompletions:
    async def test_answer(self, chat: tuple[OpenAIEmulator, openai.AsyncOpenAI]) -> None:
        server, client = chat
        server.script.say(UNUSUAL, reasoning="Let me think.", cached_tokens=3)
        answer = await client.chat.completions.create(model=model_of(server), messages=QUESTION)
        assert answer.choices[0].message.content == UNUSUAL
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert answer.usage.prompt_tokens == server.tally.prompt_tokens
        assert answer.usage.prompt_tokens_details is not None
        assert answer.usage.prompt_tokens_details.cached_tokens == 3
        assert answer.usage.total_tokens == server.tally.prompt_tokens + server.tally.completion_tokens

    async def test_stream(self, chat: tuple[OpenAIEmulator, openai.AsyncOpenAI]) -> None:
        server, client = chat
        server.script.say(UNUSUAL, fragment=11)
        text, usage = "", None
        stream = await client.chat.completions.create(
            model=model_of(server), messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
        async for chunk in stream:
            usage = chunk.usage or usage
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
        assert text == UNUSUAL
        assert usage is not None
        assert usage.completion_tokens == server.tally.completion_tokens

    async def test_tools(self, chat: tuple[OpenAIEmulator, openai.AsyncOpenAI]) -> None:
        server, client = chat
        server.script.then(
            Answer("", tools=(ToolUse("add", {"a": 1, "b": 2}), ToolUse("add", {"a": 3, "b": 4})))
        )
        first = await client.chat.completions.create(
            model=model_of(server), messages=QUESTION, tools=CHAT_TOOLS
        )
        message = first.choices[0].message
        assert first.choices[0].finish_reason == "tool_calls"
        assert message.tool_calls is not None
        assert len(message.tool_calls) == 2
        history: Any = [
            *QUESTION,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {"name": "add", "arguments": '{"a":1,"b":2}'},
                    }
                    for call in message.tool_calls
                ],
            },
            *({"role": "tool", "tool_call_id": call.id, "content": "3"} for call in message.tool_calls),
        ]
        second = await client.chat.completions.create(
            model=model_of(server), messages=history, tools=CHAT_TOOLS
        )
        assert second.choices[0].message.content

    async def test_streamed_tools(self, chat: tuple[OpenAIEmulator, openai.AsyncOpenAI]) -> None:
        server, client = chat
        server.script.call("add", {"a": 1, "b": 22})
        written = ""
        stream = await client.chat.completions.create(
            model=model_of(server), messages=QUESTION, tools=CHAT_TOOLS, stream=True
        )
        async for chunk in stream:
            for call in chunk.choices[0].delta.tool_calls or ():
                assert call.function is not None
                written += call.function.arguments or ""
        assert json.loads(written) == {"a": 1, "b": 22}

    async def test_unanswered_call_is_refused(self, chat: tuple[OpenAIEmulator, openai.AsyncOpenAI]) -> None:
        server, client = chat
        call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
        history: Any = [*QUESTION, {"role": "assistant", "content": None, "tool_calls": [call]}, *QUESTION]
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model=model_of(server), messages=history)
        # Releases of the SDK differ in what they make the error's own text of, and not every server nests it.
        assert "must be followed by tool messages" in caught.value.response.text

    @pytest.mark.parametrize(
        ("failure", "expected"),
        [
            (Failure.BAD_REQUEST, openai.BadRequestError),
            (Failure.FORBIDDEN, openai.PermissionDeniedError),
            (Failure.NO_MODEL, openai.NotFoundError),
            (Failure.CONFLICT, openai.ConflictError),
            (Failure.UNPROCESSABLE, openai.UnprocessableEntityError),
            (Failure.RATE, openai.RateLimitError),
            (Failure.QUOTA, openai.RateLimitError),
            (Failure.INTERNAL, openai.InternalServerError),
            (Failure.BAD_GATEWAY, openai.InternalServerError),
            (Failure.UNAVAILABLE, openai.InternalServerError),
            (Failure.OVERLOADED, openai.InternalServerError),
            (Failure.NO_CREDIT, openai.APIStatusError),
            (Failure.TOO_LARGE, openai.APIStatusError),
            (Failure.TIMEOUT_408, openai.APIStatusError),
        ],
    )
    async def test_failures(
        self, chat: tuple[OpenAIEmulator, openai.AsyncOpenAI], failure: Failure, expected: type[Exception]
    ) -> None:
        server, client = chat
        server.script.fail(failure, retry_after="1.5")
        with pytest.raises(expected) as caught:
            await client.chat.completions.create(model=model_of(server), messages=QUESTION)
        assert isinstance(caught.value, openai.APIStatusError)
        assert caught.value.response.headers["retry-after"] == "1.5"

    async def test_error_in_the_stream(self, chat: tuple[OpenAIEmulator, openai.AsyncOpenAI]) -> None:
        server, client = chat
        server.script.fail(Failure.INTERNAL, place=Place.STREAM, after=2)
        stream = await client.chat.completions.create(model=model_of(server), messages=QUESTION, stream=True)
        with pytest.raises(openai.APIError):
            async for _ in stream:
                pass

    async def test_broken_connections(self, chat: tuple[OpenAIEmulator, openai.AsyncOpenAI]) -> None:
        server, client = chat
        server.script.say("x", fault=Fault.RESET).say("one two three", fault=Fault.DROPPED)
        with pytest.raises(openai.APIConnectionError):
            await client.chat.completions.create(model=model_of(server), messages=QUESTION)
        stream = await client.chat.completions.create(model=model_of(server), messages=QUESTION, stream=True)
        with pytest.raises((httpx.HTTPError, openai.APIConnectionError)):
            async for _ in stream:
                pass
        assert server.last.outcome == "cut"

    async def test_models(self, chat: tuple[OpenAIEmulator, openai.AsyncOpenAI]) -> None:
        server, client = chat
        server.models = ("one", "two")
        assert [model.id async for model in client.models.list()] == ["one", "two"]


class TestOpenAI:
    async def test_a_wrong_key(self) -> None:
        async with (
            OpenAIEmulator() as server,
            openai.AsyncOpenAI(api_key="sk-wrong", base_url=server.base_url, max_retries=0) as client,
        ):
            with pytest.raises(openai.AuthenticationError):
                await client.chat.completions.create(model="gpt-4o", messages=QUESTION)

    @pytest.mark.parametrize(
        "wrong", [{"max_tokens": 5}, {"temperature": 0.2}, {"stop": ["x"]}, {"top_p": 0.5}]
    )
    @pytest.mark.parametrize("model", ["o3", "o4-mini", "gpt-5.6"])
    async def test_reasoning_models_refuse(self, model: str, wrong: dict[str, Any]) -> None:
        async with (
            OpenAIEmulator() as server,
            openai.AsyncOpenAI(api_key=server.key, base_url=server.base_url, max_retries=0) as client,
        ):
            with pytest.raises(openai.BadRequestError, match="Unsupported"):
                await client.chat.completions.create(model=model, messages=QUESTION, **wrong)


class TestResponses:
    """OpenAI's other API, at the same server."""

    TOOLS: Any = [{"type": "function", "strict": False, **ADD}]

    @pytest.fixture
    async def openai_server(self) -> AsyncIterator[tuple[OpenAIEmulator, openai.AsyncOpenAI]]:
        async with (
            OpenAIEmulator() as server,
            openai.AsyncOpenAI(
                api_key=server.key, base_url=server.base_url, max_retries=0, timeout=5
            ) as client,
        ):
            yield server, client

    async def test_answer(self, openai_server: tuple[OpenAIEmulator, openai.AsyncOpenAI]) -> None:
        server, client = openai_server
        server.script.say(UNUSUAL, reasoning="Hm.", cached_tokens=3)
        answer = await client.responses.create(
            model="gpt-6.1-sol", input="Hello", store=False, include=["reasoning.encrypted_content"]
        )
        assert answer.output_text == UNUSUAL
        assert answer.output[0].type == "reasoning"
        assert answer.output[0].encrypted_content
        assert answer.usage is not None
        assert answer.usage.input_tokens_details.cached_tokens == 3
        assert answer.usage.output_tokens == server.tally.completion_tokens

    async def test_stream_with_tools(self, openai_server: tuple[OpenAIEmulator, openai.AsyncOpenAI]) -> None:
        server, client = openai_server
        server.script.call("add", {"a": 1, "b": 22}, text=UNUSUAL, reasoning="Hm.", fragment=13)
        async with client.responses.stream(model="gpt-6.1-sol", input="Hello", tools=self.TOOLS) as stream:
            kinds = {event.type async for event in stream}
            final = await stream.get_final_response()
        assert {"response.output_text.delta", "response.function_call_arguments.delta"} <= kinds
        assert final.output_text == UNUSUAL
        assert final.output[-1].type == "function_call"
        assert json.loads(final.output[-1].arguments) == {"a": 1, "b": 22}

    async def test_a_tool_round(self, openai_server: tuple[OpenAIEmulator, openai.AsyncOpenAI]) -> None:
        server, client = openai_server
        server.script.call("add", {"a": 1}, reasoning="Hm.").say("Three.")
        question: Any = {"role": "user", "content": "1 + 2?"}
        sealed: Any = ["reasoning.encrypted_content"]
        first: Any = await client.responses.create(
            model="gpt-6.1-sol", input=[question], tools=self.TOOLS, store=False, include=sealed
        )
        came = [item.model_dump(exclude_none=True) for item in first.output]
        result = {"type": "function_call_output", "call_id": first.output[-1].call_id, "output": "3"}
        turns: Any = [question, *came, result]
        second = await client.responses.create(
            model="gpt-6.1-sol", input=turns, tools=self.TOOLS, store=False
        )
        assert second.output_text == "Three."
        spoilt: Any = (turns[:-1], [question, result], [question, came[0]])
        for wrong in spoilt:
            with pytest.raises(openai.BadRequestError):
                await client.responses.create(model="gpt-6.1-sol", input=wrong, store=False)

    @pytest.mark.parametrize("failure", [Failure.RATE, Failure.INTERNAL])
    async def test_failures(
        self, openai_server: tuple[OpenAIEmulator, openai.AsyncOpenAI], failure: Failure
    ) -> None:
        server, client = openai_server
        server.script.fail(failure).fail(failure, place=Place.STREAM, after=1)
        with pytest.raises(openai.APIStatusError):
            await client.responses.create(model="gpt-6.1-sol", input="Hello")
        kinds = []
        async for event in await client.responses.create(model="gpt-6.1-sol", input="Hello", stream=True):
            kinds.append(event.type)
        assert kinds[-1] == "error"

    async def test_newer_models_take_tools_only_here(
        self, openai_server: tuple[OpenAIEmulator, openai.AsyncOpenAI]
    ) -> None:
        with pytest.raises(openai.BadRequestError, match="/v1/responses"):
            await openai_server[1].chat.completions.create(
                model="gpt-6.1-sol", messages=QUESTION, tools=CHAT_TOOLS
            )


@pytest.fixture
async def claude() -> AsyncIterator[tuple[AnthropicEmulator, anthropic.AsyncAnthropic]]:
    async with (
        AnthropicEmulator() as server,
        anthropic.AsyncAnthropic(
            api_key=server.key, base_url=server.base_url, max_retries=0, timeout=5
        ) as client,
    ):
        yield server, client


CLAUDE: Any = {"model": "claude-sonnet-5", "max_tokens": 100, "messages": QUESTION}


class TestAnthropic:
    async def test_answer(self, claude: tuple[AnthropicEmulator, anthropic.AsyncAnthropic]) -> None:
        server, client = claude
        server.script.say(UNUSUAL, reasoning="Hm.", cached_tokens=2, cache_write_tokens=1)
        message = await client.messages.create(**CLAUDE)
        assert [block.type for block in message.content] == ["thinking", "text"]
        usage = message.usage
        assert usage.cache_read_input_tokens == 2
        total = usage.input_tokens + 2 + (usage.cache_creation_input_tokens or 0)
        assert total == server.tally.prompt_tokens
        assert usage.output_tokens == server.tally.completion_tokens

    async def test_stream_with_tools(
        self, claude: tuple[AnthropicEmulator, anthropic.AsyncAnthropic]
    ) -> None:
        server, client = claude
        server.script.call("add", {"a": 1, "b": 2}, text=UNUSUAL, reasoning="I add them.", fragment=13)
        tools: Any = [{"name": "add", "input_schema": ADD["parameters"]}]
        async with client.messages.stream(**CLAUDE, tools=tools) as stream:
            message = await stream.get_final_message()
        thinking, text, call = message.content
        assert thinking.type == "thinking"
        assert thinking.signature
        assert text.type == "text"
        assert text.text == UNUSUAL
        assert call.type == "tool_use"
        assert call.input == {"a": 1, "b": 2}
        assert message.stop_reason == "tool_use"
        assert message.usage.output_tokens == server.tally.completion_tokens

    async def test_a_tool_round(self, claude: tuple[AnthropicEmulator, anthropic.AsyncAnthropic]) -> None:
        _, client = claude
        use = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}}
        result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "3"}
        history: Any = [
            *QUESTION,
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [result]},
        ]
        assert (await client.messages.create(**{**CLAUDE, "messages": history})).content

    @pytest.mark.parametrize(
        ("wrong", "text"),
        [
            ({"messages": [*QUESTION, *QUESTION]}, "roles must alternate"),
            ({"messages": [{"role": "system", "content": "x"}]}, "first message must use"),
            ({"model": "claude-sonnet-4-6", "temperature": 1.0}, "Extra inputs"),
            (
                {"model": "claude-opus-4-7", "thinking": {"type": "enabled", "budget_tokens": 2000}},
                "adaptive",
            ),
            ({"tools": [{"name": "a.b", "input_schema": {"type": "object"}}]}, "should match pattern"),
            (
                {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5},
                "maximum of 4",
            ),
        ],
    )
    async def test_rules(
        self, claude: tuple[AnthropicEmulator, anthropic.AsyncAnthropic], wrong: dict[str, Any], text: str
    ) -> None:
        with pytest.raises(anthropic.BadRequestError, match=text):
            await claude[1].messages.create(**CLAUDE, extra_body=wrong)

    @pytest.mark.parametrize(
        ("model", "wrong"),
        [
            ("claude-opus-4-7", {"temperature": 0.5}),
            ("claude-haiku-5-5", {"top_p": 1}),
            ("claude-sonnet-5", {"top_k": 5}),
        ],
    )
    async def test_newer_models_sample_in_no_version(
        self, claude: tuple[AnthropicEmulator, anthropic.AsyncAnthropic], model: str, wrong: dict[str, Any]
    ) -> None:
        before = {"anthropic-version": "2023-06-01"}
        with pytest.raises(anthropic.BadRequestError, match="sampling"):
            await claude[1].messages.create(
                **CLAUDE, extra_headers=before, extra_body={"model": model, **wrong}
            )

    @pytest.mark.parametrize(
        ("failure", "expected"),
        [
            (Failure.BAD_REQUEST, anthropic.BadRequestError),
            (Failure.BAD_KEY, anthropic.AuthenticationError),
            (Failure.NO_CREDIT, anthropic.APIStatusError),
            (Failure.FORBIDDEN, anthropic.PermissionDeniedError),
            (Failure.NO_MODEL, anthropic.NotFoundError),
            (Failure.TOO_LARGE, anthropic.APIStatusError),
            (Failure.RATE, anthropic.RateLimitError),
            (Failure.QUOTA, anthropic.RateLimitError),
            (Failure.INTERNAL, anthropic.InternalServerError),
            (Failure.UNAVAILABLE, anthropic.APIStatusError),
            (Failure.OVERLOADED, anthropic.APIStatusError),
        ],
    )
    async def test_failures(
        self,
        claude: tuple[AnthropicEmulator, anthropic.AsyncAnthropic],
        failure: Failure,
        expected: type[anthropic.APIStatusError],
    ) -> None:
        server, client = claude
        server.script.fail(failure)
        with pytest.raises(expected) as caught:
            await client.messages.create(**CLAUDE)
        assert caught.value.request_id

    async def test_error_in_the_stream(
        self, claude: tuple[AnthropicEmulator, anthropic.AsyncAnthropic]
    ) -> None:
        server, client = claude
        server.script.fail(Failure.OVERLOADED, place=Place.STREAM, after=1)
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            async with client.messages.stream(**CLAUDE) as stream:
                await stream.get_final_message()


@pytest.fixture
async def gemini() -> AsyncIterator[tuple[GeminiEmulator, Any]]:
    async with GeminiEmulator() as server:
        options = genai_types.HttpOptions(base_url=server.base_url, timeout=5000)
        client = genai.Client(api_key=server.key, http_options=options)
        try:
            yield server, client.aio.models
        finally:
            await client.aio.aclose()
            client.close()


# The SDK subclasses aiohttp's ClientSession, which aiohttp advises against.
@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
class TestGemini:
    async def test_answer(self, gemini: tuple[GeminiEmulator, Any]) -> None:
        server, models = gemini
        server.script.say(UNUSUAL, reasoning="Hm, well.", cached_tokens=4)
        answer = await models.generate_content(model="gemini-3-pro", contents="Hello")
        assert answer.text == UNUSUAL
        usage = answer.usage_metadata
        assert usage.cached_content_token_count == 4
        assert usage.prompt_token_count == server.tally.prompt_tokens
        assert usage.candidates_token_count + usage.thoughts_token_count == server.tally.completion_tokens

    async def test_stream(self, gemini: tuple[GeminiEmulator, Any]) -> None:
        server, models = gemini
        server.script.say("one two 日本 three")
        text = ""
        usage: Any = None
        async for chunk in await models.generate_content_stream(model="gemini-3-pro", contents="Hello"):
            text += chunk.text or ""
            usage = chunk.usage_metadata
        assert text == "one two 日本 three"
        assert usage.candidates_token_count == server.tally.completion_tokens

    async def test_a_tool_round(self, gemini: tuple[GeminiEmulator, Any]) -> None:
        server, models = gemini
        declared = genai_types.FunctionDeclaration(
            name="add", description="Adds.", parameters_json_schema=ADD["parameters"]
        )
        config = genai_types.GenerateContentConfig(tools=[genai_types.Tool(function_declarations=[declared])])
        server.script.call("add", {"a": 1, "b": 2}).say("Three.")
        question = genai_types.Content(role="user", parts=[genai_types.Part(text="1 + 2?")])
        first = await models.generate_content(model="gemini-3-pro", contents=[question], config=config)
        call = first.function_calls[0]
        assert call.args == {"a": 1, "b": 2}
        result = genai_types.Part.from_function_response(name="add", response={"result": 3})
        answered = genai_types.Content(role="user", parts=[result])
        turns = [question, first.candidates[0].content, answered]
        second = await models.generate_content(model="gemini-3-pro", contents=turns, config=config)
        assert second.text == "Three."
        first.candidates[0].content.parts[0].thought_signature = None
        with pytest.raises(genai_errors.ClientError, match="thought_signature"):
            await models.generate_content(model="gemini-3-pro", contents=turns, config=config)

    @pytest.mark.parametrize(
        ("failure", "expected", "status"),
        [
            (Failure.BAD_REQUEST, genai_errors.ClientError, 400),
            (Failure.BAD_KEY, genai_errors.ClientError, 400),
            (Failure.NO_CREDIT, genai_errors.ClientError, 402),
            (Failure.FORBIDDEN, genai_errors.ClientError, 403),
            (Failure.NO_MODEL, genai_errors.ClientError, 404),
            (Failure.RATE, genai_errors.ClientError, 429),
            (Failure.QUOTA, genai_errors.ClientError, 429),
            (Failure.INTERNAL, genai_errors.ServerError, 500),
            (Failure.UNAVAILABLE, genai_errors.ServerError, 503),
        ],
    )
    async def test_failures(
        self, gemini: tuple[GeminiEmulator, Any], failure: Failure, expected: type[Exception], status: int
    ) -> None:
        server, models = gemini
        server.script.fail(failure)
        with pytest.raises(expected) as caught:
            await models.generate_content(model="gemini-3-pro", contents="Hello")
        assert isinstance(caught.value, genai_errors.APIError)
        assert caught.value.code == status
        assert caught.value.message

    async def test_a_blocked_prompt(self, gemini: tuple[GeminiEmulator, Any]) -> None:
        server, models = gemini
        server.script.fail(Failure.CONTENT_POLICY)
        answer = await models.generate_content(model="gemini-3-pro", contents="Hello")
        assert answer.prompt_feedback.block_reason == "PROHIBITED_CONTENT"


@pytest.fixture
async def local() -> AsyncIterator[tuple[OllamaEmulator, ollama.AsyncClient]]:
    async with OllamaEmulator() as server:
        client = ollama.AsyncClient(host=server.base_url)
        try:
            yield server, client
        finally:
            await client._client.aclose()  # this version has no public close


class TestOllama:
    async def test_answer(self, local: tuple[OllamaEmulator, ollama.AsyncClient]) -> None:
        server, client = local
        server.script.say(UNUSUAL, reasoning="Hm.")
        answer = await client.chat("llama3", QUESTION, think=True)
        assert answer.message.content == UNUSUAL
        assert answer.message.thinking == "Hm."
        assert (answer.prompt_eval_count, answer.eval_count) == (
            server.tally.prompt_tokens,
            server.tally.completion_tokens,
        )

    async def test_stream_with_tools(self, local: tuple[OllamaEmulator, ollama.AsyncClient]) -> None:
        server, client = local
        server.script.call("add", {"a": 1}, text="one two")
        parts = [part async for part in await client.chat("llama3", QUESTION, tools=CHAT_TOOLS, stream=True)]
        assert "".join(part.message.content or "" for part in parts) == "one two"
        calls = [call for part in parts for call in part.message.tool_calls or ()]
        assert calls[0].function.arguments == {"a": 1}
        assert parts[-1].done

    async def test_a_long_prompt_is_cut_silently(
        self, local: tuple[OllamaEmulator, ollama.AsyncClient]
    ) -> None:
        server, client = local
        long: Any = [{"role": "user", "content": "word " * 2000}]
        answer = await client.chat("llama3", long, options={"num_ctx": 1024})
        assert answer.prompt_eval_count == 1024
        assert server.last.truncated

    @pytest.mark.parametrize(
        "failure", [Failure.NO_MODEL, Failure.UNAVAILABLE, Failure.BAD_REQUEST, Failure.INTERNAL]
    )
    async def test_failures(self, local: tuple[OllamaEmulator, ollama.AsyncClient], failure: Failure) -> None:
        server, client = local
        server.script.fail(failure)
        with pytest.raises(ollama.ResponseError):
            await client.chat("llama3", QUESTION)

    async def test_error_line(self, local: tuple[OllamaEmulator, ollama.AsyncClient]) -> None:
        server, client = local
        server.script.fail(Failure.INTERNAL, place=Place.STREAM, after=1)
        with pytest.raises(ollama.ResponseError, match="runner"):
            async for _ in await client.chat("llama3", QUESTION, stream=True):
                pass

    async def test_models(self, local: tuple[OllamaEmulator, ollama.AsyncClient]) -> None:
        server, client = local
        server.models = ("llama3:8b",)
        assert [model.model for model in (await client.list()).models] == ["llama3:8b"]


async def test_one_step_a_request_and_a_callable_default() -> None:
    choose: Callable[[Any], Answer | Fail] = lambda request: Answer(request.model.upper())  # noqa: E731 - one line
    async with (
        OpenAIEmulator() as server,
        openai.AsyncOpenAI(api_key=server.key, base_url=server.base_url, max_retries=0) as client,
    ):
        server.script.default = choose
        answers = [
            await client.chat.completions.create(model=name, messages=QUESTION)
            for name in ("gpt-4o", "gpt-4")
        ]
        assert [answer.choices[0].message.content for answer in answers] == ["GPT-4O", "GPT-4"]
        assert server.tally.requests == 2
