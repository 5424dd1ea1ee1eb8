"""What servers and users get wrong, and a careful client takes or tells."""

from __future__ import annotations

import codecs
import json
import re
from contextlib import suppress
from typing import Any

import pytest

from tests.emulators.raw import LAST, Exchange, RawServer, chunk, head
from tests.llm.providers.cases import Case
from tests.llm.providers.recorded import ADD, ANSWER, DIALECTS, recording
from xml_pipeline.errors import (
    BackendError,
    ConfigError,
    ContextWindowError,
    InvalidRequestError,
    MalformedAnswerError,
    ModelNotFoundError,
)
from xml_pipeline.llm import PROVIDER_CLASSES, LLMResponse, Router, StreamEnd, TransportSettings, Usage
from xml_pipeline.llm.http.classify import error_from
from xml_pipeline.llm.http.rate_limit_headers import parse_duration, read_rate_limits, retry_after
from xml_pipeline.llm.http.transport import proxy_for

over_dialects = pytest.mark.parametrize("case", DIALECTS, ids=str)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def serving(kind: str, body: bytes, status: int = 200, **headers: str) -> RawServer:
    async def play(exchange: Exchange) -> None:
        await exchange.send(head(status, kind=kind, **headers), chunk(body) if body else b"", LAST)

    return RawServer(play)


def router(case: Case, server: RawServer, prefix: str = "", **settings: Any) -> Router:
    backend = case.backend(server.origin + prefix, "sk-odd-key")
    return Router([backend], **{"retries": 0, "retry_base_delay": 0.001, **settings})


async def answer(one: Router, case: Case, stream: bool) -> LLMResponse:
    if not stream:
        return await one.complete(case.model, "1 + 2?")
    *_, end = [event async for event in one.stream(case.model, "1 + 2?")]
    assert isinstance(end, StreamEnd)
    return end.response


def is_the_answer(response: LLMResponse) -> None:
    assert response.content == ANSWER.text
    assert [call.arguments for call in response.tool_calls] == [{"a": 1, "b": 2}]
    assert response.finish_reason == "tool_calls"


# Numbers

ABSURD = ["9" * 400, "-7", "1.5", "true", '"many"', "[]", "{}", "1e300", "NaN", "-Infinity", "1" + "0" * 15]
COUNT = re.compile(rb'("[A-Za-z_]*(?:[tT]oken|[cC]ount)[A-Za-z_]*": ?)\d+')


@pytest.mark.parametrize("absurd", ABSURD, ids=lambda text: text[:12])
@both_ways
@over_dialects
async def test_absurd_counts_are_estimated_instead(case: Case, stream: bool, absurd: str) -> None:
    recorded = recording(case, ANSWER)
    body = COUNT.sub(rb"\g<1>" + absurd.encode(), recorded.stream if stream else recorded.whole)
    assert absurd.encode() in body
    kind = recorded.stream_type if stream else "application/json"
    async with serving(kind, body) as server, router(case, server) as one:
        response = await answer(one, case, stream)
        is_the_answer(response)
        usage = Usage.of(response.usage)
        assert usage.estimated
        assert 0 < usage.total_tokens < 1000
        assert 0 < one.get_total_usage().total_tokens < 1000


@pytest.mark.parametrize("written", ["11.0", '"11"'])
@both_ways
@over_dialects
async def test_counts_in_other_forms_are_read(case: Case, stream: bool, written: str) -> None:
    recorded = recording(case, ANSWER)
    body = COUNT.sub(rb"\g<1>" + written.encode(), recorded.stream if stream else recorded.whole)
    async with serving("text/plain", body) as server, router(case, server) as one:
        usage = Usage.of((await answer(one, case, stream)).usage)
        assert not usage.estimated
        assert usage.prompt_tokens >= 11
        assert usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens


@pytest.mark.parametrize(
    "value", ["9" * 400, "1e400", "nan", "-1", "-inf", "1s" + "9" * 5000, "9" * 60 + "d"]
)
def test_absurd_headers_say_nothing_or_something_finite(value: str) -> None:
    for seconds in (parse_duration(value), retry_after({"retry-after": value})):
        assert seconds is None or abs(seconds) < float("inf")
    body = {"error": {"details": [{"retryDelay": value}]}}
    found = retry_after({}, body)
    assert found is None or abs(found) < float("inf")
    headers = {
        f"x-ratelimit-{what}-{unit}": value
        for what in ("limit", "remaining", "reset")
        for unit in ("tokens", "requests")
    }
    limits = read_rate_limits(headers, 0.0)
    assert limits is not None
    assert limits.limit_tokens is None
    assert limits.remaining_requests is None


# What the body is, and what it is called

KINDS = ("text/plain", "application/json", "text/event-stream; charset=utf-8", "application/x-ndjson", "")


