"""One running system: listeners, their pump, their router, and the doors to the outside."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from xml_pipeline.errors import ConfigError, Problem, RoutingError, did_you_mean
from xml_pipeline.events import Hook
from xml_pipeline.hardened import DEFAULT_LIMITS
from xml_pipeline.hardened import Limits as WireLimits
from xml_pipeline.outside import OUTSIDE, Outside, Session
from xml_pipeline.pump import (
    ConversationLimits,
    DeadLetter,
    Handler,
    Listener,
    Pump,
    PumpSettings,
)
from xml_pipeline.pump import listener as make_listener
from xml_pipeline.snapshots import Question, Status, ThreadInfo
from xml_pipeline.streams import EventStream

if TYPE_CHECKING:
    from xml_pipeline.config import OrganismConfig
    from xml_pipeline.llm import Router

__all__ = ["OUTSIDE", "Organism", "Question", "Session", "Status", "ThreadInfo"]

H = TypeVar("H", bound=Callable[..., Any])


class Organism:
    """Listeners under one pump; an async context manager.

    `Organism.from_file("organism.yaml")` or `Organism.build(name=...)` make one.
    """

    def __init__(
        self,
        name: str,
        listeners: Iterable[Listener] = (),
        *,
        description: str = "",
        default: str | None = None,
        settings: PumpSettings | None = None,
        limits: ConversationLimits | None = None,
        wire_limits: WireLimits = DEFAULT_LIMITS,
        shutdown_seconds: float = 10.0,
        router: Router | None = None,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        self.name = name
        self.description = description
        self.default = default
        self._listeners: dict[str, Listener] = {}
        self._shutdown_seconds = shutdown_seconds
        self._router = router
        self._streams: set[EventStream] = set()
        self._state = "new"
        self._stopping: asyncio.Task[None] | None = None
        self._pump = Pump(self._listeners, settings, limits=limits, wire_limits=wire_limits, new_id=new_id)
        self._outside = Outside(self._pump, wire_limits)
        for each in listeners:
            self._add(each)

    @classmethod
    def from_file(cls, path: str | Path, *, environ: Mapping[str, str] | None = None) -> Organism:
        """The organism that a file declares.

        Args:
            path: of an organism.yaml.
            environ: variables instead of the process's; `.env` beside the file adds to them.

        Raises:
            ConfigError: with every mistake in the file.
        """
        from xml_pipeline.config import load

        return cls.from_config(load(path, environ=environ))

    @classmethod
    def from_config(cls, config: OrganismConfig) -> Organism:
        """The organism of a loaded configuration. Raises ConfigError."""
        from xml_pipeline.composition import parts

        return cls(**parts(config))

    @classmethod
    def build(
        cls,
        name: str = "organism",
        *,
        description: str = "",
        default: str | None = None,
        max_in_flight: int = 1000,
        max_concurrent_handlers: int = 256,
        max_concurrent_per_agent: int = 64,
        thread_scheduling: str = "breadth-first",
        timeout_seconds: float = 300.0,
        shutdown_seconds: float = 10.0,
        limits: ConversationLimits | None = None,
        router: Router | None = None,
    ) -> Organism:
        """An organism without YAML; the arguments are the keys of its `organism` section.

        Raises:
            ConfigError: an unknown scheduling, or a size that is not positive.
        """
        settings = PumpSettings.checked(
            max_in_flight=max_in_flight,
            max_concurrent_handlers=max_concurrent_handlers,
            max_concurrent_per_agent=max_concurrent_per_agent,
            timeout_seconds=timeout_seconds,
            scheduling=thread_scheduling,
        )
        return cls(
            name,
            description=description,
            default=default,
            settings=settings,
            limits=limits,
            shutdown_seconds=shutdown_seconds,
            router=router,
        )

    # --- listeners ---

    @overload
    def listener(self, handler: H, /, **options: Any) -> H: ...
    @overload
    def listener(self, handler: None = None, /, **options: Any) -> Callable[[H], H]: ...
    def listener(self, handler: Any = None, /, **options: Any) -> Any:
        """Add a listener; as decorator or as call, before the organism starts.

        Args:
            handler: a sync or async function of (payload, metadata).
            options: `name` (default: the function's), and those of `Listener`: `accepts` (default: from the
                annotation), `description` (default: the docstring), `peers`, `agent`, `broadcast`, `cpu_bound`,
                `timeout_seconds`, `max_concurrent`.

        Raises:
            ConfigError: a bad or taken name, a handler that is none, a class that is no payload.
        """
        localns = dict(sys._getframe(1).f_locals)

        def add(function: Handler) -> Handler:
            name = str(options.get("name") or getattr(function, "__name__", type(function).__name__))
            rest = {key: value for key, value in options.items() if key != "name"}
            unknown = set(rest) - _LISTENER_OPTIONS
            if unknown:
                raise ConfigError(
                    f"listener '{name}': unknown {', '.join(sorted(unknown))}; there are"
                    f" {', '.join(sorted(_LISTENER_OPTIONS))}"
                )
            self._add(make_listener(name, function, localns=localns, **rest))
            return function

        return add if handler is None else add(handler)

    def human(self, name: str, *, accepts: Iterable[type], description: str = "") -> None:
        """Add a listener behind which a person sits; see `questions` and `answer`."""
        self._add(make_listener(name, None, accepts=accepts, description=description, human=True))

    def _add(self, listener: Listener) -> None:
        if self._state != "new":
            raise ConfigError(f"'{listener.name}' comes too late: add listeners before the organism starts")
        if listener.name in self._listeners:
            raise ConfigError(f"there are two listeners named '{listener.name}'")
        self._listeners[listener.name] = listener

    @property
    def listeners(self) -> Mapping[str, Listener]:
        """All listeners by name, in the order declared."""
        return MappingProxyType(self._listeners)

    @property
    def router(self) -> Router:
        """The router that its handlers' `complete()` uses."""
        from xml_pipeline.llm import get_router

        return self._router if self._router is not None else get_router()

    # --- life ---

    async def start(self) -> None:
        """Take messages from now on. Raises ConfigError for peers that do not exist."""
        if self._state != "new":
            raise ConfigError(f"the organism '{self.name}' was started already; make a new one")
        self._check_names()
        self._state = "running"
        self._outside.open(asyncio.get_running_loop())
        if self._router is not None:
            from xml_pipeline.llm import use_router

            # It frees what it keeps for ended threads.
            self._pump.add_hook(self._router.observe, internal=True)
            if self._router.on_event is None:
                self._router.on_event = self._pump.emit
            with use_router(self._router):
                self._pump.start()
        else:
            self._pump.start()

    async def stop(self) -> None:
        """Take nothing new, let what runs finish for `shutdown_seconds`, then cancel it. Never hangs.

        Cancelled, it does not wait for what runs. Called again, it waits for the same end.
        """
        if self._state == "running":
            self._state = "stopped"
            # A task of its own: a handler that calls for the stop is itself cancelled by it.
            self._stopping = asyncio.create_task(self._end(), name="xml-pipeline-stop")
        if self._stopping is None:
            await self._close()
            return
        try:
            await asyncio.shield(self._stopping)
        except asyncio.CancelledError:
            self._pump.hurry()
            raise

    async def _end(self) -> None:
        try:
            await self._pump.stop(self._shutdown_seconds)
        finally:
            await self._close()

    async def _close(self) -> None:
        for stream in tuple(self._streams):
            stream.close()
        if self._router is not None:
            await self._router.aclose()

    async def __aenter__(self) -> Organism:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _check_names(self) -> None:
        problems = []
        wanted = [
            (f"listener '{each.name}'", peer) for each in self._listeners.values() for peer in each.peers
        ]
        if self.default is not None:
            wanted.append((f"the default of '{self.name}'", self.default))
        for who, name in wanted:
            if name not in self._listeners:
                hint = did_you_mean(name, self._listeners)
                problems.append(Problem(f"{who} names '{name}', but there is no such listener{hint}"))
        if problems:
            raise ConfigError(problems)

    # --- messages from outside ---

    async def ask(self, to: str, payload: Any, *, timeout: float | None = None, sender: str = OUTSIDE) -> Any:
        """Send a payload and wait for its answer; waits for room first when the organism is full.

        Args:
            to: a listener's name.
            payload: an instance of a payload class that the listener accepts.
            timeout: seconds for all of it; None for no limit but the conversation's own.
            sender: what listeners see as `from_id`; no listener's name.

        Returns:
            The answer's payload.

        Raises:
            AnswerError: the answer is a SystemError or a huh; `.answer` holds it.
            NoReply: the conversation ended without an answer.
            AskTimeout: no answer in time; the conversation is cancelled.
            RoutingError: no such listener, or it does not take this class.
            PayloadError: the payload is not valid.
            OrganismClosed: it is not running.
            RuntimeError: it runs in another event loop, such as another thread's.
            TypeError: a timeout that is no number.
        """
        return await self._outside.ask(sender, to, payload, timeout)

    async def send(self, to: str, payload: Any, *, sender: str = OUTSIDE) -> str:
        """Send a payload without waiting for its answer; waits while the organism is full.

        Returns:
            The conversation's id. Its answer is an event; an error as its answer is a dead letter too.

        Raises:
            RoutingError, PayloadError, OrganismClosed: as `ask`.
        """
        return await self._outside.send(sender, to, payload)

    def session(self, sender: str = OUTSIDE) -> Session:
        """One outside caller over several asks: listeners see one session, and may remember."""
        return Session(self._outside, sender)

    async def exchange(self, data: bytes, *, timeout: float | None = None) -> bytes:
        """A raw envelope in, the answer's envelope out. Its `thread` is not used: threads are private.

        Raises:
            EnvelopeError: no acceptable envelope, or it names no receiver.
            PayloadError: its payload does not fit the receiver.
            Others: as `ask`, except that an error answer is returned as its envelope.
        """
        return await self._outside.exchange(data, timeout)

    # --- people ---

    def questions(self) -> list[Question]:
        """Messages that wait for a person, oldest first."""
        return [
            Question(thread_id, message.to.name, message.call.conversation_id, message.payload)
            for thread_id, message in self._pump.waiting_for_people.items()
        ]

    def answer(self, thread_id: str, payload: Any) -> None:
        """A person's answer to one of `questions()`. Raises RoutingError when nothing waits there."""
        try:
            self._pump.answer_person(thread_id, payload)
        except KeyError:
            raise RoutingError(f"no message waits for a person in thread {thread_id}") from None

    # --- observation and control ---

    def events(self, *, limit: int = 10_000) -> EventStream:
        """Facts from now on, as an async iterator that ends with the organism.

        Args:
            limit: how many are kept for a slow reader; beyond it the oldest are dropped and counted.
        """
        stream = EventStream(limit, self._forget_stream)
        self._streams.add(stream)
        self._pump.add_hook(stream.put)
        return stream

    def _forget_stream(self, stream: EventStream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)
            self._pump.remove_hook(stream.put)

    def add_hook(self, hook: Hook) -> None:
        """Call `hook` with every fact, in the loop, as it happens; it must be quick."""
        self._pump.add_hook(hook)

    def cancel(self, conversation_id: str) -> bool:
        """End a conversation and cancel its handlers; False when there is none of that id."""
        return self._pump.cancel(conversation_id)

    def dead_letters(self) -> list[DeadLetter]:
        """Messages that ended without a receiver, oldest first; the newest thousand are kept."""
        return list(self._pump.dead_letters)

    def threads(self) -> list[ThreadInfo]:
        """Open threads, callers before callees."""
        registry = self._pump.machine.ledger.registry
        return [
            ThreadInfo(
                call.thread_id,
                call.listener,
                call.caller_name,
                conversation.id,
                call.session_id,
                call.depth,
                call.load,
                call.parent.thread_id if call.parent is not None else "",
            )
            for conversation in registry.conversations.values()
            for call in registry.tree(conversation)
        ]

    def status(self) -> Status:
        pump = self._pump
        registry = pump.machine.ledger.registry
        return Status(
            in_flight=pump.in_flight,
            running=pump.scheduler.running,
            conversations=len(registry.conversations),
            threads=len(registry.calls),
            handled=pump.handled,
            dead_letters=len(pump.dead_letters),
            waiting_for_people=len(pump.waiting_for_people),
        )

    def usage_instructions(self, name: str) -> str:
        """What the listener `name` is told about its peers. Raises RoutingError when there is none."""
        addressing = self._pump.machine.addressing
        return addressing.instructions(addressing.named(name))


_LISTENER_OPTIONS = frozenset(
    (
        "accepts",
        "description",
        "peers",
        "agent",
        "broadcast",
        "cpu_bound",
        "timeout_seconds",
        "max_concurrent",
    )
)
