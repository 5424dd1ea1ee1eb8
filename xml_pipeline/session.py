"""The outside's side of an organism: ask and wait, send, raw envelopes, and what is remembered between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, overload

from xml_pipeline.attribution import current_caller
from xml_pipeline.envelope import Heading, Huh, Message, SystemError, codec_for, decode
from xml_pipeline.errors import (
    AnswerError,
    AskTimeout,
    ConfigError,
    EnvelopeError,
    JournalError,
    NoReply,
    OrganismClosed,
    PayloadError,
    PayloadTypeError,
    RoutingError,
    cut,
)
from xml_pipeline.payload.text import escape, own_text
from xml_pipeline.pump import Pump
from xml_pipeline.pump.done import Done
from xml_pipeline.pump.facts import Injected
from xml_pipeline.pump.listener import OUTSIDE, check_name
from xml_pipeline.pump.settings import seconds
from xml_pipeline.threads.ids import DerivedIds

T = TypeVar("T")

_WRITTEN = 1.0  # seconds for which a request that took too long waits for its end to be durable


class Session:
    """One outside caller over several asks: listeners see one `session_id`, and may remember.

    An async context manager. An unnamed session ends when it is closed. A named one goes on in its organism, for
    whoever opens it again by its name, until it is closed or was not used for `ttl` seconds.

    Args:
        pump: of the organism.
        sender: what listeners see as `from_id`.
        key: names the session; "" for one that ends with each conversation.
        new_id: where conversation ids come from.
        named: whether leaving the context leaves it open.
        ttl: seconds without a conversation after which it ends; None for never.
    """

    def __init__(
        self,
        pump: Pump,
        sender: str,
        key: str,
        new_id: Callable[[], str],
        *,
        named: bool = False,
        ttl: float | None = None,
    ) -> None:
        self._pump = pump
        self._sender = sender
        self._key = key
        self._new_id = new_id
        self._named = named
        self._ttl = ttl
        self._closed = False

    @overload
    async def ask(
        self,
        to: str,
        payload: Any,
        *,
        answer_type: type[T],
        timeout: float | None = None,
        key: str | None = None,
    ) -> T: ...
    @overload
    async def ask(
        self, to: str, payload: Any, *, timeout: float | None = None, key: str | None = None
    ) -> Any: ...
    async def ask(
        self,
        to: str,
        payload: Any,
        *,
        answer_type: type[Any] = object,
        timeout: float | None = None,
        key: str | None = None,
    ) -> Any:
        """As `Organism.ask`, within this session."""
        if isinstance(payload, dict):
            payload = self._pump.terms.addressing.meant(to, payload)
        pump, room = self._pump, self._pump.admission
        # The usual ask, written out: `message` does the same, and two more coroutines are a tenth of an ask.
        usual = timeout is None and key is None and (pump.keys is None or current_caller.get() is None)
        if usual and not room.watched and room.in_flight < room.most:
            fact = self._injected(to, payload, awaited=True)
            future: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
            pump.inject(fact, future)
            if self._ttl is not None:
                pump.sessions.keep(self._key, self._ttl)
            try:
                message = await future
            except asyncio.CancelledError:
                pump.abandon(fact.conversation_id)
                raise
            if message is None:
                raise _nobody(to)
        else:
            message = await self.message(to, payload, timeout, key)
        answer = _told(message)
        if not isinstance(answer, answer_type):
            got, wanted = type(answer).__name__, answer_type.__name__
            raise AnswerError(answer, "validation", f"the answer is a {got}; a {wanted} was asked for")
        return answer

    async def join(self, conversation_id: str) -> Any:
        """As `Organism.join`."""
        pump = self._pump
        if pump.loop is not asyncio.get_running_loop():
            raise _not_here(pump)
        self._check_open()
        if pump.keys is None:
            raise ConfigError(
                "only with a journal can a conversation be joined: organism: {journal: state.db}"
            )
        pump.wake(conversation_id)
        future: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        pump.keys.wait(conversation_id, future)
        message = await future
        if message is None:
            raise NoReply(f"the conversation {conversation_id} ended and nobody answered")
        return _told(message)

    async def send(self, to: str, payload: Any, *, key: str | None = None) -> str:
        """As `Organism.send`, within this session."""
        if isinstance(payload, dict):
            payload = self._pump.terms.addressing.meant(to, payload)
        key = self._key_of(to, payload, key)
        fact = self._injected(to, payload, awaited=False, key=key)
        await self._inject(fact, None, named=key is not None)
        if self._pump.durable:
            await self._pump.written(fact.conversation_id)
        return fact.conversation_id

    def knows(self, key: str) -> bool:
        """Whether a request of this key is known already. Raises JournalError."""
        conversation_id, keys = _named(self._pump, key), self._pump.keys
        return keys is not None and keys.known(conversation_id)

    async def message(
        self, to: str, payload: Any, timeout: float | None = None, key: str | None = None
    ) -> Message:
        """The answering message, also when it is an error; otherwise as `ask`."""
        _check_timeout(timeout)
        key = self._key_of(to, payload, key)
        fact = self._injected(to, payload, awaited=True, key=key)
        future: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        limit = asyncio.timeout(None if timeout is None else seconds(timeout))
        try:
            async with limit:
                await self._inject(fact, future, named=key is not None)
                message = await future
        except TimeoutError:
            if not limit.expired():
                raise
            self._pump.cancel(fact.conversation_id)
            if self._pump.durable:
                await self._end_written()
            raise AskTimeout(f"'{to}' did not answer within {timeout:g} s") from None
        except asyncio.CancelledError:
            self._pump.abandon(fact.conversation_id)
            raise
        if message is None:
            raise _nobody(to)
        return message

    async def _end_written(self) -> None:
        """Wait until an end is durable, so that the next life does not go on with it; not for a disk that is full."""
        with suppress(TimeoutError, JournalError):
            async with asyncio.timeout(_WRITTEN):
                await self._pump.flush()

    async def _inject(
        self, fact: Injected, answer: asyncio.Future[Message | None] | None, *, named: bool
    ) -> None:
        pump = self._pump
        keys = pump.keys if named else None
        if keys is None:
            await pump.inject_in_turn(fact, answer, self._check_open)
        else:
            pump.wake(fact.conversation_id)
            if not keys.join(fact, answer):
                with keys.begin(fact):
                    await pump.inject_in_turn(fact, answer, self._check_open)
        if self._ttl is not None:
            pump.sessions.keep(self._key, self._ttl)

    def _key_of(self, to: str, payload: Any, key: str | None) -> str | None:
        """The key that was given, or that of a request which is made inside a handler of the same organism."""
        if key is not None:
            return key
        try:
            return self._pump.key_inside(to, payload)
        except (PayloadTypeError, PayloadError):
            return None  # it is refused further down, as anywhere else

    def _injected(self, to: str, payload: Any, *, awaited: bool, key: str | None = None) -> Injected:
        pump = self._pump
        if pump.loop is not asyncio.get_running_loop():
            raise _not_here(pump)
        if self._closed:
            self._check_open()
        if type(to) is not str and isinstance(to, str):
            to = own_text(to)
        conversation_id = self._new_id() if key is None else _named(pump, key)
        return Injected(conversation_id, self._sender, to, payload, self._key, awaited, pump.clock())

    def _check_open(self) -> None:
        if self._closed:
            raise RoutingError("the session is closed; open another with organism.session()")

    def close(self) -> Done[None]:
        """End the session: what listeners remember under it is forgotten, when its conversations are over.

        Returns:
            To be awaited by whoever has to know that this is durable.

        Raises:
            RuntimeError: called from another thread than the organism's.
        """
        only_in_its_loop(self._pump, "loop.call_soon_threadsafe(session.close)")
        self._closed = True
        self._pump.sessions.end(self._key)
        return Done(None, self._pump.flush)

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._named:
            await self.close()


async def exchange(
    pump: Pump, data: bytes, timeout: float | None, new_id: Callable[[], str], key: str | None = None
) -> bytes:
    """A raw envelope in, the answer's envelope out; `Organism.exchange` documents it."""
    if not isinstance(data, bytes):
        raise TypeError(f"an envelope is bytes, not {type(data).__name__}")
    _check_timeout(timeout)
    if pump.loop is not asyncio.get_running_loop():
        raise _not_here(pump)
    envelope = decode(data, pump.terms.wire_limits)
    if not envelope.to:
        raise EnvelopeError("envelope", "the envelope names no receiver: <to> is missing")
    target = pump.terms.addressing.named(envelope.to)
    root = envelope.payload.tag
    if root not in target.requests:
        raise pump.terms.addressing.refused(target, root)
    payload = target.requests[root].decode(envelope.payload, size=len(data))
    session = Session(pump, sender_name(pump, envelope.from_id), "", new_id)
    answer = await session.message(envelope.to, payload, timeout, key)
    cause = escape(envelope.message_id)  # an id from outside is any text
    reply = Heading(answer.from_id, envelope.from_id, envelope.thread_id, answer.message_id, cause, cause)
    return Message.sealed(reply, answer.payload, codec_for(answer.payload)).data


