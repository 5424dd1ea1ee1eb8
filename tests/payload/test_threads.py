"""Codecs are shared by all threads: compiled once, and errors do not mix."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from xml_pipeline.errors import PayloadError
from xml_pipeline.payload import codec_of, xmlify


def test_threads_share_a_codec_that_is_compiled_once() -> None:
    cls: Any = xmlify(dataclasses.make_dataclass("Shared", [("n", int), ("text", str)]))
    start = threading.Barrier(8)

    def work(number: int) -> Any:
        start.wait(timeout=10)
        codec = codec_of(cls)
        for step in range(200):
            value = cls(number * 1000 + step, str(number))
            assert codec.decode_bytes(codec.encode(value)) == value
            with pytest.raises(PayloadError) as caught:
                codec.decode_bytes(f"<Shared><n>x{number}</n><text/></Shared>".encode())
            assert caught.value.violations[0].value == f"x{number}"
        return codec

    with ThreadPoolExecutor(8) as pool:
        codecs = set(pool.map(work, range(8)))
    assert len(codecs) == 1
