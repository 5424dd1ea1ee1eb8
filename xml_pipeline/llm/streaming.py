"""Streams: invisible failover until the first content, none after it, and accounting on every end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xml_pipeline.errors import BackendError, BackendTimeoutError, JournalError, MalformedAnswerError
from xml_pipeline.llm.accounting.estimate import text_size
from xml_pipeline.llm.emulation import StreamReader
from xml_pipeline.llm.entrance import Carrier, carriable_answer
from xml_pipeline.llm.http.assembly import Assembly
from xml_pipeline.llm.types import (
    LLMRequest,
    ReasoningDelta,
    StreamEnd,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)

if TYPE_CHECKING:
    from xml_pipeline.llm.routing.leases import Lease
    from xml_pipeline.llm.run import Run


AFTER_END_SECONDS = 5.0  # how long the usage of a finished answer is waited for; then it is estimated


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


@dataclass(frozen=True, slots=True)
class Partial:
    """What a backend sent of an answer that may have broken off.

    Attributes:
        usage: as the provider counted last; zeros if it did not.
        received: bytes of content.
        uncounted: those of them that came after the last count.
        begun: whether content came.
        model: that answered, as the provider names it, or "".
    """

    usage: Usage
    received: int
    uncounted: int
    begun: bool
    model: str


class StreamedAttempt:
    """One attempt that streams.

    Attributes:
        answered: whether the whole answer came; if not after the last event, another backend may be asked.
    """

    __slots__ = ("_assembly", "_committed", "_lease", "_over", "_received", "_run", "_uncounted", "answered")

    def __init__(self, run: Run, lease: Lease) -> None:
        self._run = run
        self._lease = lease
        self._assembly = Assembly()
        self._received = 0  # bytes of content, also of a call in words that is not whole yet
        self._uncounted = 0  # those since the provider's last count
        self._committed = False  # content went to the consumer: no other backend can take over
        self._over: float | None = None  # until when more is waited for after the answer's end
        self.answered = False

    async def _source(self, client: Any, watchdog: Watchdog) -> tuple[LLMRequest, AsyncIterator[StreamEvent]]:
        """What is asked, written down before, and what comes of it."""
        run, lease = self._run, self._lease
        if run.shared.ledger is not None:
            watchdog.pause()  # no backend is to blame for a slow disk
            await run.write_down(lease)
            self._watch(watchdog)
        request = run.request(lease)
        if lease.route.backend.stores:
            request = await run.shared.prefixes.named(run, lease, request)
        lease.sent = True
        if lease.route.backend.detached:
            return request, run.in_one_piece(lease, client, request)
        return request, lease.route.backend._do_stream(client, request)

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """What the consumer gets; the attempt is settled on every path.

        Raises:
            BackendError: it broke after the first content, or at the call's deadline.
        """
        run, lease, assembly, watchdog = self._run, self._lease, self._assembly, Watchdog()
        carrier = Carrier()
        broken: BackendError | None = None
        turn = len(run.completion.request.messages)
        source: AsyncIterator[StreamEvent] | None = None
        try:
            try:
                while True:
                    client = await self._client(watchdog)
                    request, source = await self._source(client, watchdog)
                    reader = StreamReader(turn) if run.completion.reads_calls(lease.route) else None
                    try:
                        async for raw in source:
                            self._weigh(raw)
                            content = False
                            for event in (raw,) if reader is None else reader.feed(raw):
                                if assembly.add(event):
                                    content = True
                                    for piece in carrier.feed(event):
                                        self._committed = True
                                        watchdog.pause()
                                        yield piece
                            self._watch(watchdog, content)
                    except Exception as raised:
                        if self._received or self._committed or not run.again(lease, request, raised):
                            raise
                    else:
                        break
                if assembly.finished is None:
                    raise MalformedAnswerError("the stream ended before its final event; the answer is cut")
            except asyncio.CancelledError:
                late = watchdog.reason()
                if late is None:
                    raise
                if assembly.finished is None:
                    raise late from None
            except Exception:
                if assembly.finished is None:  # a finished answer is not lost by how its connection ends
                    raise
            watchdog.pause()
            self.answered = True
            response = carriable_answer(assembly.response(lease.route.model))
            run.answered(lease, response)
            lease.permit.release()
            run.close()
            for piece in carrier.close():
                yield piece
            yield StreamEnd(response)
        except JournalError:  # not the backend's fault: nothing can be written down, so nobody is asked
            raise
        except Exception as raised:
            broken = self._broke(raised)
        finally:
            watchdog.stop()
            if not lease.settled:
                self._left()
            lease.permit.release()
            if source is not None and hasattr(source, "aclose"):
                await source.aclose()
        if broken is not None:
            raise broken  # here, where what led to it does not come along

    async def _client(self, watchdog: Watchdog) -> Any:
        self._watch(watchdog)
        return await self._run.client(self._lease.route)

    def _weigh(self, event: StreamEvent) -> None:
        """Keep account of what comes, before anything is made of it."""
        if isinstance(event, UsageReport):
            self._uncounted = 0
            return
        if isinstance(event, TextDelta | ReasoningDelta):
            size = text_size(str(event.text))
        elif isinstance(event, ToolCallDelta):
            size = text_size(str(event.name)) + text_size(str(event.arguments))
        else:
            return
        self._received += size
        self._uncounted += size

    def _partial(self) -> Partial:
        usage, finished = self._assembly.usage, self._assembly.finished
        return Partial(
            usage or Usage(),
            self._received,
            self._uncounted,
            self._committed or self._received > 0,
            finished.model if finished is not None else "",
        )

    def _watch(self, watchdog: Watchdog, content: bool = False) -> None:
        timeouts, now = self._run.completion.timeouts, asyncio.get_running_loop().time()
        deadline = self._run.completion.deadline
        if self._assembly.finished is not None:
            if self._over is None or content:
                self._over = now + min(timeouts.idle, AFTER_END_SECONDS)
            until, what = self._over, "the answer's usage did not come"
        elif self._committed or self._received:
            until, what = now + timeouts.idle, f"the stream stood still for {timeouts.idle:g} s"
        elif self._lease.route.backend.detached:
            until, what = deadline, "the call's deadline passed while its provider worked on it"
        else:
            until = self._lease.started + timeouts.first_token
            what = f"no content within {timeouts.first_token:g} s"
        if deadline < until:
            until, what = deadline, "the call's deadline passed while it streamed"
        watchdog.start(until, what)

    def _broke(self, raised: Exception) -> BackendError | None:
        """It failed: the error that ends the call, or None before the first content: another backend takes over."""
        run = self._run
        error = run.failed(self._lease, raised, self._partial())
        if self._committed or run.shared.clock.monotonic() >= run.completion.deadline:
            error.attempts = tuple(run.leases.attempts)
            return error
        return None

    def _left(self) -> None:
        """The consumer left, or was cancelled."""
        self._run.left(self._lease, self._partial())
