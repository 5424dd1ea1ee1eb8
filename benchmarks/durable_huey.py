"""The same rally as tasks of huey on SQLite, each of which enqueues the next, with one worker thread."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from huey import SqliteHuey


def measure(path: Path, conversations: int, hops: int, note: str, *, fsync: bool) -> tuple[float, float]:
    """Seconds of wall time, and of CPU."""
    queue = SqliteHuey(filename=str(path), fsync=fsync, results=False, store_none=False)
    ended, over = 0, threading.Event()

    @queue.task()
    def hit(left: int, note: str) -> None:
        nonlocal ended
        if left > 0:
            hit(left - 1, note)
            return
        ended += 1
        if ended == conversations:
            over.set()

    consumer = queue.create_consumer(workers=1, initial_delay=0.001, max_delay=0.01, periodic=False)
    start, began = time.process_time(), time.perf_counter()
    for _ in range(conversations):
        hit(hops - 1, note)
    consumer.start()
    over.wait()
    took, spent = time.perf_counter() - began, time.process_time() - start
    consumer.stop(graceful=True)
    return took, spent