@pytest.mark.parametrize("kind", KINDS)
@both_ways
@over_dialects
async def test_the_body_counts_and_not_its_name(case: Case, kind: str, stream: bool) -> None:
    """A stream is answered by a whole answer, or a whole answer asked for by a stream, whatever they are called."""
    recorded = recording(case, ANSWER)
    for body in (recorded.whole, recorded.stream):
        async with serving(kind, body) as server, router(case, server) as one:
            is_the_answer(await answer(one, case, stream))


@pytest.mark.parametrize("before", [codecs.BOM_UTF8, codecs.BOM_UTF8 + b"\r\n", b"\n\n \r\n"])
@pytest.mark.parametrize("size", [1, 1000], ids=["bytewise", "at-once"])
@both_ways
@over_dialects
async def test_a_byte_order_mark_and_blanks_before_it_are_dropped(
    case: Case, before: bytes, stream: bool, size: int
) -> None:
    recorded = recording(case, ANSWER)
    body = before + (recorded.stream if stream else recorded.whole)

    async def play(exchange: Exchange) -> None:
        await exchange.send(head(kind=recorded.stream_type if stream else "application/json"))
        await exchange.send(*(chunk(body[at : at + size]) for at in range(0, 40, size)))
        await exchange.send(*([chunk(body[max(40, size) :])] if len(body) > size else []), LAST)

    async with RawServer(play) as server, router(case, server) as one:
        is_the_answer(await answer(one, case, stream))


@both_ways
async def test_geminis_stream_as_one_list(stream: bool) -> None:
    """What the API sends when a proxy drops `alt=sse`."""
    case = next(one for one in DIALECTS if one.name == "gemini")
    lines = [line[6:] for line in recording(case, ANSWER).stream.decode().splitlines() if line]
    body = f"[{','.join(lines)}]".encode()
    assert len(lines) > 2
    async with serving("application/json", body) as server, router(case, server) as one:
        is_the_answer(await answer(one, case, stream))


@over_dialects
async def test_what_comes_after_the_streams_own_end_is_nobodys(case: Case) -> None:
    if case.name == "gemini":
        pytest.skip("nothing marks its end")
    recorded = recording(case, ANSWER)
    delta = next(frame.data for frame in recorded.frames if frame.content)
    async with (
        serving(recorded.stream_type, recorded.stream + delta * 3) as server,
        router(case, server) as one,
    ):
        is_the_answer(await answer(one, case, stream=True))


@pytest.mark.parametrize(
    "body", [b"<html>Log in</html>", b"OK", b"", b"null", b"[]", b'"x"', b"data: hello\n\n"]
)
@both_ways
@over_dialects
async def test_what_is_no_answer_is_named(case: Case, body: bytes, stream: bool) -> None:
    async with serving("text/html", body) as server, router(case, server) as one:
        with pytest.raises(MalformedAnswerError) as caught:
            await answer(one, case, stream)
    if body.startswith(b"<"):
        assert "<html>Log in" in str(caught.value)


# Errors in other words

FASTAPI = {
    "detail": [
        {"type": "missing", "loc": ["body", "messages", 0, "role"], "msg": "Field required", "input": {}},
        {"type": "int_parsing", "loc": ["body", "seed"], "msg": "Input should be a valid integer"},
    ]
}


@both_ways
@over_dialects
async def test_fastapis_list_of_mistakes_is_shown(case: Case, stream: bool) -> None:
    body = json.dumps(FASTAPI).encode()
    async with serving("application/json", body, 422) as server, router(case, server) as one:
        with pytest.raises(InvalidRequestError) as caught:
            await answer(one, case, stream)
    text = str(caught.value)
    assert "body.messages.0.role: Field required" in text
    assert "body.seed: Input should be a valid integer" in text
    assert caught.value.status == 422


LITELLM = "litellm.ContextWindowExceededError: litellm.BadRequestError: Vertex_aiException - the request is too large"


@pytest.mark.parametrize("status", [400, 413, 500, 200])
@over_dialects
async def test_litellms_context_window(case: Case, status: int) -> None:
    body = json.dumps({"type": "error", "error": {"message": LITELLM, "type": None, "code": str(status)}})
    async with serving("application/json", body.encode(), status) as server, router(case, server) as one:
        with pytest.raises(ContextWindowError):
            await answer(one, case, False)
    async with (
        serving("text/event-stream", f"data: {body}\n\n".encode()) as server,
        router(case, server) as one,
    ):
        with pytest.raises(ContextWindowError):
            await answer(one, case, True)


def test_an_error_nested_without_end_is_an_error() -> None:
    nested: dict[str, Any] = {"message": "deep"}
    for _ in range(5000):
        nested = {"error": nested}
    assert isinstance(error_from(500, {}, nested), BackendError)


# Addresses


