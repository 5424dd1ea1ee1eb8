"""Connections to backends, and what their failures mean.

One aiohttp session per backend and event loop: with many requests in flight httpx's own pool costs several times more
CPU, and httpx over aiohttp's pool still four times as much (ADR 14). A backend that does its own I/O gets an
`httpx.AsyncClient` over the same kind of pool. Nothing here is imported before the first request needs it.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, Awaitable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary

from xml_pipeline.errors import (
    BackendError,
    BackendTimeoutError,
    ConfigError,
    ConnectionFailedError,
    LLMError,
    MalformedAnswerError,
    cut,
)
from xml_pipeline.llm.http.classify import error_from
from xml_pipeline.llm.http.secrets import in_url

if TYPE_CHECKING:
    import aiohttp
    import httpx

    from xml_pipeline.llm.http.backend import Backend

USER_AGENT = "xml-pipeline"
SPARE_CONNECTIONS = 8  # beyond max_concurrent, for streams that are being closed
KEEPALIVE_SECONDS = 30.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_loopback(url: str) -> bool:
    """Whether this address is on this machine."""
    return urlsplit(url).hostname in _LOOPBACK


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """How to reach the providers. Its `repr` leaves the proxy out, whose address may hold a password.

    Attributes:
        connect_timeout: seconds for DNS, TCP and TLS together.
        proxy: URL of an HTTP proxy for every backend; None for the environment's.
        ca_file: PEM file with certificates to trust beside the usual ones.
        trust_env: read HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR.
    """

    connect_timeout: float = 10.0
    proxy: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    trust_env: bool = True


class Connection:
    """What a backend posts through: an open aiohttp session."""

    __slots__ = ("session",)

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Awaitable[aiohttp.ClientResponse]:
        """Send one POST, and wait for the head of its answer."""
        return self.session.post(url, data=body, headers=headers, allow_redirects=False)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Awaitable[aiohttp.ClientResponse]:
        """Send one request of another method, and wait for the head of its answer."""
        return self.session.request(method, url, data=body, headers=headers, allow_redirects=False)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.session.close()


class Transport:
    """The clients of one backend, one for each event loop.

    Attributes:
        secrets: in the address of the proxy on the way; no error may show them.
    """

    __slots__ = ("_clients", "_last", "backend", "secrets", "settings")

    def __init__(self, backend: Backend, settings: TransportSettings) -> None:
        self.backend = backend
        self.settings = settings
        self.secrets: tuple[str, ...] = ()
        self._clients: WeakKeyDictionary[
            asyncio.AbstractEventLoop, tuple[Any, AsyncGenerator[None, None]]
        ] = WeakKeyDictionary()
        self._last: tuple[asyncio.AbstractEventLoop | None, Any] = (None, None)  # a loop and its client

    def client(self) -> Any:
        """The running loop's client, None before `open`."""
        loop = asyncio.get_running_loop()
        last, client = self._last  # read once: other threads' loops may ask at the same time
        if loop is not last:
            found = self._clients.get(loop)
            client = None if found is None else found[0]
            self._last = (loop, client)
        return client

    async def open(self) -> Any:
        """Open the running loop's client; None for a backend that opens no connection."""
        backend = self.backend
        if backend.offline:
            return None
        client: Any = self.client()
        if client is None:
            self.secrets = in_url(proxy_for(backend.base_url, self.settings) or "")
            client = _connection(backend.base_url, backend.max_concurrent + SPARE_CONNECTIONS, self.settings)
            if backend.own_client:
                client = _httpx_client(client, backend.base_url, self.settings)
            self._last = (asyncio.get_running_loop(), client)
            # A router that nobody closes (a script's `asyncio.run(complete(...))`) still leaves no open sockets:
            # the loop closes its async generators before it ends.
            lifetime = _lifetime(client)
            self._clients[asyncio.get_running_loop()] = (client, lifetime)
            await anext(lifetime)
        return client

    async def aclose(self) -> None:
        """Close the running loop's client; clients of loops that ended are closed already."""
        self._last = (None, None)
        found = self._clients.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found[1].aclose()


async def _lifetime(client: Any) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await client.aclose()


