"""The server of webhooks: one small request a connection, in bounded time, and no word more than a status says.

A delivery is accepted when its message is durable, and once: its id is the key of the request. Sent again, it is the
same conversation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from xml_pipeline.arming.going import Going
from xml_pipeline.doors import Visitor
from xml_pipeline.errors import (
    ConfigError,
    KeyConflict,
    PayloadError,
    RoutingError,
    XmlPipelineError,
    cut,
    described,
)
from xml_pipeline.pump.log import logger
from xml_pipeline.triggers.signature import delivery_of, is_genuine
from xml_pipeline.triggers.trigger import Trigger

PATIENCE = 10.0
"""Seconds that a connection may take: its request, and the answer."""
MOST = 128
"""Connections at a time."""
_LATER = "5"  # seconds after which whoever came when there was no room may come again


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook, armed.

    Attributes:
        trigger: what it fires.
        visitor: at its door.
        key: the bytes of its secret.
        payload: the class whose fields its body holds.
    """

    trigger: Trigger
    visitor: Visitor
    key: bytes = field(repr=False)
    payload: str


class _Refused(Exception):
    """A status, and all that is said of it."""

    def __init__(self, status: int, error: str, **headers: str) -> None:
        self.status = status
        self.error = error
        self.headers = headers
        super().__init__(error)


class WebhookServer:
    """Listens for deliveries.

    Args:
        hooks: by the path of their URL.
        going: what goes on.
        max_bytes: of one body.
        clock: Unix time in seconds.
        patience: seconds that a connection may take.

    Attributes:
        url: of the server, once it listens.
    """

    def __init__(
        self,
        hooks: Mapping[str, Hook],
        going: Going,
        max_bytes: int,
        clock: Callable[[], float],
        patience: float = PATIENCE,
    ) -> None:
        self.url = ""
        self._hooks = hooks
        self._going = going
        self._max_bytes = max_bytes
        self._clock = clock
        self._patience = patience
        self._http = web.Server(self._handle, keepalive_timeout=0.0, access_log=None, lingering_time=1.0)
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> None:
        """Listen. Raises ConfigError: it cannot be listened there."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._connection, host, port)
        except OSError as error:
            raise ConfigError(
                f"webhooks cannot be listened for at {host}, port {port}: {described(error)}; another one is"
                " `organism: {webhooks: {host: …, port: …}}`"
            ) from None
        name, port = self._server.sockets[0].getsockname()[:2]
        self.url = f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"

    async def close(self) -> None:
        """Listen no more; what was not accepted by then is not."""
        if self._server is not None:
            self._server.close()
        await self._http.shutdown(timeout=1.0)

    def _connection(self) -> asyncio.Protocol:
        """Whoever connects has little time, and few do at once."""
        protocol = self._http()
        full = len(self._http.connections) >= MOST
        asyncio.get_running_loop().call_later(0.0 if full else self._patience, _dropped, protocol)
        return protocol

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            conversation_id = await self._accepted(request)
        except _Refused as refused:
            logger.info("webhook %s: %s %s", cut(repr(request.path)), refused.status, refused.error)
            response = _said(refused.status, {"error": refused.error}, refused.headers)
        except XmlPipelineError as error:  # it closes, or its disk is full
            logger.error("webhook %s: %s", cut(repr(request.path)), described(error))
            response = _said(503, {"error": "not now"}, {"Retry-After": _LATER})
        else:
            response = _said(202, {"conversation": conversation_id}, {})
        response.force_close()
        return response

    async def _accepted(self, request: web.BaseRequest) -> str:
        hook = self._hooks.get(request.path)
        if hook is None:
            raise _Refused(404, "not found")
        if request.method != "POST":
            raise _Refused(405, "only POST", Allow="POST")
        body = await self._body(request)
        delivery = delivery_of(request.headers)
        if delivery is None or not is_genuine(delivery, body, hook.key, self._clock()):
            raise _Refused(401, "not signed, or not now")
        return await self._fired(hook, delivery.id, body)

    async def _body(self, request: web.BaseRequest) -> bytes:
        """The body, read as far as it may go."""
        if (request.content_length or 0) > self._max_bytes:
            raise _Refused(413, "too large")
        body = bytearray()
        async for part in request.content.iter_any():
            body += part
            if len(body) > self._max_bytes:
                raise _Refused(413, "too large")
        return bytes(body)

    async def _fired(self, hook: Hook, delivery_id: str, body: bytes) -> str:
        trigger, visitor = hook.trigger, hook.visitor
        said = {hook.payload: _object(body)} if trigger.said is None else dict(trigger.said)
        key = f"{trigger.caller}/{delivery_id}"
        if not visitor.knows(key):
            if trigger.if_running == "skip" and self._going.any(trigger.caller):
                raise _Refused(409, "the last one still runs", **{"Retry-After": _LATER})
            if visitor.has_to_wait:
                raise _Refused(429, "too many", **{"Retry-After": _LATER})
        try:
            return await visitor.send(said, key=key)
        except KeyConflict:
            raise _Refused(409, "this id was another delivery's") from None
        except (PayloadError, RoutingError) as error:
            logger.warning("webhook %s: the body is no %s: %s", trigger.name, hook.payload, described(error))
            raise _Refused(400, "the body does not fit") from None


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _Refused(400, "the body is no JSON") from None
    if not isinstance(value, dict):
        raise _Refused(400, "the body is no JSON object")
    return value


def _said(status: int, words: Mapping[str, str], headers: Mapping[str, str]) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(words), headers=headers, content_type="application/json"
    )


def _dropped(protocol: web.RequestHandler) -> None:
    if protocol.transport is not None:
        protocol.transport.abort()
