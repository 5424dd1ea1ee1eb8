"""A listener: a named capability. What it accepts is read from its handler's annotation."""

from __future__ import annotations

import functools
import inspect
import re
import types
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from xml_pipeline.envelope import SYSTEM, Gathered, GatheredCodec, Huh, SystemError
from xml_pipeline.errors import ConfigError
from xml_pipeline.payload import PayloadCodec, codec_of, is_payload
from xml_pipeline.pump.response import HandlerMetadata, Returned

Handler: TypeAlias = Callable[[Any, HandlerMetadata], Awaitable[Returned] | Returned]

SYSTEM_CLASSES = (Huh, SystemError, Gathered)
SYSTEM_ROOTS = frozenset({codec_of(Huh).root, codec_of(SystemError).root, GatheredCodec.root})

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,99}")
"""A listener's name: a letter, then letters, digits, `_`, `-` and `.`; a dot has no meaning of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Listener:
    """One named capability of an organism.

    Attributes:
        name: unique in the organism.
        handler: called with payload and metadata; None for a person (`human`).
        accepts: root element name → codec of each payload class it takes.
        description: what it does, for people and models.
        peers: names of the listeners it may call; none means none.
        agent: whether a model drives it (it gets `own_name` and `usage_instructions`).
        broadcast: whether a message without receiver may reach it beside others that take the same class.
        cpu_bound: whether its handler runs in a process of its own.
        human: whether a person answers; no handler, no slot held while waiting.
        timeout_seconds: how long one handler call may take; None for the organism's default.
        max_concurrent: handler calls at once; None for the organism's default.
        is_async: whether the handler runs on the event loop.
    """

    name: str
    handler: Handler | None
    accepts: Mapping[str, PayloadCodec[Any]]
    description: str = ""
    peers: tuple[str, ...] = ()
    agent: bool = False
    broadcast: bool = False
    cpu_bound: bool = False
    human: bool = False
    timeout_seconds: float | None = None
    max_concurrent: int | None = None

    is_async: bool = field(init=False)

    def __post_init__(self) -> None:
        call = type(self.handler).__call__ if callable(self.handler) else None
        runs_on_loop = inspect.iscoroutinefunction(self.handler) or inspect.iscoroutinefunction(call)
        object.__setattr__(self, "is_async", runs_on_loop)  # asked once, not at every message


def listener(
    name: str,
    handler: Handler | None,
    *,
    accepts: Iterable[type] | type | None = None,
    description: str = "",
    peers: Iterable[str] = (),
    localns: Mapping[str, Any] | None = None,
    **options: Any,
) -> Listener:
    """A checked `Listener`; `accepts` overrides what the handler's annotation says.

    Raises:
        ConfigError: a bad name, a handler that cannot be called with (payload, metadata), a class that is no
            payload or has the name of a system message, two classes of one name, peers that are no list of
            names, a `timeout_seconds` or `max_concurrent` that is not positive.
    """
    check_name(name)
    codecs = contract(name, handler, accepts, localns)
    _check_options(name, peers, options)
    if not description and handler is not None:
        own = getattr(handler, "__doc__", None) != type(handler).__doc__  # a class's says how it is made
        description = (inspect.getdoc(handler) or "") if own else ""
    return Listener(
        name,
        handler,
        codecs,
        description=description,
        peers=tuple(dict.fromkeys(peers)),
        **options,
    )


def contract(
    name: str,
    handler: Handler | None,
    accepts: Iterable[type] | type | None = None,
    localns: Mapping[str, Any] | None = None,
) -> dict[str, PayloadCodec[Any]]:
    """What a listener takes: root element name → codec, of `accepts` or else of its handler's annotation.

    Raises:
        ConfigError: as `listener`, for the handler and the classes. Configurations are checked with this alone.
    """
    if handler is not None:
        _check_handler(name, handler)
    if accepts is None:
        classes = _annotated(name, handler, localns)
    else:
        classes = (accepts,) if isinstance(accepts, type) else tuple(accepts)
    if not classes:
        raise ConfigError(f"listener '{name}' accepts no payload class; name at least one")
    return _codecs(name, classes)


def check_name(name: str) -> None:
    """Raises ConfigError for what cannot be a listener's name."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"'{name}' is no listener name: a letter or '_', then letters, digits, '_', '-' and '.', at most 100"
        )
    if name == SYSTEM:
        raise ConfigError(f"'{SYSTEM}' is the sender of system messages; no listener may have that name")


