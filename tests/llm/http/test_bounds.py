"""No answer is read without a bound, and no byte of it is looked at again and again."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator

import genai_prices.data  # noqa: F401  # before memory is traced: it is large
import pytest

from tests.emulators.raw import LAST, Exchange, RawServer, chunk, head
from tests.llm.providers.cases import Case
from tests.llm.providers.recorded import DIALECTS, recording
from xml_pipeline.errors import BackendError, MalformedAnswerError, ServerError
from xml_pipeline.llm import Router
from xml_pipeline.llm.http import backend as backend_module
from xml_pipeline.llm.http import framing
from xml_pipeline.llm.http.framing import Framer, LineFramer, SSEFramer
from xml_pipeline.llm.providers.chat import ChatDialect, Flavour
from xml_pipeline.llm.types import LLMRequest

# Framing in linear time

MEGABYTE = 1_000_000


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


HOSTILE: dict[str, Callable[[int], Iterable[bytes]]] = {
    "one byte at a time, no line end": lambda size: pieces(b"x" * size, 1),
    "small pieces, no line end": lambda size: pieces(b"data: " + b"x" * size, 100),
    "CR alone": lambda size: [b"\r" * size],
    "CR alone, in pieces": lambda size: pieces(b"\r" * size, 7),
    "a field without a line end, after a CR": lambda size: pieces(b"\r" + b"data:x" * (size // 6), 50),
    "empty data lines": lambda size: pieces(b"data:\n" * (size // 6), 1000),
    "events of no data": lambda size: [b"event: x\n\n" * (size // 10)],
    "empty lines": lambda size: pieces(b"\n" * size, 3),
    "comments": lambda size: [b":\n" * (size // 2)],
    "byte order marks": lambda size: pieces(b"\xef\xbb\xbf" * (size // 3), 11),
}


def seconds(framer: Framer, chunks: list[bytes]) -> float:
    started = time.process_time()
    for each in chunks:
        framer.feed(each)
    framer.close()
    return time.process_time() - started


@pytest.mark.parametrize("kind", [SSEFramer, LineFramer])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_framing_is_linear(hostile: str, kind: type[Framer]) -> None:
    """Four times the bytes cost about four times as much: a quadratic scanner would need sixteen times."""
    small, large = (list(HOSTILE[hostile](size)) for size in (MEGABYTE // 4, MEGABYTE))
    ratios = []
    for _ in range(4):
        ratios.append(seconds(kind(), large) / max(seconds(kind(), small), 0.002))
        if ratios[-1] < 9:
            return
    raise AssertionError(f"the cost grows with {ratios}")


def test_an_event_of_empty_lines_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_EVENT_BYTES", 1000)
    with pytest.raises(MalformedAnswerError, match="longer than 1000"):
        SSEFramer().feed(b"data:\n" * 1001)


def test_reasoning_that_is_replayed_is_collected_in_linear_time() -> None:
    def cost(number: int) -> float:
        decoder = ChatDialect(Flavour(replays=("reasoning_details",))).stream_decoder(LLMRequest("m", []))
        piece = '{"choices":[{"delta":{"reasoning_details":[{"index":0,"type":"t","text":"%s"}]}}]}' % (
            "x" * 40
        )
        started = time.process_time()
        for _ in range(number):
            decoder.feed(piece, "")
        decoder.feed("[DONE]", "")
        return time.process_time() - started

    assert any(cost(24_000) / max(cost(6_000), 0.002) < 9 for _ in range(4))


# Bodies

BOUND = 200_000
ZEROS = gzip.compress(b" " * 50_000_000)


async def compressed(exchange: Exchange) -> None:
    """50 MB of blanks in 50 KB."""
    await exchange.send(head(length=len(ZEROS), Content_Encoding="gzip"), ZEROS)


async def endless(exchange: Exchange) -> None:
    await exchange.send(head(kind="text/event-stream"))
    while True:
        await exchange.send(chunk(b": nothing yet\n" * 1000))


async def endless_line(exchange: Exchange) -> None:
    await exchange.send(head(), chunk(b"{"))
    while True:
        await exchange.send(chunk(b" " * 10_000))


async def announced(exchange: Exchange) -> None:
    await exchange.send(head(length=10**15), b"{")


def router(case: Case, server: RawServer) -> Router:
    return Router([case.backend(server.origin, "sk-bounded-key")], retries=2, retry_base_delay=0.001)


async def failure(one: Router, case: Case, stream: bool) -> BackendError:
    async def read() -> None:
        async for _ in one.stream(case.model, "x"):
            pass

    with pytest.raises(BackendError) as caught:
        await (read() if stream else one.complete(case.model, "x"))
    return caught.value


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "play", [compressed, endless, endless_line, announced], ids=lambda one: str(one.__name__)
)
@pytest.mark.parametrize("case", DIALECTS, ids=str)
async def test_an_answer_without_end_is_not_read_to_its_end(
    case: Case, play: Callable[[Exchange], object], stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "MAX_ANSWER_BYTES", BOUND)
    monkeypatch.setattr(backend_module, "MAX_STREAM_BYTES", BOUND)
    async with RawServer(play) as server, router(case, server) as one:  # type: ignore[arg-type]
        tracemalloc.start()
        try:
            error = await failure(one, case, stream)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert isinstance(error, MalformedAnswerError)
        assert f"longer than {BOUND} bytes" in str(error)
        assert len(server.requests) == 1, "the same request would give the same answer"
        assert peak < 12_000_000


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("case", DIALECTS, ids=str)
async def test_the_body_of_an_error_is_read_within_a_bound(case: Case, stream: bool) -> None:
    async def play(exchange: Exchange) -> None:
        await exchange.send(head(500, kind="text/html", Content_Encoding="gzip", length=len(ZEROS)), ZEROS)

    async with RawServer(play) as server, router(case, server) as one:
        tracemalloc.start()
        try:
            error = await failure(one, case, stream)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert isinstance(error, ServerError)
        assert len(str(error)) < 5000
        assert peak < 12_000_000


@pytest.mark.parametrize("case", DIALECTS, ids=str)
async def test_a_long_answer_that_is_cut_is_no_event(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_EVENT_BYTES", 1000)

    async def play(exchange: Exchange) -> None:
        await exchange.send(head(), chunk(b"{" + b" " * 2000), LAST)

    async with RawServer(play) as server, router(case, server) as one:
        error = await failure(one, case, False)
        assert "no JSON" in str(error)


@pytest.mark.parametrize("case", DIALECTS, ids=str)
async def test_an_event_without_end_is_not_kept(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_EVENT_BYTES", BOUND)
    recorded = recording(case)

    async def play(exchange: Exchange) -> None:
        opening = b"{" if recorded.stream.startswith(b"{") else b"data: {"
        await exchange.send(head(kind=recorded.stream_type), chunk(opening))
        while True:
            await exchange.send(chunk(b" " * 10_000))

    async with RawServer(play) as server, router(case, server) as one:
        error = await failure(one, case, True)
        assert isinstance(error, MalformedAnswerError)
        assert "one event of the stream is longer" in str(error)
