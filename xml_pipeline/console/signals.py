"""What a signal does while a program talks to an organism.

SIGTERM, SIGHUP and Ctrl-C end the talk in order: what runs may finish for `shutdown_seconds`, the journal is closed,
the terminal is as it was, the exit code says which signal it was. The second signal ends the waiting. With a journal
none of that can lose anything, and neither can SIGKILL.

`loop.add_signal_handler` alone would not do: its callbacks wait for the event loop, and a handler that blocks the
loop would hold the process. Python's own handlers come between any two instructions of the main thread. They only
wake the loop, and tell a thread, which cuts off whoever is not gone in time. A loop that waits executes no
instruction, and the kernel may give a signal to any thread: so the loop is told of these signals too, and wakes for
them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TypeVar

from xml_pipeline.console.tty import Terminal
from xml_pipeline.errors import Ended
from xml_pipeline.events import ConversationEnded, Event
from xml_pipeline.organism import Organism
from xml_pipeline.terminal import count

OUT_OF_TIME = 10.0
"""Seconds beyond `shutdown_seconds` after which a process that was told to end is cut off."""

LEFTOVERS = 5.0
"""Seconds after a clean stop in which the interpreter may wait for threads that handlers began."""

KEEP_IT = "add `journal: state.db` to the `organism` section of organism.yaml"

T = TypeVar("T")

_ENDING = ("SIGTERM", "SIGHUP", "SIGINT")


@contextmanager
def on_signals(names: Iterable[str], act: Callable[[int], None]) -> Iterator[None]:
    """Within this block of a coroutine these signals call `act`, between two instructions of the main thread.

    What the program was started to ignore (`nohup`) it goes on ignoring; outside of the main thread, and for signals
    that this system does not have, nothing changes.
    """
    loop = asyncio.get_running_loop()
    before = {}

    def handler(number: int, frame: FrameType | None) -> None:
        act(number)

    if threading.current_thread() is threading.main_thread():
        for number in [getattr(signal, name) for name in names if hasattr(signal, name)]:
            if (old := signal.getsignal(number)) not in (signal.SIG_IGN, None):
                before[number] = old
                with suppress(NotImplementedError):  # Windows
                    loop.add_signal_handler(number, _awake)
                signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, old)


@contextmanager
def interrupts(act: Callable[[], None]) -> Iterator[None]:
    """Within this block Ctrl-C calls `act` in the running loop."""
    loop = asyncio.get_running_loop()
    with on_signals(["SIGINT"], lambda _: _woken(loop, act)):
        yield


async def live(organism: Organism, work: Callable[[], Awaitable[T]], *, again: str = "") -> T:
    """Start an organism, work with it, stop it; on a signal, in order and in bounded time.

    Args:
        organism: a new one.
        work: what is done with it. A signal cancels it.
        again: how somebody gets what was left open, beside starting the organism again.

    Returns:
        What `work` gave.

    Raises:
        Ended: a signal ended it.
        Others: as `Organism.start` and `work`.
    """
    ending = _Ending(organism)
    with ending.watched(), on_signals(_ENDING, ending.signalled):
        try:
            await organism.start()
            try:
                result = await work()
            finally:
                await ending.stop()
        except (asyncio.CancelledError, OSError):  # OSError: the terminal has gone, and was written to
            if not ending.signal:
                raise
            ending.work.uncancel()
            ending.tell(again)
            raise Ended(ending.signal) from None
        return result


class _Ending:
    """The end of one talk, from its first signal on.

    Attributes:
        signal: the first one; 0 for none.
        work: the task that is cancelled by it.
    """

    def __init__(self, organism: Organism) -> None:
        self.signal = 0
        self._organism = organism
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self.work = task
        self._stopping = False
        self._impatient = False
        self._hurried = asyncio.Event()
        self._lost = 0
        self._news: SimpleQueue[str] = SimpleQueue()
        self._terminal = Terminal()

    # --- between any two instructions of the main thread ---

    def signalled(self, number: int) -> None:
        """A signal came: the first ends the work, a later one the waiting for what runs."""
        if not self.signal:
            self.signal = number
            self._news.put("told")  # safe within itself, as the documentation of `queue` says
            _woken(self._loop, self._end)
        else:
            if not self._impatient:
                self._news.put("hurried")
            self._impatient = True
            _woken(self._loop, self._hurried.set)

    # --- in the event loop ---

    def _end(self) -> None:
        self._organism.add_hook(self._on_event)
        if self._stopping:  # the work is done
            self._hurried.set()
        else:
            self.work.cancel()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, ConversationEnded) and not event.answered:
            self._lost += 1

    async def stop(self) -> None:
        """Stop the organism."""
        self._stopping = True
        if self.signal:
            self._say_that_it_waits()
        stopping = asyncio.create_task(self._organism.stop())
        hurried = asyncio.create_task(self._hurried.wait())
        try:
            await asyncio.wait([stopping, hurried], return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurried.cancel()
            if not stopping.done():
                stopping.cancel()  # it has begun; cancelled, it waits for nothing that runs
        await self._organism.stop()

    def _say_that_it_waits(self) -> None:
        running = self._organism.status().running
        if running and not self._impatient and self._organism.shutdown_seconds:
            seconds = self._organism.shutdown_seconds
            _say(f"waiting {seconds:g} s at most for {count(running, 'handler')}; the same again ends that")

    def tell(self, again: str) -> None:
        """One line of what is left open, and how to go on."""
        name = signal.Signals(self.signal).name
        organism = self._organism
        if organism.journal is None:
            lost = count(self._lost, "conversation")
            text = f"{lost} lost: without a journal nothing survives; {KEEP_IT}" if self._lost else ""
        else:
            left = organism.status().conversations
            how = f"{again}; " if again else ""
            text = f"{count(left, 'conversation')} left open: {how}`xml-pipeline run` goes on" if left else ""
        _say(f"ended by {name}; {text or 'nothing was open'}")

    # --- in a thread of its own ---

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within this block, and for a while after it, a process that was told to end does end."""
        threading.Thread(target=self._watch, name="xml-pipeline-end", daemon=True).start()
        try:
            yield
        finally:
            self._news.put("stopped" if self.signal else "over")

    def _watch(self) -> None:
        if sys.platform != "win32":  # whoever sets a terminal that is somebody else's by now is suspended
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        patience = {
            "told": self._organism.shutdown_seconds + OUT_OF_TIME,
            "hurried": OUT_OF_TIME,
            "stopped": LEFTOVERS,
        }
        last = self._news.get()
        if last == "over":
            return
        with suppress(Empty):
            while True:
                last = self._news.get(timeout=patience[last])
        self._terminal.restore()
        if last != "stopped":
            kept = "the journal holds what was decided" if self._organism.journal else "what was open is lost"
            with suppress(OSError):
                os.write(2, f"cut off, because a handler does not end; {kept}\n".encode())
        os._exit(Ended(self.signal).code)


def _awake() -> None:
    """For a loop that has only to wake."""


def _woken(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: the program is ending
        loop.call_soon_threadsafe(act)


def _say(text: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError):
            print(text, file=sys.stderr, flush=True)
