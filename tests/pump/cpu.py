"""Handlers that run in processes; they have to be importable there."""

from __future__ import annotations

import asyncio
import os
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
