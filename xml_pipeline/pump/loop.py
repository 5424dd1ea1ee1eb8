"""The engine: gives facts to the machine and carries out its events, on one asyncio event loop.

Whatever is alive is kept here and in `Runners`, in tables by thread and conversation id: timers, futures, people,
tasks. What is known is the machine's, as plain data.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from functools import partial
from math import ceil
from typing import Any, Protocol

from msgspec import Struct

from xml_pipeline import events
from xml_pipeline.envelope import Message, SystemError
from xml_pipeline.errors import (
    JournalError,
    OrganismClosed,
    RoutingError,
)
from xml_pipeline.hardened import DEFAULT_LIMITS
from xml_pipeline.hardened import Limits as WireLimits
from xml_pipeline.journal import Durable, Journal, Step, Uptime
from xml_pipeline.ledger import Ledger
from xml_pipeline.pump.admission import Admission
from xml_pipeline.pump.attempts import begun_again, careful
from xml_pipeline.pump.deadlines import Deadlines
from xml_pipeline.pump.facts import (
    Aborted,
    Answered,
    Due,
    Expired,
    Fact,
    Failed,
    Injected,
    Interrupted,
    Returned,
    Starting,
    Undeliverable,
)
from xml_pipeline.pump.failures import told_of
from xml_pipeline.pump.handler_call import HandlerCall
from xml_pipeline.pump.keys import Keys
from xml_pipeline.pump.listener import Attaching, Listener
from xml_pipeline.pump.log import logger
from xml_pipeline.pump.machine import Machine
from xml_pipeline.pump.observers import Observers
from xml_pipeline.pump.offload import ProcessEnded
from xml_pipeline.pump.parts import Parts
from xml_pipeline.pump.projection import asked_before, delivered, observed
from xml_pipeline.pump.recovery import Revived, Reviver, gone, sessions_of
from xml_pipeline.pump.repeats import Repeats
from xml_pipeline.pump.response import HandlerMetadata, restored
from xml_pipeline.pump.runners import Runners
from xml_pipeline.pump.settings import ConversationLimits, PumpSettings
from xml_pipeline.pump.sleepers import Sleepers
from xml_pipeline.threads.record import (
    Accepted,
    Asked,
    Closed,
    DeadLetter,
    Ended,
    Gathering,
    Handled,
    Over,
    Redelivered,
    Started,
)

_AGAIN = "\n"  # before a number, in the id of a session that was opened again; no name holds it


class PerThread(Protocol):
    """Somebody who keeps something for each thread and conversation, and frees it when they end; in a ledger, too."""

    def forget_thread(self, thread_id: str) -> None: ...
    def forget_conversation(self, conversation_id: str) -> None: ...
    async def take_up(self, ledger: Ledger) -> None: ...


class Timer(Struct, frozen=True, gc=False):
    """Names the time limit of a gather."""

    conversation_id: str
    thread_id: str
    gather_id: str


class Pump:
    """Moves messages between listeners until it is stopped.

    Args:
        listeners: all by name; they may be added until it starts.
        settings: sizes and times.
        limits: of each conversation.
        wire_limits: of each message.
        observers: who looks on.
        journal: where steps become durable before they are carried out; None for nowhere.
        clock: Unix time in seconds; it dates facts. Timers run by the event loop's clock (ADR 5).
    """

    def __init__(
        self,
        listeners: Mapping[str, Listener],
        settings: PumpSettings | None = None,
        *,
        limits: ConversationLimits | None = None,
        wire_limits: WireLimits = DEFAULT_LIMITS,
        observers: Observers | None = None,
        journal: Journal | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.listeners = listeners
        self.settings = settings or PumpSettings()
        self.machine = Machine(listeners, limits, wire_limits)
        self.state, self.terms = self.machine.state, self.machine.terms
        self.observers = observers or Observers()
        self._hooks = self.observers.hooks
        self.admission = Admission(self.settings.max_in_flight)
        self.runners = Runners(self.settings, listeners, self)
        self.scheduler = self.runners.scheduler
        self._threads = self.scheduler.threads
        self.dead_letters: deque[DeadLetter] = deque(maxlen=self.settings.dead_letters)
        self.questions: dict[str, Message] = {}
        self.handled = 0
        self.tenant: PerThread | None = None
        self._journal = journal
        self._durable = journal if isinstance(journal, Durable) else None
        self._parts = journal if isinstance(journal, Parts) else None
        self._uptime = Uptime()  # of earlier lives
        self._failure: JournalError | None = None
        # Without a journal there is no call, no future and no await between deciding and carrying out (ADR 12).
        self._commit: Callable[[Step], None] = self._carry_out if journal is None else self._append
        self.clock = clock
        self._deadlines = Deadlines()
        self._reserved: set[str] = set()  # conversations whose first message is not durable yet
        self._due: dict[str, float] = {}  # conversations, and when they take too long
        self._bell: asyncio.TimerHandle | None = None
        self._asks: dict[
            str, list[asyncio.Future[Message | None]]
        ] = {}  # who waits for a conversation's answer
        self._written: dict[str, asyncio.Future[None]] = {}  # who waits for a conversation to be durable
        self.keys: Keys | None = None
        self.sleepers: Sleepers | None = None
        if self._durable is not None:
            reviver = Reviver(self.state, listeners, self.terms.kept_limits)
            self.sleepers = Sleepers(self._durable, reviver, self.admission, self._go_on)

            def goes_on(name: str) -> bool:
                return name in self._due or self._deadlines.has(name)

            self.keys = Keys(self._durable.steps, reviver.answer, self._asks, self._disappoint, goes_on)
        self._skipped: set[str] = set()  # taken, but buried by a step that is not durable yet
        self._timers: dict[str, dict[str, Timer]] = {}  # of gathers, by thread
        self._renamed: dict[str, str] = {}  # names of lasting sessions that were closed while they ran
        self._again = 0
        self._resting: dict[str, float] = {}  # lasting sessions, and how many seconds they may rest
        self._repeats = Repeats(self.scheduler.again, self._deadlines)
        self._steps: deque[Step] = deque()  # to be carried out
        self._carrying = False
        self._open = False
        self._instructions = self.terms.addressing.instructions
        self._longest = self.terms.limits.seconds
        self.loop: asyncio.AbstractEventLoop | None = None
        self._loop: asyncio.AbstractEventLoop
        self._time: Callable[[], float]
        self._context: Context

    @property
    def observed(self) -> bool:
        """Whether anybody looks on."""
        return bool(self._hooks)

    def emit(self, event: events.Event) -> None:
        """Tell the observers something."""
        self.observers.tell(event)

    # --- life ---

    def start(self) -> None:
        """Take messages from now on; handlers run in a copy of the current context."""
        self.loop = self._loop = loop = asyncio.get_running_loop()
        self._time, self._context = loop.time, copy_context()
        self._deadlines.start(loop)
        self.runners.start(loop)
        for listener in self.listeners.values():
            if isinstance(listener.handler, Attaching):
                listener.handler.attach(self)
        self._open = True

    async def resume(self) -> None:
        """Go on with what the journal holds; newcomers wait until all that is owed is on its way.

        Raises:
            JournalError: it cannot be used.
        """
        if self._durable is None or self.sleepers is None:
            return
        kept = await self._durable.start(self._break_off)
        self._uptime = kept.uptime
        if self.tenant is not None:
            await self.tenant.take_up(self._durable.ledger)
        self.state.sessions.update(sessions_of(kept))
        # of several of a name the newest is meant, the others were closed
        for session_id in self.state.sessions:
            name, again, number = session_id.partition(_AGAIN)
            if again and int(number) > int(self.session_id(name).partition(_AGAIN)[2] or 0):
                self._renamed[name] = session_id
                self._again = max(self._again, int(number))
        self.sleepers.start(kept.open)

    async def stop(self, seconds: float) -> None:
        """Take nothing new, let what runs finish for `seconds`, then cancel it. Never hangs.

        With a durable journal nothing ends by that: what is not done goes on in the next life.
        """
        self._open = False
        self.admission.refuse_all()
        if self.sleepers is not None:
            self.sleepers.stop()
        try:
            if self._durable is None:
                await self.admission.drain(seconds)
            else:
                await self.runners.rest(seconds)
        finally:
            if self._durable is None:
                self._give_up_all()
            self._deadlines.close()
            if self._bell is not None:
                self._bell.cancel()
            await self.runners.stop()
            if self._durable is not None:
                for message in begun_again(self.state, self.listeners):
                    self._step(message.conversation_id, Interrupted(message, self.clock(), stopped=True))
                await self._durable.close()
                self._commit = _too_late  # a handler that is deaf to its cancel may return still
                self._let_go_of_all()

    def hurry(self) -> None:
        """Let a stop that is going on wait no longer for what runs."""
        self.admission.hurry()
        self.runners.hurry()

    def _let_go_of_all(self) -> None:
        """Tell all that wait that the organism sleeps; what they wait for goes on when it is started again."""
        text = "the organism was stopped before the answer came; started again, it goes on with it"
        for conversation_id in (*self._asks, *self._written):
            self._disappoint(conversation_id, self._failure or OrganismClosed(text))

    def _break_off(self, error: JournalError) -> None:
        """The journal can be used no more: nothing is carried out from now on, and whoever waits is told."""
        logger.critical("the organism stops: %s", error)
        self._failure, self._open = error, False
        self.admission.refuse_all()
        self.runners.halt()
        self._let_go_of_all()

    def _give_up_all(self) -> None:
        # All that wait: also for what is decided and not durable, because nobody will hear of it any more.
        for conversation_id in tuple(self._asks):
            error = OrganismClosed("the organism was stopped before the answer came")
            self._disappoint(conversation_id, error)
        for conversation_id in tuple(self.state.conversations):
            self._step(conversation_id, Aborted(conversation_id, None, self.clock()))

    def _disappoint(self, conversation_id: str, error: BaseException) -> None:
        """Raise `error` for whoever waits for the conversation's answer, or to hear that it is durable."""
        waiting = [*self._asks.pop(conversation_id, ()), self._written.pop(conversation_id, None)]
        for future in waiting:
            if future is not None and not future.done():
                future.set_exception(error)

    # --- the outside ---

    def inject(self, fact: Injected, answer: asyncio.Future[Message | None] | None) -> None:
        """Accept a message from outside; not to be called while there is no room (`admission`).

        Args:
            fact: what is sent.
            answer: gets the answering message, None when there is none, or an error.

        Raises:
            OrganismClosed: not started, or stopping.
            RoutingError, PayloadError, EnvelopeError: as `Machine.step`.
        """
        if not self._open:
            raise self._not_open()
        if self._durable is not None and self._durable.trouble:
            raise JournalError(self._durable.trouble)
        conversation_id = fact.conversation_id
        changes = self.machine.step(fact)
        if answer is not None:
            self._asks.setdefault(conversation_id, []).append(answer)
        self._due[conversation_id] = due = self._time() + self._longest
        if self._bell is None:
            self._ring_at(due)
        if fact.session:
            self._deadlines.discard(fact.session)  # it is in use
        if self._journal is not None:
            self._reserved.add(conversation_id)  # until it is durable, its message holds a place already
            self.admission.in_flight += 1
            # Observers see whoever sends in their context, then as now.
            self._append(Step(conversation_id, 0, fact.at, changes), copy_context())
        else:
            self._carry_out(Step(conversation_id, 0, fact.at, changes))

    async def written(self, conversation_id: str) -> None:
        """Wait until a conversation that was injected just now is durable."""
        if conversation_id in self._reserved:
            self._written[conversation_id] = future = self._loop.create_future()
            await future

    @property
    def durable(self) -> bool:
        """Whether what is accepted outlives the process."""
        return self._durable is not None

    def abandon(self, conversation_id: str) -> None:
        """Whoever asked waits no more. What cannot be asked for again ends; with a durable journal it goes on."""
        if self._durable is None:
            self.cancel(conversation_id)

    async def inject_in_turn(
        self, fact: Injected, answer: asyncio.Future[Message | None] | None, check: Callable[[], None]
    ) -> None:
        """`inject` as soon as there is room, first come first served; `check` raises if it is too late by then."""
        if not self._open:
            raise self._not_open()
        if not self.admission.watched and self.admission.in_flight < self.admission.most:
            self.inject(fact, answer)
            return
        await self.admission.wait()
        try:
            check()
            self.inject(fact, answer)
        finally:
            self.admission.leave()  # the reserved place; the message has its own by now

    def _not_open(self) -> Exception:
        return self._failure or OrganismClosed("the organism is not running: use `async with organism:`")

    def answer(self, thread_id: str, payload: Any) -> None:
        """A person answered what waits under `thread_id` in `questions`.

        Raises:
            RoutingError: nothing waits there.
            PayloadError, EnvelopeError: the answer is no valid payload, or too large; the question goes on waiting.
        """
        message = self.questions.get(thread_id)
        if message is None:
            raise RoutingError(f"no message waits for a person in thread {thread_id}")
        self._step(message.conversation_id, Answered(message, payload, self.clock()))
        self.handled += 1

    def wake(self, conversation_id: str) -> None:
        """Bring a conversation of an earlier life back, if it still sleeps. Raises JournalError: it cannot be."""
        if self.sleepers:
            self.sleepers.wake(conversation_id)

    def cancel(self, conversation_id: str, error: SystemError | None = None) -> bool:
        """End a conversation and cancel its handlers; False when there is none of that id."""
        self.wake(conversation_id)
        if conversation_id not in self.state.conversations:
            return False
        self._step(conversation_id, Aborted(conversation_id, error, self.clock()))
        return True

    def keep_session(self, session_id: str, seconds: float) -> None:
        """After the last conversation of a lasting session it may rest for `seconds`, then it ends."""
        self._resting[session_id] = seconds
        session = self.state.sessions.get(session_id)
        if session is not None and not session.running:
            self._deadlines.add(session_id, seconds, self.end_session)

    def session_id(self, name: str) -> str:
        """The id of the lasting session of this name; another than before while one that was closed still runs."""
        return self._renamed.get(name, name)

    def end_session(self, session_id: str) -> None:
        """Forget a lasting session: at once, or with the last of its conversations."""
        self._resting.pop(session_id, None)
        self._deadlines.discard(session_id)
        session = self.state.sessions.get(session_id)
        name = session_id.partition(_AGAIN)[0]
        if self.session_id(name) == session_id:
            self._renamed.pop(name, None)
            if session is not None and session.running:
                self._again += 1
                self._renamed[name] = f"{name}{_AGAIN}{self._again}"
        if session is not None:
            ended = () if session.running else tuple(session.sessions.values())
            closed = Closed()
            self.state.apply(session_id, closed)
            self._commit(Step(session_id, 0, self.clock(), [closed]))
            if self._hooks:
                for each in ended:
                    self.observers.tell(events.SessionEnded(each))

    # --- from facts to effects ---

    def _step(self, conversation_id: str, fact: Fact) -> None:
        """One fact: what follows from it becomes durable, then is carried out."""
        seq, conversation = 0, None
        commit = self._commit
        if self._journal is not None or self._hooks:
            conversation = self.state.conversations.get(conversation_id)
            if conversation is None:
                commit = self._carry_out  # a late return: it belongs to nothing that is written down
            else:
                seq = conversation.seq
        changes = self.machine.step(fact)
        if changes:
            owes = conversation is not None and conversation.due > 0
            commit(Step(conversation_id, seq, fact.at, changes, owes))

    def _append(self, step: Step, context: Context | None = None) -> None:
        """Let a step become durable. One that cannot ends its conversation: what it decided must not leave."""
        journal, conversation_id = self._journal, step.conversation_id
        assert journal is not None
        try:
            done = partial(self._carry_out, step)
            if context is not None:
                done = partial(context.run, done)
            journal.append(conversation_id, step.seq, step, done)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            logger.exception("a step could not be journaled; its conversation %s ends", conversation_id)
            self._disappoint(conversation_id, error)
            self._carry_out(step)
            changes = self.machine.step(Aborted(conversation_id, None, self.clock()))
            self._carry_out(Step(conversation_id, 0, step.at, changes))

    def _carry_out(self, step: Step) -> None:
        """Do what events ask for, step by step: an observer may cause a step in the middle of another."""
        if self._carrying:
            self._steps.append(step)
            return
        self._carrying = True
        try:
            while True:
                conversation_id, seq = step.conversation_id, step.seq
                for event in step.events:
                    effect = _EFFECTS.get(type(event))
                    try:
                        if effect is not None:
                            effect(self, conversation_id, event)
                        if self._hooks:
                            seq += 1
                            for each in observed(conversation_id, event, seq):
                                self.observers.tell(each)
                    except KeyboardInterrupt:
                        raise
                    except BaseException:  # the others are carried out all the same
                        logger.exception("%s could not be carried out", type(event).__name__)
                if not self._steps:
                    break
                step = self._steps.popleft()
        finally:
            self._carrying = False
            if self.admission.watched:
                self.admission.settle()

    # --- an earlier life ---

    def _go_on(self, revived: Revived) -> None:
        """Set the timers and queues of a conversation that was brought back, as they would have been."""
        conversation, conversation_id = revived.conversation, revived.conversation.id
        left = self._longest - self._uptime.since(revived.began)
        self._deadlines.add(conversation_id, ceil(max(0.0, left)), self._endless)
        for gather_id, (thread_id, seconds, began) in revived.gathers.items():
            left = max(0.0, seconds - self._uptime.since(began))
            self._time_gather(Timer(conversation_id, thread_id, gather_id), ceil(left))
        for thread in conversation.threads.values():
            if thread.inbox:
                self.scheduler.hold(thread.id)
        for message in revived.asked:
            self.questions[message.thread_id] = message
            if self._hooks:
                self.observers.tell(asked_before(message))
        for message in revived.behind:
            self.scheduler.add(message, message.message_id)
        self.admission.in_flight += conversation.due
        for message, reason in revived.unreadable:
            if message.thread_id not in self.questions:
                self._skipped.add(message.message_id)  # it is in no queue
            self._step(conversation_id, Undeliverable(message, reason, self.clock()))
        for message in revived.first:
            if message.thread_id not in conversation.threads:
                continue
            thread = conversation.threads[message.thread_id]
            if thread.started == message.message_id or not careful(thread, self.listeners[message.to]):
                self._step(conversation_id, Interrupted(message, self.clock()))
            elif thread.interrupted:
                self._repeats.add(message, thread.interrupted)
            else:
                self.scheduler.again(message)

    def _started(self, conversation_id: str, event: Started) -> None:
        self.scheduler.again(event.message)

    def _accepted(self, conversation_id: str, event: Accepted) -> None:
        message, ended = event.message, event.ends
        if ended:
            self._threads.pop(ended, None)
            if self._timers:
                self._stop_timers(ended)
            if self.tenant is not None:
                _told(self.tenant.forget_thread, ended)
        if event.leaves:
            for future in self._asks.pop(conversation_id, ()):
                if not future.done():
                    future.set_result(message)
            if self._due.pop(conversation_id, None) is None:
                self._deadlines.discard(conversation_id)
            if event.lasting or self.tenant is not None or self.keys:
                self._closed(conversation_id, event.lasting)
        elif event.fills is None:
            if event.closes:
                self._stop_timer(message.thread_id, event.closes)
            opens = event.opens
            if self._reserved and conversation_id in self._reserved:
                self._reserved.discard(conversation_id)
                written = self._written.pop(conversation_id, None)
                if written is not None and not written.done():
                    written.set_result(None)
            else:
                self.admission.in_flight += 1
            self.scheduler.add(message, (opens and opens.parent) or message.message_id)

    def _done(self, conversation_id: str, event: Handled) -> None:
        """Let the next message of the thread start, and count one less in flight: a message is done."""
        if self._repeats.ids:
            self._repeats.end(event.message_id)
        if self._threads[event.thread_id]:
            self.scheduler.free(event.thread_id)
        else:
            del self._threads[event.thread_id]
        if self.questions.pop(event.thread_id, None) is None:
            self.admission.in_flight -= 1

    def _asked(self, conversation_id: str, event: Asked) -> None:
        """List a question. A person may take as long as they like: no place in flight is held meanwhile."""
        self.questions[event.message.thread_id] = event.message
        self.admission.in_flight -= 1

    def _redelivered(self, conversation_id: str, event: Redelivered) -> None:
        message = event.message
        if event.seconds:
            self._repeats.pause(message, event.seconds)
        elif event.interrupted:
            self._repeats.add(message, event.interrupted)
        else:
            self.scheduler.again(message)

    def _gathering(self, conversation_id: str, event: Gathering) -> None:
        if event.seconds is not None:
            self._time_gather(Timer(conversation_id, event.thread_id, event.gather_id), event.seconds)

    def _time_gather(self, timer: Timer, seconds: float) -> None:
        self._timers.setdefault(timer.thread_id, {})[timer.gather_id] = timer
        self._deadlines.add(timer, seconds, self._expired)

    def _ended(self, conversation_id: str, event: Ended) -> None:
        thread_id = event.thread_id
        self._threads.pop(thread_id, None)
        self._stop_timers(thread_id)
        if self.tenant is not None:
            _told(self.tenant.forget_thread, thread_id)

    def _bury(self, conversation_id: str, letter: DeadLetter) -> None:
        self.dead_letters.append(letter)
        logger.info("dead letter from %s to %s: %s", letter.from_id, letter.to, letter.reason)
        if not letter.pending:
            return
        message = letter.message
        question = self.questions.get(message.thread_id)
        if question is not None and question.message_id == message.message_id:
            del self.questions[message.thread_id]  # it holds no place in flight
            return
        if message.message_id in self._skipped:
            self._skipped.discard(message.message_id)
        elif self._repeats.ids and self._repeats.end(message.message_id):
            pass  # it was in no queue
        elif not self.runners.give_up(message):
            self.scheduler.discard(message)
        self.admission.in_flight -= 1

    def _over(self, conversation_id: str, event: Over) -> None:
        for future in self._asks.pop(conversation_id, ()):
            if not future.done():
                future.set_result(None)
        if self._due.pop(conversation_id, None) is None:
            self._deadlines.discard(conversation_id)
        self._closed(conversation_id, event.lasting)

    def _closed(self, conversation_id: str, session_id: str) -> None:
        """Free what is kept for a conversation that is over; `session_id`: its caller's lasting one, or ""."""
        if self.keys:
            self.keys.end(conversation_id)
        if self.tenant is not None:
            _told(self.tenant.forget_conversation, conversation_id)
        session = self.state.sessions.get(session_id)
        if session is not None and not session.running and session_id in self._resting:
            self._deadlines.add(session_id, self._resting[session_id], self.end_session)

    # --- time ---

    def _look_for_endless(self) -> None:
        """One timer looks after all conversations: they may all take as long, so the oldest is the first."""
        self._bell, now = None, self._time()
        for conversation_id, due in tuple(self._due.items()):
            if due > now:
                self._ring_at(due)
                break
            self._endless(conversation_id)

    def _ring_at(self, due: float) -> None:
        self._bell = self._loop.call_at(due, self._look_for_endless, context=self._context)

    def _endless(self, conversation_id: str) -> None:
        text = f"the conversation took longer than {self._longest:g} s"
        self.cancel(conversation_id, SystemError("limit", text))

    def _expired(self, timer: Timer) -> None:
        self._stop_timer(timer.thread_id, timer.gather_id)
        fact = Expired(timer.conversation_id, timer.thread_id, timer.gather_id, self.clock())
        self._step(timer.conversation_id, fact)

    def _stop_timers(self, thread_id: str) -> None:
        for timer in self._timers.pop(thread_id, {}).values():
            self._deadlines.discard(timer)

    def _stop_timer(self, thread_id: str, gather_id: str) -> None:
        timers = self._timers.get(thread_id)
        timer = None if timers is None else timers.pop(gather_id, None)
        if timer is not None:
            self._deadlines.discard(timer)
            if not timers:
                del self._timers[thread_id]

    # --- what becomes of a handler call (`runners.Work`) ---

    def begin(self, message: Message) -> HandlerCall | None:
        """A message's turn: the handler call that is to be made, if one is."""
        conversation = self.state.conversations.get(message.conversation_id)
        thread = None if conversation is None else conversation.threads.get(message.thread_id)
        if conversation is None or thread is None or message.message_id not in thread.inbox:
            self._skipped.add(message.message_id)
            return None
        listener = self.listeners.get(message.to)
        if listener is None:  # of an earlier life
            self._skipped.add(message.message_id)
            self._step(conversation.id, Undeliverable(message, gone(message), self.clock()))
            return None
        if message.root not in listener.handles:
            self._step(conversation.id, Due(message, self.clock()))
            return None
        if self._durable is not None and thread.started != message.message_id and careful(thread, listener):
            self._step(conversation.id, Starting(message, self.clock()))
            return None
        metadata = HandlerMetadata(
            message.thread_id,
            message.from_id,
            listener.name if listener.agent else None,
            message.from_id == message.to,
            self._instructions(listener) if listener.agent else "",
            message.message_id,
            message.attempt,
            thread.session_id,
            message.conversation_id,
            message.in_reply_to,
            message.at,
            thread.memory,
        )
        arguments: tuple[Any, ...] = (message.payload, metadata)
        if listener.state is not None:
            try:
                arguments = (*arguments, restored(thread.state, listener.state))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # it does not fit its class any more
                self.raised(message, error)
                return None
        if self._hooks:
            self.observers.tell(delivered(message))
            if message.message_id not in thread.inbox:  # an observer has ended the thread
                return None
        seconds = listener.timeout_seconds or self.settings.timeout_seconds
        return HandlerCall(message, conversation, thread, arguments, seconds, parts=self._parts)

    def returned(self, message: Message, value: Any) -> None:
        """A handler returned."""
        self.handled += 1
        self._step(message.conversation_id, Returned(message, value, self.clock()))

    def raised(self, message: Message, error: BaseException) -> None:
        """A handler raised: its caller is told, the trace goes to the log."""
        try:
            code, text, detail = told_of(message, error)
        except KeyboardInterrupt:
            raise
        except BaseException:  # it cannot even be described
            logger.exception("an error of '%s' could not be told", message.to)
            code, text, detail = "handler", "the handler failed", ""
        cut_off = isinstance(error, ProcessEnded)
        fact = Failed(message, code, text, detail, self.clock(), cut_off)
        self._step(message.conversation_id, fact)

    def late(self, message: Message, seconds: float) -> None:
        """A handler took too long: its caller is told now, whether or not the handler heeds the cancel."""
        logger.error("the handler of '%s' did not return within %g s", message.to, seconds)
        detail = f"TimeoutError: no return within {seconds:g} s"
        fact = Failed(message, "timeout", "no answer in time", detail, self.clock(), cut_off=True)
        self._step(message.conversation_id, fact)


def _too_late(step: Step) -> None:
    """What a handler returned after the journal was closed: its message is handled again in the next life."""


def _told(forget: Callable[[str], None], which: str) -> None:
    """Tell a tenant of an end; what it makes of that changes nothing here."""
    try:
        forget(which)
    except KeyboardInterrupt:
        raise
    except BaseException:
        logger.exception("what was kept for %s could not be forgotten", which)


_EFFECTS: dict[type[Any], Callable[[Pump, str, Any], None]] = {
    Accepted: Pump._accepted,
    Asked: Pump._asked,
    DeadLetter: Pump._bury,
    Ended: Pump._ended,
    Gathering: Pump._gathering,
    Handled: Pump._done,
    Over: Pump._over,
    Redelivered: Pump._redelivered,
    Started: Pump._started,
}
