"""A listener: a named capability. What it accepts and answers is read from its handler's annotations."""

from __future__ import annotations

import functools
import inspect
import re
import types
import typing
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Never, Protocol, TypeAlias, TypedDict, runtime_checkable

from typing_extensions import TypeVar, Unpack

from xml_pipeline.envelope import SYSTEM, Gathered, GatheredCodec, Huh, SystemError
from xml_pipeline.errors import ConfigError, PayloadError, Violation, cut
from xml_pipeline.events import Event
from xml_pipeline.payload import PayloadCodec, codec_of, is_payload
from xml_pipeline.payload.text import own_text
from xml_pipeline.pump.promises import members, promised
from xml_pipeline.pump.response import HandlerMetadata, Keep, Sent
from xml_pipeline.pump.settings import seconds

S = TypeVar("S")
P = TypeVar("P")
R = TypeVar("R", bound=Sent, default=Never)  # what a handler returns beside its Keep, if anything

PlainHandler: TypeAlias = Callable[[Any, HandlerMetadata], Awaitable[Sent] | Sent]
"""A handler without a state of its own."""

StatefulHandler: TypeAlias = Callable[
    [Any, HandlerMetadata, S | None], Awaitable[Keep[S, Any] | Sent] | Keep[S, Any] | Sent
]
"""A handler that keeps an `S` for each of its threads: it gets the one it kept, and returns the new one."""

Handler: TypeAlias = PlainHandler | StatefulHandler[Any]

# The same in two halves, for decorators: what they give back can be awaited, or not, as what they were given.
AsyncStateful: TypeAlias = Callable[[P, HandlerMetadata, S | None], Coroutine[Any, Any, Keep[S, Any] | R]]
SyncStateful: TypeAlias = Callable[[P, HandlerMetadata, S | None], Keep[S, Any] | R]

Classes: TypeAlias = Iterable[type] | type | None
"""Payload classes, one or several; None where nothing is said."""

Span: TypeAlias = Literal["session", "conversation"]
Effects: TypeAlias = Literal["repeat", "once"]

SYSTEM_CLASSES = (Huh, SystemError, Gathered)
SYSTEM_ROOTS = frozenset({codec_of(Huh).root, codec_of(SystemError).root, GatheredCodec.root})

MOST_RETRIES = 20
"""Of one message; waits double, so the last ones are a minute apart."""

OUTSIDE = "outside"
"""What listeners see as `from_id` when the outside gives itself no other name; no listener may have it."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,99}")
"""A listener's name: a letter, then letters, digits, `_`, `-` and `.`; a dot has no meaning of its own."""


class Surroundings(Protocol):
    """What a handler that is an object may know of its organism; see `Attaching`."""

    @property
    def listeners(self) -> Mapping[str, Listener]:
        """All listeners by name."""

    @property
    def observed(self) -> bool:
        """Whether anybody looks on: without observers nothing need be made for them."""

    def emit(self, event: Event) -> None:
        """Tell the observers something."""


@runtime_checkable
class Attaching(Protocol):
    """A handler that is an object and wants to know its surroundings when the organism starts."""

    def attach(self, surroundings: Surroundings) -> None:
        """Called once, before the first message."""


@runtime_checkable
class Defined(Protocol):
    """A handler whose doing is data: a call that is open goes on as it began, whatever is defined now.

    Attributes:
        digest: names the definition.
        definition: what it does, as text.
    """

    digest: str
    definition: str

    def know(self, definitions: Mapping[str, str]) -> None:
        """Those of earlier lives, by digest; called once, before the first message."""


def keep_definitions(
    listeners: Iterable[Listener], known: Mapping[str, str], define: Callable[[str, str], None]
) -> None:
    """Let handlers know what was defined in earlier lives, and keep what is new."""
    for each in listeners:
        handler = each.handler
        if isinstance(handler, Defined):
            handler.know(known)
            if handler.digest not in known:
                define(handler.digest, handler.definition)


class AgentOptions(TypedDict):
    """The options below that an agent's handler states itself; `peers` and the others are its user's."""

    accepts: Classes
    answers: Classes
    agent: bool
    remembers: Span
    keep: int


