"""`Backend`: one endpoint of one provider, with its key, its limits and what it serves.

How to write a provider, `providers/<name>/`: a dialect (see `dialect.py`) and

    @dataclass
    class MyBackend(Backend):
        provider: str = "mine"                          # its key in PROVIDER_CLASSES
        base_url: str = "https://api.example.com/v1"    # the default; the dialect's paths are appended
        keep_alive: Annotated[str, Key("How long a model stays loaded.")] = "5m"  # its own YAML key

        default_key_env: ClassVar[str] = "MINE_API_KEY" # read when neither api_key nor api_key_env is given
        requires_key: ClassVar[bool] = True             # False: usable without a key (a local server)
        price_provider: ClassVar[str] = "mine"          # the provider's id in genai-prices, "" for none
        usual_models: ClassVar = ("mine-*",)            # what messages say that it serves

        def _auth_headers(self) -> dict[str, str]: ...  # from self.api_key
        def serves_model(self, model) -> bool: ...      # the provider's own rule, for the name the caller used
        def _make_dialect(self) -> Dialect: ...         # called once; reads self's fields
        def supports(self, feature, model) -> bool: ... # "tools" or "schema": natively there?

`supported_models` and `model_map` are the router's business. `_do_completion` and `_do_stream` of this base
class do all I/O. A backend without a dialect (a custom one) overrides `_do_completion(client, request)`, whose client
is then an `httpx.AsyncClient`, and gets streaming as one whole answer; whatever it raises (`httpx.HTTPStatusError`
of `raise_for_status()`, any httpx error, a JSON error) is classified by the router. Retries, limits, timeouts,
accounting, key scrubbing and failover are never a backend's business: one call of `_do_completion` is one HTTP
request. The router fills `backend`, `provider` and `model` into errors.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlsplit

from xml_pipeline.errors import ConfigError, InvalidRequestError, MalformedAnswerError, cut
from xml_pipeline.llm.http.dialect import Dialect, WireRequest
from xml_pipeline.llm.http.framing import Framer, LineFramer, SSEFramer
from xml_pipeline.llm.http.secrets import Secret
from xml_pipeline.llm.http.transport import USER_AGENT, Connection
from xml_pipeline.llm.types import (
    LLMRequest,
    LLMResponse,
    ReasoningDelta,
    StreamEvent,
    StreamFinished,
    StreamOpened,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from xml_pipeline.payload.text import encodable

if TYPE_CHECKING:
    import aiohttp

MAX_ERROR_BYTES = 64 * 1024
DRAIN_SECONDS = 0.25  # how long to wait for a stream's end after its terminal event, to reuse the connection

DEFAULT_HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "Content-Type": "application/json",
    "User-Agent": USER_AGENT,
}
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)

Feature = Literal["tools", "schema"]


@dataclass(frozen=True, slots=True)
class Key:
    """What organism.yaml says of a backend's own field: `num_ctx: Annotated[int, Key("Context length.", ge=1)] = 0`.

    Attributes:
        description: a sentence for the reference page.
        ge: the least number that may be written, None for any.
    """

    description: str
    ge: float | None = None


@dataclass
class Backend:
    """One endpoint.

    Attributes:
        provider: the key of its class in PROVIDER_CLASSES.
        name: unique in a router; the router derives one from the provider when it is empty.
        base_url: origin and path prefix; the key is sent there and nowhere else.
        api_key: the key; masked in every repr.
        api_key_env: the variable it came from, shown instead of it.
        priority: lower is preferred by `failover`.
        rate_limit_tpm: tokens a minute, None for no limit.
        rate_limit_rpm: requests a minute, None for no limit.
        max_concurrent: requests in flight at once.
        supported_models: exact names or globs; when given, they replace `serves_model`.
        model_map: name in the request → name at this endpoint; its keys are served too.
        headers: further HTTP headers of every request; their values are masked in every repr.
    """

    provider: str = ""
    name: str = ""
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    api_key_env: str = ""
    priority: int = 1
    rate_limit_tpm: int | None = None
    rate_limit_rpm: int | None = None
    max_concurrent: int = 20
    supported_models: Sequence[str] = ()
    model_map: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    yaml_keys: ClassVar[str] = (
        ""  # "module:Class" of the pydantic model of its own keys; "" for its own fields
    )
    default_key_env: ClassVar[str] = ""
    requires_key: ClassVar[bool] = False
    price_provider: ClassVar[str] = ""
    usual_models: ClassVar[tuple[str, ...]] = ()  # globs of `serves_model`, for messages only
    offline: ClassVar[bool] = (
        False  # True: opens no connection, and may run where real requests are forbidden
    )

    def __post_init__(self) -> None:
        self.check(vars(self))
        name = self.name or self.provider or type(self).__name__
        self.api_key = _checked_key(self.api_key, self.api_key_env or self.default_key_env, name)
        self.base_url = self.base_url.rstrip("/")
        self.headers = {header: Secret(value) for header, value in self.headers.items()}

    @classmethod
    def check(cls, given: Mapping[str, Any]) -> None:
        """Whether a backend can be made of these fields; those left out have their defaults.

        A configuration is checked with it before anything is built. A class with fields of its own extends it.

        Raises:
            ConfigError: a field may not be what it is; names the backend.
        """
        name = given.get("name") or given.get("provider", cls.provider) or cls.__name__
        _check_url(given.get("base_url", cls.base_url), name)

    # What a provider supplies

    def _auth_headers(self) -> dict[str, str]:
        """The headers that carry the key."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def serves_model(self, model: str) -> bool:
        """Whether the provider's own rule says that it serves a model of this name."""
        return False

    def _make_dialect(self) -> Dialect | None:
        """The wire mapping; None for a backend that overrides `_do_completion`."""
        return None

    def supports(self, feature: Feature, model: str) -> bool:
        """Whether tools or JSON-Schema output work natively with this model here."""
        return self.dialect is not None

    # What this class does with it

    @cached_property
    def dialect(self) -> Dialect | None:
        """The wire mapping, made once."""
        return self._make_dialect()

    @property
    def own_client(self) -> bool:
        """Whether this class does its own I/O: its methods then get an `httpx.AsyncClient`."""
        kind = type(self)
        return kind._do_completion is not Backend._do_completion or kind._do_stream is not Backend._do_stream

    @property
    def key_missing(self) -> bool:
        """Whether this backend cannot be used because it has no key."""
        return self.requires_key and not self.api_key

    async def _do_completion(self, client: Any, request: LLMRequest) -> LLMResponse:
        """One request, one answer; raises a typed error, or any error of the client.

        Args:
            client: a `Connection`; an `httpx.AsyncClient` where a subclass does its own I/O.
            request: what is asked.
        """
        dialect = self.dialect
        if dialect is None:
            raise NotImplementedError(
                f"{type(self).__name__} needs _make_dialect() or its own _do_completion()"
            )
        answer = await self._post(client, dialect.encode(request, stream=False))
        content = await answer.read()
        headers = answer.headers
        if not 200 <= answer.status < 300:
            raise dialect.error(answer.status, headers, _body(content))
        response = dialect.decode(_json(content), request)
        response.headers = headers
        if not response.request_id:
            response.request_id = headers.get("x-request-id") or headers.get("request-id") or ""
        return response

    async def _do_stream(self, client: Any, request: LLMRequest) -> AsyncIterator[StreamEvent]:
        """One request, its events as they come; arguments and errors as of `_do_completion`, also in the middle."""
        dialect = self.dialect
        if dialect is None:
            for event in as_events(await self._do_completion(client, request)):
                yield event
            return
        answer = await self._post(client, dialect.encode(request, stream=True))
        try:
            headers = answer.headers
            chunks = answer.content.iter_any()
            if not 200 <= answer.status < 300:
                raise dialect.error(answer.status, headers, _body(await _read_some(chunks)))
            if "json" in headers.get("content-type", "") and dialect.framing == "sse":
                # Asked for a stream, answered in one piece: the answer, or an error inside a 200.
                response = dialect.decode(_json(await answer.read()), request)
                response.headers = headers
                for event in as_events(response):
                    yield event
                return
            yield StreamOpened(headers, headers.get("x-request-id") or headers.get("request-id") or "")
            framer: Framer = SSEFramer() if dialect.framing == "sse" else LineFramer()
            decoder = dialect.stream_decoder(request)
            async for chunk in chunks:
                for data, name in framer.feed(chunk):
                    for event in decoder.feed(data, name):
                        yield event
                if decoder.done:
                    await _drain(chunks)
                    return
            for data, name in framer.close():
                for event in decoder.feed(data, name):
                    yield event
        finally:
            answer.close()  # the connection is free again if the body was read to its end

    def _post(self, client: Any, wire: WireRequest) -> Awaitable[aiohttp.ClientResponse]:
        # A path cannot lead to another host: the key is sent to `base_url` and nowhere else.
        if not wire.path.startswith("/"):
            raise InvalidRequestError(f"the path {cut(wire.path)!r} would leave {self.base_url}")
        try:
            text = _JSON.encode(wire.body)
            body = text.encode() if text.isascii() else encodable(text).encode()
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(f"the request cannot be written as JSON: {error}") from None
        headers = {**DEFAULT_HEADERS, **self.headers, **wire.headers, **self._auth_headers()}
        connection: Connection = getattr(client, "connection", client)  # an httpx client carries ours
        return connection.post(self.base_url + wire.path, headers, body)


