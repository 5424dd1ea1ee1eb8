"""Valid answers of every dialect, broken at random: each call ends in an answer or a named error.

What is drawn: bytes changed, cut, repeated or put in anywhere in the body or in the whole HTTP message; values of the
JSON replaced by others; how the body is cut into pieces, what it is called, how the connection ends.
"""

from __future__ import annotations

import asyncio
import json
import re
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.emulators.raw import LAST, Exchange, RawServer, chunk, head
from tests.llm.providers.cases import Case
from tests.llm.providers.recorded import ADD, ANSWER, DIALECTS, PLAIN, Recording, recording
from xml_pipeline import errors
from xml_pipeline.llm import (
    LLMResponse,
    Router,
    StreamEnd,
    StreamEvent,
    TextDelta,
    Timeouts,
    ToolCallDelta,
    Usage,
)
from xml_pipeline.llm.types import MOST_TOKENS, ReasoningDelta

pytestmark = pytest.mark.parametrize("case", DIALECTS, ids=str)

LIMITS = Timeouts(request=1.0, attempt=0.1, first_token=0.1, idle=0.05)
FAMILY = {
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.BackendError) and kind is not errors.BackendError
}
RECORDED = {str(case): [recording(case, answer) for answer in (PLAIN, ANSWER)] for case in DIALECTS}

NASTY = st.sampled_from(
    [
        *(
            b"\x00",
            b"\xff\xfe",
            b"\xef\xbb\xbf",
            b"\r",
            b"\n\n",
            b"\r\n\r\n",
            b'"',
            b"{",
            b"}",
            b"]",
            b"[" * 1500,
        ),
        *(
            b"null",
            b"[DONE]",
            b"data: [DONE]\n\n",
            b'\\ud800"',
            b"NaN",
            b"-1",
            b"9" * 5000,
            b"1e999",
            b"event: error\n",
        ),
        *(b'data: {"error": null}\n\n', b'data: {"error": {"message": 7}}\n\n', b"data:", b": x\n\n"),
        *(b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"Content-Length: 3\r\n", b"Content-Encoding: gzip\r\n"),
    ]
)
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        10**400,
        1.5,
        "",
        "x",
        "\ud800",
        [],
        {},
        [None],
        [[]],
        {"x": None},
        "null",
        10**5,
        ["a", 1],
    ]
)


@st.composite
def _edited(draw: st.DrawFn, data: bytes) -> bytes:
    """A few edits of bytes."""
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        match draw(st.sampled_from(["cut", "delete", "repeat", "replace", "nasty"])):
            case "cut":
                data = data[:start]
            case "delete":
                data = data[:start] + data[end:]
            case "repeat":
                data = data[:end] + data[start:end] + data[end:]
            case "replace":
                data = data[:start] + draw(st.binary(max_size=4)) + data[end:]
            case _:
                data = data[:start] + draw(NASTY) + data[start:]
    return data


