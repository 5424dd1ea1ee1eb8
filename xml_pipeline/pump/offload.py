"""Handlers that may not run on the event loop: sync ones in threads, CPU-bound ones in processes.

The threads are daemons: a handler that never returns cannot keep the program from ending. A process whose
handler is given up is killed (pebble does that; `concurrent.futures` would keep its worker busy for ever).
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from xml_pipeline.pump.listener import Handler


class Job:
    """One handler call on its way through a thread."""

    __slots__ = ("abandoned", "call", "finished", "future")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.future: Future[Any] = Future()
        self.abandoned = False
        self.finished = False


class Threads:
    """Up to `size` daemon threads, started when they are needed.

    A thread whose handler was given up cannot be stopped. It does not count any more: another takes its place,
    and it ends with its handler.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._work: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._serving = 0  # threads that serve the queue
        self._unclaimed = 0  # those of them that wait for work, and for none that is in the queue already
        self._backlog = 0  # jobs in the queue that no thread is on its way to
        self._lock = threading.Lock()

    async def run(self, handler: Handler, arguments: tuple[Any, ...]) -> Any:
        """Call `handler` in a thread, within a copy of the current context."""
        context = contextvars.copy_context()
        job = Job(functools.partial(context.run, handler, *arguments))
        with self._lock:
            if self._unclaimed:
                self._unclaimed -= 1
            elif self._serving < self._size:
                self._start()
            else:
                self._backlog += 1
            self._work.put(job)
        try:
            return await asyncio.wrap_future(job.future)
        finally:
            if not job.future.cancel() and not job.future.done():
                self._abandon(job)

    def _start(self) -> None:
        self._serving += 1
        threading.Thread(target=self._serve, name="xml-pipeline-handler", daemon=True).start()

    def _abandon(self, job: Job) -> None:
        """Count a thread no longer whose job was given up, and start another one if jobs wait."""
        with self._lock:
            if not job.finished:
                job.abandoned = True
                self._serving -= 1
                if self._backlog:
                    self._backlog -= 1
                    self._start()

    def _serve(self) -> None:
        while (job := self._work.get()) is not None:
            settle = _carry_out(job) if job.future.set_running_or_notify_cancel() else None
            with self._lock:
                job.finished = True
                if not job.abandoned:
                    if self._backlog:
                        self._backlog -= 1
                    else:
                        self._unclaimed += 1
            if settle is not None:
                settle()  # last: whoever waits for it finds this thread free
            if job.abandoned:
                return
            del job, settle  # and the payload and answer with them

    def close(self) -> None:
        """Let the threads go; one that still runs a handler ends with it, or with the program."""
        for _ in range(self._serving):
            self._work.put(None)


def _carry_out(job: Job) -> Callable[[], None]:
    """Call the handler; returns the function that settles the job's future."""
    try:
        result = job.call()
    except StopIteration as error:  # a future cannot hold it
        failure = RuntimeError("the handler raised StopIteration")
        failure.__cause__ = error
        return functools.partial(job.future.set_exception, failure)
    except BaseException as error:
        return functools.partial(job.future.set_exception, error)
    return functools.partial(job.future.set_result, result)


class Processes:
    """A pool of processes for `cpu_bound` handlers; handler, payload and answer are pickled."""

    def __init__(self, size: int) -> None:
        # Imported with the first heavy handler: nobody else shall pay for it at start.
        import multiprocessing

        from pebble import ProcessPool

        # spawn: a fork of a process with running threads may deadlock
        self._pool = ProcessPool(max_workers=size, context=multiprocessing.get_context("spawn"))

    async def run(self, handler: Handler, arguments: tuple[Any, ...]) -> Any:
        """Call `handler` in a process; cancelling the wait kills that process."""
        return await asyncio.wrap_future(self._pool.submit(_call, None, handler, arguments))

    def close(self) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]  # pebble does not annotate it
        self._pool.join(timeout=5)


def _call(handler: Handler, arguments: tuple[Any, ...]) -> Any:
    """In the process: an async handler gets an event loop of its own."""
    returned = handler(*arguments)
    return asyncio.run(_wait(returned)) if inspect.isawaitable(returned) else returned


async def _wait(awaitable: Any) -> Any:
    return await awaitable