class Names(Protocol):
    """A collection of names: a list, a tuple, a set, the keys of a dict.

    One text alone is none: its `__contains__` takes texts only.
    """

    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def __contains__(self, value: object, /) -> bool: ...


class ListenerOptions(TypedDict, total=False):
    """What may be said of a listener beside name and handler; each as in `Listener`.

    `accepts` and `answers` here are payload classes; without them the handler's annotations say them.
    """

    accepts: Classes
    answers: Classes
    description: str
    peers: Names
    agent: bool
    broadcast: bool
    cpu_bound: bool
    timeout_seconds: float | None
    max_concurrent: int | None
    remembers: Span
    keep: int
    retries: int
    effects: Effects
    operation: str
    hands_over_to: Collection[str]
    approve: str
    asked_on: Collection[str]


@dataclass(frozen=True, slots=True, eq=False)
class Listener:
    """One named capability of an organism.

    Attributes:
        name: unique in the organism.
        handler: called with payload and metadata; None for a person (`human`).
        accepts: root element name → codec of each payload class it takes.
        answers: the payload classes that it answers its caller with; None when nothing is declared. Whatever is
            declared, it may answer with an error (`SystemError`, `Huh`), and those are not listed.
        description: what it does, for people and models.
        peers: names of the listeners it may call; none means none.
        hands_over_to: names of the listeners that may take over its calls; none means none.
        approve: the person who approves each call of it before its handler gets it; "" for nobody.
        asked_on: of a person: the channels on which they are asked, and may answer.
        local: of a listener of another organism's file: what the names of that file stand for here.
        agent: whether a model drives it (it gets `own_name` and `usage_instructions`).
        broadcast: whether a message without receiver may reach it beside others that take the same class.
        cpu_bound: whether its handler runs in a process of its own.
        human: whether a person answers; no handler, no slot held while waiting.
        timeout_seconds: how long one handler call may take; None for the organism's default.
        max_concurrent: handler calls at once; None for the organism's default.
        state: the payload class that its handler keeps for each thread; None for none.
        remembers: whether `respond(..., remember=)` is for later calls of the same session or conversation.
        keep: how many entries such a memory holds, the newest.
        retries: how often a message is handled again whose handler raised, later each time.
        effects: whether a handler that was interrupted may `repeat` what it does, or must be called `once`.
        operation: what its calls of models are for, as budgets and reports know it; "" for nothing special.
        is_async: whether the handler runs on the event loop.
        handles: names of the root elements that its handler is called with; others pass on, or a person is asked.
        requests: those of `accepts` that others may send it; messages of the system come from the system alone, and
            as answers.
    """

    name: str
    handler: Handler | None
    accepts: Mapping[str, PayloadCodec[Any]]
    answers: tuple[type[Any], ...] | None = None
    description: str = ""
    peers: tuple[str, ...] = ()
    agent: bool = False
    broadcast: bool = False
    cpu_bound: bool = False
    human: bool = False
    timeout_seconds: float | None = None
    max_concurrent: int | None = None
    state: type | None = None
    remembers: Span = "session"
    keep: int = 100
    retries: int = 0
    effects: Effects = "repeat"
    operation: str = ""
    hands_over_to: tuple[str, ...] = ()
    approve: str = ""
    asked_on: tuple[str, ...] = ("console",)
    local: Mapping[str, str] = field(default_factory=dict)

    is_async: bool = field(init=False)
    handles: frozenset[str] = field(init=False)
    requests: Mapping[str, PayloadCodec[Any]] = field(init=False)

    def __post_init__(self) -> None:
        # Asked once, not at every message.
        object.__setattr__(self, "is_async", runs_on_loop(self.handler))
        object.__setattr__(self, "handles", frozenset() if self.human else frozenset(self.accepts))
        requests = {root: codec for root, codec in self.accepts.items() if codec.cls not in SYSTEM_CLASSES}
        object.__setattr__(self, "requests", requests)

    def called(self, name: str) -> str:
        """A listener's name as this one knows it."""
        return next((own for own, full in self.local.items() if full == name), name) if self.local else name

    @property
    def flow(self) -> bool:
        """Whether it is steps that are defined as data."""
        return isinstance(self.handler, Defined)

    def unaccepted(self, root: str) -> Huh:
        """What the sender of a class that it does not take is told."""
        rule = Violation(root, self.why_not(root), None, ", ".join(self.requests))
        first = next((codec.example for codec in self.requests.values()), "")
        return Huh.from_error(PayloadError(rule), root, first)

    def why_not(self, root: str) -> str:
        """Which rule a message of that root element breaks."""
        if root in SYSTEM_ROOTS:
            return "is a message of the system, which nobody else sends; a handler may answer with one"
        return f"is not what '{self.name}' takes"


