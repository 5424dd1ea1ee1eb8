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
        endpoints: ClassVar = ("/chat/completions",)    # what a base_url must not end with: it is appended

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
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from xml_pipeline.errors import (
    BackendError,
    ConfigError,
    InvalidRequestError,
    KeyStoreError,
    MalformedAnswerError,
    cut,
)
from xml_pipeline.keys.names import checked_name, sendable, variable_of
from xml_pipeline.keys.secret import Secret
from xml_pipeline.llm.http.assembly import Assembly, as_events, checked
from xml_pipeline.llm.http.body import Body
from xml_pipeline.llm.http.dialect import Dialect, StreamDecoder, WireRequest, expect_object, loaded
from xml_pipeline.llm.http.framing import Frame, Framer, LineFramer, SSEFramer
from xml_pipeline.llm.http.transport import USER_AGENT, Connection
from xml_pipeline.llm.types import Feature, LLMRequest, LLMResponse, StreamEvent, StreamOpened
from xml_pipeline.payload.text import encodable

if TYPE_CHECKING:
    import aiohttp

MAX_ANSWER_BYTES = 32 * 1024 * 1024  # of an answer in one piece; parsed, JSON can take twenty times as much
MAX_STREAM_BYTES = 256 * 1024 * 1024  # a million tokens, each in a chunk of its own
QUIET_SECONDS = 2.0  # how long an answer that looks whole is waited on before it is read

