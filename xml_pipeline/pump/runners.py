"""Where handlers run: a few long-lived tasks ("runners") that take messages one after the other (ADR 3).

No task is made per message. One runner at a time is at the queue. Before it calls a handler it sees to it that
another will come if the handler waits; when the handler returns without having waited, it goes on itself. So a
handler that does not wait costs no switch at all, and there are never more runners than handlers that wait, and two.

A handler that is given up (too late, or its thread has ended) is cancelled and no longer waited for: its slots are
free at once, even if it ignores the cancel. Its runner goes with it.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from sys import getrefcount
from typing import Any, Protocol

from xml_pipeline.attribution import current_caller
from xml_pipeline.envelope import Message
from xml_pipeline.pump.handler_call import HandlerCall
from xml_pipeline.pump.listener import Listener
from xml_pipeline.pump.log import logger
from xml_pipeline.pump.offload import Processes, Threads
from xml_pipeline.pump.schedule import Scheduler
from xml_pipeline.pump.settings import PumpSettings

_SLICE = 32  # messages that are handled before the event loop sees to I/O
_LAST_WAIT = 1.0  # seconds that a stop waits for cancelled handlers, twice


class Work(Protocol):
    """Who knows what is to be done with a message, and what follows from it."""

    def begin(self, message: Message) -> HandlerCall | None:
        """A message's turn: the handler call that is to be made, if one is."""

    def returned(self, message: Message, value: Any) -> None:
        """Its handler returned, perhaps after it was given up."""

    def raised(self, message: Message, error: BaseException) -> None:
        """Its handler raised."""

    def late(self, message: Message, seconds: float) -> None:
        """Its handler took too long, and was given up."""