def runs_on_loop(function: object) -> bool:
    """Whether a call of it, function or object, gives a coroutine."""
    call = type(function).__call__ if callable(function) else None
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def listener(
    name: str,
    handler: Handler | None,
    *,
    human: bool = False,
    localns: Mapping[str, Any] | None = None,
    **options: Unpack[ListenerOptions],
) -> Listener:
    """A checked `Listener`.

    Args:
        name: unique in its organism.
        handler: called with payload and metadata, and with its state when it declares one; None for a person.
        human: whether a person answers.
        localns: names that the handler's annotations may use beside its module's.
        options: `accepts` and `answers` override what the handler's annotations say.

    Raises:
        ConfigError: a bad name, a handler that cannot be called with (payload, metadata), a class that is no
            payload or has the name of a system message, two classes of one name, peers that are no list of
            names, a `timeout_seconds`, `max_concurrent` or `keep` that is not positive, an unknown option.
    """
    name = own_text(name) if isinstance(name, str) else name
    check_name(name)
    _check_options(name, options)
    agreed = contract(name, handler, options.get("accepts"), options.get("answers"), localns)
    description = options.get("description", "")
    if not description and handler is not None:
        own = getattr(handler, "__doc__", None) != type(handler).__doc__  # a class's says how it is made
        description = (inspect.getdoc(handler) or "") if own else ""
    return Listener(
        name,
        handler,
        agreed.accepts,
        agreed.answers,
        description=description,
        peers=tuple(dict.fromkeys(map(own_text, options.get("peers", ())))),
        agent=options.get("agent", False),
        broadcast=options.get("broadcast", False),
        cpu_bound=options.get("cpu_bound", False),
        human=human,
        timeout_seconds=seconds(options.get("timeout_seconds")),
        max_concurrent=options.get("max_concurrent"),
        state=agreed.state,
        remembers=options.get("remembers", "session"),
        keep=options.get("keep", 100),
        retries=options.get("retries", 0),
        effects=options.get("effects", "repeat"),
        operation=options.get("operation", ""),
        hands_over_to=tuple(dict.fromkeys(map(own_text, options.get("hands_over_to", ())))),
        approve=options.get("approve", ""),
        asked_on=tuple(options.get("asked_on", ("console",))),
    )


class Contract(NamedTuple):
    """What a listener takes (root element name → codec), answers (None: not declared), and keeps for each thread."""

    accepts: dict[str, PayloadCodec[Any]]
    answers: tuple[type[Any], ...] | None
    state: type | None


def contract(
    name: str,
    handler: Handler | None,
    accepts: Classes = None,
    answers: Classes = None,
    localns: Mapping[str, Any] | None = None,
) -> Contract:
    """What a listener takes and answers, by what is said of it or else by its handler's annotations.

    Raises:
        ConfigError: as `listener`, for the name, the handler and the classes. Configurations are checked with this
            alone.
    """
    if name == OUTSIDE:
        raise ConfigError(f"'{OUTSIDE}' is the name of outside callers; no listener may have it")
    state = None
    if handler is not None:
        state = _state_class(name, handler, localns)
        _check_handler(name, handler, with_state=state is not None)
    takes = _annotated(name, handler, localns) if accepts is None else one_or_several(accepts)
    if not takes:
        raise ConfigError(f"listener '{name}' accepts no payload class; name at least one")
    gives = _promised(name, handler, localns) if answers is None else one_or_several(answers)
    if answers is not None and not gives:
        raise ConfigError(f"listener '{name}' answers no payload class; name at least one, or leave it out")
    return Contract(_codecs(name, "accepts", takes), None if gives is None else _answers(name, gives), state)


