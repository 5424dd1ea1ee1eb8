"""The default router, the one global: what `get_router()`, `complete()` and `stream()` use outside of `use_router`.

It stands above the router and its YAML section, so that the engine does not import its configuration.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Unpack

from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.options import CallOptions, StreamOptions
from xml_pipeline.llm.router import Router
from xml_pipeline.llm.types import LLMResponse, Message, StreamEvent

_scoped: ContextVar[Router | None] = ContextVar("xml_pipeline_router", default=None)
_default: Router | None = None


def get_router() -> Router:
    """The router in use here: the one of the innermost `use_router`, else the default one.

    The default has no backends until `configure_router` gives it some; a call then says what to do.
    """
    global _default
    router = _scoped.get() or _default
    if router is None:
        router = _default = Router()
    return router


def configure_router(router: Router | Mapping[str, Any] | Iterable[Backend], **settings: Any) -> Router:
    """Set the default router, and return it. The previous one is not closed.

    Args:
        router: a `Router`, backends (then `settings` are those of `Router`), or the `llm:` section of an
            organism.yaml as a dict.

    Raises:
        ConfigError: a section or settings with mistakes.
    """
    global _default
    if isinstance(router, Mapping):
        from xml_pipeline.llm.section import build_router  # pydantic: only for who configures by a mapping

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
    model: str, messages: str | Iterable[Message | LLMResponse], **options: Unpack[CallOptions]
) -> LLMResponse:
    """`Router.complete` of the router in use here."""
    return await get_router().complete(model, messages, **options)


def stream(
    model: str, messages: str | Iterable[Message | LLMResponse], **options: Unpack[StreamOptions]
) -> AsyncGenerator[StreamEvent, None]:
    """`Router.stream` of the router in use here."""
    return get_router().stream(model, messages, **options)
