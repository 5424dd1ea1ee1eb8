"""One running system: listeners, their pump, their router, and the doors to the outside."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from typing_extensions import Unpack

from xml_pipeline.doors import Doors, fired
from xml_pipeline.errors import ConfigError, JournalError, cut
from xml_pipeline.events import Hook
from xml_pipeline.hardened import DEFAULT_LIMITS, Limits
from xml_pipeline.journal import Durable, Journal
from xml_pipeline.payload.text import own_text
from xml_pipeline.pump import (
    ConversationLimits,
    DeadLetter,
    Listener,
    ListenerOptions,
    Pump,
    PumpSettings,
    listener,
)
from xml_pipeline.pump.approvals import CONSOLE
from xml_pipeline.pump.done import Done
from xml_pipeline.pump.kept import recalled
from xml_pipeline.pump.listener import (
    OUTSIDE,
    AsyncStateful,
    Classes,
    Handler,
    P,
    PlainHandler,
    R,
    S,
    SyncStateful,
    runs_on_loop,
)
from xml_pipeline.pump.observers import Observers
from xml_pipeline.pump.schedule import Scheduling
from xml_pipeline.pump.settings import seconds
from xml_pipeline.pump.table import check_table
from xml_pipeline.session import Session, exchange, only_in_its_loop, sender_name
from xml_pipeline.snapshots import Question, Status, ThreadInfo, questions_of, status_of, threads_of
from xml_pipeline.streams import EventStream
from xml_pipeline.threads.ids import random_ids

if TYPE_CHECKING:
    from xml_pipeline.config import OrganismConfig, Untrusted
    from xml_pipeline.door import Door
    from xml_pipeline.journal.triggered import Triggered
    from xml_pipeline.llm import Router
    from xml_pipeline.llm.accounting.forecast import Estimate
    from xml_pipeline.triggers.trigger import Trigger

__all__ = ["OUTSIDE", "Organism", "Question", "Session", "Status", "ThreadInfo"]

T = TypeVar("T")
Plain = TypeVar("Plain", bound=PlainHandler)


class Register(Protocol):
    """What `organism.listener(peers=[...])` is as a decorator: it takes a handler and gives it back."""

    @overload
    def __call__(self, handler: Plain, /) -> Plain: ...
    @overload
    def __call__(self, handler: AsyncStateful[P, S, R], /) -> AsyncStateful[P, S, R]: ...
    @overload
    def __call__(self, handler: SyncStateful[P, S, R], /) -> SyncStateful[P, S, R]: ...


class Organism:
    """Listeners under one pump; an async context manager.

    `Organism.from_file("organism.yaml")` or `Organism.build(name=...)` make one.

    Attributes:
        name: what it is called.
        description: what it is for.
        default: the listener that a console writes to without a name; None for none.
        payloads: the classes that its file declares, by name; the same of a file read twice, while one is held.
        doors: what triggers and others that come in by themselves may reach, by name.
        triggers: what begins conversations by itself while it is armed (`arming.Armed`), by name.
        shutdown_seconds: how long a stop waits for running handlers before it cancels them.
        journal: the file in which its work survives; None when it does not.
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
        wire_limits: Limits = DEFAULT_LIMITS,
        shutdown_seconds: float = 10.0,
        router: Router | None = None,
        journal: Journal | None = None,
        payloads: Mapping[str, type[Any]] = MappingProxyType({}),
        doors: Collection[str] = (),
        triggers: Iterable[Trigger] = (),
        new_id: Callable[[], str] | None = None,
    ) -> None:
        patience = seconds(shutdown_seconds)
        if patience is None or patience < 0:
            raise ConfigError(
                f"shutdown_seconds is {cut(repr(shutdown_seconds))}; seconds, 0 or more, are needed"
            )
        if limits is not None and not isinstance(limits, ConversationLimits):
            raise ConfigError(f"limits is {cut(repr(limits))}; ConversationLimits(...) is needed")
        self.name = name
        self.description = description
        self.default = default
        self.payloads = payloads
        self._listeners: dict[str, Listener] = {}
        self.shutdown_seconds = patience
        self._router = router
        self._borrowed: Router | None = None  # that `configure_router` set
        self._new_id = new_id or random_ids()
        self._streams: dict[EventStream, Hook] = {}
        self.journal = journal.path if isinstance(journal, Durable) else None
        self._ended = False
        self._hurried = False
        self._state = "new"
        self._stopping: asyncio.Task[None] | None = None
        self._journal = journal
        self._door: Door | None = None
        self._observers = Observers()
        self._pump = Pump(
            self._listeners,
            settings,
            limits=limits,
            wire_limits=wire_limits,
            observers=self._observers,
            journal=journal,
        )
        self.doors = Doors(self._pump, doors, self._new_id)
        self.triggers: Mapping[str, Trigger] = {each.name: each for each in triggers}
        self._anybody = Session(self._pump, OUTSIDE, "", self._new_id)
        for each in listeners:
            self._add(each)

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        environ: Mapping[str, str] | None = None,
        root: str | Path | None = None,
        untrusted: Untrusted | None = None,
    ) -> Organism:
        """The organism that a file declares.

        Args:
            path: of an organism.yaml.
            environ: variables instead of the process's; `.env` beside the file adds to them.
            root: the directory that the files it names have to lie below; default: its own.
            untrusted: that it is from somebody else, with which models and how much money it is run (`config.load`).

        Raises:
            ConfigError: with every mistake in the file.
        """
        from xml_pipeline.config import load

        return cls.from_config(load(path, environ=environ, root=root, untrusted=untrusted))

    @classmethod
    def from_config(cls, config: OrganismConfig, *, journal: Journal | None = None) -> Organism:
        """The organism of a loaded configuration, each part of it built once.

        Args:
            config: what the file says.
            journal: instead of the one that it names.

        Raises:
            ConfigError: with what only the built objects could show.
        """
        from xml_pipeline import composition

        section = config.organism
        limits, wire_limits = composition.limits_of(section)
        return cls(
            section.name,
            composition.listeners_of(config),
            description=section.description,
            default=section.default,
            settings=composition.settings_of(section),
            limits=limits,
            wire_limits=wire_limits,
            shutdown_seconds=section.shutdown_seconds,
            router=composition.router_of(config),
            journal=journal or composition.journal_of(config),
            payloads=config.classes,
            doors=tuple(section.doors),
            triggers=composition.triggers_of(config),
        )

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
        thread_scheduling: Scheduling = "breadth-first",
        processes: int = 2,
        timeout_seconds: float = 300.0,
        shutdown_seconds: float = 10.0,
        limits: ConversationLimits | None = None,
        router: Router | None = None,
        journal: str | Path | None = None,
        keep: str | None = None,
    ) -> Organism:
        """An organism without YAML; the arguments are the keys of its `organism` section.

        Args:
            journal: the file in which work is written down before it goes on; None for nowhere.
            keep: how long the journal keeps a conversation after its end: `90s`, `15m`, `12h`, `7d`; None for ever.

        Raises:
            ConfigError: an unknown scheduling, a size that is not positive, a `keep` that is no length of time or has
                no journal.
        """
        from xml_pipeline.composition import journal_at

        settings = PumpSettings.checked(
            max_in_flight=max_in_flight,
            max_concurrent_handlers=max_concurrent_handlers,
            max_concurrent_per_agent=max_concurrent_per_agent,
            timeout_seconds=timeout_seconds,
            scheduling=thread_scheduling,
            processes=processes,
        )
        return cls(
            name,
            description=description,
            default=default,
            settings=settings,
            limits=limits,
            shutdown_seconds=shutdown_seconds,
            router=router,
            journal=journal_at(journal, keep, name),
        )

    # --- listeners ---

    @overload
    def listener(self, handler: Plain, /, *, name: str = "", **options: Unpack[ListenerOptions]) -> Plain: ...
    @overload
    def listener(
        self, handler: AsyncStateful[P, S, R], /, *, name: str = "", **options: Unpack[ListenerOptions]
    ) -> AsyncStateful[P, S, R]: ...
    @overload
    def listener(
        self, handler: SyncStateful[P, S, R], /, *, name: str = "", **options: Unpack[ListenerOptions]
    ) -> SyncStateful[P, S, R]: ...
    @overload
    def listener(
        self, handler: None = None, /, *, name: str = "", **options: Unpack[ListenerOptions]
    ) -> Register: ...
    def listener(
        self, handler: Handler | None = None, /, *, name: str = "", **options: Unpack[ListenerOptions]
    ) -> Any:  # what, the overloads say
        """Add a listener; as decorator or as call, before the organism starts.

        Args:
            handler: a sync or async function of (payload, metadata), or of (payload, metadata, state).
            name: default: the function's, or the class's of an object.
            options: those of `Listener`: `accepts` and `answers` (default: from the annotations), `description`
                (default: the docstring), `peers`, `hands_over_to`, `agent`, `broadcast`, `cpu_bound`,
                `timeout_seconds`, `max_concurrent`, `remembers`, `keep`, `retries`, `effects`, `operation`.

        Raises:
            ConfigError: a bad or taken name, a handler that is none, a class that is no payload, an unknown option.
        """
        # Annotations may name classes that are local to the function in which the handler is defined.
        localns = dict(sys._getframe(1).f_locals)

        def add(function: Handler) -> Handler:
            own = getattr(function, "__name__", type(function).__name__)
            self._add(listener(name or str(own), function, localns=localns, **options))
            return function

        return add if handler is None else add(handler)

    def human(
        self, name: str, *, accepts: Classes = None, answers: Classes = None, description: str = ""
    ) -> None:
        """Add a listener behind which a person sits, who gets `Task`s and gives `Answer`s if nothing else is said.

        See `questions` and `answer`. Raises ConfigError: a bad or taken name, a class that is no payload.
        """
        from xml_pipeline.agents import Answer, Task

        takes, gives = Task if accepts is None else accepts, Answer if answers is None else answers
        self._add(listener(name, None, human=True, accepts=takes, answers=gives, description=description))

    def _add(self, added: Listener) -> None:
        if self._state != "new":
            raise ConfigError(f"'{added.name}' comes too late: add listeners before the organism starts")
        if added.name in self._listeners:
            raise ConfigError(f"there are two listeners named '{added.name}'")
        self._listeners[added.name] = added

    @property
    def listeners(self) -> Mapping[str, Listener]:
        """All listeners by name, in the order declared."""
        return MappingProxyType(self._listeners)

    @property
    def triggered(self) -> Triggered | None:
        """What its journal knows of triggers, while it runs; None where it has none, or one of another kind."""
        from xml_pipeline.journal.triggered import triggered_in

        return triggered_in(self._journal)

    @property
    def router(self) -> Router:
        """The router that its handlers' `complete()` uses."""
        from xml_pipeline.llm import get_router

        return self._router if self._router is not None else get_router()

    # --- life ---

    async def start(self) -> None:
        """Take messages from now on.

        Raises:
            ConfigError: it was started before, a peer does not exist, or no process can find a `cpu_bound` handler.
            JournalError: its journal is in use by another process, or cannot be used.
        """
        if self._state != "new":
            raise ConfigError(f"the organism '{self.name}' was started already; make a new one")
        check_table(self._listeners, self.name, self.default)
        self.doors.check()
        if self._router is not None:
            if self._journal is not None and self._router.file:
                raise ConfigError("the journal holds the ledger too: give the router no file of its own")
            await self._router.open()
        self._state = "running"
        if self._router is not None:
            from xml_pipeline.llm.default import serve, use_router

            self._pump.ends.tenant = self._router  # it keeps accounts for each thread
            if self._router.on_event is None:
                self._router.on_event = self._pump.emit
            with use_router(self._router):
                self._pump.start()
            serve(self._router, self.name)
        else:
            self._keep_books()
            self._pump.start()
        try:
            await self._pump.resume()
        except BaseException:
            self._state = "stopped"
            await self._pump.runners.stop()
            await self._close()
            raise
        try:
            await self._open_door()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Take nothing new, let what runs finish for `shutdown_seconds`, then cancel it. Never hangs.

        With a journal, what is not done by then goes on when an organism is started on it again.

        Cancelled, it does not wait for what runs. Called again, it waits for the same end.

        Raises:
            RuntimeError: it runs in another event loop, such as another thread's.
        """
        only_in_its_loop(self._pump, "asyncio.run_coroutine_threadsafe(organism.stop(), loop)")
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
            self._hurried = True  # it may not have begun to wait
            self._pump.hurry()
            raise

    async def served(self) -> None:
        """Wait until the commands of other processes that joined it (`xp ask`) have their answers."""
        if self._door is not None:
            await self._door.served()

    def _keep_books(self) -> None:
        """A router that `configure_router` set writes down here what it does, while it has no other ledger."""
        default = sys.modules.get("xml_pipeline.llm.default")  # not imported by anybody, not set by anybody
        router: Router | None = None if default is None else default.configured()
        if router is not None and self._journal is not None and not router.keeps_books:
            self._pump.ends.tenant = self._borrowed = router

    async def _open_door(self) -> None:
        """Take requests of commands about the journal, or about a ledger of its own, if there is one."""
        file = None if self._router is None else self._router.file
        if self._journal is not None or file is not None:
            from xml_pipeline.door.opening import door_of

            self._door = await door_of(self._journal, file, self._pump, self._new_id, self.fire)

    async def _end(self) -> None:
        if self._door is not None:
            self._door.shut()
        try:
            await self._pump.stop(0.0 if self._hurried else self.shutdown_seconds)
        finally:
            if self._door is not None:
                await self._door.close()
            await self._close()

    async def _close(self) -> None:
        self._ended = self._state == "stopped"  # one that never ran may still do so
        for stream in tuple(self._streams):
            stream.close()
        if self._router is not None:
            from xml_pipeline.llm.default import withdraw

            withdraw(self._router)
            await self._router.aclose()
        elif self._borrowed is not None:
            self._borrowed.let_go()

    async def __aenter__(self) -> Organism:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # --- messages from outside ---

    @overload
    async def ask(
        self,
        to: str,
        payload: Any,
        *,
        answer_type: type[T],
        timeout: float | None = None,
        sender: str = OUTSIDE,
        key: str | None = None,
    ) -> T: ...
    @overload
    async def ask(
        self,
        to: str,
        payload: Any,
        *,
        timeout: float | None = None,
        sender: str = OUTSIDE,
        key: str | None = None,
    ) -> Any: ...
    def ask(
        self,
        to: str,
        payload: Any,
        *,
        answer_type: type[Any] = object,
        timeout: float | None = None,
        sender: str = OUTSIDE,
        key: str | None = None,
    ) -> Any:
        """Send a payload and wait for its answer; waits for room first when the organism is full.

        Args:
            to: a listener's name.
            payload: an instance of a payload class that the listener accepts, or `{"Class": {"field": value}}` with
                values as JSON has them.
            answer_type: the payload class that the answer must have, for type checkers too.
            timeout: seconds for all of it; None for no limit but the conversation's own.
            sender: what listeners see as `from_id`; no listener's name.
            key: names this request for ever, in an organism with a journal. Asked again with the same key, after a
                crash too, it joins what runs, or gives the answer that was given. Inside a handler of the same
                organism it follows from the message that is handled, and need not be given.

        Returns:
            The answer's payload.

        Raises:
            AnswerError: the answer is a SystemError or a huh, or not of `answer_type`; `.answer` holds it.
            NoReply: the conversation ended without an answer.
            AskTimeout: no answer in time; the conversation is cancelled.
            RoutingError: no such listener, or it does not take this class.
            PayloadError: the payload is not valid.
            OrganismClosed: it is not running.
            JournalError: it cannot be made durable.
            KeyConflict: the key names another request.
            RuntimeError: it runs in another event loop, such as another thread's.
            TypeError, ValueError: a timeout that is no number, or not above 0; a key that is no text.
        """
        session = self._anybody if sender == OUTSIDE else self._session(sender)
        return session.ask(to, payload, answer_type=answer_type, timeout=timeout, key=key)

    async def send(self, to: str, payload: Any, *, sender: str = OUTSIDE, key: str | None = None) -> str:
        """Send a payload without waiting for its answer; waits while the organism is full.

        With a journal it returns when the message is durable: it will be handled, whatever happens to the process.

        Args:
            to, payload, sender, key: as `ask`.

        Returns:
            The conversation's id. Its answer is an event; an error as its answer is a dead letter too.

        Raises:
            RoutingError, PayloadError, OrganismClosed, JournalError, KeyConflict: as `ask`.
        """
        return await self._session(sender).send(to, payload, key=key)

    async def join(self, conversation_id: str) -> Any:
        """Wait for the answer of a conversation, also of one that began in an earlier life, or is over.

        Whoever stops waiting ends nothing.

        Args:
            conversation_id: as `send` returned it, or `xp log` shows it.

        Returns:
            The answer's payload.

        Raises:
            ConfigError: the organism has no journal.
            AnswerError, NoReply, OrganismClosed, JournalError, RuntimeError: as `ask`.
        """
        return await self._anybody.join(conversation_id)

    async def fire(self, name: str) -> str:
        """Let a trigger fire now, whatever goes on: the id of its conversation.

        Raises RoutingError: no such trigger, or one that has nothing to say itself; others as `send`.
        """
        return await fired(name, self.triggers, self.doors)

    def _session(self, sender: str) -> Session:
        return Session(self._pump, sender_name(self._pump, sender), "", self._new_id)

    def session(self, sender: str = OUTSIDE, *, id: str | None = None, ttl: float | None = None) -> Session:
        """One outside caller over several asks: listeners see one session, and may remember.

        Args:
            sender: what listeners see as `from_id`.
            id: names the session, so that another `session(id=...)` of the same sender goes on with it; it ends by
                `close`, or by `ttl`. Without one it ends when it is closed, or its context is left.
            ttl: seconds after its last conversation at which a named session ends; None for never.

        Raises:
            RoutingError: the sender's name is not allowed.
            ValueError: an empty id, a ttl without an id, or one that is not positive.
        """
        name = sender_name(self._pump, sender)
        if id is None:
            if ttl is not None:
                raise ValueError("a ttl is for a named session: give it an id")
            return Session(self._pump, name, self._new_id(), self._new_id)
        if not id or not isinstance(id, str):
            raise ValueError(f"the id of a session is a text, not {id!r}")
        if not id.isprintable():
            raise ValueError("the id of a session is printable text")
        length = None if ttl is None else seconds(ttl)
        if ttl is not None and not (length is not None and length > 0):
            raise ValueError(f"the ttl of a session is a number of seconds greater than 0, not {cut(ttl)}")
        key = self._pump.sessions.id_of(f"{name}/{own_text(id)}")
        return Session(self._pump, name, key, self._new_id, named=True, ttl=length)

    async def exchange(self, data: bytes, *, timeout: float | None = None, key: str | None = None) -> bytes:
        """A raw envelope in, the answer's envelope out. Its `thread` is not used: threads are private.

        Args:
            data: the envelope.
            timeout, key: as `ask`.

        Raises:
            EnvelopeError: no acceptable envelope, or it names no receiver.
            PayloadError: its payload does not fit the receiver.
            Others: as `ask`, except that an error answer is returned as its envelope.
        """
        return await exchange(self._pump, data, timeout, self._new_id, key)

    # --- people ---

    def questions(self) -> list[Question]:
        """Messages that wait for a person, oldest first.

        Raises:
            JournalError: those of conversations that sleep in the journal cannot be read.
        """
        return questions_of(self._pump)

    def answer(self, thread_id: str, payload: Any, *, channel: str = CONSOLE) -> Done[None]:
        """A person's answer to one of `questions()`.

        Args:
            thread_id: of the question.
            payload: the answer; an `Approval` where something is to be approved.
            channel: through which it comes: the console's, or one that the person's `asked_on` names.

        Returns:
            To be awaited by whoever has to know that the answer outlives the process.

        Raises:
            RoutingError: nothing waits there, or not on this channel.
            PayloadError, EnvelopeError: the answer is not valid, or too large; the question goes on waiting.
            RuntimeError: called from another thread than the organism's.
            JournalError: its conversation cannot be brought back; awaited: the answer cannot be made durable.
        """
        only_in_its_loop(self._pump, "loop.call_soon_threadsafe(organism.answer, thread_id, payload)")
        self._pump.answer(thread_id, payload, channel)
        return Done(None, self._pump.flush)

    # --- memory ---

    def remembered(self, key: str, cls: type[T]) -> tuple[T, ...]:
        """What is remembered under a session id, of one payload class, oldest first; () when nothing is.

        Raises:
            PayloadTypeError: the class is no payload.
        """
        conversation_id, of_a_conversation, _ = key.partition("/")
        if of_a_conversation:
            with suppress(JournalError):  # then nothing is known of it
                self._pump.wake(conversation_id)
        state = self._pump.state
        found = [each.entries(key) for each in state.sessions.values()]
        found += [
            each.memory.get(key, ()) for each in state.conversations.values() if each.memory is not None
        ]
        return recalled(next(filter(None, found), ()), cls)

    # --- observation and control ---

    def events(self, *, limit: int = 10_000) -> EventStream:
        """Facts and signals from now on, as an async iterator that ends with the organism.

        Once the organism is stopped there are none.

        Args:
            limit: how many are kept for a slow reader; beyond it the oldest are dropped and counted.

        Raises:
            ValueError: a limit that is no whole number above 0.
            RuntimeError: when it is read in another event loop than the organism's, such as another thread's.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ValueError(f"limit is a whole number of events, 1 or more; not {cut(limit)}")
        stream = EventStream(limit, self._forget_stream, self._in_its_loop)
        hook = self._streams[stream] = stream.put
        self._observers.add(hook)
        if self._ended:
            stream.close()
        return stream

    def _in_its_loop(self) -> None:
        only_in_its_loop(self._pump, "asyncio.run_coroutine_threadsafe(reader(organism.events()), loop)")

    def _forget_stream(self, stream: EventStream) -> None:
        hook = self._streams.pop(stream, None)
        if hook is not None:
            self._observers.remove(hook)

    def add_hook(self, hook: Hook) -> None:
        """Call `hook` with every fact and signal, in the loop, as it happens; it must be quick.

        Raises:
            TypeError: it cannot be called, or is a coroutine function, which nobody would await.
        """
        if not callable(hook):
            raise TypeError(f"a hook is a function of one event; not {cut(repr(hook))}")
        if runs_on_loop(hook):
            raise TypeError(
                f"the hook {cut(repr(hook))} is a coroutine function, and nobody would await it: give a plain"
                " function, or read `async for event in organism.events()`"
            )
        self._observers.add(hook)

    def cancel(self, conversation_id: str) -> Done[bool]:
        """End a conversation and cancel its handlers.

        Returns:
            Whether there was one of that id. It can be awaited: then it is also durable that it ended.

        Raises:
            RuntimeError: called from another thread than the organism's.
            JournalError: it cannot be brought back; awaited: its end cannot be made durable.
        """
        only_in_its_loop(self._pump, "loop.call_soon_threadsafe(organism.cancel, conversation_id)")
        return Done(self._pump.cancel(conversation_id), self._pump.flush)

    def dead_letters(self) -> list[DeadLetter]:
        """Messages that ended without a receiver, oldest first; the newest thousand are kept."""
        return list(self._pump.dead_letters)

    def threads(self) -> list[ThreadInfo]:
        """Open threads, callers before callees.

        With a journal, of those that only wait for people the ones that are in memory: at most a thousand
        conversations. `questions()` lists what all of them wait for.
        """
        return threads_of(self._pump)

    def status(self) -> Status:
        """The organism at this moment, in numbers."""
        return status_of(self._pump)

    async def estimate(self, to: str, payload: Any) -> Estimate:
        """What a task for a built-in agent would cost; nobody is asked, and nothing has to be started.

        Args:
            to: the agent's listener.
            payload: the task, as for `ask`.

        Raises:
            RoutingError: there is no such listener.
            ConfigError: what it will ask cannot be known before: it is no built-in agent.
            NoBackendError: nobody serves its model.
        """
        from xml_pipeline.agents.estimating import estimate_of

        if isinstance(payload, dict):
            payload = self._pump.terms.addressing.meant(to, payload)
        return await estimate_of(to, payload, self._listeners, self.router)

    def usage_instructions(self, name: str) -> str:
        """What the listener `name` is told about its peers. Raises RoutingError when there is none."""
        addressing = self._pump.terms.addressing
        return addressing.instructions(addressing.named(name))