def one_or_several(classes: Iterable[type] | type) -> tuple[type, ...]:
    """One class, or several, as a tuple."""
    return (classes,) if isinstance(classes, type) else tuple(classes)


def check_name(name: str) -> None:
    """Raises ConfigError for what cannot be a listener's name."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(
            f"'{name}' is no listener name: a letter or '_', then letters, digits, '_', '-' and '.', at most 100"
        )
    if name == SYSTEM:
        raise ConfigError(f"'{SYSTEM}' is the sender of system messages; no listener may have that name")


def _check_options(name: str, options: ListenerOptions) -> None:
    unknown = set(options) - ListenerOptions.__optional_keys__
    if unknown:
        raise ConfigError(
            f"listener '{name}': unknown {', '.join(sorted(unknown))}; there are"
            f" {', '.join(sorted(ListenerOptions.__optional_keys__))}"
        )
    for key, named in (
        ("peers", options.get("peers", ())),
        ("hands_over_to", options.get("hands_over_to", ())),
        ("asked_on", options.get("asked_on", ())),
    ):
        # An iterator is none: it can be read only once.
        several = isinstance(named, Collection) and not isinstance(named, str)
        if not several or not all(isinstance(each, str) for each in named):
            raise ConfigError(f"{key} of '{name}' is {named!r}; a list of listeners' names is needed")
    given = options.get("timeout_seconds")
    if given is not None and not ((length := seconds(given)) is not None and length > 0):
        raise ConfigError(f"timeout_seconds of '{name}' is {cut(given)}; a number greater than 0 is needed")
    for key, most in (("max_concurrent", options.get("max_concurrent")), ("keep", options.get("keep"))):
        if most is not None and not (isinstance(most, int) and most > 0):
            raise ConfigError(f"{key} of '{name}' is {most!r}; a whole number greater than 0 is needed")
    retries, effects = options.get("retries", 0), options.get("effects", "repeat")
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= MOST_RETRIES:
        raise ConfigError(f"retries of '{name}' is {cut(repr(retries))}; allowed: 0 to {MOST_RETRIES}")
    if effects not in typing.get_args(Effects):
        raise ConfigError(
            f"effects of '{name}' is {effects!r}; allowed: {', '.join(typing.get_args(Effects))}"
        )
    if effects == "once" and (retries or options.get("agent")):
        what = "retries" if retries else "agent"
        raise ConfigError(f"'{name}' has effects: once and {what}: what is done once is not tried again")
    operation = options.get("operation", "")
    if operation and not (isinstance(operation, str) and NAME.fullmatch(operation)):
        raise ConfigError(f"operation of '{name}' is {cut(repr(operation))}; a name is needed, as 'verify'")
    span = options.get("remembers", "session")
    if span not in typing.get_args(Span):
        raise ConfigError(f"remembers of '{name}' is {span!r}; allowed: {', '.join(typing.get_args(Span))}")


def _check_handler(name: str, handler: Handler, *, with_state: bool) -> None:
    if not callable(handler):
        raise ConfigError(
            f"the handler of '{name}' is {handler!r}; a function of (payload, metadata) is needed"
        )
    arguments = (None, None, None) if with_state else (None, None)
    try:
        inspect.signature(handler).bind(*arguments)
    except TypeError as error:
        raise ConfigError(
            f"the handler of '{name}' cannot be called as handler(payload, metadata): {error}"
        ) from None
    except ValueError:
        return  # a builtin without a signature: nothing to check


def _positional(handler: Handler | None) -> list[inspect.Parameter]:
    try:
        every = [] if handler is None else list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):
        return []  # no callable, or a builtin without a signature
    return [each for each in every if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]


def _resolved(name: str, handler: Handler | None, annotation: Any, localns: Mapping[str, Any] | None) -> Any:
    """An annotation, read where its function is defined."""
    if not isinstance(annotation, str):
        return annotation
    function: Any = handler
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not inspect.isroutine(function):
        function = type(function).__call__
    namespace = {**getattr(function, "__globals__", {}), **(localns or {})}
    try:
        return eval(annotation, namespace)  # noqa: S307 - the handler's own annotation, as typing does
    except Exception as error:
        raise ConfigError(f"the annotation {annotation!r} of '{name}' cannot be resolved: {error}") from None


def _classes(
    name: str, handler: Handler | None, annotation: Any, localns: Mapping[str, Any] | None
) -> list[Any]:
    """The classes that an annotation names."""
    return members(annotation, lambda text: _resolved(name, handler, text, localns))


def _annotated(name: str, handler: Handler | None, localns: Mapping[str, Any] | None) -> tuple[type, ...]:
    """The payload classes that the handler's first parameter is annotated with."""
    parameters = _positional(handler)
    if not parameters or parameters[0].annotation is inspect.Parameter.empty:
        raise ConfigError(
            f"the handler of '{name}' does not say what it accepts: annotate its first parameter with a payload"
            " class (or several: `payload: Sum | SystemError`), or say it with `accepts`"
        )
    return tuple(_classes(name, handler, parameters[0].annotation, localns))


