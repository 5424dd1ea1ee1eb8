"""`complete()` and `stream()` for programs without an event loop: one loop in a thread of its own, for all of them.

One loop, because a router belongs to one: its limits, budgets and connections are shared by all threads that ask, and
connections stay open between calls. It starts with the first call and ends with the program, which closes them.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import aclosing
from typing import Any, TypeVar

from xml_pipeline.llm.types import StreamEvent

T = TypeVar("T")

_CLOSING_SECONDS = 5.0


class LoopThread:
    """An event loop in a daemon thread, which ends with the program."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ended = False

    def run(
        self, make: Callable[[], Coroutine[Any, Any, T]], loop: asyncio.AbstractEventLoop | None = None
    ) -> T:
        """What a coroutine returns, made and run there (or in another thread's loop) with this thread's context.

        It is cancelled when the wait for it is.
        """
        loop, context = loop or self.started(), contextvars.copy_context()
        result: Future[T] = Future()
        running: list[asyncio.Task[T]] = []

        def done(task: asyncio.Task[T]) -> None:
            if task.cancelled():
                result.cancel()
            elif (error := task.exception()) is not None:
                result.set_exception(error)
            else:
                result.set_result(task.result())

        def start() -> None:
            task = loop.create_task(make(), context=context)
            running.append(task)
            task.add_done_callback(done)

        loop.call_soon_threadsafe(start)
        try:
            return result.result()
        except BaseException:  # a KeyboardInterrupt of the wait, or the coroutine's own
            loop.call_soon_threadsafe(lambda: [task.cancel() for task in running])
            raise

    def close(self) -> None:
        """End the loop: what runs is cancelled, and what it left open is closed."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
            self._ended = True
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_CLOSING_SECONDS)

    def forget(self) -> None:
        """In a forked process: the thread did not come along."""
        self._lock = threading.Lock()
        self._loop = self._thread = None

    def has(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether this loop is the one, and runs."""
        return loop is self._loop

    def started(self) -> asyncio.AbstractEventLoop:
        """The loop, which the first call starts. Raises RuntimeError when the program is ending."""
        with self._lock:
            if self._ended:
                raise RuntimeError("the program is ending: no model can be asked any more")
            if self._loop is None:
                loop = self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_serve, args=(loop,), name="xml-pipeline-sync", daemon=True
                )
                self._thread.start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())  # closes the connections that routers hold open
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()


_thread = LoopThread()
atexit.register(_thread.close)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_thread.forget)


def refuse_inside_a_loop(name: str, instead: str) -> None:
    """Raise RuntimeError where an event loop runs: it would stand still for the whole call."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        f"{name}() would stop the event loop that runs here until the model has answered; write `{instead}`"
    )


def is_ours(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this is the loop of all synchronous calls."""
    return _thread.has(loop)


def run(make: Callable[[], Coroutine[Any, Any, T]], loop: asyncio.AbstractEventLoop | None = None) -> T:
    """What a coroutine returns, run in the loop of all synchronous calls, or in another thread's `loop`."""
    return _thread.run(make, loop)


def iterate(
    make: Callable[[], AsyncGenerator[StreamEvent, None]], loop: asyncio.AbstractEventLoop | None = None
) -> Iterator[StreamEvent]:
    """The events of a stream, each as it is asked for; closed with the iterator."""
    stream, place = _Stream(make), loop or _thread.started()
    try:
        while (event := _thread.run(stream.next, place)) is not None:
            yield event
    finally:
        if _thread.has(place) or (
            place is loop and loop.is_running()
        ):  # not at the program's end, nor in a fork
            _thread.run(stream.close, place)


class _Stream:
    """A stream that one task reads from its beginning to its end, an event ahead of whoever asks for them."""

    def __init__(self, make: Callable[[], AsyncGenerator[StreamEvent, None]]) -> None:
        self._make = make
        self._events: asyncio.Queue[StreamEvent | None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def next(self) -> StreamEvent | None:
        """The next event, None after the last one; raises what the stream raises."""
        if self._task is None or self._events is None:
            self._events = asyncio.Queue(maxsize=1)
            self._task = asyncio.create_task(self._read(self._events))
        event = await self._events.get()
        if event is None:
            await self._task
        return event

    async def close(self) -> None:
        """The reader left."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self, events: asyncio.Queue[StreamEvent | None]) -> None:
        try:
            async with aclosing(self._make()) as stream:
                async for event in stream:
                    await events.put(event)
        finally:
            if not self._closing():
                await events.put(None)

    @staticmethod
    def _closing() -> bool:
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