DEFAULT_HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "Content-Type": "application/json",
    "User-Agent": USER_AGENT,
}
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


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
        api_key_ref: the name under which it is looked up when the backend could be asked first (see `keys`).
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
    api_key_ref: str = ""
    priority: int = 1
    rate_limit_tpm: int | None = None
    rate_limit_rpm: int | None = None
    max_concurrent: int = 20
    supported_models: Sequence[str] = ()
    model_map: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    key_problem: str = field(
        default="", init=False, repr=False, compare=False
    )  # why `api_key_ref` gave no key

    yaml_keys: ClassVar[str] = (
        ""  # "module:Class" of the pydantic model of its own keys; "" for its own fields
    )
    default_key_env: ClassVar[str] = ""
    requires_key: ClassVar[bool] = False
    price_provider: ClassVar[str] = ""
    tier_header: ClassVar[str] = ""  # of an answer: `Usage.service_tier`, where its body does not say it
    usual_models: ClassVar[tuple[str, ...]] = ()  # globs of `serves_model`, for messages only
    endpoints: ClassVar[tuple[str, ...]] = ()  # paths in lower case that a `base_url` must not end with
    detached = False  # True: answers are asked for with `_submit`, and fetched by their names with `_fetch`
    stores = (
        False  # True: what prompts begin with is stored there by name (`_prefix`, `_store`, `_keep`, `_drop`)
    )
    stands_in = False  # True: asked while no other backend of its router has a key
    offline: ClassVar[bool] = (
        False  # True: opens no connection, and may run where real requests are forbidden
    )

    def __post_init__(self) -> None:
        self.check(vars(self))
        name = self.name or self.provider or type(self).__name__
        self.api_key = _checked_key(self.api_key, self.key_variable, name)
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
        _check_url(given.get("base_url", cls.base_url), name, cls.endpoints)
        if reference := given.get("api_key_ref"):
            if given.get("api_key_env"):
                raise ConfigError(
                    f"backend {name}: api_key_env and api_key_ref are two places for one key; write one of them"
                )
            try:
                checked_name(reference)
            except KeyStoreError as error:
                raise ConfigError(f"backend {name}: api_key_ref: {error}") from None

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

    async def _submit(self, client: Any, request: LLMRequest) -> str:
        """Ask for an answer that goes on without a connection; its name. Arguments and errors as `_do_completion`."""
        raise NotImplementedError

    async def _fetch(self, client: Any, request: LLMRequest, response_id: str) -> LLMResponse:
        """Wait for the answer of this name. Arguments and errors as `_do_completion`."""
        raise NotImplementedError

    def _prefix(self, request: LLMRequest) -> bytes | None:
        """What would be stored for this request, the same for equal beginnings; None for nothing."""
        raise NotImplementedError

    async def _store(self, client: Any, request: LLMRequest, seconds: int) -> tuple[str, int]:
        """Store the beginning of this request for so long: its name, and its tokens (0 if the API does not say).

        Arguments and errors as `_do_completion`; so for the next two.
        """
        raise NotImplementedError

    async def _keep(self, client: Any, name: str, seconds: int) -> None:
        """Keep what is stored by this name for so long from now on."""
        raise NotImplementedError

    async def _drop(self, client: Any, name: str) -> None:
        """Store it no more."""
        raise NotImplementedError

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
    def cache_seconds(self) -> float:
        """How long its provider keeps the beginning of a prompt that nobody reads again: five minutes at most."""
        return 300.0

    @property
    def key_missing(self) -> bool:
        """Whether this backend cannot be used because it has no key: none is set, or its name led to none."""
        return (self.requires_key or bool(self.api_key_ref)) and not self.api_key and not self.key_pending

    @property
    def key_pending(self) -> bool:
        """Whether its key has a name, and was not looked up yet."""
        return bool(self.api_key_ref) and not self.api_key and not self.key_problem

    @property
    def key_variable(self) -> str:
        """The environment variable of its key; "" for none."""
        return variable_of(self.api_key_ref) if self.api_key_ref else self.api_key_env or self.default_key_env

    def take_key(self, key: str) -> None:
        """Use this key from now on. Raises ConfigError: it cannot be sent."""
        self.api_key = _checked_key(key, "", self.name or self.provider)

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
        wire = dialect.encode(request, stream=False)
        answer = await self._post(client, wire)
        try:
            body = Body(answer, MAX_ANSWER_BYTES)
            if not 200 <= answer.status < 300:
                raise self._refusal(dialect, wire, answer, await body.of_error())
            return _headed(await _whole(dialect, request, body), answer)
        finally:
            answer.close()  # the connection is free again if the body was read to its end

    async def _do_stream(self, client: Any, request: LLMRequest) -> AsyncIterator[StreamEvent]:
        """One request, its events as they come; arguments and errors as of `_do_completion`, also in the middle."""
        dialect = self.dialect
        if dialect is None:
            for event in as_events(await self._do_completion(client, request)):
                yield event
            return
        wire = dialect.encode(request, stream=True)
        answer = await self._post(client, wire)
        try:
            body = Body(answer, MAX_STREAM_BYTES)
            if not 200 <= answer.status < 300:
                raise self._refusal(dialect, wire, answer, await body.of_error())
            piece = await _begun(body)
            if dialect.framing == "sse" and piece.startswith(_JSON_BEGINS):
                # Asked for a stream, answered in one piece: the answer, or an error inside a 200.
                for event in as_events(_headed(await _whole(dialect, request, body, piece), answer)):
                    yield event
                return
            yield StreamOpened(answer.headers, _request_id(answer))
            framer, decoder = _framer(piece), dialect.stream_decoder(request)
            shown, framed = piece[:200], False
            while piece:
                frames = framer.feed(piece)
                framed = framed or bool(frames)
                for event in _events(frames, decoder):
                    yield event
                if decoder.done:
                    await body.drain()
                    return
                piece = await body.piece()
            frames = framer.close()
            if not (frames or framed):
                raise MalformedAnswerError(
                    f"the answer is no stream: {cut(shown.decode('utf-8', 'replace'))!r}"
                )
            for event in _events(frames, decoder):
                yield event
        finally:
            answer.close()

    def _refusal(
        self, dialect: Dialect, wire: WireRequest, answer: aiohttp.ClientResponse, content: bytes
    ) -> BackendError:
        """The error of an answer that is none, with a hint where `base_url` is to blame."""
        error = dialect.error(answer.status, answer.headers, _parsed(content))
        ends, begins = self.base_url.rpartition("/")[2], wire.path.split("/")[1]
        if answer.status in (404, 405) and ends == begins:
            hint = f"base_url ends in /{ends}, and /{begins} is part of the path already; leave it out there"
            error.args = (f"{error}. {hint}",)
        return error

    async def _object(self, answer: aiohttp.ClientResponse, wire: WireRequest) -> dict[str, Any]:
        """The JSON object of an answer in one piece. Raises BackendError."""
        assert self.dialect is not None
        try:
            body = Body(answer, MAX_ANSWER_BYTES)
            if not 200 <= answer.status < 300:
                raise self._refusal(self.dialect, wire, answer, await body.of_error())
            content = bytearray()
            while piece := await body.piece():
                content += piece
            return expect_object(_parsed(bytes(content)))
        finally:
            answer.close()

    def _request(self, client: Any, method: str, wire: WireRequest) -> Awaitable[aiohttp.ClientResponse]:
        """As `_post`, by another method; an empty body is none."""
        headers = {**DEFAULT_HEADERS, **self.headers, **wire.headers, **self._auth_headers()}
        connection: Connection = getattr(client, "connection", client)
        body = _JSON.encode(wire.body).encode() if wire.body else None
        return connection.send(method, f"{self.base_url}/{wire.path.lstrip('/')}", headers, body)

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