def _promised(
    name: str, handler: Handler | None, localns: Mapping[str, Any] | None
) -> tuple[type, ...] | None:
    """The payload classes that the handler's return annotation declares; None for none."""
    if handler is None:
        return None
    try:
        annotation = inspect.signature(handler).return_annotation
    except (TypeError, ValueError):
        return None  # a builtin without a signature
    if annotation is inspect.Signature.empty:
        return None
    return promised(annotation, lambda text: _resolved(name, handler, text, localns))


def _state_class(name: str, handler: Handler, localns: Mapping[str, Any] | None) -> type | None:
    """The payload class that the handler's third parameter is annotated with; None without one.

    A third parameter with a default is a state if it looks like one, and the handler's own business if not.
    """
    parameters = _positional(handler)
    required = [each for each in parameters if each.default is each.empty]
    if len(parameters) < 3 or len(required) > 3:
        return None
    optional = len(required) < 3
    if optional and parameters[2].annotation is inspect.Parameter.empty:
        return None
    classes: list[type] = [
        cls
        for cls in _classes(name, handler, parameters[2].annotation, localns)
        if cls is not types.NoneType and cls is not None
    ]
    if len(classes) == 1 and is_payload(classes[0]):
        return classes[0]
    if optional:
        return None
    raise ConfigError(
        f"the handler of '{name}' cannot be called as handler(payload, metadata): its third parameter"
        f" '{parameters[2].name}' can only be its state; annotate that with one payload class or None, as in"
        " `state: Tally | None`"
    )


def _answers(name: str, classes: Iterable[type]) -> tuple[type[Any], ...]:
    codecs = _codecs(name, "answers", classes)
    return tuple(codec.cls for codec in codecs.values() if codec.cls not in SYSTEM_CLASSES)


def _codecs(
    name: str, does: Literal["accepts", "answers"], classes: Iterable[type]
) -> dict[str, PayloadCodec[Any]]:
    codecs: dict[str, PayloadCodec[Any]] = {}
    for cls in classes:
        if cls is Gathered and does == "answers":
            raise ConfigError(
                f"listener '{name}' answers Gathered, which only the system sends; name another"
            )
        if cls is not Gathered and not (isinstance(cls, type) and is_payload(cls)):
            raise ConfigError(
                f"listener '{name}' {does} {getattr(cls, '__name__', cls)!s}, which is no payload class:"
                " decorate it with @xmlify"
            )
        codec: PayloadCodec[Any] = GatheredCodec() if cls is Gathered else codec_of(cls)
        other = codecs.setdefault(codec.root, codec)
        if codec.root in SYSTEM_ROOTS and codec.cls not in SYSTEM_CLASSES:
            raise ConfigError(
                f"listener '{name}' {does} a class named {codec.root}, which is the name of a system message;"
                f" rename it, or take xml_pipeline.envelope's own"
            )
        if other.cls is not cls:
            raise ConfigError(f"listener '{name}' {does} two classes named {codec.root}; rename one of them")
    return codecs
