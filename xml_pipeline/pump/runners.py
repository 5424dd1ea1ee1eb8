"""Where handlers run.

Handlers run in a few long-lived tasks ("runners"), one message after the other: no task is made per message.
A runner whose handler waits is simply busy; the next one is woken for the rest of the work. So a handler that
does not wait costs no switch at all, and one that does costs one.

A handler that is given up (too late, or its conversation cancelled) is cancelled and no longer waited for: its
slots are free at once, even if it ignores the cancel. Its runner goes with it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any, Protocol

from xml_pipeline.attribution import current_caller
from xml_pipeline.pump.deadlines import Deadlines
from xml_pipeline.pump.effects import Message
from xml_pipeline.pump.offload import Processes, Threads
from xml_pipeline.pump.response import HandlerMetadata
from xml_pipeline.pump.schedule import Scheduler
from xml_pipeline.threads import Call

_TURN = 32  # messages that a runner handles before it lets the event loop see to I/O
_LAST_WAIT = 1.0  # seconds that a stop waits for cancelled handlers, twice

logger = logging.getLogger("xml_pipeline.pump")


class Outcomes(Protocol):
    """Who decides what is to be called, and what follows from it."""

    def begin(self, message: Message) -> HandlerMetadata | None: ...
    def returned(self, message: Message, value: Any) -> None: ...
    def raised(self, message: Message, error: BaseException) -> None: ...
    def late(self, message: Message) -> None: ...
    def too_late(self, message: Message) -> None: ...


class Run:
    """One handler call in progress."""

    __slots__ = ("given_up", "message", "task")

    def __init__(self, message: Message, task: asyncio.Task[Any]) -> None:
        self.message = message
        self.task = task
        self.given_up = False


class Runners:
    """The tasks that call handlers, as many as the scheduler has slots, made when they are needed."""

    def __init__(
        self,
        scheduler: Scheduler,
        outcomes: Outcomes,
        *,
        timeout_seconds: float,
        threads: int,
        processes: int,
    ) -> None:
        self._scheduler = scheduler
        self._outcomes = outcomes
        self._timeout = timeout_seconds
        self._threads = Threads(threads)
        self._process_count = processes
        self._processes: Processes | None = None
        self._deadlines = Deadlines()
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: list[asyncio.Future[None]] = []
        self._waking = False
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop
        self._context: Context

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Handlers run in a copy of the current context."""
        self._loop = loop
        self._context = copy_context()
        self._context.run(current_caller.set, None)
        self._deadlines.start(loop)

    async def stop(self) -> None:
        """Cancel what still runs, and do not wait long for it."""
        self._stopping = True
        self._deadlines.close()
        try:
            for _ in range(2):  # a handler may be deaf to the first: it was cleaning up, or swallowed it
                for task in self._tasks:
                    task.cancel()
                if self._tasks:
                    await asyncio.wait(self._tasks, timeout=_LAST_WAIT)
        finally:
            self._close()

    def _close(self) -> None:
        for task in tuple(self._tasks):
            # Deaf to every cancel: the loop would wait for it at its own end, for ever.
            logger.error("a handler ignores its cancellation; it is broken off where it waits: %r", task)
            coroutine = task.get_coro()
            assert inspect.iscoroutine(coroutine)
            with suppress(Exception):  # what it says to that changes nothing
                coroutine.close()
            task.cancel()
        self._threads.close()
        if self._processes is not None:
            self._processes.close()

    def wake(self) -> None:
        """See to it that a runner comes for the work that is ready."""
        if self._waking or not self._scheduler.can_run:
            return
        self._waking = True
        while self._idle:
            sleeper = self._idle.pop()
            if not sleeper.done():
                sleeper.set_result(None)
                return
        # In the organism's context, not in that of whoever sent the message.
        task = self._loop.create_task(self._run(), name="xml-pipeline-runner", context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._ended, context=self._context)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """However a runner ends, the work goes on."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._stopping:
            logger.error("a runner ended with an error", exc_info=error)
        self._waking = False
        if not self._stopping:
            self.wake()

    def give_up(self, call: Call) -> Message:
        """Give up the handler that runs for `call`; returns what it was working on."""
        run: Run = call.run
        self._give_up(run)
        return run.message

    def _give_up(self, run: Run) -> None:
        run.given_up = True
        run.message.call.run = None
        self._deadlines.discard(run)
        self._scheduler.release(run.message)
        run.task.cancel()

    def _late(self, run: Run) -> None:
        self._give_up(run)
        self._outcomes.late(run.message)

    async def _run(self) -> None:
        """A runner's life: take a message, call its handler, see to what follows."""
        task = asyncio.current_task()
        assert task is not None
        pristine = copy_context()
        self._waking = False
        since_pause = 0
        while True:
            message = self._scheduler.take()
            if message is None:
                sleeper = self._loop.create_future()
                self._idle.append(sleeper)
                await sleeper
                self._waking = False
                since_pause = 0
                continue
            metadata = self._outcomes.begin(message)
            if metadata is None:
                self._scheduler.release(message)
            elif (
                not await self._handle(message, metadata, task)
                or task.cancelling()
                or not _same(copy_context(), pristine)
            ):
                # Its handler was given up, cancelled itself, or left context variables behind: the next message
                # gets a clean runner.
                return
            since_pause += 1
            if since_pause >= _TURN:
                since_pause = 0
                self.wake()
                await asyncio.sleep(0)

    async def _handle(self, message: Message, metadata: HandlerMetadata, task: asyncio.Task[Any]) -> bool:
        """Call the handler; False when it was given up meanwhile, and its runner with it."""
        run = Run(message, task)
        message.call.run = run
        self._deadlines.add(run, message.to.timeout_seconds or self._timeout, self._late)
        current_caller.set(message.call)
        if self._scheduler.can_run:
            self.wake()  # in case this handler waits
        failure: BaseException | None = None
        returned = None
        try:
            returned = await self._call(message, metadata)
        except asyncio.CancelledError:
            if not run.given_up:
                if self._stopping and task.cancelling():
                    raise
                failure = asyncio.CancelledError("the handler was cancelled from inside")
        except BaseException as error:
            if isinstance(error, GeneratorExit) and (self._stopping or self._loop.is_closed()):
                raise  # the task itself is thrown away
            failure = error
        finally:
            current_caller.set(None)
        if run.given_up:
            if returned is not None:
                self._outcomes.too_late(message)
            return False
        message.call.run = None
        self._deadlines.discard(run)
        self._scheduler.release(message)
        if failure is None:
            self._outcomes.returned(message, returned)
        else:
            self._outcomes.raised(message, failure)
            if isinstance(failure, KeyboardInterrupt):
                raise failure
        return True

    async def _call(self, message: Message, metadata: HandlerMetadata) -> Any:
        listener = message.to
        handler = listener.handler
        assert handler is not None
        if listener.cpu_bound:
            if self._processes is None:
                self._processes = Processes(self._process_count)
            return await self._processes.run(handler, message.payload, metadata)
        if listener.is_async:
            return await handler(message.payload, metadata)  # type: ignore[misc]  # is_async: it is awaitable
        returned = await self._threads.run(handler, message.payload, metadata)
        # A function that is not async by its looks, but wraps one that is, or returns what it got from one.
        return await returned if inspect.isawaitable(returned) else returned


def _same(one: Context, other: Context) -> bool:
    """Whether two contexts hold the very same values; what the values say of their equality does not matter."""
    return len(one) == len(other) and all(value is other.get(variable) for variable, value in one.items())