def _places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value inside."""
    keys = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


@st.composite
def _other_values(draw: st.DrawFn, text: str) -> str:
    """JSON with some of its values replaced or left out."""
    value = json.loads(text)
    for _ in range(draw(st.integers(1, 2))):
        places = _places(value)
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        if isinstance(holder, dict) and draw(st.booleans()):
            del holder[key]
        else:
            holder[key] = deepcopy(draw(VALUES))
    return json.dumps(value, ensure_ascii=draw(st.booleans()) or "\ud800" in repr(value))


@st.composite
def _body(draw: st.DrawFn, recorded: Recording, stream: bool) -> bytes:
    """The body of an answer, perhaps with other values."""
    if not draw(st.booleans()):
        return recorded.stream if stream else recorded.whole
    if not stream:
        return draw(_other_values(recorded.whole.decode())).encode("utf-8", "replace")
    frames = [frame.data for frame in recorded.frames]
    at = draw(st.integers(0, len(frames) - 1))
    lines = frames[at].decode().split("\n")
    for number, line in enumerate(lines):
        start = line.find("{")
        if start >= 0:
            lines[number] = line[:start] + draw(_other_values(line[start:]))
    frames[at] = "\n".join(lines).encode("utf-8", "replace")
    return b"".join(frames)


@st.composite
def _message(draw: st.DrawFn, case: Case, stream: bool) -> tuple[list[bytes], str]:
    """What the server sends, in pieces, and how the connection ends."""
    recorded = draw(st.sampled_from(RECORDED[str(case)]))
    body = draw(_edited(draw(_body(recorded, stream))))
    kind = draw(st.sampled_from([recorded.stream_type, "application/json", "text/plain"]))
    status = draw(st.sampled_from([200, 200, 200, 200, 400, 429, 500]))
    size = draw(st.sampled_from([1 << 20, 1 << 20, 100, 7]))
    pieces = [chunk(body[at : at + size]) for at in range(0, len(body), size)]
    message = [head(status, kind=kind), *pieces, draw(st.sampled_from([LAST, LAST, b""]))]
    if draw(st.integers(0, 3)) == 0:
        message = [draw(_edited(b"".join(message)))]
    return message, draw(st.sampled_from(["keep", "keep", "close", "close", "reset"]))


def is_sound(response: LLMResponse) -> None:
    """What callers build on: texts are texts, counts are counts."""
    texts = [
        response.content,
        response.model,
        response.finish_reason,
        response.reasoning,
        response.request_id,
    ]
    for call in response.tool_calls:
        texts += [call.id, call.name, call.arguments_text]
    assert all(isinstance(text, str) for text in texts)
    usage = Usage.of(response.usage)
    assert all(type(count) is int and 0 <= count <= 2 * MOST_TOKENS for count in usage.values())
    assert usage.total_tokens > 0
    assert usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens
    assert response.message["role"] == "assistant"


async def _call(case: Case, message: list[bytes], ending: str, stream: bool) -> None:
    async def play(exchange: Exchange) -> None:
        await exchange.send(*message)
        if ending == "close":
            exchange.close()
        elif ending == "reset":
            exchange.reset()

    async with RawServer(play) as server:
        backend = case.backend(server.origin, "sk-hostile-key")
        async with Router([backend], retries=0, timeouts=LIMITS) as one, asyncio.timeout(20):
            failure: errors.BackendError | None = None
            try:
                if stream:
                    async for event in one.stream(case.model, "1 + 2?", tools=[ADD]):
                        is_sound_event(event)
                else:
                    is_sound(await one.complete(case.model, "1 + 2?", tools=[ADD]))
            except errors.BackendError as error:
                failure = error
            assert failure is None or (type(failure) in FAMILY and len(failure.attempts) == 1), repr(failure)
            status, total = one.describe()[0], one.get_total_usage()
            assert (status.in_flight, status.waiting) == (0, 0)
            assert 0 <= total.total_tokens <= 2 * MOST_TOKENS


def is_sound_event(event: StreamEvent) -> None:
    match event:
        case TextDelta(text) | ReasoningDelta(text):
            assert isinstance(text, str)
        case ToolCallDelta(index, call_id, name, arguments):
            assert isinstance(index, int)
            assert all(isinstance(text, str) for text in (call_id, name, arguments))
        case StreamEnd(response):
            is_sound(response)
        case _:
            raise AssertionError(f"{event} is nothing for a consumer")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_a_server_sends_ends_in_an_answer_or_a_named_error(
    case: Case, stream: bool, data: st.DataObject
) -> None:
    message, ending = data.draw(_message(case, stream))
    asyncio.run(_call(case, message, ending, stream))


TEXT = re.compile(
    rb'"(content|text|delta|thinking|reasoning|reasoning_content|arguments|partial_json|name|model|id|finish_reason)"'
    rb':\s*"(?:[^"\\]|\\.)*"'
)


@pytest.mark.parametrize("other", [b"7", b"true", b"[7]", b'["x"]', b"{}", b'{"x": 1}', b"null"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_should_be_text_never_reaches_a_caller_as_something_else(
    case: Case, stream: bool, other: bytes
) -> None:
    recorded = RECORDED[str(case)][1]
    body = recorded.stream if stream else recorded.whole
    for key in sorted({found[1] for found in TEXT.finditer(body)}):
        changed = re.sub(
            rb'"' + key + rb'":\s*"(?:[^"\\]|\\.)*"', lambda _, key=key: b'"' + key + b'": ' + other, body
        )
        asyncio.run(_call(case, [head(kind=recorded.stream_type), chunk(changed), LAST], "keep", stream))
