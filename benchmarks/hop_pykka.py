"""The same rally between two Pykka actors, without XML or validation."""

from __future__ import annotations

import threading
import time
from typing import Any

import pykka

HOPS = 10_000


class Player(pykka.ThreadingActor):
    """Passes the ball on to `other` until it is used up."""

    def __init__(self, done: threading.Event) -> None:
        super().__init__()
        self.done = done
        self.other: Any = None

    def on_receive(self, message: Any) -> None:
        left, note = message
        if left <= 0:
            self.done.set()
        else:
            self.other.tell((left - 1, note))


def measure() -> float:
    """CPU microseconds a hop."""
    done = threading.Event()
    ping, pong = Player.start(done), Player.start(done)
    ping.proxy().other, pong.proxy().other = pong, ping
    start = time.process_time()
    ping.tell((HOPS, "x" * 400))
    if not done.wait(timeout=60):
        raise TimeoutError("the rally did not end")
    spent = time.process_time() - start
    pykka.ActorRegistry.stop_all()
    return spent / HOPS * 1e6