class Runners:
    """The tasks that call handlers, as many as there are handlers that wait.

    Args:
        settings: sizes and times.
        listeners: all by name.
        work: what is done.

    Attributes:
        scheduler: whose turn it is.
    """

    def __init__(self, settings: PumpSettings, listeners: Mapping[str, Listener], work: Work) -> None:
        self.scheduler = Scheduler(settings.scheduling, settings.max_concurrent_handlers, self._wake)
        self._settings = settings
        self._listeners = listeners
        self._work = work
        self._runs: dict[str, HandlerCall] = {}  # by thread
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: list[asyncio.Future[None]] = []
        self._at_queue: asyncio.Task[Any] | None = None  # the runner that is
        self._coming = False  # another was woken
        self._stopping = False
        self._halted = False
        self._quiet: asyncio.Future[None] | None = None
        self._threads = Threads(settings.max_concurrent_handlers)
        self._processes: Processes | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf
        self._loop: asyncio.AbstractEventLoop
        self._time: Callable[[], float]
        self._context: Context

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; handlers run in a copy of the current context."""
        self._loop, self._time = loop, loop.time
        self._context = copy_context()
        self._context.run(current_caller.set, None)
        usual = self._settings.max_concurrent_per_agent
        self.scheduler.limit({name: each.max_concurrent or usual for name, each in self._listeners.items()})

    def halt(self) -> None:
        """Call no handler from now on; those that run go on."""
        self._halted = True

    async def rest(self, seconds: float) -> None:
        """Call no handler any more, and wait until none runs, or `seconds` are over, or `hurry` is called."""
        self.halt()
        if self._runs:
            self._quiet = self._loop.create_future()
            timer = self._loop.call_later(seconds, self.hurry)
            try:
                await self._quiet
            finally:
                timer.cancel()

    def hurry(self) -> None:
        """Let a `rest` that is going on return now."""
        if self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)

    async def stop(self) -> None:
        """Cancel what still runs, and do not wait long for it."""
        self._stopping = True
        if self._alarm is not None:
            self._alarm.cancel()
        try:
            for _ in range(2):  # a handler may be deaf to the first: it was cleaning up, or swallowed it
                for task in self._tasks:
                    task.cancel()
                if self._tasks:
                    await asyncio.wait(self._tasks, timeout=_LAST_WAIT)
        finally:
            for task in tuple(self._tasks):
                _break_off(task)
            self._threads.close()
            if self._processes is not None:
                self._processes.close()

    def give_up(self, message: Message) -> bool:
        """Cancel a message's handler and wait for it no longer (ADR 9); False when it does not run."""
        run = self._runs.get(message.thread_id)
        if run is None or run.message.message_id != message.message_id:
            return False
        self._give_up(run)
        return True

    def _give_up(self, run: HandlerCall) -> None:
        run.given_up = True
        del self._runs[run.thread_id]
        self.scheduler.release(run.listener)
        if run.task is not None:
            run.task.cancel()

    # --- tasks ---

    def _wake(self) -> None:
        """See to it that a runner comes: a message can run, and nobody attends."""
        if self._stopping or self._halted:
            return
        self._coming = self.scheduler.attended = True
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
        """See to it that the work goes on, however a runner ended."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if self._stopping:
            return
        if error is not None:
            logger.error("a runner ended with an error", exc_info=error)
        if not self.scheduler.attended:
            self.scheduler.call()

    async def _run(self) -> None:
        """A runner's life: at the queue while nobody else is, else idle until it is woken."""
        task = asyncio.current_task()
        assert task is not None
        pristine = tuple(copy_context().items())
        while True:
            self._coming = False
            if self._at_queue is None and not await self._take_turns(task, pristine):
                return
            sleeper = self._loop.create_future()
            self._idle.append(sleeper)
            await sleeper

    async def _take_turns(
        self, task: asyncio.Task[Any], pristine: tuple[tuple[ContextVar[Any], Any], ...]
    ) -> bool:
        """Take message after message, until there is none or another runner is at the queue.

        Returns:
            Whether this runner may go on: not when its handler was given up, cancelled the task, left context
            variables behind, or something still holds the task, to cancel it later perhaps. The next message gets
            a clean one.
        """
        scheduler, begin, handled = self.scheduler, self._work.begin, 0
        self._at_queue, scheduler.attended = task, True
        try:
            while self._at_queue is task and (scheduler.ready.size or scheduler.granted) and not self._halted:
                message = scheduler.take()
                if message is None:
                    break
                try:
                    run = begin(message)
                except KeyboardInterrupt:
                    raise
                except (
                    BaseException
                ) as error:  # a defect of ours: it costs its own caller's call, and no slot
                    self._work.raised(message, error)
                    run = None
                if run is None:
                    scheduler.release(message.to)
                else:
                    self._leave_queue()  # the handler may wait
                    holders = getrefcount(task)
                    await self._handle(run, task)
                    run.task = None
                    if run.given_up or task.cancelling():
                        return False
                    if getrefcount(task) - (self._at_queue is task) > holders:
                        return False
                    context = copy_context()
                    if len(context) != len(pristine):
                        return False
                    for variable, value in pristine:  # what values say of their equality does not matter
                        if context.get(variable) is not value:
                            return False
                handled += 1
                if not handled % _SLICE:
                    await asyncio.sleep(0)
            return True
        finally:
            if self._at_queue is task:
                self._leave_queue()

    def _leave_queue(self) -> None:
        scheduler = self.scheduler
        self._at_queue = None
        scheduler.attended = self._coming
        if not self._coming and (scheduler.ready.size or scheduler.granted):
            scheduler.call()

    async def _handle(self, run: HandlerCall, task: asyncio.Task[Any]) -> None:
        """Call a handler and see to what follows; back at the queue, if nobody is there by now."""
        message = run.message
        run.task = task
        run.due = due = self._time() + run.seconds
        if due < self._alarm_at:
            self._set_alarm(due)
        self._runs[message.thread_id] = run
        value: Any = None
        failure: BaseException | None = None
        current_caller.set(run)
        try:
            listener = self._listeners[message.to]
            if listener.is_async and not listener.cpu_bound:
                value = await listener.handler(*run.arguments)  # type: ignore[misc]  # it is awaitable
            else:
                value = await self._elsewhere(listener, run)
        except asyncio.CancelledError:
            if not run.given_up:
                if self._stopping and task.cancelling():
                    raise
                failure = asyncio.CancelledError("the handler was cancelled from inside")
        except BaseException as error:
            if isinstance(error, GeneratorExit) and (self._stopping or self._loop.is_closed()):
                raise  # the task itself is thrown away
            failure = error
        current_caller.set(None)
        if self._at_queue is None:
            self._at_queue, self.scheduler.attended = task, True
        if run.given_up:
            if value is not None:
                self._work.returned(message, value)
            return
        del self._runs[message.thread_id]
        self.scheduler.release(message.to)
        if failure is None:
            self._work.returned(message, value)
        else:
            self._work.raised(message, failure)
            if isinstance(failure, KeyboardInterrupt):
                raise failure
        if self._quiet is not None and not self._runs:
            self.hurry()

    async def _elsewhere(self, listener: Listener, run: HandlerCall) -> Any:
        """Call a handler that may not run on the event loop: in a thread, or in a process.

        The time of one that has to wait for a free process begins when it has one.
        """
        handler = listener.handler
        assert handler is not None
        if listener.cpu_bound:
            if self._processes is None:
                self._processes = Processes(self._settings.processes)
            run.due = math.inf
            async with self._processes.free:
                run.due = due = self._time() + run.seconds
                if due < self._alarm_at:
                    self._set_alarm(due)
                return await self._processes.run(handler, run.arguments)
        returned = await self._threads.run(handler, run.arguments)
        # A function that is not async by its looks, but wraps one that is, or returns what it got from one.
        return await returned if inspect.isawaitable(returned) else returned

    # --- time ---

    def _set_alarm(self, at: float) -> None:
        """Set the one timer of all handlers: most return long before, and a hop must not pay for one of its own."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self._loop.call_at(at, self._look_for_late, context=self._context)

    def _look_for_late(self) -> None:
        self._alarm, self._alarm_at = None, math.inf
        now = self._time()
        for run in [run for run in self._runs.values() if run.due <= now]:
            if not run.given_up:  # what followed from an earlier one may have ended this one
                self._give_up(run)
                self._work.late(run.message, run.seconds)
        next_due = min((run.due for run in self._runs.values()), default=math.inf)
        if next_due < math.inf:
            self._set_alarm(next_due)


def _break_off(task: asyncio.Task[None]) -> None:
    """End a task that is deaf to every cancel: the event loop would wait for it at its own end, for ever."""
    logger.error("a handler ignores its cancellation; it is broken off where it waits: %r", task)
    coroutine = task.get_coro()
    assert inspect.iscoroutine(coroutine)
    with suppress(Exception):  # what it says to that changes nothing
        coroutine.close()
    task.cancel()