@both_ways
@over_dialects
async def test_a_redirect_is_not_asked_again(case: Case, stream: bool) -> None:
    server = serving("text/html", b"", 308, Location="https://new.example/v1/x", X_Should_Retry="true")
    async with server, router(case, server, retries=3) as one:
        with pytest.raises(
            MalformedAnswerError, match=r"redirects to https://new\.example/v1/x; set base_url"
        ):
            await answer(one, case, stream)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("provider", "endpoint", "right"),
    [
        ("openai", "https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1"),
        ("openai", "https://api.openai.com/v1/responses/", "https://api.openai.com/v1"),
        ("xai", "https://api.x.ai/v1/chat/completions", "https://api.x.ai/v1"),
        ("anthropic", "https://api.anthropic.com/v1/messages", "https://api.anthropic.com"),
        ("ollama", "http://localhost:11434/api/chat", "http://localhost:11434"),
        ("openai-compatible", "http://localhost:8000/v1/Chat/Completions", "http://localhost:8000/v1"),
        (
            "gemini",
            "https://generativelanguage.googleapis.com/v1beta/models",
            "https://generativelanguage.googleapis.com/v1beta",
        ),
    ],
)
def test_a_base_url_that_is_an_endpoint_is_refused_with_the_right_one(
    provider: str, endpoint: str, right: str
) -> None:
    with pytest.raises(ConfigError, match="base_url") as caught:
        PROVIDER_CLASSES[provider](base_url=endpoint)
    assert f"Write {right!r}" in str(caught.value)
    PROVIDER_CLASSES[provider](base_url=right)


@both_ways
@pytest.mark.parametrize(
    ("provider", "prefix", "model"), [("anthropic", "/v1", "claude-sonnet-4-5"), ("ollama", "/api", "llama3")]
)
async def test_a_path_that_is_there_twice_is_named(
    provider: str, prefix: str, model: str, stream: bool
) -> None:
    case = Case(provider, next(one.emulator for one in DIALECTS if one.name == provider), model)
    async with serving("text/plain", b"not found", 404) as server, router(case, server, prefix) as one:
        with pytest.raises(ModelNotFoundError, match=f"base_url ends in {prefix}"):
            await answer(one, case, stream)


@pytest.mark.parametrize(
    ("no_proxy", "url", "proxied"),
    [
        ("llm.example:8000", "http://llm.example:8000/v1", False),
        ("llm.example:8000", "http://llm.example:9000/v1", True),
        ("llm.example:80", "http://llm.example/v1", False),
        ("llm.example", "http://llm.example:8000/v1", False),
        (".example", "http://llm.example:8000/v1", False),
        ("llm.example:8000, other", "http://llm.example:8000/v1", False),
        ("[::1]:8000", "http://[::1]:8000/v1", False),
        ("::1", "http://[::1]:8000/v1", False),
        ("[::1]:8000", "http://[::1]:9000/v1", True),
        ("*", "http://llm.example/v1", False),
        ("", "http://llm.example/v1", True),
    ],
)
def test_no_proxy_names_hosts_and_hosts_with_ports(
    no_proxy: str, url: str, proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert (proxy_for(url, TransportSettings()) is not None) == proxied


# Calls that nobody can answer, and answers that go back


@both_ways
@over_dialects
async def test_a_tool_call_without_a_name_is_no_call(case: Case, stream: bool) -> None:
    recorded = recording(case, ANSWER)
    body = re.sub(rb'"name": ?"add"', b'"name": ""', recorded.stream if stream else recorded.whole)
    kind = recorded.stream_type if stream else "application/json"
    async with serving(kind, body) as server, router(case, server) as one:
        with pytest.raises(MalformedAnswerError, match="name"):
            await answer(one, case, stream)


@both_ways
@over_dialects
async def test_every_tool_call_has_an_id_or_is_none(case: Case, stream: bool) -> None:
    recorded = recording(case, ANSWER)
    body = re.sub(rb'"(id|call_id)": ?"[^"]*"', rb'"\1": ""', recorded.stream if stream else recorded.whole)
    kind = recorded.stream_type if stream else "application/json"
    async with serving(kind, body) as server, router(case, server) as one:
        with suppress(MalformedAnswerError):
            response = await answer(one, case, stream)
            assert all(call.id for call in response.tool_calls)


@pytest.mark.parametrize("odd", [None, 7, {}, ["x"], "", "gone"], ids=repr)
async def test_a_signed_answer_can_go_back_whatever_its_texts_are(odd: Any) -> None:
    case = next(case for case in DIALECTS if str(case) == "anthropic")
    message = json.loads(recording(case, ANSWER).whole)
    for block in message["content"]:
        if block["type"] == "text":
            block["text"] = odd
            if odd == "gone":
                del block["text"]
    body = json.dumps(message).encode()
    async with serving("application/json", body) as server, router(case, server) as one:
        try:
            response = await one.complete(case.model, "1 + 2?", tools=[ADD])
        except MalformedAnswerError:
            assert odd in (7, {}, ["x"])
            return
        history = [{"role": "user", "content": "1 + 2?"}, response]
        results = [{"role": "tool", "tool_call_id": call.id, "content": "3"} for call in response.tool_calls]
        await one.complete(case.model, [*history, *results], tools=[ADD])
