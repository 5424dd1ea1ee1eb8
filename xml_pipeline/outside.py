"""The doors to the outside: ask and wait, send, raw envelopes, sessions."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from xml_pipeline import events
from xml_pipeline.envelope import Huh, SystemError, decode, encode
from xml_pipeline.errors import (
    AnswerError,
    AskTimeout,
    ConfigError,
    EnvelopeError,
    NoReply,
    RoutingError,
)
from xml_pipeline.hardened import Limits as WireLimits
from xml_pipeline.payload.text import escape
from xml_pipeline.pump import Asker, LastingSessions, Pump
from xml_pipeline.pump.effects import Reply
from xml_pipeline.pump.listener import check_name
from xml_pipeline.threads import Conversation

OUTSIDE = "outside"
"""What listeners see as `from_id` when the outside gives itself no other name."""


def future() -> asyncio.Future[Any]:
    """Where an answer from the running loop will be."""
    return asyncio.get_running_loop().create_future()


class Outside:
    """Messages from outside into a pump, and their answers out of it; `Organism`'s methods document them."""

    def __init__(self, pump: Pump, wire_limits: WireLimits) -> None:
        self._pump = pump
        self._wire_limits = wire_limits
        self._loop: asyncio.AbstractEventLoop | None = None
        self.emit = pump.emit

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Messages may come, from this loop."""
        self._loop = loop

    async def ask(self, sender: str, to: str, payload: Any, timeout: float | None) -> Any:
        return await self.answer(Asker(self.name(sender), future()), to, payload, timeout)

    async def send(self, sender: str, to: str, payload: Any) -> str:
        return await self.inject(Asker(self.name(sender), None), to, payload)

    async def inject(self, port: Asker, to: str, payload: Any) -> str:
        self._check_loop()
        return (await self._pump.inject(port, to, payload)).id

    async def exchange(self, data: bytes, timeout: float | None) -> bytes:
        if not isinstance(data, bytes):
            raise TypeError(f"an envelope is bytes, not {type(data).__name__}")
        _check_timeout(timeout)
        self._check_loop()
        envelope = decode(data, self._wire_limits)
        if not envelope.to:
            raise EnvelopeError("envelope", "the envelope names no receiver: <to> is missing")
        target = self._pump.machine.addressing.named(envelope.to)
        root = envelope.payload.tag
        if root not in target.accepts:
            raise RoutingError(f"'{target.name}' does not take {root}; it takes {', '.join(target.accepts)}")
        payload = target.accepts[root].decode(envelope.payload, size=len(data))
        port = Asker(self.name(envelope.from_id), future())
        reply = await self._reply(port, envelope.to, payload, timeout)
        return encode(
            reply.codec,
            reply.payload,
            from_id=reply.from_id,
            to=port.name,
            thread_id=envelope.thread_id,
            message_id=reply.message_id,
            causation_id=escape(envelope.message_id),  # an id from outside is any text
            in_reply_to=escape(envelope.message_id),
        )

    async def answer(self, port: Asker, to: str, payload: Any, timeout: float | None) -> Any:
        reply = await self._reply(port, to, payload, timeout)
        answer = reply.payload
        if isinstance(answer, SystemError):
            raise AnswerError(answer, answer.code, answer.message)
        if isinstance(answer, Huh):
            raise AnswerError(answer, "validation", str(answer))
        return answer

    async def _reply(self, port: Asker, to: str, payload: Any, timeout: float | None) -> Reply:
        assert port.future is not None
        _check_timeout(timeout)
        self._check_loop()
        conversation = None
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                conversation = await self._pump.inject(port, to, payload)
                reply = await port.future
        except TimeoutError:
            if not limit.expired():
                raise
            self._abandon(conversation)
            raise AskTimeout(f"'{to}' did not answer within {timeout:g} s") from None
        except asyncio.CancelledError:
            self._abandon(conversation)
            raise
        if reply is None:
            raise NoReply(f"the conversation with '{to}' ended and nobody answered")
        assert isinstance(reply, Reply)
        return reply

    def _abandon(self, conversation: Conversation | None) -> None:
        """Nobody waits for its answer any more."""
        if conversation is not None:
            self._pump.cancel(conversation.id)

    def _check_loop(self) -> None:
        """A pump is of one loop: from another its queues would be changed under its hands."""
        if self._loop is not None and self._loop is not asyncio.get_running_loop():
            raise RuntimeError(
                "the organism runs in another event loop; from a thread of its own use"
                " asyncio.run_coroutine_threadsafe(organism.ask(...), loop)"
            )

    def name(self, sender: str) -> str:
        """Nobody outside may pass for a listener or for the system."""
        if not isinstance(sender, str):
            raise RoutingError(f"the sender is a name, a text, not a {type(sender).__name__}")
        if sender in self._pump.table:
            raise RoutingError(f"'{sender}' is a listener; the outside needs a name of its own")
        try:
            check_name(sender)
        except ConfigError as error:
            raise RoutingError(f"as a sender: {error}") from None
        return sender


def _check_timeout(timeout: float | None) -> None:
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or math.isnan(timeout):
        raise TypeError(f"timeout is a number of seconds, or None; not {timeout!r}")


class Session:
    """One outside caller's thread over several asks; an async context manager.

    While it is open, each listener sees all its asks under one `session_id`.
    """

    def __init__(self, outside: Outside, sender: str) -> None:
        self._outside = outside
        self._sender = outside.name(sender)
        self._sessions = LastingSessions()

    async def ask(self, to: str, payload: Any, *, timeout: float | None = None) -> Any:
        """As `Organism.ask`, within this session."""
        port = Asker(self._sender, future(), self._sessions)
        return await self._outside.answer(port, to, payload, timeout)

    async def send(self, to: str, payload: Any) -> str:
        """As `Organism.send`, within this session."""
        return await self._outside.inject(Asker(self._sender, None, self._sessions), to, payload)

    def close(self) -> None:
        """End the session: what listeners remember under it is forgotten."""
        self._sessions.open = False  # a conversation that still runs ends them again, when it is over
        for session_id in self._sessions.values():
            self._outside.emit(events.SessionEnded(session_id))

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
