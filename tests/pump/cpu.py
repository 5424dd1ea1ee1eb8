"""Handlers that run in processes; they have to be importable there."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

from tests.pump.scenes import Go, Note, call, respond
from xml_pipeline import HandlerMetadata, Keep


def where(payload: Go, metadata: Any) -> Any:
    if payload.n == 1:
        raise ValueError("in the process")
    if payload.n == 2:
        time.sleep(3600)
    if payload.n == 3:
        os._exit(9)
    return respond(Note(str(os.getpid())))


async def async_where(payload: Go, metadata: Any) -> Any:
    await asyncio.sleep(0)
    return respond(Note(str(os.getpid())))


def counting(payload: Go, metadata: HandlerMetadata, state: Go | None) -> Any:
    """Calls itself down to zero, and counts how often."""
    kept = Go(1 if state is None else state.n + 1)
    return Keep(kept, call(Go(payload.n - 1), to="it") if payload.n else respond(kept))


def wait_for(payload: Note, metadata: Any) -> Any:
    while payload.text and not os.path.exists(payload.text):
        time.sleep(0.01)
    return respond(Note("there"))


class TwoArguments(Exception):
    """Does not come through a pickle."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one)


class Unreadable:
    """Is written and cannot be read."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise ValueError("cannot be read")


def hostile(payload: Go, metadata: Any) -> Any:
    match payload.n:
        case 1:
            raise TwoArguments("one", "other")
        case 2:
            raise StopIteration
        case 3:
            raise SystemExit(0)
        case 4:
            raise KeyboardInterrupt
        case 5:
            return Unreadable()
        case 6:
            return lambda: "nobody can write this"
        case 7:
            raise GeneratorExit
        case 8:
            os._exit(0)
        case 9:
            os.kill(os.getpid(), signal.SIGKILL)
        case 10:
            child = os.fork()
            if not child:
                os._exit(0)
            return respond(Note(f"fine, {os.waitpid(child, 0)[1]}"))
    return respond(Note("fine"))
