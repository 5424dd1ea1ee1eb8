"""HTTP clients for backends, and what their failures mean.

One `httpx.AsyncClient` per backend and event loop, over aiohttp's connection pool (httpx's own costs several
times more CPU with many requests in flight). Nothing here is imported before the first request needs it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass
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
from xml_pipeline.llm.http.secrets import scrub

if TYPE_CHECKING:
    import httpx

USER_AGENT = "xml-pipeline"
SPARE_CONNECTIONS = 8  # beyond max_concurrent, for streams that are being closed
KEEPALIVE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """How to reach the providers.

    Attributes:
        connect_timeout: seconds for DNS, TCP and TLS together.
        proxy: URL of an HTTP proxy for every backend; None for the environment's.
        ca_file: PEM file with certificates to trust beside the usual ones.
        trust_env: read HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR.
    """

    connect_timeout: float = 10.0
    proxy: str | None = None
    ca_file: str | None = None
    trust_env: bool = True


class Clients:
    """The HTTP clients of one backend, one per event loop."""

    __slots__ = ("_base_url", "_clients", "_max_concurrent", "_settings")

    def __init__(self, base_url: str, max_concurrent: int, settings: TransportSettings) -> None:
        self._base_url = base_url
        self._max_concurrent = max_concurrent
        self._settings = settings
        self._clients: WeakKeyDictionary[
            asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, AsyncGenerator[None, None]]
        ] = WeakKeyDictionary()

    async def get(self) -> httpx.AsyncClient:
        """The running loop's client."""
        loop = asyncio.get_running_loop()
        found = self._clients.get(loop)
        if found is None:
            client = _open(self._base_url, self._max_concurrent, self._settings)
            # A router that nobody closes (a script's `asyncio.run(complete(...))`) still leaves no open sockets:
            # the loop closes its async generators before it ends.
            lifetime = _lifetime(client)
            found = self._clients[loop] = (client, lifetime)
            await anext(lifetime)
        return found[0]

    async def aclose(self) -> None:
        """Close the running loop's client; clients of loops that ended are closed already."""
        found = self._clients.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found[1].aclose()


async def _lifetime(client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await client.aclose()


def _open(base_url: str, max_concurrent: int, settings: TransportSettings) -> httpx.AsyncClient:
    import aiohttp
    import httpx
    from httpx_aiohttp import AiohttpTransport

    proxy = settings.proxy or (_environment_proxy(base_url) if settings.trust_env else None)
    if urlsplit(base_url).scheme == "http" and not (proxy or "").startswith("https"):
        context = ssl.SSLContext(
            ssl.PROTOCOL_TLS_CLIENT
        )  # trusts nobody; reading all certificates takes 15 ms
    else:
        context = _ssl_context(settings)
    connections = max_concurrent + SPARE_CONNECTIONS

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=connections, keepalive_timeout=KEEPALIVE_SECONDS, ssl=context)
        # Cookies of one agent's calls must not travel with another's: neither jar keeps any.
        return aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )

    transport = AiohttpTransport(
        verify=context,
        limits=httpx.Limits(max_connections=connections),
        client=session,
        proxy=httpx.Proxy(proxy) if proxy else None,
    )
    return httpx.AsyncClient(
        transport=transport,
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
        timeout=httpx.Timeout(None, connect=settings.connect_timeout),
        headers={"User-Agent": USER_AGENT},
        follow_redirects=False,
        trust_env=False,
    )


def _ssl_context(settings: TransportSettings) -> ssl.SSLContext:
    import httpx

    context = httpx.create_ssl_context(trust_env=settings.trust_env)
    if settings.ca_file:
        try:
            context.load_verify_locations(settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"ca_file {settings.ca_file!r} cannot be read as PEM: {error}") from None
    return context


def _environment_proxy(base_url: str) -> str | None:
    parts = urlsplit(base_url)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def as_backend_error(error: Exception, secrets: tuple[str, ...] = ()) -> BackendError:
    """What any exception of a backend means, as a typed error without secrets.

    Backends of this library raise typed errors; custom ones may raise `httpx` errors, JSON errors or anything.
    """
    if isinstance(error, BackendError):
        return error
    text = scrub(cut(str(error), 500), secrets)
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return BackendTimeoutError(f"no answer in time: {text}" if text else "no answer in time")
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        return _status_error(error)
    if isinstance(error, httpx.TimeoutException):
        # The aiohttp transport reports a dropped connection as a ConnectTimeout; its cause tells them apart.
        cause = error.__cause__
        if cause is None or isinstance(cause, (TimeoutError, asyncio.TimeoutError)):
            return BackendTimeoutError(f"{_words(error)}: {text}")
        return ConnectionFailedError(_lost(cause, text))
    if isinstance(error, (httpx.TransportError, OSError)):
        return ConnectionFailedError(f"{_words(error)}: {text}")
    if isinstance(error, (httpx.InvalidURL, httpx.DecodingError)):
        return MalformedAnswerError(f"{_words(error)}: {text}")
    if isinstance(error, (ValueError, LookupError, TypeError, AttributeError)):
        return MalformedAnswerError(f"the answer cannot be read ({type(error).__name__}: {text})")
    if isinstance(error, LLMError):
        raise error
    return BackendError(f"{type(error).__name__}: {text}")


def _lost(cause: BaseException, text: str) -> str:
    reason = getattr(cause, "os_error", None)  # aiohttp's ClientConnectorError: never connected
    if isinstance(reason, OSError):
        where = f"{getattr(cause, 'host', '')}:{getattr(cause, 'port', '')}"
        return f"no connection to {where}: {reason.strerror or type(reason).__name__}"
    return f"the connection broke: {text or type(cause).__name__}"


def _words(error: Exception) -> str:
    return {
        "ConnectError": "no connection",
        "ConnectTimeout": "no connection in time",
        "ReadTimeout": "no data in time",
        "ReadError": "the connection broke while reading",
        "RemoteProtocolError": "the server broke the protocol",
        "ProxyError": "the proxy refused",
    }.get(type(error).__name__, type(error).__name__)


def _status_error(error: httpx.HTTPStatusError) -> BackendError:
    response = error.response
    try:
        data: Any = response.json()
    except Exception:
        # The body may be unread (a stream) or no JSON; the status decides then.
        data = response.text if response.is_closed and response.is_stream_consumed else ""
    return error_from(response.status_code, response.headers, data)
