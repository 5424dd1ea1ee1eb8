"""Connections: proxies, certificates, event loops, closing; and what broken ones mean."""

from __future__ import annotations

import asyncio
import gc
import ssl
import subprocess
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from tests.emulators.server import closed_port
from xml_pipeline.errors import (
    BackendError,
    BackendTimeoutError,
    ConnectionFailedError,
    MalformedAnswerError,
    ModelNotFoundError,
    RateLimitedError,
)
from xml_pipeline.llm import LLMRequest, LLMResponse, Router, TransportSettings
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.http.transport import as_backend_error

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Plain(Backend):
    """The smallest custom backend."""

    provider: str = "plain"

    def serves_model(self, model: str) -> bool:
        return True

    async def _do_completion(self, client: httpx.AsyncClient, request: LLMRequest) -> LLMResponse:
        answer = await client.post(f"{self.base_url}/chat", json={"model": request.model})
        answer.raise_for_status()
        return LLMResponse(content=answer.json()["text"], model=request.model)


@asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def hello(request: web.Request) -> web.Response:
    return web.json_response({"text": f"hello from {request.path}"})


def router(
    port: int, *, scheme: str = "http", transport: TransportSettings | None = None, **settings: Any
) -> Router:
    backend = Plain(base_url=f"{scheme}://localhost:{port}/v1")
    return Router([backend], retries=0, transport=transport, **settings)


def test_a_router_works_in_one_event_loop_after_another_and_leaves_no_open_socket() -> None:
    """A script calls `asyncio.run(complete(...))` again and again, and never closes anything."""
    shared: list[Router] = []

    async def once() -> str:
        async with serving(hello) as port:
            if not shared:
                shared.append(router(port))
            shared[0].backends["plain"].base_url = f"http://localhost:{port}/v1"
            return (await shared[0].complete("m", "x")).content

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [asyncio.run(once()) for _ in range(3)] == ["hello from /v1/chat"] * 3
        shared.clear()
        gc.collect()


async def test_closing_the_router_closes_its_clients() -> None:
    async with serving(hello) as port:
        one = router(port)
        await one.complete("m", "x")
        transport = one._endpoints["plain"].transport
        client = transport.client()
        assert client is await transport.open()
        await one.aclose()
        assert client.is_closed


async def test_a_proxy_is_used_from_the_settings_and_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []

    async def proxying(request: web.Request) -> web.Response:
        seen.append(str(request.raw_path))
        return web.json_response({"text": "through the proxy"})

    async with serving(proxying) as port, serving(hello) as direct:
        proxy = f"http://127.0.0.1:{port}"
        async with router(1, transport=TransportSettings(proxy=proxy)) as one:
            assert (await one.complete("m", "x")).content == "through the proxy"
        assert seen == ["http://localhost:1/v1/chat"]
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("http_proxy", proxy)
        async with router(1) as one:
            assert (await one.complete("m", "x")).content == "through the proxy"
        async with router(direct, transport=TransportSettings(trust_env=False)) as one:
            assert (await one.complete("m", "x")).content == "hello from /v1/chat"
        monkeypatch.setenv("no_proxy", "localhost")
        async with router(direct) as one:
            assert (await one.complete("m", "x")).content == "hello from /v1/chat"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that nobody trusts yet."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


async def test_a_certificate_of_ones_own_must_be_named(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    async with serving(hello, context) as port:
        async with router(port, scheme="https") as one:
            with pytest.raises(ConnectionFailedError):
                await one.complete("m", "x")
        async with router(port, scheme="https", transport=TransportSettings(ca_file=str(cert))) as one:
            assert (await one.complete("m", "x")).content == "hello from /v1/chat"


async def test_redirects_are_not_followed() -> None:
    visited: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        visited.append(request.path)
        raise web.HTTPTemporaryRedirect("/other")

    async with serving(elsewhere) as port, router(port) as one:
        with pytest.raises(MalformedAnswerError, match="redirects to /other"):
            await one.complete("m", "x")
    assert visited == ["/v1/chat"]


async def test_cookies_of_one_call_do_not_travel_with_the_next() -> None:
    seen: list[str | None] = []

    async def setting(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        response = web.json_response({"text": "x"})
        response.set_cookie("session", "1")
        return response

    async with serving(setting) as port, router(port) as one:
        await one.complete("m", "x")
        await one.complete("m", "x")
    assert seen == [None, None]


async def test_a_refused_connection_is_named() -> None:
    async with router(closed_port()) as one:
        with pytest.raises(ConnectionFailedError) as caught:
            await one.complete("m", "x")
    assert caught.value.backend == "plain"


async def test_a_dropped_connection_is_no_timeout() -> None:
    async def drop(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async with serving(drop) as port, router(port) as one:
        with pytest.raises(ConnectionFailedError):
            await one.complete("m", "x")


def response(status: int, body: bytes = b"", **headers: str) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://127.0.0.1/")
    answer = httpx.Response(status, content=body, headers=headers, request=request)
    return httpx.HTTPStatusError("status", request=request, response=answer)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (httpx.ConnectError("refused"), ConnectionFailedError),
        (httpx.ReadError("reset"), ConnectionFailedError),
        (httpx.WriteError("broken pipe"), ConnectionFailedError),
        (httpx.RemoteProtocolError("nonsense"), ConnectionFailedError),
        (httpx.ProxyError("407"), ConnectionFailedError),
        (httpx.UnsupportedProtocol("gopher"), ConnectionFailedError),
        (httpx.ConnectTimeout("slow"), BackendTimeoutError),
        (httpx.ReadTimeout("slow"), BackendTimeoutError),
        (httpx.PoolTimeout("full"), BackendTimeoutError),
        (TimeoutError(), BackendTimeoutError),
        (ConnectionResetError("reset"), ConnectionFailedError),
        (httpx.DecodingError("gzip"), MalformedAnswerError),
        (httpx.InvalidURL("bad"), MalformedAnswerError),
        (KeyError("choices"), MalformedAnswerError),
        (ValueError("json"), MalformedAnswerError),
        (response(429, b"{}", **{"Retry-After": "2"}), RateLimitedError),
        (response(404, b"not json"), ModelNotFoundError),
        (RuntimeError("a custom backend's own"), BackendError),
    ],
)
def test_every_exception_of_a_backend_becomes_a_typed_error(
    raised: Exception, kind: type[BackendError]
) -> None:
    error = as_backend_error(raised)
    assert type(error) is kind
    assert str(error)


def test_every_exception_of_httpx_is_mapped() -> None:
    kinds = [
        one for one in vars(httpx).values() if isinstance(one, type) and issubclass(one, httpx.RequestError)
    ]
    assert len(kinds) > 10
    for kind in kinds:
        assert type(as_backend_error(kind("x"))) is not BackendError or kind in (
            httpx.RequestError,
            httpx.TooManyRedirects,
        )


def test_importing_the_router_imports_no_http_client() -> None:
    import sys

    names = "('httpx', 'aiohttp', 'genai_prices')"
    code = f"import sys, xml_pipeline.llm; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