def _connection(base_url: str, connections: int, settings: TransportSettings) -> Connection:
    import aiohttp

    from xml_pipeline.llm.http.pool import Pool

    proxy = proxy_for(base_url, settings)
    if urlsplit(base_url).scheme == "http" and not (proxy or "").startswith("https"):
        # Trusts nobody; reading all certificates takes 15 ms.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = _ssl_context(settings)
    pool = Pool(limit=connections, keepalive_timeout=KEEPALIVE_SECONDS, ssl=context)
    session = aiohttp.ClientSession(
        connector=pool,
        middlewares=(pool.send,),
        # Cookies of one agent's calls must not travel with another's: the jar keeps none.
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=settings.connect_timeout),
        proxy=proxy,
    )
    return Connection(session)


def _httpx_client(connection: Connection, base_url: str, settings: TransportSettings) -> httpx.AsyncClient:
    """A client over the connection's session; the base class's own methods find the connection on it."""
    import httpx
    from httpx_aiohttp import AiohttpTransport

    proxy = proxy_for(base_url, settings)
    transport = AiohttpTransport(
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # unused: the session has its own
        client=connection.session,
        proxy=httpx.Proxy(proxy) if proxy else None,
    )
    client = httpx.AsyncClient(
        transport=transport,
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
        timeout=httpx.Timeout(None, connect=settings.connect_timeout),
        headers={"User-Agent": USER_AGENT},
        follow_redirects=False,
        trust_env=False,
    )
    client.connection = connection  # type: ignore[attr-defined]  # ours
    return client


def _ssl_context(settings: TransportSettings) -> ssl.SSLContext:
    import certifi

    environ = os.environ if settings.trust_env else {}
    file, folder = environ.get("SSL_CERT_FILE"), environ.get("SSL_CERT_DIR")
    usual = None if file or folder else certifi.where()
    context = ssl.create_default_context(cafile=file or usual, capath=None if file else folder)
    if settings.ca_file:
        try:
            context.load_verify_locations(settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"ca_file {settings.ca_file!r} cannot be read as PEM: {error}") from None
    return context


def proxy_for(base_url: str, settings: TransportSettings) -> str | None:
    """The URL of the proxy on the way to this address, None for none."""
    if settings.proxy or not settings.trust_env:
        return settings.proxy
    parts = urlsplit(base_url)
    host = parts.hostname
    if not host:
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if proxy_bypass(host) or proxy_bypass(f"[{host}]:{port}" if ":" in host else f"{host}:{port}"):
        return None  # NO_PROXY names hosts, or hosts with their port
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


# What failures mean

# By library and class, an error's own class before those it is derived from; "" says the class's name. So nothing has
# to be imported that was not used.
_MEANINGS: dict[str, tuple[type[BackendError], str]] = {
    "aiohttp.ConnectionTimeoutError": (BackendTimeoutError, "no connection in time"),
    "aiohttp.ServerTimeoutError": (BackendTimeoutError, "no data in time"),
    "aiohttp.ClientPayloadError": (ConnectionFailedError, "the connection broke while reading"),
    "aiohttp.ClientHttpProxyError": (ConnectionFailedError, "the proxy refused"),
    "aiohttp.InvalidURL": (MalformedAnswerError, ""),
    "aiohttp.ClientError": (ConnectionFailedError, "the server broke the protocol"),
    "httpx.ConnectTimeout": (BackendTimeoutError, "no connection in time"),
    "httpx.ReadTimeout": (BackendTimeoutError, "no data in time"),
    "httpx.TimeoutException": (BackendTimeoutError, ""),
    "httpx.ConnectError": (ConnectionFailedError, "no connection"),
    "httpx.ReadError": (ConnectionFailedError, "the connection broke while reading"),
    "httpx.RemoteProtocolError": (ConnectionFailedError, "the server broke the protocol"),
    "httpx.ProxyError": (ConnectionFailedError, "the proxy refused"),
    "httpx.TransportError": (ConnectionFailedError, ""),
    "httpx.InvalidURL": (MalformedAnswerError, ""),
    "httpx.DecodingError": (MalformedAnswerError, ""),
    "builtins.TimeoutError": (BackendTimeoutError, "no answer in time"),
    "builtins.OSError": (ConnectionFailedError, ""),
}


