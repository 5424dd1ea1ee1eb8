"""Streams: invisible failover until the first content, none after it, and accounting on every end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from xml_pipeline.errors import BackendError, BackendTimeoutError, MalformedAnswerError
from xml_pipeline.llm.attempt import Try
from xml_pipeline.llm.completion import Call
from xml_pipeline.llm.emulation import StreamReader
from xml_pipeline.llm.types import (
    LLMResponse,
    ReasoningDelta,
    StreamEnd,
    StreamEvent,
    StreamFinished,
    StreamOpened,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageReport,
)


class Watchdog:
    """Interrupts a wait that is too long. One timer for the whole stream instead of one for each piece."""

    __slots__ = ("_expired", "_limit", "_task", "_timer", "_until", "_what")

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._until = 0.0
        self._limit = 0.0
        self._what = ""
        self._expired = False

    def start(self, until: float, what: str) -> None:
        """The running task waits from now on, at most until this time of the loop."""
        self._task = asyncio.current_task()
        self._until = until
        self._what = what
        if self._timer is None or self._timer.when() > until:
            self._arm(until)

    def pause(self) -> None:
        """The wait is over: the consumer has its piece, and its time is its own."""
        self._task = None

    def stop(self) -> None:
        """The stream is over."""
        self._task = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def reason(self) -> BackendTimeoutError | None:
        """The error if the cancellation that just arrived is this watchdog's."""
        if not self._expired:
            return None
        self._expired = False
        task = asyncio.current_task()
        if task is not None and task.uncancel() > 0:
            return None  # somebody else cancelled too
        return BackendTimeoutError(self._what)

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._task is None:
            return
        if asyncio.get_running_loop().time() < self._until:
            self._arm(self._until)
            return
        self._expired = True
        self._task.cancel()
        self._task = None


class Assembly:
    """Collects a stream into an answer."""

    __slots__ = ("_reasoning", "_text", "_tools", "characters", "finished", "headers", "request_id", "usage")

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tools: dict[int, tuple[list[str], list[str], list[str], dict[str, object]]] = {}
        self.characters = 0
        self.usage: Usage | None = None
        self.finished: StreamFinished | None = None
        self.headers: Mapping[str, str] | None = None
        self.request_id = ""

    def add(self, event: StreamEvent) -> bool:
        """Take an event in; True when it is content for the consumer."""
        if isinstance(event, TextDelta):
            self._text.append(event.text)
            self.characters += len(event.text)
            return True
        if isinstance(event, ReasoningDelta):
            self._reasoning.append(event.text)
            self.characters += len(event.text)
            return True
        if isinstance(event, ToolCallDelta):
            ids, names, arguments, data = self._tools.setdefault(event.index, ([], [], [], {}))
            ids.append(event.id)
            names.append(event.name)
            arguments.append(event.arguments)
            data.update(event.provider_data)
            self.characters += len(event.arguments)
            return True
        if isinstance(event, UsageReport):
            self.usage = event.usage
        elif isinstance(event, StreamFinished):
            self.finished = event
        elif isinstance(event, StreamOpened):
            self.headers = event.headers
            self.request_id = event.request_id
        return False

    def response(self, model: str) -> LLMResponse:
        """The whole answer; of a cut stream, what there is."""
        finished = self.finished or StreamFinished("incomplete")
        tools = tuple(
            ToolCall("".join(ids), "".join(names), "".join(arguments), data)
            for _, (ids, names, arguments, data) in sorted(self._tools.items())
        )
        return LLMResponse(
            content="".join(self._text),
            model=finished.model or model,
            usage=self.usage or Usage(),
            finish_reason=finished.finish_reason,
            tool_calls=tools,
            reasoning="".join(self._reasoning),
            provider_data=finished.provider_data,
            request_id=finished.request_id or self.request_id,
            headers=self.headers,
        )


async def stream_answer(call: Call) -> AsyncGenerator[StreamEvent, None]:
    """The events of the first backend that streams content; the last event is `StreamEnd`.

    Raises:
        BackendError: none did, or the stream broke after its first content.
    """
    clock = call.core.clock.monotonic
    while True:
        try:
            async with asyncio.timeout(call.deadline - clock()) as scope:
                route, permit = await call.next_route()
        except TimeoutError:
            if not scope.expired():
                raise
            raise call.timed_out() from None
        stream = _Stream(Try(call, route, permit))
        events = stream.events()
        try:
            async for event in events:
                yield event
            return
        except BackendError as error:
            if stream.committed or clock() >= call.deadline:
                error.attempts = tuple(call.attempts)
                raise
            call.check(error)
        finally:
            await events.aclose()


class _Stream:
    """One try that streams."""

    __slots__ = ("_assembly", "_begun", "_try", "committed")

    def __init__(self, one: Try) -> None:
        self._try = one
        self._assembly = Assembly()
        self.committed = False
        self._begun = False  # content came, perhaps of a call that is not whole yet

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """What the consumer gets; ends the try on every path."""
        one, assembly, watchdog = self._try, self._assembly, Watchdog()
        endpoint = one.route.endpoint
        source: AsyncIterator[StreamEvent] | None = None
        ended = False
        try:
            try:
                self._watch(watchdog)
                client = await endpoint.client()
                source = endpoint.backend._do_stream(client, one.call.request_for(one.route))
                reader = StreamReader(one.call.turn) if one.call.reads_calls(one.route) else None
                async for raw in source:
                    self._begun = self._begun or isinstance(raw, TextDelta)
                    for event in (raw,) if reader is None else reader.feed(raw):
                        if assembly.add(event):
                            self.committed = True
                            watchdog.pause()
                            yield event
                    self._watch(watchdog)
                watchdog.pause()
                if assembly.finished is None:
                    raise MalformedAnswerError("the stream ended before its final event; the answer is cut")
            except asyncio.CancelledError:
                late = watchdog.reason()
                if late is None:
                    raise
                raise late from None
            ended = True
            response = assembly.response(one.route.model)
            one.answered(response)
            one.permit.release()
            yield StreamEnd(response)
        except Exception as raised:
            ended = True
            raise one.failed(raised) from None
        finally:
            watchdog.stop()
            if not ended:
                self._left()
            one.permit.release()
            if source is not None and hasattr(source, "aclose"):
                await source.aclose()

    def _watch(self, watchdog: Watchdog) -> None:
        call = self._try.call
        timeouts, now = call.core.timeouts, asyncio.get_running_loop().time()
        if self.committed or self._begun:
            until, what = now + timeouts.idle, f"the stream stood still for {timeouts.idle:g} s"
        else:
            until = self._try.started + timeouts.first_token
            what = f"no content within {timeouts.first_token:g} s"
        if call.deadline < until:
            until, what = call.deadline, "the call's deadline passed while it streamed"
        watchdog.start(until, what)

    def _left(self) -> None:
        """The consumer left, or was cancelled."""
        if self.committed:
            self._try.dropped(self._assembly.response(self._try.route.model), self._assembly.characters)
        else:
            self._try.abandoned()
