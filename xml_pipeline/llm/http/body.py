"""The body of an answer, read piece by piece and never beyond a bound."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from xml_pipeline.errors import MalformedAnswerError

if TYPE_CHECKING:
    import aiohttp

MAX_ERROR_BYTES = 64 * 1024
ERROR_SECONDS = 2.0  # the status says it already; its body is worth no longer wait
DRAIN_SECONDS = 0.25  # how long to wait for a stream's end after its terminal event, to reuse the connection


class Body:
    """What comes after the head of one answer.

    Args:
        answer: whose head is read.
        limit: see below.

    Attributes:
        limit: bytes, as they come over the wire and after decompression; reading more raises.
    """

    __slots__ = ("_answer", "_broken", "_size", "limit")

    def __init__(self, answer: aiohttp.ClientResponse, limit: int) -> None:
        self._answer = answer
        self.limit = limit
        self._size = 0
        self._broken: Exception | None = None

    async def piece(self) -> bytes:
        """The next bytes, b"" at the end. What came before the connection broke is given before the error.

        Raises:
            MalformedAnswerError: the body is longer than the limit.
            Exception: the client's own, of a connection that broke.
        """
        if self._broken is not None:
            raise self._broken
        content = self._answer.content
        self._check(self._answer.content_length or 0)
        try:
            data = await content.readany()
        except Exception as error:
            data = _left_in(content, error)
            if not data:
                raise
            self._broken = error
        self._size += len(data)
        self._check(max(self._size, content.total_raw_bytes))
        return data

    @property
    def ended(self) -> bool:
        """Whether the whole body was given, so that `piece` would say so at once."""
        return self._broken is None and self._answer.content.at_eof()

    def _check(self, size: int) -> None:
        if size > self.limit:
            error = MalformedAnswerError(f"the answer is longer than {self.limit} bytes; it was not read on")
            error.retryable = False  # what was asked makes it so; another backend may be briefer
            raise error

    async def of_error(self) -> bytes:
        """The body of an error answer: what comes of it in time. Never raises, because the status counts."""
        content = bytearray()
        with suppress(Exception):  # cut, too slow, or not to be decompressed
            async with asyncio.timeout(ERROR_SECONDS):
                while len(content) < MAX_ERROR_BYTES and (piece := await self.piece()):
                    content += piece
        return bytes(content[:MAX_ERROR_BYTES])

    async def drain(self) -> None:
        """Read to the end if it is near, so that the connection can serve again. Never raises."""
        with suppress(Exception):  # all that counts was read before
            async with asyncio.timeout(DRAIN_SECONDS):
                while await self.piece():
                    pass


def _left_in(content: aiohttp.StreamReader, error: Exception) -> bytes:
    """What a broken reader still holds; it raises its error before it gives that."""
    content.set_exception(None)  # type: ignore[arg-type]  # takes the error back
    data = content.read_nowait()
    content.set_exception(error)
    return data
