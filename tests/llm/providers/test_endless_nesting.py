"""A server whose JSON is nested without end is malformed, as one whose JSON is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from xml_pipeline.errors import MalformedAnswerError
from xml_pipeline.llm import Router
from xml_pipeline.llm.providers.openai_compatible import OpenAICompatibleBackend

NESTED = b"[" * 200_000


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(NESTED) + NESTED)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    server.close()


async def test_an_answer_nested_without_end_is_malformed(address: str) -> None:
    async with Router([OpenAICompatibleBackend(base_url=address)], retries=0) as router:
        with pytest.raises(MalformedAnswerError, match="no JSON"):
            await router.complete("m", "hello")
