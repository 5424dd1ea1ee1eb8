"""What all emulators share: a real HTTP server on loopback, its script, its records and its faults."""

from __future__ import annotations

import asyncio
import json
import math
import re
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Self

from aiohttp import web

from .script import Answer, Fail, Failure, Fault, Place, Recorded, Script, Step

MAX_BODY = 64 * 1024 * 1024


def count_tokens(text: str) -> int:
    """The emulators' own tokenizer: four characters a token, rounded up."""
    return math.ceil(len(text) / 4)


def pieces(text: str) -> list[str]:
    """`text` as a model streams it: word by word, blanks kept, characters written as surrogates in halves."""
    words = re.findall(r"\s*\S+|\s+$", text)
    return [half for word in words for half in re.split("(?<=[\ud800-\udbff])", word)]


def dump(value: Any) -> bytes:
    """JSON as providers write it: UTF-8 unescaped, so U+2028 and the like arrive raw; surrogates are escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text).encode()


def arguments_text(arguments: Mapping[str, Any] | str) -> str:
    """A tool call's arguments as the model wrote them."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def closed_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Refusal(Exception):
    """What the provider answers instead of an answer."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Frame:
    """One write of a stream; `content` when it carries text, reasoning or a tool call."""

    data: bytes
    content: bool = False


@dataclass(frozen=True, slots=True)
class Tally:
    """What the answered requests used."""

    requests: int
    prompt_tokens: int
    completion_tokens: int


class Emulator(ABC):
    """A provider on loopback; `async with OpenAIEmulator() as server` starts it.

    A request is checked as the provider checks it (key, parameters, message order); a wrong one gets the
    provider's own error and takes no step of the script.
    """

    provider: ClassVar[str]
    stream_type: ClassVar[str] = "text/event-stream; charset=utf-8"
    base_path: ClassVar[str] = ""
    default_key: ClassVar[str] = "sk-emulated-0123456789abcdefghij"

    def __init__(
        self, script: Script | None = None, *, key: str | None = None, models: Sequence[str] = ()
    ) -> None:
        self.script = Script() if script is None else script
        self.key = self.default_key if key is None else key
        self.models = tuple(models)
        self.requests: list[Recorded] = []
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._serial = 0
        self._peers: set[tuple[str, int]] = set()

    # -- life ---------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._closing.clear()
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{tail:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        """What a client of this provider is configured with."""
        return self.origin + self.base_path

    @property
    def tally(self) -> Tally:
        """Completions answered whole, and their tokens by the emulator's own count."""
        used = [
            request for request in self.requests if request.outcome == "answered" and request.prompt_tokens
        ]
        return Tally(
            len(used),
            sum(request.prompt_tokens for request in used),
            sum(request.completion_tokens for request in used),
        )

    @property
    def connections(self) -> int:
        """Connections that carried a request so far."""
        return len(self._peers)

    @property
    def last(self) -> Recorded:
        """The newest request."""
        return self.requests[-1]

    def serial(self, prefix: str) -> str:
        """A fresh id."""
        self._serial += 1
        return f"{prefix}{self._serial:08d}"

    # -- what a dialect supplies --------------------------------------------------------------------------

    @abstractmethod
    def is_generation(self, request: Recorded) -> bool:
        """Whether this request asks for a completion (and sets `model` and `stream` on it)."""

    @abstractmethod
    def check_key(self, request: Recorded) -> None:
        """Raise Refusal when the key is missing or wrong."""

    @abstractmethod
    def check_request(self, request: Recorded) -> None:
        """Raise Refusal as the provider does when the body breaks its rules."""

    @abstractmethod
    def prompt_of(self, request: Recorded) -> Any:
        """The part of the body that counts as prompt."""

    @abstractmethod
    def render(self, answer: Answer, request: Recorded) -> Any:
        """The JSON body of an answer."""

    @abstractmethod
    def frames(self, answer: Answer, request: Recorded) -> list[Frame]:
        """The stream of an answer, its terminal frames last."""

    @abstractmethod
    def refusal(self, fail: Fail, request: Recorded) -> Refusal:
        """A scripted failure in the provider's words."""

    @abstractmethod
    def stream_error(self, fail: Fail, request: Recorded) -> bytes:
        """A scripted failure inside a stream."""

    def listing(self, request: Recorded) -> Any:
        """The body for a GET that is no completion (models, version); None means 404."""
        return None

    async def beside(self, request: Recorded) -> Any:
        """The body for a request that is neither a GET nor a completion; None for all others. May raise Refusal."""
        return None

    def headers(self, request: Recorded) -> dict[str, str]:
        """Headers of every answer."""
        return {}

    def malformed(self, detail: str) -> Refusal:
        """The provider's words for a body that is no JSON."""
        return self.refusal(Fail(Failure.BAD_REQUEST), Recorded("POST", "", {}, {}, None))

    def not_found(self, request: Recorded) -> Refusal:
        """The provider's words for an unknown path."""
        return Refusal(404, {"error": {"message": f"Unknown path {request.path}"}})

    # -- one request --------------------------------------------------------------------------------------

    async def _serve(self, http: web.Request) -> web.StreamResponse:
        raw = await http.read()
        request = Recorded(
            http.method,
            http.path,
            dict(http.query),
            {name.lower(): value for name, value in http.headers.items()},
            None,
        )
        self.requests.append(request)
        if http.transport is not None:
            self._peers.add(http.transport.get_extra_info("peername"))
        try:
            try:
                request.body = json.loads(raw) if raw else None
            except ValueError as error:
                raise self.malformed(str(error)) from error
            if http.method == "GET":
                return self._list(request)
            self.check_key(request)
            beside = await self.beside(request)
            if beside is not None:
                request.outcome = "answered"
                return web.Response(
                    body=dump(beside), content_type="application/json", headers=self.headers(request)
                )
            if not self.is_generation(request):
                raise self.not_found(request)
            self.check_request(request)
            return await self._generate(http, request)
        except Refusal as refusal:
            request.outcome = request.outcome or "refused"
            return self._refuse(refusal, request)
        except asyncio.CancelledError:
            request.outcome = "disconnected"
            raise

    def _list(self, request: Recorded) -> web.Response:
        self.check_key(request)
        body = self.listing(request)
        if body is None:
            raise self.not_found(request)
        request.outcome = "answered"
        return web.Response(body=dump(body), content_type="application/json", headers=self.headers(request))

    def _refuse(self, refusal: Refusal, request: Recorded) -> web.Response:
        headers = {**self.headers(request), **refusal.headers}
        if isinstance(refusal.body, bytes):
            return web.Response(status=refusal.status, body=refusal.body, headers=headers)
        headers.setdefault("Content-Type", "application/json")
        return web.Response(status=refusal.status, body=dump(refusal.body), headers=headers)

    async def _generate(self, http: web.Request, request: Recorded) -> web.StreamResponse:
        step = self.script.take(request)
        if isinstance(step, Fail) and (step.place is Place.STATUS or (step.place is Place.BODY)):
            request.outcome = "failed"
            refusal = self._scripted(step, request)
            return self._refuse(
                Refusal(200, refusal.body, refusal.headers) if step.place is Place.BODY else refusal, request
            )
        if isinstance(step, Answer):
            if step.gate is not None:
                await self._wait(step.gate)
            spoiled = await self._spoil(http, step, request)
            if spoiled is not None:
                return spoiled
        if request.stream:
            return await self._stream(http, step, request)
        if isinstance(step, Fail):  # a stream error scripted for a call that does not stream
            request.outcome = "failed"
            raise self._scripted(step, request)
        return await self._answer(http, step, request)

    def _scripted(self, fail: Fail, request: Recorded) -> Refusal:
        refusal = self.refusal(fail, request)
        headers = {**refusal.headers, **fail.headers}
        if fail.retry_after is not None:
            headers["Retry-After"] = fail.retry_after
        body = refusal.body if fail.body is None else fail.body
        return Refusal(fail.status or refusal.status, body, headers)

    async def _spoil(self, http: web.Request, step: Answer, request: Recorded) -> web.StreamResponse | None:
        if step.fault not in (Fault.RESET, Fault.HANG, Fault.HTML, Fault.EMPTY):
            return None
        request.outcome = "cut"
        if step.fault is Fault.HTML:
            return web.Response(text="<html><body>Bad gateway page</body></html>", content_type="text/html")
        if step.fault is Fault.EMPTY:
            return web.Response(body=b"", content_type="application/json")
        if step.fault is Fault.HANG:
            await self._closing.wait()
        return self._abort(http)

    def _abort(self, http: web.Request) -> web.Response:
        if http.transport is not None:
            # Linger 0 turns the close into a reset.
            sock = http.transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            http.transport.abort()
        return web.Response()

    async def _wait(self, gate: asyncio.Event) -> None:
        waiters = [asyncio.ensure_future(gate.wait()), asyncio.ensure_future(self._closing.wait())]
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()

    def _count(self, answer: Answer, request: Recorded) -> None:
        request.prompt_tokens = max(1, count_tokens(dump(self.prompt_of(request)).decode()))
        request.completion_tokens = self.completion_tokens(answer)

    def completion_tokens(self, answer: Answer) -> int:
        """All tokens the model wrote, reasoning and tool calls included."""
        if answer.completion_tokens is not None:
            return answer.completion_tokens
        called = sum(count_tokens(tool.name + arguments_text(tool.arguments)) for tool in answer.tools)
        return max(1, count_tokens(answer.text) + self.reasoning_tokens(answer) + called)

    def reasoning_tokens(self, answer: Answer) -> int:
        """Those of the reasoning alone."""
        return count_tokens(answer.reasoning)

    async def _answer(self, http: web.Request, answer: Answer, request: Recorded) -> web.StreamResponse:
        self._count(answer, request)
        body = dump(self.render(answer, request))
        headers = {**self.headers(request), **answer.headers, "Content-Type": "application/json"}
        if answer.fault in (Fault.TRUNCATED, Fault.NO_END):
            request.outcome = "cut"
            return web.Response(body=body[: len(body) // 2], headers=headers)
        if answer.fault in (Fault.DROPPED, Fault.STALL):
            request.outcome = "cut"
            response = web.StreamResponse(headers={**headers, "Content-Length": str(len(body))})
            await response.prepare(http)
            await response.write(body[: len(body) // 2])
            if answer.fault is Fault.STALL:
                await self._closing.wait()
            return self._abort(http)
        request.outcome = "answered"
        return web.Response(body=body, headers=headers)

    async def _stream(self, http: web.Request, step: Step, request: Recorded) -> web.StreamResponse:
        answer = step if isinstance(step, Answer) else Answer("one two three four five six")
        self._count(answer, request)
        response = web.StreamResponse(
            headers={**self.headers(request), **step.headers, "Content-Type": self.stream_type}
        )
        await response.prepare(http)
        sent = 0
        frames = self.frames(answer, request)
        if answer.fragment:
            whole = b"".join(frame.data for frame in frames)
            frames = [
                Frame(whole[start : start + answer.fragment])
                for start in range(0, len(whole), answer.fragment)
            ]
        for frame in frames:
            if frame.content:
                if isinstance(step, Fail) and sent >= step.after:
                    request.outcome = "failed"
                    await response.write(self.stream_error(step, request))
                    await response.write_eof()
                    return response
                if answer.fault is not None and sent >= answer.after:
                    return await self._break(http, response, frame, answer.fault, request)
                if sent and answer.pace is not None:
                    await answer.pace.acquire()
                sent += 1
            await response.write(frame.data)
        request.outcome = "answered"
        await response.write_eof()
        return response

    async def _break(
        self, http: web.Request, response: web.StreamResponse, frame: Frame, fault: Fault, request: Recorded
    ) -> web.StreamResponse:
        request.outcome = "cut"
        if fault is Fault.TRUNCATED:
            await response.write(frame.data[: len(frame.data) // 2])
        elif fault is Fault.STALL:
            await self._closing.wait()
        if fault in (Fault.DROPPED, Fault.STALL):
            self._abort(http)
            return response
        await response.write_eof()
        return response
