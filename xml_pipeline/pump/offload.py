"""Handlers that may not run on the event loop: sync ones in threads, CPU-bound ones in processes.

The threads are daemons: a handler that never returns cannot keep the program from ending. A process whose
handler is given up is killed (pebble does that; `concurrent.futures` would keep its worker busy for ever).
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import multiprocessing
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from pebble import ProcessPool

from xml_pipeline.pump.listener import Handler
from xml_pipeline.pump.response import HandlerMetadata


class Threads:
    """Up to `size` daemon threads, started when they are needed."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._started = 0
        self._idle = 0
        self._lock = threading.Lock()

    async def run(self, handler: Handler, payload: Any, metadata: HandlerMetadata) -> Any:
        """Call `handler` in a thread, within a copy of the current context."""
        context = contextvars.copy_context()
        future: Future[Any] = Future()
        self._work.put((future, functools.partial(context.run, handler, payload, metadata)))
        with self._lock:
            if self._idle < self._work.qsize() and self._started < self._size:
                self._started += 1
                threading.Thread(target=self._serve, name="xml-pipeline-handler", daemon=True).start()
        return await asyncio.wrap_future(future)

    def _serve(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            job = self._work.get()
            with self._lock:
                self._idle -= 1
            if job is None:
                return
            future, call = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            del job, future, call

    def close(self) -> None:
        """Let the threads go; one that still runs a handler ends with it, or with the program."""
        for _ in range(self._started):
            self._work.put(None)


class Processes:
    """A pool of processes for `cpu_bound` handlers; handler, payload and answer are pickled."""

    def __init__(self, size: int) -> None:
        # spawn: a fork of a process with running threads may deadlock
        self._pool = ProcessPool(max_workers=size, context=multiprocessing.get_context("spawn"))

    async def run(self, handler: Handler, payload: Any, metadata: HandlerMetadata) -> Any:
        """Call `handler` in a process; cancelling the wait kills that process."""
        return await asyncio.wrap_future(self._pool.submit(_call, None, handler, payload, metadata))

    def close(self) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]  # pebble does not annotate it
        self._pool.join(timeout=5)


def _call(handler: Handler, payload: Any, metadata: HandlerMetadata) -> Any:
    """In the process: an async handler gets an event loop of its own."""
    returned = handler(payload, metadata)
    return asyncio.run(_wait(returned)) if inspect.isawaitable(returned) else returned


async def _wait(awaitable: Any) -> Any:
    return await awaitable
