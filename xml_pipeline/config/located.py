"""Handlers that another process finds again.

Python pickles a function as its module's name. A process of the pool does not know the directory of
organism.yaml, so the handlers of `cpu_bound` listeners are pickled with it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xml_pipeline.config.imports import resolve


class _Located:
    """Calls `handler`; unpickled, it is what `dotted` stands for beside `base`."""

    def __init__(self, handler: Callable[..., Any], dotted: str, base: Path) -> None:
        functools.update_wrapper(self, handler)
        self._handler = handler
        self._origin = (dotted, str(base))

    def __call__(self, payload: Any, metadata: Any) -> Any:
        return self._handler(payload, metadata)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return _found_again, self._origin


class _AsyncLocated(_Located):
    """The same for an async handler: calling it gives an awaitable, and looks so."""

    async def __call__(self, payload: Any, metadata: Any) -> Any:
        return await self._handler(payload, metadata)


def located(handler: Callable[..., Any], dotted: str, base: Path) -> Callable[..., Any]:
    """`handler`, so that a process without `base` in its import path can unpickle it."""
    kind = _AsyncLocated if inspect.iscoroutinefunction(handler) else _Located
    return kind(handler, dotted, base)


def _found_again(dotted: str, base: str) -> Any:
    return resolve(dotted, base=base)
