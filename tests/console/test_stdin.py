"""Lines of files, pipes and what is cut."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from xml_pipeline.console.stdin import LINE_BYTES, LineReader


async def all_lines(fd: int) -> list[bytes]:
    reader, found = LineReader(fd), []
    while line := await reader.line():
        found.append(line)
    assert await reader.line() == b"", "the end stays the end"
    return found


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\n\nb\n", [b"a\n", b"\n", b"b\n"]),
        (b"x" * 300_000 + b"\ny", [b"x" * 300_000 + b"\n", b"y"]),
        (b"\xff\x00\n", [b"\xff\x00\n"]),
        (b"a\n" + b"x" * (LINE_BYTES + 200_000) + b"\ny", [b"a\n", b"x" * (LINE_BYTES + 1), b"y"]),
    ],
)
async def test_a_file_and_a_pipe_give_the_same_lines(data: bytes, lines: list[bytes], tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(data)
    with file.open("rb") as stream:
        assert await all_lines(stream.fileno()) == lines
    out, into = os.pipe()
    writer = threading.Thread(
        target=lambda: (os.write(into, data[:1]), write_all(into, data[1:]), os.close(into))
    )
    writer.start()
    assert await all_lines(out) == lines
    writer.join()
    os.close(out)


def write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


async def test_a_line_that_nobody_waits_for_any_more_is_for_who_asks_next() -> None:
    out, into = os.pipe()
    reader = LineReader(out)
    waiting = asyncio.create_task(reader.line())
    await asyncio.sleep(0)
    waiting.cancel()
    os.write(into, b"first\nsecond\n")
    assert [await reader.line(), await reader.line()] == [b"first\n", b"second\n"]
    os.close(into)
    assert await reader.line() == b""
    os.close(out)