def as_events(response: LLMResponse) -> list[StreamEvent]:
    """A whole answer as the events of a stream."""
    events: list[StreamEvent] = [StreamOpened(response.headers, response.request_id)]
    if response.reasoning:
        events.append(ReasoningDelta(response.reasoning))
    if response.content:
        events.append(TextDelta(response.content))
    events += [
        ToolCallDelta(index, call.id, call.name, call.arguments_text, call.provider_data)
        for index, call in enumerate(response.tool_calls)
    ]
    events.append(UsageReport(Usage.of(response.usage)))
    events.append(
        StreamFinished(
            response.finish_reason,
            response.model,
            response.request_id,
            response.provider_data,
            response.stop_reason,
            response.stop_sequence,
        )
    )
    return events


def _checked_key(key: str, variable: str, name: str) -> Secret:
    """The key without what copying leaves around it."""
    stripped = key.strip() if isinstance(key, str) else ""
    if (key and not isinstance(key, str)) or not stripped.isascii() or any(c.isspace() for c in stripped):
        where = f" in the environment variable {variable}" if variable else ""
        raise ConfigError(
            f"backend {name}: the key{where} holds blanks or characters beyond ASCII, which no HTTP header can"
            " carry; copy it again"
        )
    return Secret(stripped)


def _check_url(url: str, name: str) -> None:
    if not url:
        return
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, TypeError, AttributeError):  # a port that is none, half an IPv6 address, no text
        usable = False
    if not usable or any(character.isspace() for character in url):
        secret = any(mark in str(url) for mark in "@?#")
        shown = "(not shown: it may hold a password or a key)" if secret else repr(cut(url))
        raise ConfigError(
            f"backend {name}: base_url {shown} is no http or https address; write it as"
            " https://host[:port][/prefix]"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"backend {name}: base_url may hold neither user, password, query nor fragment; put a key into"
            " the environment and name the variable in api_key_env"
        )


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:  # the latter: nested without end
        shown = cut(content[:200].decode("utf-8", "replace"))
        raise MalformedAnswerError(f"the answer is no JSON ({error}): {shown!r}") from None


def _body(content: bytes) -> Any:
    """The body of an error answer: parsed, or its text."""
    content = content[:MAX_ERROR_BYTES]
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")


async def _read_some(chunks: AsyncIterable[bytes]) -> bytes:
    content = b""
    async for chunk in chunks:
        content += chunk
        if len(content) >= MAX_ERROR_BYTES:
            break
    return content


async def _drain(chunks: AsyncIterable[bytes]) -> None:
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in chunks:
                pass
    except TimeoutError:
        pass