def _named(pump: Pump, key: str) -> str:
    """The id of the conversation that a key names: the same for ever."""
    if not isinstance(key, str) or not key or not key.isprintable():
        raise ValueError(f"a key is a text of printable characters, not {cut(repr(key))}")
    if not pump.durable:
        raise ConfigError(
            "a key= needs a journal, which knows it after a crash too: organism: {journal: state.db}"
        )
    return DerivedIds(f"key/{key}").new_id()


def _told(message: Message) -> Any:
    """The answer; inside, an error is a message like any other, here it is raised (ADR 4)."""
    answer = message.payload
    if isinstance(answer, SystemError):
        raise AnswerError(answer, answer.code, answer.message)
    if isinstance(answer, Huh):
        raise AnswerError(answer, "validation", str(answer))
    return answer


def _nobody(to: str) -> NoReply:
    return NoReply(f"the conversation with '{to}' ended and nobody answered")


def only_in_its_loop(pump: Pump, instead: str) -> None:
    """Raises RuntimeError in any loop or thread but the one the pump runs in, and names what to use instead."""
    if pump.loop is None or not pump.loop.is_running():
        return
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    if here is not pump.loop:
        raise _another_loop(instead)


def _not_here(pump: Pump) -> Exception:
    """Why a message cannot be sent from this loop."""
    if pump.loop is None:
        return OrganismClosed("the organism is not running: use `async with organism:`")
    if pump.loop.is_closed():
        return OrganismClosed("the organism's event loop is closed; start and ask within one asyncio.run()")
    return _another_loop("asyncio.run_coroutine_threadsafe(organism.ask(...), loop)")


def _another_loop(instead: str) -> RuntimeError:
    """A pump belongs to one loop, and another would change its queues under its hands."""
    return RuntimeError(f"the organism runs in another event loop; from a thread of its own use {instead}")


def sender_name(pump: Pump, sender: str) -> str:
    """Nobody outside may pass for a listener or for the system. Raises RoutingError."""
    if not isinstance(sender, str):
        raise RoutingError(f"the sender is a name, a text, not a {type(sender).__name__}")
    sender = own_text(sender)
    if sender in pump.listeners:
        raise RoutingError(f"'{sender}' is a listener; the outside needs a name of its own")
    if sender != OUTSIDE:
        try:
            check_name(sender)
        except ConfigError as error:
            raise RoutingError(f"as a sender: {error}") from None
    return sender


def _check_timeout(timeout: float | None) -> None:
    if timeout is None:
        return
    if (limit := seconds(timeout)) is None:
        raise TypeError(f"timeout is a number of seconds, or None; not {cut(timeout)}")
    if limit <= 0:
        raise ValueError(f"timeout is {cut(timeout)}; it takes seconds above 0, or None to wait without end")
