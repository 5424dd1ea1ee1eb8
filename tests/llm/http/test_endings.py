"""How the connection of an answer ends: a finished answer is never lost by it, and what is cut is named."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.emulators.raw import LAST, Exchange, RawServer, chunk, head
from tests.llm.providers.cases import Case
from tests.llm.providers.recorded import ANSWER, DIALECTS, PLAIN, Recording, recording
from xml_pipeline.errors import BackendError, ConnectionFailedError, MalformedAnswerError
from xml_pipeline.llm import LLMRequest, LLMResponse, Router, StreamEnd, TextDelta, Timeouts, Usage
from xml_pipeline.llm.http import backend as backend_module
from xml_pipeline.llm.types import StreamFinished

pytestmark = pytest.mark.parametrize("case", DIALECTS, ids=str)
QUICK = Timeouts(idle=0.05)


def router(case: Case, server: RawServer, retries: int = 0, **settings: object) -> Router:
    backend = case.backend(server.origin, "sk-recorded-key")
    return Router([backend], retries=retries, retry_base_delay=0.001, timeouts=QUICK, **settings)  # type: ignore[arg-type]


async def streamed(one: Router, case: Case, begun: asyncio.Event | None = None) -> LLMResponse:
    events = []
    async for event in one.stream(case.model, "1 + 2?"):
        events.append(event)
        if begun is not None:
            begun.set()
    assert isinstance(events[-1], StreamEnd)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text == events[-1].response.content
    return events[-1].response


def upto_the_end(case: Case, recorded: Recording) -> tuple[bytes, bytes]:
    """The stream up to the frame that finishes the answer, and the rest: usage, `[DONE]`."""
    dialect = case.backend("http://127.0.0.1:1", "sk-recorded-key").dialect
    assert dialect is not None
    decoder = dialect.stream_decoder(LLMRequest(case.model, [{"role": "user", "content": "x"}]))
    framer = backend_module._framer(recorded.stream)
    for number, frame in enumerate(recorded.frames, 1):
        events = [event for data, name in framer.feed(frame.data) for event in decoder.feed(data, name)]
        if any(isinstance(event, StreamFinished) for event in events):
            frames = [frame.data for frame in recorded.frames]
            return b"".join(frames[:number]), b"".join(frames[number:])
    raise AssertionError("the recording has an end")


async def last_chunk(exchange: Exchange) -> None:
    await exchange.send(LAST)


async def nothing_more(exchange: Exchange) -> None:
    exchange.close()


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def hang(exchange: Exchange) -> None:
    await asyncio.Event().wait()


async def bad_framing(exchange: Exchange) -> None:
    await exchange.send(b"no chunk at all\r\n")
    exchange.close()


async def garbage(exchange: Exchange) -> None:
    await exchange.send(chunk(b"data: {]\n\n{]\n"), LAST)


async def an_error(exchange: Exchange) -> None:
    await exchange.send(chunk(b'data: {"type": "error", "error": {"message": "late"}}\n\n'), LAST)


Ending = Callable[[Exchange], Awaitable[None]]
ENDINGS: tuple[Ending, ...] = (last_chunk, nothing_more, reset, hang, bad_framing, garbage, an_error)
CUTS: tuple[Ending, ...] = (nothing_more, reset, hang)


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("rest", [True, False], ids=["with-usage", "without"])
async def test_a_finished_stream_is_an_answer(case: Case, ending: Ending, rest: bool) -> None:
    recorded = recording(case, PLAIN)
    finished, more = upto_the_end(case, recorded)
    begun = asyncio.Event()

    async def play(exchange: Exchange) -> None:
        await exchange.send(head(kind=recorded.stream_type), chunk(finished))
        if rest and more:
            await exchange.send(chunk(more))
        if ending is bad_framing:
            await begun.wait()  # the HTTP client drops what it reads in one piece with broken framing
        await ending(exchange)

    async with RawServer(play) as server, router(case, server) as one:
        response = await streamed(one, case, begun)
        assert response.content == PLAIN.text
        assert response.finish_reason == "stop"
        usage = Usage.of(response.usage)
        assert usage.prompt_tokens > 0
        assert usage.completion_tokens > 0
        if rest:
            assert not usage.estimated
        total = one.get_total_usage()
        assert (total.request_count, total.failure_count) == (1, 0)
        assert one.describe()[0].in_flight == 0


async def test_a_slow_consumer_gets_all_that_came_before_the_connection_broke(case: Case) -> None:
    recorded, begun, sent = recording(case, PLAIN), asyncio.Event(), asyncio.Event()
    first = next(at for at, frame in enumerate(recorded.frames) if frame.content) + 1

    async def play(exchange: Exchange) -> None:
        data = [frame.data for frame in recorded.frames]
        await exchange.send(head(kind=recorded.stream_type), chunk(b"".join(data[:first])))
        await begun.wait()
        await exchange.send(chunk(b"".join(data[first:])))
        exchange.close()
        sent.set()

    async with RawServer(play) as server, router(case, server) as one:
        text = ""
        async for event in one.stream(case.model, "1 + 2?"):
            if isinstance(event, TextDelta):
                text += event.text
                begun.set()
                await sent.wait()
                for _ in range(50):  # the client's side takes in what came, and that it ended
                    await asyncio.sleep(0)
        assert isinstance(event, StreamEnd)
        assert text == event.response.content == PLAIN.text


async def test_a_stream_that_is_cut_is_no_answer(case: Case) -> None:
    recorded = recording(case, PLAIN)
    begun = next(at for at, frame in enumerate(recorded.frames) if frame.content) + 1

    async def play(exchange: Exchange) -> None:
        data = b"".join(frame.data for frame in recorded.frames[:begun])
        await exchange.send(head(kind=recorded.stream_type), chunk(data))
        exchange.close()

    async with RawServer(play) as server, router(case, server) as one:
        with pytest.raises(ConnectionFailedError, match="broke"):
            await streamed(one, case)
        assert one.describe()[0].in_flight == 0


@pytest.mark.parametrize("ending", CUTS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("framed", ["chunked", "longer"])
async def test_a_whole_answer_counts_however_its_connection_ends(
    case: Case, ending: Ending, framed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "QUIET_SECONDS", 0.02)
    whole = recording(case, ANSWER).whole

    async def play(exchange: Exchange) -> None:
        if framed == "chunked":
            await exchange.send(head(), chunk(whole))
        else:
            await exchange.send(head(length=len(whole) + 1000), whole)
        await ending(exchange)

    async with RawServer(play) as server, router(case, server) as one:
        response = await one.complete(case.model, "1 + 2?")
        assert response.content == ANSWER.text
        assert [call.arguments for call in response.tool_calls] == [{"a": 1, "b": 2}]
        assert len(response.attempts) == 1


@pytest.mark.parametrize("ending", [nothing_more, reset, bad_framing], ids=lambda one: one.__name__)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_body_that_breaks_off_is_tried_again(case: Case, ending: Ending, stream: bool) -> None:
    recorded = recording(case, PLAIN)
    good = recorded.stream if stream else recorded.whole
    kind = recorded.stream_type if stream else "application/json"

    async def play(exchange: Exchange) -> None:
        if exchange.number == 1:
            await exchange.send(head(kind=kind), chunk(good[:20]))
            await ending(exchange)
        else:
            await exchange.send(head(kind=kind), chunk(good), LAST)

    async with RawServer(play) as server, router(case, server, retries=1) as one:
        response = await (streamed(one, case) if stream else one.complete(case.model, "1 + 2?"))
        assert response.content == PLAIN.text
        assert [attempt.error for attempt in response.attempts] == ["ConnectionFailedError", ""]


NONSENSE = {
    "status line": b"HTTP/1.1 abc\r\n\r\n",
    "no http": b"220 mail.example.org ESMTP\r\n",
    "chunk size": head() + b"zz\r\n{}\r\n0\r\n\r\n",
    "chunk end": head() + b"2\r\n{}xx0\r\n\r\n",
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: minus\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "header": b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
    "endless head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_broken_http_is_the_backends_fault_and_tried_again(
    case: Case, nonsense: str, stream: bool
) -> None:
    async def play(exchange: Exchange) -> None:
        await exchange.send(NONSENSE[nonsense])
        exchange.close()

    async with RawServer(play) as server, router(case, server, retries=1) as one:
        with pytest.raises((ConnectionFailedError, MalformedAnswerError)) as caught:
            await (streamed(one, case) if stream else one.complete(case.model, "1 + 2?"))
        assert caught.value.retryable
        assert len(caught.value.attempts) == 2
        assert caught.value.status is None
        text = str(caught.value)
        assert "broke" in text
        assert "message" not in text
        assert "\n" not in text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("status", [429, 500])
@pytest.mark.parametrize("ending", CUTS, ids=lambda one: one.__name__)
async def test_an_error_is_what_its_status_says_however_its_body_ends(
    case: Case, status: int, ending: Ending, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xml_pipeline.llm.http.body.ERROR_SECONDS", 0.02)

    async def play(exchange: Exchange) -> None:
        await exchange.send(head(status, Retry_After="7"), chunk(b'{"error": {"mess'))
        await ending(exchange)

    async with RawServer(play) as server, router(case, server) as one:
        with pytest.raises(BackendError) as caught:
            await (streamed(one, case) if stream else one.complete(case.model, "x"))
        assert (caught.value.status, caught.value.retry_after) == (status, 7)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("ending", [nothing_more, reset], ids=lambda one: one.__name__)
async def test_a_stale_connection_costs_no_try(case: Case, ending: Ending, stream: bool) -> None:
    recorded = recording(case, PLAIN)

    async def play(exchange: Exchange) -> None:
        first = all(one.connection != exchange.connection for one in server.requests[:-1])
        if first:
            body = recorded.stream if stream else recorded.whole
            await exchange.send(head(kind=recorded.stream_type if stream else "application/json"))
            await exchange.send(chunk(body), LAST)
        else:
            await ending(exchange)

    async def ask(one: Router) -> LLMResponse:
        return await (streamed(one, case) if stream else one.complete(case.model, "1 + 2?"))

    async with RawServer(play) as server, router(case, server) as one:
        assert len({(await ask(one)).content for _ in range(3)}) == 1
        assert server.connections == 3
        assert len(server.requests) == 5
        assert one.get_total_usage().failure_count == 0


async def test_a_new_connection_that_is_closed_is_a_failure(case: Case) -> None:
    async def play(exchange: Exchange) -> None:
        exchange.close()

    async with RawServer(play) as server, router(case, server) as one:
        with pytest.raises(ConnectionFailedError):
            await one.complete(case.model, "x")
        assert len(server.requests) == 1
