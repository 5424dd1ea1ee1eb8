"""The door of a running organism. Whoever comes has one request, and a short time to say it.

Nothing that is said, and nothing that is not said, harms the organism: lines have a length, callers a number, and a
caller that is gone is heard of at once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec import Struct

from xml_pipeline.door.place import NoDoor, Place, user_behind
from xml_pipeline.door.requests import (
    LONGEST,
    VERSION,
    Exchange,
    Greeting,
    Nonsense,
    Refused,
    Request,
    Told,
    line,
    request_in,
)
from xml_pipeline.errors import XmlPipelineError, described
from xml_pipeline.pump.log import logger

MOST = 128  # callers at a time
PATIENCE = 10.0  # seconds in which a caller says what it wants, and takes what it is told
_HEARD = 2 * LONGEST  # bytes of requests that are not whole, of all callers


class Door:
    """Listens beside a journal, and lets what is asked be carried out.

    Args:
        journal: the file; it is ours.
        serve: carries a request out. What it raises is told.

    Attributes:
        why_not: why nobody can come in; "" when the door is open.
    """

    def __init__(self, journal: Path, serve: Callable[[Request], Awaitable[Told]]) -> None:
        self.serve = serve
        self.why_not = "it is not open yet"
        self.heard = 0
        self.callers: set[_Caller] = set()
        self._journal = journal
        self._place: Place | None = None
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Let callers in. Where there can be no door the organism goes on without one, and the log says why."""
        loop = asyncio.get_running_loop()
        try:
            self._place = Place(self._journal, make=True)
            listener = self._place.listener(MOST)
        except NoDoor as error:
            self._stay_shut(str(error))
            return
        try:
            self._server = await loop.create_unix_server(lambda: _Caller(self, loop), sock=listener)
        except (OSError, NotImplementedError) as error:
            listener.close()
            self._stay_shut(described(error))
        else:
            self.why_not = ""

    def _stay_shut(self, why: str) -> None:
        self.why_not = why
        logger.warning("commands cannot reach this organism: %s", why)

    def shut(self) -> None:
        """Let nobody in any more. Whoever waits for an answer is told as much as there is to tell."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self.why_not = "it stops"
        if self._place is not None:
            self._place.leave()
            self._place = None
        for caller in tuple(self.callers):
            caller.hurry()

    async def served(self) -> None:
        """Wait until nobody is there whose request is carried out."""
        while tasks := [each.task for each in self.callers if each.task is not None]:
            await asyncio.wait(tasks)
            await asyncio.sleep(0)  # who has been told goes with the next turn of the loop

    async def close(self) -> None:
        """`shut`, and see the last ones off. Call it when nothing that was asked for can go on."""
        self.shut()
        tasks = [caller.task for caller in self.callers if caller.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        for caller in tuple(self.callers):
            caller.turn_out()
        await asyncio.sleep(0)  # they are gone with the next turn of the loop

    async def told(self, request: Request) -> Told | Refused:
        """What becomes of it."""
        try:
            return await self.serve(request)
        except XmlPipelineError as error:
            return Refused(str(error))
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise
        except BaseException as error:  # a payload class may raise anything
            logger.exception("a request at the door failed")
            return Refused(f"it failed, the organism's log says more: {described(error)}")


class _Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, door: Door, loop: asyncio.AbstractEventLoop) -> None:
        self.task: asyncio.Task[None] | None = None
        self._door = door
        self._loop = loop
        self._said = bytearray()
        self._transport: asyncio.Transport
        self._limit: asyncio.TimerHandle | None = None
        self._only_waits = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if user_behind(transport.get_extra_info("socket")) != os.geteuid():
            transport.abort()
            return
        busy = len(self._door.callers) >= MOST
        transport.write(line(Greeting(VERSION, os.getpid(), busy)))
        if busy:
            transport.close()
            return
        self._door.callers.add(self)
        self._limit = self._loop.call_later(PATIENCE, transport.abort)

    def data_received(self, data: bytes) -> None:
        if self.task is not None or self._transport.is_closing():
            self._transport.abort()  # one line is all that there is to say
            return
        end = data.find(b"\n")
        self._said += data
        self._door.heard += len(data)
        if end < 0:
            if len(self._said) > LONGEST:
                self._say(Refused(f"a request has at most {LONGEST:,} bytes"))
            elif self._door.heard > _HEARD:
                self._say(Refused("too much is asked at the same time; try again"))
            return
        said = bytes(self._said[: len(self._said) - len(data) + end])
        self._forget()
        self._stop_limit()
        try:
            request = request_in(said)
        except Nonsense as error:
            self._say(Refused(f"that is no request of version {VERSION}: {error}"))
            return
        self._only_waits = isinstance(request, Exchange)
        self.task = self._loop.create_task(self._serve(request), name="xml-pipeline-door")

    async def _serve(self, request: Request) -> None:
        self._say(await self._door.told(request))

    def _say(self, said: Struct) -> None:
        self._forget()
        self._stop_limit()
        if self._transport.is_closing():
            return
        self._transport.write(line(said))
        self._transport.close()
        self._limit = self._loop.call_later(PATIENCE, self._transport.abort)

    def connection_lost(self, error: Exception | None) -> None:
        self._stop_limit()
        self._forget()
        self._door.callers.discard(self)
        if self.task is not None and self._only_waits:
            self.task.cancel()  # what changes something goes on to its end

    def hurry(self) -> None:
        """Nobody listens any more to somebody who has said nothing so far."""
        if self.task is None:
            self._transport.abort()

    def turn_out(self) -> None:
        """End it."""
        self._transport.abort()

    def _forget(self) -> None:
        self._door.heard -= len(self._said)
        self._said = bytearray()

    def _stop_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