def _checked_key(key: str, variable: str, name: str) -> Secret:
    """The key without what copying leaves around it."""
    made = sendable(key or "")
    if made is None:
        where = f" in the environment variable {variable}" if variable else ""
        raise ConfigError(
            f"backend {name}: the key{where} holds blanks, control characters or characters beyond ASCII, which no"
            " HTTP header can carry; copy it again"
        )
    return made


def _check_url(url: str, name: str, endpoints: Sequence[str]) -> None:
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
    path = parts.path.rstrip("/").lower()
    endpoint = next((end for end in endpoints if path.endswith(end)), "")
    if endpoint:
        right = url.rstrip("/")[: -len(endpoint)]
        raise ConfigError(
            f"backend {name}: base_url {cut(url)!r} is the address of one endpoint; its path is appended to"
            f" base_url with every request. Write {cut(right)!r}"
        )


# Reading answers

_BLANK = b"\xef\xbb\xbf \t\r\n"  # before the first byte that counts: a byte order mark, keep-alive lines
_JSON_BEGINS = (b"{", b"[")
_MAYBE_WHOLE = (b"}", b"]", b"\n")


async def _begun(body: Body) -> bytes:
    """The first piece, from its first byte that counts; b"" for a body without one."""
    while piece := await body.piece():
        if piece := piece.lstrip(_BLANK):
            return piece
    return b""


async def _whole(dialect: Dialect, request: LLMRequest, body: Body, begun: bytes = b"") -> LLMResponse:
    """An answer in one piece. One that is whole counts, however its connection ends, or if it does not end."""
    body.limit = MAX_ANSWER_BYTES
    content = bytearray(begun)
    while not body.ended:
        try:
            if content.endswith(_MAYBE_WHOLE):
                async with asyncio.timeout(QUIET_SECONDS):
                    content += await body.piece()
            else:
                content += await body.piece()
        except BackendError:
            raise
        except Exception as broken:
            with suppress(MalformedAnswerError):
                return _read(dialect, request, bytes(content))
            if not isinstance(broken, TimeoutError):
                raise
    return _read(dialect, request, bytes(content))


def _read(dialect: Dialect, request: LLMRequest, content: bytes) -> LLMResponse:
    """The answer in a body, by what it is and not by what its headers call it."""
    try:
        data = loaded(content)
    except (ValueError, RecursionError) as error:  # the latter: nested without end
        streamed = _collected(dialect, request, _frames(content.lstrip(_BLANK)))
        if streamed is not None:
            return streamed
        shown = cut(content[:200].decode("utf-8", "replace"))
        raise MalformedAnswerError(f"the answer is no JSON ({error}): {shown!r}") from None
    if isinstance(data, list):  # Gemini's stream where a proxy left `alt=sse` out
        streamed = _collected(dialect, request, [(_JSON.encode(each), "") for each in data])
        if streamed is not None:
            return streamed
    return checked(dialect.decode(data, request))


def _collected(dialect: Dialect, request: LLMRequest, frames: Iterable[Frame]) -> LLMResponse | None:
    """The answer of a server that streams although it was not asked to; None if it is no finished stream."""
    assembly, decoder = Assembly(), dialect.stream_decoder(request)
    try:
        for event in _events(frames, decoder):
            assembly.add(event)
    except BackendError as error:
        if assembly.finished is None and not isinstance(error, MalformedAnswerError):
            raise
    return None if assembly.finished is None else assembly.response(request.model)


def _framer(begun: bytes) -> Framer:
    """How a stream is cut that begins so: no event of SSE begins as JSON does."""
    return LineFramer() if begun.startswith(_JSON_BEGINS) else SSEFramer()


def _frames(content: bytes) -> Iterator[Frame]:
    """The frames of a stream that is there as a whole."""
    framer = _framer(content)
    yield from framer.feed(content)
    yield from framer.close()


def _events(frames: Iterable[Frame], decoder: StreamDecoder) -> Iterator[StreamEvent]:
    """The events in some frames; what comes after the stream's own end is none."""
    for data, name in frames:
        if decoder.done:
            return
        yield from decoder.feed(data, name)


def _headed(response: LLMResponse, answer: aiohttp.ClientResponse) -> LLMResponse:
    """The answer with what the head said of it."""
    response.headers = answer.headers
    response.request_id = response.request_id or _request_id(answer)
    return response


def _request_id(answer: aiohttp.ClientResponse) -> str:
    return answer.headers.get("x-request-id") or answer.headers.get("request-id") or ""


def _parsed(content: bytes) -> Any:
    """The body of an error answer: parsed, or its text."""
    try:
        return loaded(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")
