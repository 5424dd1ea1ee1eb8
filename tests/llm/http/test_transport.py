"""Connections: proxies, certificates, event loops, closing; and what broken ones mean."""

from __future__ import annotations

import asyncio
import gc
import ssl
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from aiohttp import web

from tests.emulators.raw import Exchange, RawServer, head
from tests.emulators.server import closed_port
from xml_pipeline.errors import (
    BackendError,
    BackendTimeoutError,
    ConnectionFailedError,
    MalformedAnswerError,
    ModelNotFoundError,
    RateLimitedError,
)
from xml_pipeline.llm import (
    PROVIDER_CLASSES,
    LLMRequest,
    LLMResponse,
    Router,
    StreamEnd,
    TransportSettings,
)
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


async def test_a_stale_connection_costs_a_custom_backend_no_try_either() -> None:
    async def play(exchange: Exchange) -> None:
        if exchange.connection == exchange.number or exchange.number == 3:
            body = b'{"text": "Hi"}'
            await exchange.send(head(length=len(body)), body)
        else:
            exchange.reset()

    async with RawServer(play) as server, Router([Plain(base_url=server.origin)], retries=0) as one:
        for _ in range(2):
            assert (await one.complete("m", "x")).content == "Hi"
        assert (server.connections, len(server.requests)) == (2, 3)


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
    names = "('httpx', 'aiohttp', 'genai_prices')"
    code = f"import sys, xml_pipeline.llm; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# The built-in backends' own way

CHAT = {
    "model": "m",
    "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2},
}


def built_in(port: int, **settings: Any) -> Router:
    backend = PROVIDER_CLASSES["openai-compatible"](base_url=f"http://localhost:{port}/v1", api_key="sk-key")
    return Router([backend], retries=0, **settings)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_compressed_answers_are_read(coding: str) -> None:
    async def compressed(request: web.Request) -> web.Response:
        assert coding in request.headers["Accept-Encoding"]
        response = web.json_response(CHAT)
        response.enable_compression(web.ContentCoding(coding))
        return response

    async with serving(compressed) as port, built_in(port) as one:
        assert (await one.complete("m", "x")).content == "Hi"


async def test_what_cannot_be_decompressed_is_malformed() -> None:
    async def broken(request: web.Request) -> web.Response:
        return web.Response(body=b"no gzip at all", headers={"Content-Encoding": "gzip"})

    async with serving(broken) as port, built_in(port) as one:
        with pytest.raises(MalformedAnswerError):
            await one.complete("m", "x")


async def test_a_body_that_is_cut_is_a_broken_connection() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"model"')
        assert request.transport is not None
        request.transport.close()
        return response

    async with serving(cut) as port, built_in(port) as one:
        with pytest.raises(ConnectionFailedError, match="broke"):
            await one.complete("m", "x")


async def test_cookies_redirects_and_headers_of_built_in_backends() -> None:
    seen: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.headers.get("Cookie"), request.headers["User-Agent"], request.headers["Accept"]))
        if len(seen) == 3:
            raise web.HTTPTemporaryRedirect("/other")
        response = web.json_response(CHAT, headers={"X-Request-Id": "r1"})
        response.set_cookie("session", "1")
        return response

    async with serving(answer) as port, built_in(port) as one:
        response = await one.complete("m", "x")
        assert (response.request_id, response.headers and response.headers["x-request-id"]) == ("r1", "r1")
        await one.complete("m", "x")
        with pytest.raises(MalformedAnswerError, match="redirects to /other"):
            await one.complete("m", "x")
    assert seen == [(None, "xml-pipeline", "*/*")] * 3


async def test_a_proxy_that_refuses_does_not_show_its_password() -> None:
    async def refusing(request: web.Request) -> web.Response:
        assert request.headers["Proxy-Authorization"].startswith("Basic ")
        return web.Response(status=407, text="who are you?")

    async with serving(refusing) as port:
        proxy = TransportSettings(proxy=f"http://user:hunter2@127.0.0.1:{port}")
        for scheme in ("http", "https"):
            backend = PROVIDER_CLASSES["openai-compatible"](base_url=f"{scheme}://localhost:1/v1")
            async with Router([backend], retries=0, transport=proxy) as one:
                with pytest.raises(BackendError) as caught:
                    await one.complete("m", "x")
                assert "hunter2" not in str(caught.value)


@dataclass
class Counting(PROVIDER_CLASSES["openai-compatible"]):  # type: ignore[misc]  # looked up by name
    """Code of one's own around a built-in backend's."""

    provider: str = "counting"

    async def _do_completion(self, client: httpx.AsyncClient, request: LLMRequest) -> LLMResponse:
        assert (await client.get(self.base_url)).status_code == 405
        response: LLMResponse = await super()._do_completion(client, request)
        return response


async def test_own_code_gets_an_httpx_client_and_may_call_ours() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(CHAT) if request.method == "POST" else web.Response(status=405)

    async with serving(answer) as port:
        one = Router([Counting(base_url=f"http://localhost:{port}/v1")], retries=0)
        async with one:
            assert (await one.complete("m", "x")).content == "Hi"
            events = [event async for event in one.stream("m", "x")]
            assert isinstance(events[-1], StreamEnd)
            assert events[-1].response.content == "Hi"


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (aiohttp.ServerDisconnectedError(), ConnectionFailedError, "the connection broke"),
        (aiohttp.ClientOSError(104, "reset by peer"), ConnectionFailedError, "the connection broke"),
        (aiohttp.ClientPayloadError("cut"), ConnectionFailedError, "while reading"),
        (aiohttp.ConnectionTimeoutError("slow"), BackendTimeoutError, "no connection in time"),
        (aiohttp.SocketTimeoutError("slow"), BackendTimeoutError, "no data in time"),
        (aiohttp.InvalidURL("http://["), MalformedAnswerError, "InvalidURL"),
        (aiohttp.ClientError("odd"), ConnectionFailedError, "the server broke the protocol"),
    ],
)
def test_errors_of_aiohttp_are_mapped(raised: Exception, kind: type[BackendError], words: str) -> None:
    error = as_backend_error(raised)
    assert type(error) is kind
    assert words in str(error)


def test_a_call_of_a_built_in_backend_imports_no_httpx() -> None:
    code = (
        "import asyncio, sys; from xml_pipeline.llm import *\n"
        "router = Router([PROVIDER_CLASSES['openai-compatible'](base_url='http://127.0.0.1:1/v1')], retries=0)\n"
        "try: asyncio.run(router.complete('m', 'x'))\n"
        "except Exception as error: print(type(error).__name__, 'httpx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "ConnectionFailedError False"