def _check_options(name: str, peers: Iterable[str], options: Mapping[str, Any]) -> None:
    if isinstance(peers, str) or not all(isinstance(peer, str) for peer in peers):
        raise ConfigError(f"the peers of '{name}' are {peers!r}; a list of listeners' names is needed")
    seconds = options.get("timeout_seconds")
    if seconds is not None and not (isinstance(seconds, int | float) and seconds > 0):
        raise ConfigError(f"timeout_seconds of '{name}' is {seconds!r}; a number greater than 0 is needed")
    most = options.get("max_concurrent")
    if most is not None and not (isinstance(most, int) and most > 0):
        raise ConfigError(f"max_concurrent of '{name}' is {most!r}; a whole number greater than 0 is needed")


def _check_handler(name: str, handler: Handler) -> None:
    if not callable(handler):
        raise ConfigError(
            f"the handler of '{name}' is {handler!r}; a function of (payload, metadata) is needed"
        )
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError as error:
        raise ConfigError(
            f"the handler of '{name}' cannot be called as handler(payload, metadata): {error}"
        ) from None
    except ValueError:
        return  # a builtin without a signature: nothing to check


def _annotated(name: str, handler: Handler | None, localns: Mapping[str, Any] | None) -> tuple[type, ...]:
    """The payload classes that the handler's first parameter is annotated with."""
    function: Any = None if handler is None else inspect.unwrap(handler)
    while isinstance(function, functools.partial):
        function = function.func
    if function is not None and not inspect.isroutine(function):
        function = type(function).__call__
    parameters = [] if function is None else list(inspect.signature(function).parameters.values())
    if parameters and parameters[0].name in ("self", "cls") and not inspect.ismethod(function):
        parameters = parameters[1:]
    if not parameters or parameters[0].annotation is inspect.Parameter.empty:
        raise ConfigError(
            f"the handler of '{name}' does not say what it accepts: annotate its first parameter with a payload"
            " class (or several: `payload: Sum | SystemError`), or set payload_class"
        )
    annotation = parameters[0].annotation
    if isinstance(annotation, str):
        namespace = {**getattr(function, "__globals__", {}), **(localns or {})}
        try:
            annotation = eval(annotation, namespace)  # noqa: S307 - the handler's own annotation, as typing does
        except Exception as error:
            raise ConfigError(
                f"the annotation {annotation!r} of '{name}' cannot be resolved: {error}"
            ) from None
    return _members(annotation)


def _members(annotation: Any) -> tuple[type, ...]:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return tuple(cls for member in typing.get_args(annotation) for cls in _members(member))
    if origin is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    return (annotation,)


def _codecs(name: str, classes: Iterable[type]) -> dict[str, PayloadCodec[Any]]:
    codecs: dict[str, PayloadCodec[Any]] = {}
    for cls in classes:
        if cls is not Gathered and not (isinstance(cls, type) and is_payload(cls)):
            raise ConfigError(
                f"listener '{name}' accepts {getattr(cls, '__name__', cls)!s}, which is no payload class:"
                " decorate it with @xmlify"
            )
        codec: PayloadCodec[Any] = GatheredCodec() if cls is Gathered else codec_of(cls)
        other = codecs.setdefault(codec.root, codec)
        if codec.root in SYSTEM_ROOTS and codec.cls not in SYSTEM_CLASSES:
            raise ConfigError(
                f"listener '{name}' accepts a class named {codec.root}, which is the name of a system message;"
                f" rename it, or take xml_pipeline.envelope's own"
            )
        if other.cls is not cls:
            raise ConfigError(f"listener '{name}' accepts two classes named {codec.root}; rename one of them")
    return codecs
