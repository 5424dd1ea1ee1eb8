"""Backends that answer or fail as a test wants, and how long a call took."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from xml_pipeline.errors import (
    BackendError,
)
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend

T = TypeVar("T")


def backend(name: str, *rules: Rule, **settings: Any) -> ScriptedBackend:
    return ScriptedBackend(name=name, rules=(*rules, Rule(reply=f"from {name}")), **settings)


def down(error: str = "ServerError", times: int | None = None, **settings: Any) -> Rule:
    return Rule(error=error, times=times, **settings)


def now() -> float:
    return asyncio.get_running_loop().time()


async def timed(call: Coroutine[Any, Any, T]) -> tuple[T | BaseException, float]:
    """What a call gave or raised, and how many seconds it took."""
    started = now()
    try:
        return await call, now() - started
    except BackendError as error:
        return error, now() - started