# What may have been billed although no answer came; other errors are the provider's own refusals.
_MAYBE_BILLED = (BackendTimeoutError, ConnectionFailedError, MalformedAnswerError)

# Errors of a connection that never came to be: nothing was sent over it.
_NEVER_SENT = frozenset(
    (
        *("aiohttp.ClientConnectorError", "aiohttp.ConnectionTimeoutError", "aiohttp.InvalidURL"),
        *("httpx.ConnectError", "httpx.PoolTimeout", "httpx.InvalidURL", "httpx.UnsupportedProtocol"),
    )
)


def as_backend_error(error: Exception) -> BackendError:
    """What any exception of a backend means, as a typed error; its texts are still to be scrubbed.

    Backends of this library raise typed and aiohttp's errors; custom ones may raise `httpx` errors, JSON errors or
    anything.
    """
    if isinstance(error, BackendError):
        return error
    if isinstance(error, LLMError):
        raise error
    meant = _meant(error)
    meant.sent = not any(_NEVER_SENT.intersection(_ancestry(one)) for one in (error, error.__cause__))
    return meant


def may_be_billed(error: BackendError) -> bool:
    """Whether a provider that was asked may have worked for this failure: it did not refuse in its own words."""
    unclear = isinstance(error, _MAYBE_BILLED) or (type(error) is BackendError and error.status is None)
    return error.sent and unclear


def _ancestry(error: BaseException | None) -> list[str]:
    """The classes of an error by library and name, its own first."""
    return [f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__]


def _meant(error: Exception) -> BackendError:
    text, ancestry = cut(_said(error), 500), _ancestry(error)
    cause = error.__cause__
    if "httpx.HTTPStatusError" in ancestry:
        return _status_error(error)
    if "aiohttp.ClientPayloadError" in ancestry and type(cause).__name__ == "ContentEncodingError":
        return MalformedAnswerError(f"the answer cannot be decompressed: {text}")
    if "httpx.TimeoutException" in ancestry and cause is not None and not isinstance(cause, TimeoutError):
        # The aiohttp transport reports a dropped connection as a ConnectTimeout; its cause tells them apart.
        return ConnectionFailedError(_lost(cause, text))
    if "aiohttp.ClientConnectionError" in ancestry and not isinstance(error, TimeoutError):
        return ConnectionFailedError(_lost(error, text))
    meaning = next((_MEANINGS[name] for name in ancestry if name in _MEANINGS), None)
    if meaning is not None:
        kind, words = meaning
        return kind(f"{words or type(error).__name__}: {text}" if text else words or type(error).__name__)
    if isinstance(
        error, (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
    ):
        return MalformedAnswerError(f"the answer cannot be read ({type(error).__name__}: {text})")
    return BackendError(f"{type(error).__name__}: {text}")


def _said(error: Exception) -> str:
    """What an exception says, in one line. aiohttp writes a status 400 of its own before what it could not read."""
    own = type(error).__module__.partition(".")[0] == "aiohttp" and getattr(error, "status", 0) in (0, 400)
    messages = [getattr(one, "message", None) for one in (error, error.__cause__)] if own else []
    said = next((one for one in messages if isinstance(one, str) and one), str(error))
    return " ".join(said.replace("^", "").split())


def _lost(cause: BaseException, text: str) -> str:
    reason = getattr(cause, "os_error", None)  # aiohttp's ClientConnectorError: never connected
    if isinstance(reason, OSError):
        where = f"{getattr(cause, 'host', '')}:{getattr(cause, 'port', '')}"
        return f"no connection to {where}: {reason.strerror or type(reason).__name__}"
    return f"the connection broke: {text or type(cause).__name__}"


def _status_error(error: Any) -> BackendError:
    response: httpx.Response = error.response
    try:
        data: Any = response.json()
    except Exception:
        # The body may be unread (a stream) or no JSON; the status decides then.
        data = response.text if response.is_closed and response.is_stream_consumed else ""
    return error_from(response.status_code, response.headers, data)
