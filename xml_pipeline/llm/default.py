"""The default router, the one global: what `get_router()`, `complete()`, `stream()` and their
synchronous twins use outside of `use_router`.

It stands above the router and its YAML section, so that the engine does not import its configuration.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from xml_pipeline.environment import environment
from xml_pipeline.errors import ConfigError, NoBackendError, listing
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.options import CallOptions, StreamOptions
from xml_pipeline.llm.router import Router
from xml_pipeline.llm.sync import is_ours, iterate, refuse_inside_a_loop, run
from xml_pipeline.llm.types import LLMResponse, Message, StreamEvent


class Organism(NamedTuple):
    """Who runs with a router: its name, and the event loop."""

    name: str
    loop: asyncio.AbstractEventLoop


_scoped: ContextVar[Router | None] = ContextVar("xml_pipeline_router", default=None)
_default: Router | None = None
_NOBODY = Router()
_serving: dict[Router, Organism] = {}  # of the organisms that run in this program


def get_router() -> Router:
    """The router in use here.

    The one of the innermost `use_router` (in a handler, its organism's), else the one that `configure_router` set,
    else that of the organism that runs in this program, also in its other threads. Without any it has no backends,
    and a call says what to do.

    Raises:
        NoBackendError: several organisms run, and nothing says whose router is meant.
    """
    router = _scoped.get()
    if router is not None:
        return router
    serving = {router: each for router, each in list(_serving.items()) if not each.loop.is_closed()}
    if _default is not None and (_default.backends or not serving):  # `configure_router([])` takes it back
        return _default
    if len(serving) > 1:
        raise NoBackendError(
            f"{len(serving)} organisms run in this program ({listing(each.name for each in serving.values())}), each"
            " with a router of its own; say which: `organism.router.complete(...)`, or"
            " `with use_router(organism.router):` around the call"
        )
    if serving:
        return next(iter(serving))
    return _NOBODY


def serve(router: Router, name: str) -> None:
    """An organism of this name runs with this router from now on, in the running event loop."""
    _serving[router] = Organism(name, asyncio.get_running_loop())


def configured() -> Router | None:
    """The router that `configure_router` set, if it has backends."""
    return _default if _default is not None and _default.backends else None


def withdraw(router: Router) -> None:
    """Its organism has stopped."""
    _serving.pop(router, None)


def configure_router(router: Router | Mapping[str, Any] | Iterable[Backend], **settings: Any) -> Router:
    """Set the default router, and return it. The previous one is not closed.

    Args:
        router: a `Router`, backends (then `settings` are those of `Router`), or the `llm:` section of an
            organism.yaml as a dict. Keys are read from the process's environment and, as for an organism.yaml, from
            the file `.env` in the current directory; `environ=` gives other variables.

    Raises:
        ConfigError: a section or settings with mistakes.
    """
    global _default
    if isinstance(router, Mapping):
        from xml_pipeline.llm.section import build_router  # pydantic: only for who configures by a mapping

        if "environ" not in settings:
            settings["environ"], problems = environment(Path.cwd(), os.environ)
            if problems:
                raise ConfigError(problems)
        made = build_router(router, **settings)
    elif not isinstance(router, Router):
        made = Router(router, **settings)
    elif settings:
        raise TypeError("a finished Router takes no further settings")
    else:
        made = router
    _default = made
    return made


@contextmanager
def use_router(router: Router) -> Iterator[Router]:
    """Within this block, and in tasks started from it, `get_router()`, `complete()` and `stream()` use this one."""
    token = _scoped.set(router)
    try:
        yield router
    finally:
        _scoped.reset(token)


async def complete(
    model: str | None, messages: str | Iterable[Message | LLMResponse], **options: Unpack[CallOptions]
) -> LLMResponse:
    """`Router.complete` of the router in use here."""
    return await get_router().complete(model, messages, **options)


def stream(
    model: str | None, messages: str | Iterable[Message | LLMResponse], **options: Unpack[StreamOptions]
) -> AsyncGenerator[StreamEvent, None]:
    """`Router.stream` of the router in use here."""
    return get_router().stream(model, messages, **options)


def complete_sync(
    model: str | None, messages: str | Iterable[Message | LLMResponse], **options: Unpack[CallOptions]
) -> LLMResponse:
    """`complete` for a program without an event loop; arguments, answer and errors are the same.

    It may be called from any number of threads: all calls share one event loop in a thread of its own (an organism's
    router: the organism's), the router's limits and budgets, and its connections, which are closed when the program
    ends.

    Raises:
        RuntimeError: an event loop runs here; write `await complete(...)`.
    """
    refuse_inside_a_loop("complete_sync", "await complete(...)")
    router = get_router()

    async def ask() -> LLMResponse:
        try:
            return await router.complete(model, messages, **options)
        finally:
            router.rest()

    home = _loop_of(router)
    return run(ask if home is None else lambda: router.complete(model, messages, **options), home)


def stream_sync(
    model: str | None, messages: str | Iterable[Message | LLMResponse], **options: Unpack[StreamOptions]
) -> Iterator[StreamEvent]:
    """`stream` for a program without an event loop: `for event in stream_sync(model, messages): ...`.

    As `complete_sync`. Who stops early is charged for what came; the stream is closed with the iterator.

    Raises:
        RuntimeError: an event loop runs here; write `async for event in stream(...)`.
    """
    refuse_inside_a_loop("stream_sync", "async for event in stream(...)")
    router = get_router()

    async def ask() -> AsyncGenerator[StreamEvent, None]:
        try:
            async with aclosing(router.stream(model, messages, **options)) as events:
                async for event in events:
                    yield event
        finally:
            router.rest()

    home = _loop_of(router)
    return iterate(ask if home is None else lambda: router.stream(model, messages, **options), home)


def _loop_of(router: Router) -> asyncio.AbstractEventLoop | None:
    """The event loop that a router, or its organism, belongs to; None for the one of all synchronous calls."""
    serving = _serving.get(router)
    if serving is not None and not serving.loop.is_closed():
        return serving.loop
    return None if router.home is None or is_ours(router.home) else router.home
