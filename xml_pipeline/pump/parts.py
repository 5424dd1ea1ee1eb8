"""A part of a handler that is done once, however often its handler is called."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar, cast, runtime_checkable

from xml_pipeline.attribution import current_caller
from xml_pipeline.errors import Interrupted, cut
from xml_pipeline.pump.handler_call import HandlerCall

T = TypeVar("T")


@runtime_checkable
class Parts(Protocol):
    """A journal that keeps what parts of handlers came to."""

    def part(self, message_id: str, key: str) -> bytes | None:
        """What it came to; b"" when it had begun, and no more is known; None when it had not."""

    async def begin_part(self, conversation_id: str, message_id: str, key: str) -> None:
        """Write down that it begins; durable when this returns."""

    async def drop_part(self, message_id: str, key: str) -> None:
        """Write down that it was not done; durable when this returns."""

    async def end_part(self, message_id: str, key: str, value: bytes) -> None:
        """Write down what it came to; durable when this returns."""


async def once(key: str, function: Callable[[], Awaitable[T]]) -> T:
    """Do something for the message that is being handled, and never a second time for the same message.

        charge = await once("charge", lambda: bank.charge(order.account, order.amount))

    Called again, after a crash or in a retry, the handler gets what came of it the first time. With a journal its
    beginning is durable before `function` is called; without one, and in a unit test, it is as if `function` was
    called directly. When `function` raises it was not done, and may be tried again. Where the same part is asked for
    twice at once, the second waits for the first.

    Args:
        key: names the part among those of its handler.
        function: what is to be done; what it returns is kept as JSON.

    Raises:
        ValueError: a key that is no text of printable characters.
        Interrupted: it had begun, and the process died before it was known what came of it. Look, and decide.
        TypeError: what it returned cannot be kept as JSON. It was done.
    """
    call = current_caller.get()
    if not isinstance(key, str) or not key or not key.isprintable():
        raise ValueError(f"a key is a text of printable characters, not {cut(repr(key))}")
    if not isinstance(call, HandlerCall) or call.parts is None:
        return await function()
    async with call.turn(key):
        return await _once(call, call.parts, key, function)


async def _once(call: HandlerCall, parts: Parts, key: str, function: Callable[[], Awaitable[T]]) -> T:
    message = call.message
    known = parts.part(message.message_id, key)
    if known:
        return cast("T", json.loads(known))
    if known is not None:
        raise Interrupted(
            f"{cut(repr(key))} had begun for message {message.message_id}, and did not come to its end; whether it"
            " was done is not known"
        )
    await parts.begin_part(message.conversation_id, message.message_id, key)
    try:
        value = await function()
    except Exception:
        await parts.drop_part(message.message_id, key)  # it says itself that it was not done
        raise
    try:
        kept = json.dumps(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"what {cut(repr(key))} came to cannot be kept as JSON: {error}") from None
    await parts.end_part(message.message_id, key, kept.encode())
    return cast("T", json.loads(kept))
