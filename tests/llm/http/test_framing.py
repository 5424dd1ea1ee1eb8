"""Server-sent events and NDJSON, however the network cuts them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline.errors import MalformedAnswerError
from xml_pipeline.llm.http import framing
from xml_pipeline.llm.http.framing import Frame, Framer, LineFramer, SSEFramer


def frames(framer: Framer, *chunks: bytes) -> list[Frame]:
    found = [frame for chunk in chunks for frame in framer.feed(chunk)]
    return found + framer.close()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [("a", ""), ("b", "")]),
        (b"event: message_start\ndata: {}\n\n", [("{}", "message_start")]),
        (b"data:no space\n\n", [("no space", "")]),
        (b"data: one\ndata: two\n\n", [("one\ntwo", "")]),
        (b": comment\n\nid: 7\nretry: 10\ndata: x\n\n", [("x", "")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [("a", ""), ("b", "")]),
        (b"data: a\r\rdata: b\r\r", [("a", ""), ("b", "")]),
        (b"data: unfinished", [("unfinished", "")]),
        (b"event: ping\n\ndata: x\n\n", [("x", "")]),
        ("data: a\u2028b\u0085c\n\n".encode(), [("a\u2028b\u0085c", "")]),
        (b"", []),
    ],
)
def test_server_sent_events(data: bytes, expected: list[Frame]) -> None:
    assert frames(SSEFramer(), data) == expected
    assert frames(SSEFramer(), *(data[at : at + 1] for at in range(len(data)))) == expected


lines = st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), max_size=30)


@given(
    st.lists(lines, max_size=8),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 400), max_size=6),
)
def test_cuts_change_nothing(texts: list[str], end: str, cuts: list[int]) -> None:
    data = "".join(f"data: {text}{end}{end}" for text in texts).encode()
    points = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    chunks = [data[a:b] for a, b in pairwise(points)]
    assert frames(SSEFramer(), *chunks) == [(text, "") for text in texts]


def test_ndjson_lines() -> None:
    assert frames(LineFramer(), b'{"a":', b'1}\n\n{"b":2}\r\n{"c"', b":3}") == [
        ('{"a":1}', ""),
        ('{"b":2}', ""),
        ('{"c":3}', ""),
    ]


@pytest.mark.parametrize("framer", [SSEFramer, LineFramer])
def test_an_event_without_an_end_is_refused_in_time(framer: type[Framer]) -> None:
    one = framer()
    chunk = b"data: " + b"x" * 65536 + (b"\n" if framer is SSEFramer else b"")

    def endless() -> None:
        for _ in range(framing.MAX_EVENT_BYTES // 65536 + 2):
            one.feed(chunk)

    with pytest.raises(MalformedAnswerError, match="longer than"):
        endless()
