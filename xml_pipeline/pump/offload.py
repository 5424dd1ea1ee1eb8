"""Handlers that may not run on the event loop: sync ones in threads, CPU-bound ones in processes.

The threads are daemons: a handler that never returns cannot keep the program from ending. A process whose
handler is given up is killed (pebble does that; `concurrent.futures` would keep its worker busy for ever).
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import os
import pickle
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from xml_pipeline.errors import class_name, described
from xml_pipeline.pump.listener import Handler
from xml_pipeline.terminal import GuardedStream

if TYPE_CHECKING:
    from pebble import ProcessPool


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
            elif not (self._serving < self._size and self._started()):
                self._backlog += 1
            self._work.put(job)
        try:
            return await asyncio.wrap_future(job.future)
        finally:
            if not job.future.cancel() and not job.future.done():
                self._abandon(job)

    def _started(self) -> bool:
        """Whether another thread serves now; where the system gives no more, the work waits for those there are.

        Raises:
            RuntimeError: there are none.
        """
        try:
            threading.Thread(target=self._serve, name="xml-pipeline-handler", daemon=True).start()
        except RuntimeError:
            if not self._serving:
                raise
            return False
        self._serving += 1
        return True

    def _abandon(self, job: Job) -> None:
        """Count a thread no longer whose job was given up, and start another one if jobs wait."""
        with self._lock:
            if not job.finished:
                job.abandoned = True
                self._serving -= 1
                if self._backlog:
                    with suppress(
                        RuntimeError
                    ):  # not even one: they wait for the next call, or until they are late
                        self._backlog -= self._started()

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
    """A pool of processes for `cpu_bound` handlers.

    What goes there and comes back is bytes, pickled here and in the process. Whatever cannot be
    pickled, or cannot be read again, is that call's failure, and the pool never sees it.

    Attributes:
        free: a place for each process; whoever calls `run` holds one.
    """

    def __init__(self, size: int) -> None:
        self.free = asyncio.Semaphore(size)
        self._size = size
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPool:
        # Imported with the first heavy handler: nobody else shall pay for it at start.
        import multiprocessing

        from pebble import ProcessPool

        # spawn: a fork of a process with running threads may deadlock
        context = multiprocessing.get_context("spawn")
        guarded = isinstance(sys.stdout, GuardedStream)
        return ProcessPool(max_workers=self._size, initializer=_begin, initargs=(guarded,), context=context)

    async def run(self, handler: Handler, arguments: tuple[Any, ...]) -> Any:
        """Call `handler` in a process; cancelling the wait kills that process.

        Raises:
            ProcessEnded: the process ended under the handler.
            Whatever the handler raised, or an exception of the same name where that cannot be brought here.
        """
        from pebble import ProcessExpired

        job = pickle.dumps((handler, arguments))
        if not self._pool.active:  # it broke: the next one serves
            broken, self._pool = self._pool, self._new_pool()
            await asyncio.to_thread(broken.join)
        try:
            outcome = await asyncio.wrap_future(self._pool.submit(_call, None, job))
        except (ProcessExpired, BrokenProcessPool) as error:
            code = f" with exit code {error.exitcode}" if isinstance(error, ProcessExpired) else ""
            raise ProcessEnded(f"its process ended{code} before the handler returned") from error
        returned, failure = pickle.loads(outcome)  # noqa: S301 - our own process wrote it
        if failure is not None:
            raise _brought_back(*failure)
        return pickle.loads(returned)  # noqa: S301

    def close(self) -> None:
        """Stop the processes, and do not wait long for them."""
        self._pool.stop()  # type: ignore[no-untyped-call]  # pebble does not annotate it
        self._pool.join(timeout=5)


def why_no_process(handler: Handler) -> str:
    """Why `handler` cannot be sent to a process, or ""."""
    try:
        pickle.dumps(handler)
    except Exception as error:
        return described(error) or class_name(error)
    return ""


class ProcessEnded(Exception):
    """A handler's process ended before the handler returned: killed, out of memory, or left by `os._exit`."""


def _begin(guarded: bool) -> None:
    """In a new process; where the program's own output is guarded, so is what a handler prints here."""
    _never_leave_quietly()
    if guarded:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None:
                stream.reconfigure(errors="backslashreplace")
                setattr(sys, name, GuardedStream(stream))


def _never_leave_quietly() -> None:
    """Make `os._exit(0)` a failure; the pool takes that exit code for nothing worth telling."""
    leave, here = os._exit, os.getpid()

    def exit_loudly(status: int) -> NoReturn:
        leave(status or (1 if os.getpid() == here else 0))  # what the handler forked may leave as it likes

    os._exit = exit_loudly


def _call(job: bytes) -> bytes:
    """In the process: what the handler returned, or how it failed; nothing is raised here."""
    try:
        handler, arguments = pickle.loads(job)  # noqa: S301
        returned = handler(*arguments)
        if inspect.isawaitable(returned):
            returned = asyncio.run(_wait(returned))
        return pickle.dumps((pickle.dumps(returned), None))
    except BaseException as error:
        trace = "".join(traceback.format_tb(error.__traceback__))
        try:
            itself = pickle.dumps(error)
        except Exception:
            itself = b""
        return pickle.dumps((b"", (class_name(error), described(error), trace, itself)))


def _brought_back(name: str, text: str, trace: str, itself: bytes) -> Exception:
    """An exception from a process: the very one if it can be read here, else one of its name."""
    found: object = None
    with suppress(Exception):
        found = pickle.loads(itself)  # noqa: S301
    # a StopIteration cannot leave a coroutine: Python would turn it into another error (PEP 479)
    if isinstance(found, Exception) and not isinstance(found, StopIteration):
        error = found
    else:
        error = type(name, (Exception,), {})(text)
    error.add_note(f"in its process:\n{trace}")
    return error


async def _wait(awaitable: Any) -> Any:
    return await awaitable
