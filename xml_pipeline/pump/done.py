"""What was done at once, and can be awaited until it is durable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Done(Generic[T]):
    """Something that was done: from now on everybody sees it. Await it, and it outlives the process too.

    So it can be done where nothing can be awaited, as in an observer. Its truth is that of what came of it.

    Args:
        value: what came of it.
        durable: waits until all that was done so far is durable.
    """

    __slots__ = ("_durable", "value")

    def __init__(self, value: T, durable: Callable[[], Awaitable[None]]) -> None:
        self.value = value
        self._durable = durable

    def __bool__(self) -> bool:
        return bool(self.value)

    def __await__(self) -> Generator[Any, Any, T]:
        yield from self._durable().__await__()
        return self.value

    def __repr__(self) -> str:
        return f"Done({self.value!r})"
