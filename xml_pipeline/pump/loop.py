"""The engine: gives facts to the machine and carries out its events, on one asyncio event loop.

Whatever is alive is kept here and in `Runners`, in tables by thread and conversation id: timers, futures, people,
tasks. What is known is the machine's, as plain data.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from xml_pipeline import events
from xml_pipeline.envelope import Code, Message, SystemError
from xml_pipeline.errors import BudgetExceededError, OrganismClosed, RoutingError, described
from xml_pipeline.hardened import DEFAULT_LIMITS, parse
from xml_pipeline.hardened import Limits as WireLimits
from xml_pipeline.journal import Journal, Step
from xml_pipeline.payload import codec_of
from xml_pipeline.pump.admission import Admission
from xml_pipeline.pump.deadlines import Deadlines
from xml_pipeline.pump.facts import Aborted, Answered, Due, Expired, Fact, Failed, Injected, Returned
from xml_pipeline.pump.listener import Attaching, Listener
from xml_pipeline.pump.machine import Machine
from xml_pipeline.pump.observers import Observers
from xml_pipeline.pump.projection import delivered, observed
from xml_pipeline.pump.response import KEPT, HandlerMetadata
from xml_pipeline.pump.runners import Runners
from xml_pipeline.pump.running import Run
from xml_pipeline.pump.settings import ConversationLimits, PumpSettings
from xml_pipeline.threads import Thread
from xml_pipeline.threads.record import (
    Accepted,
    Asked,
    DeadLetter,
    Ended,
    Event,
    Gathering,
    Handled,
    Over,
    Redelivered,
)

logger = logging.getLogger("xml_pipeline.pump")


class PerThread(Protocol):
    """Somebody who keeps something for each thread and conversation, and frees it when they end."""

    def forget_thread(self, thread_id: str) -> None: ...
    def forget_conversation(self, conversation_id: str) -> None: ...


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
        journal: Journal | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.listeners = listeners
        self.settings = settings or PumpSettings()
        self.machine = Machine(listeners, limits, wire_limits)
        self.observers = Observers()
        self.admission = Admission(self.settings.max_in_flight)
        self.runners = Runners(self.settings, listeners, self)
        self.scheduler = self.runners.scheduler
        self.dead_letters: deque[DeadLetter] = deque(maxlen=self.settings.dead_letters)
        self.questions: dict[str, Message] = {}
        self.handled = 0
        self.tenant: PerThread | None = None
        self._journal = journal
        self.clock = clock
        self._asks: dict[str, asyncio.Future[Message | None]] = {}
        self._skipped: set[str] = set()  # taken, but buried by a step that is not durable yet
        self._timers: dict[str, dict[str, Timer]] = {}  # of gathers, by thread
        self._resting: dict[str, float] = {}  # lasting sessions, and how many seconds they may rest
        self._deadlines = Deadlines()
        self._steps: deque[tuple[str, int, Sequence[Event]]] = deque()  # to be carried out
        self._carrying = False
        self._open = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def observed(self) -> bool:
        """Whether anybody looks on."""
        return bool(self.observers)

    def emit(self, event: events.Event) -> None:
        """Tell the observers something."""
        self.observers.tell(event)

    # --- life ---

    def start(self) -> None:
        """Take messages from now on; handlers run in a copy of the current context."""
        self._loop = loop = asyncio.get_running_loop()
        self._deadlines.start(loop)
        self.runners.start(loop)
        for listener in self.listeners.values():
            if isinstance(listener.handler, Attaching):
                listener.handler.attach(self)
        self._open = True

    async def stop(self, seconds: float) -> None:
        """Take nothing new, let what runs finish for `seconds`, then cancel it. Never hangs."""
        self._open = False
        self.admission.refuse_all()
        try:
            await self.admission.drain(seconds)
        finally:
            self._give_up_all()
            self._deadlines.close()
            await self.runners.stop()

    def _give_up_all(self) -> None:
        for conversation_id in tuple(self.machine.state.conversations):
            future = self._asks.pop(conversation_id, None)
            if future is not None and not future.done():
                future.set_exception(OrganismClosed("the organism was stopped before the answer came"))
            self._step(conversation_id, Aborted(conversation_id, None, self.clock()))

    def check_loop(self) -> None:
        """A pump belongs to one event loop; from another its queues would be changed under its hands.

        Raises:
            OrganismClosed: it was not started.
            RuntimeError: another loop is running.
        """
        if self._loop is not asyncio.get_running_loop():
            if self._loop is None:
                raise OrganismClosed("the organism is not running: use `async with organism:`")
            raise RuntimeError(
                "the organism runs in another event loop; from a thread of its own use"
                " asyncio.run_coroutine_threadsafe(organism.ask(...), loop)"
            )

    # --- the outside ---

    async def inject(self, fact: Injected, answer: asyncio.Future[Message | None] | None) -> None:
        """Accept a message from outside; waits while the organism is full.

        Args:
            fact: what is sent; its time is set here.
            answer: gets the answering message, None when there is none, or an error.

        Raises:
            OrganismClosed: not started, or stopping.
            RoutingError, PayloadError, EnvelopeError: as `Machine.step`.
        """
        if not self._open:
            raise OrganismClosed("the organism is not running: use `async with organism:`")
        if self.admission.full:
            await self.admission.wait()
            try:
                if not self._open:
                    raise OrganismClosed("the organism is stopping")
                self._begin(fact, answer)
            finally:
                self.admission.leave()  # the reserved place; the message has its own by now
        else:
            self._begin(fact, answer)

    def _begin(self, fact: Injected, answer: asyncio.Future[Message | None] | None) -> None:
        conversation_id = fact.conversation_id
        if answer is not None:
            self._asks[conversation_id] = answer
        self._deadlines.add(conversation_id, self.machine.terms.limits.seconds, self._too_long)
        try:
            self._step(conversation_id, fact)
        except BaseException:
            self._asks.pop(conversation_id, None)
            self._deadlines.discard(conversation_id)
            raise

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

    def cancel(self, conversation_id: str, error: SystemError | None = None) -> bool:
        """End a conversation and cancel its handlers; False when there is none of that id."""
        if conversation_id not in self.machine.state.conversations:
            return False
        self._step(conversation_id, Aborted(conversation_id, error, self.clock()))
        return True

    def keep_session(self, session_id: str, seconds: float) -> None:
        """A lasting session is used: from its last conversation on it may rest for `seconds`, then it ends."""
        self._deadlines.discard(("session", session_id))
        self._resting[session_id] = seconds

    def _rest(self, session_id: str) -> None:
        self._deadlines.add(("session", session_id), self._resting[session_id], self._rested)

    def _rested(self, key: tuple[str, str]) -> None:
        self.end_session(key[1])

    def end_session(self, session_id: str) -> None:
        """Forget a lasting session: at once, or with the last of its conversations."""
        if self._resting.pop(session_id, None) is not None:
            self._deadlines.discard(("session", session_id))
        session = self.machine.state.sessions.get(session_id)
        if session is not None:
            if session.running:
                session.ending = True
            else:
                self._forget_session(session_id)

    def _forget_session(self, session_id: str) -> None:
        session = self.machine.state.sessions.pop(session_id)
        if self.observers:
            for each in session.sessions.values():
                self.observers.tell(events.SessionEnded(each))

    # --- from facts to effects ---

    def _step(self, conversation_id: str, fact: Fact) -> bool:
        """One fact: what follows from it becomes durable, then is carried out. Returns whether anything follows."""
        journal, seq = self._journal, 0
        if journal is not None or self.observers:
            conversation = self.machine.state.conversations.get(conversation_id)
            seq = 0 if conversation is None else conversation.seq
        changes = self.machine.step(fact)
        if not changes:
            return False
        if journal is None:
            self._carry_out(conversation_id, seq, changes)
        else:
            step = Step(conversation_id, seq, fact.at, tuple(changes))
            journal.append(conversation_id, seq, step, lambda: self._carry_out(conversation_id, seq, changes))
        return True

    def _carry_out(self, conversation_id: str, seq: int, changes: Sequence[Event]) -> None:
        """Do what events ask for, step by step: an observer may cause a step in the middle of another."""
        if self._carrying:
            self._steps.append((conversation_id, seq, changes))
            return
        self._carrying = True
        try:
            self._carry(conversation_id, seq, changes)
            while self._steps:
                self._carry(*self._steps.popleft())
        finally:
            self._carrying = False
            if self.admission.watched:
                self.admission.settle()

    def _carry(self, conversation_id: str, seq: int, changes: Sequence[Event]) -> None:
        observers = self.observers
        for event in changes:
            effect = _EFFECTS.get(type(event))
            if effect is not None:
                effect(self, conversation_id, event)
            if observers:
                seq += 1
                for each in observed(conversation_id, event, seq):
                    observers.tell(each)

    def _accepted(self, conversation_id: str, event: Accepted) -> None:
        message = event.message
        if event.ends:
            self._thread_ended(event.ends)
        if event.leaves:
            future = self._asks.pop(conversation_id, None)
            if future is not None and not future.done():
                future.set_result(message)
        elif event.fills is None:
            if event.closes:
                self._stop_timer(message.thread_id, event.closes)
            opens = event.opens
            self.admission.in_flight += 1
            self.scheduler.add(message, (opens and opens.parent) or message.message_id)

    def _done(self, conversation_id: str, event: Handled) -> None:
        """A message is done: the next of its thread may start, and one from outside may come in."""
        self.scheduler.free(event.thread_id)
        if self.questions.pop(event.thread_id, None) is None:
            self.admission.in_flight -= 1

    def _asked(self, conversation_id: str, event: Asked) -> None:
        """A person may take as long as they like: no place in flight is held."""
        self.questions[event.message.thread_id] = event.message
        self.admission.in_flight -= 1

    def _redelivered(self, conversation_id: str, event: Redelivered) -> None:
        self.scheduler.again(event.message)

    def _gathering(self, conversation_id: str, event: Gathering) -> None:
        if event.seconds is not None:
            timer = Timer(conversation_id, event.thread_id, event.gather_id)
            self._timers.setdefault(event.thread_id, {})[event.gather_id] = timer
            self._deadlines.add(timer, event.seconds, self._expired)

    def _ended(self, conversation_id: str, event: Ended) -> None:
        self._thread_ended(event.thread_id)

    def _thread_ended(self, thread_id: str) -> None:
        self.scheduler.threads.pop(thread_id, None)
        if self._timers:
            for timer in self._timers.pop(thread_id, {}).values():
                self._deadlines.discard(timer)
        if self.tenant is not None:
            self.tenant.forget_thread(thread_id)

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
        elif not self.runners.give_up(message):
            self.scheduler.discard(message)
        self.admission.in_flight -= 1

    def _over(self, conversation_id: str, event: Over) -> None:
        self._deadlines.discard(conversation_id)
        future = self._asks.pop(conversation_id, None)
        if future is not None and not future.done():
            future.set_result(None)
        if self.tenant is not None:
            self.tenant.forget_conversation(conversation_id)
        session = self.machine.state.sessions.get(event.lasting) if event.lasting else None
        if session is not None and not session.running:
            if session.ending:
                self._forget_session(event.lasting)
            elif event.lasting in self._resting:
                self._rest(event.lasting)

    # --- time ---

    def _too_long(self, conversation_id: str) -> None:
        text = f"the conversation took longer than {self.machine.terms.limits.seconds:g} s"
        self.cancel(conversation_id, SystemError("limit", text))

    def _expired(self, timer: Timer) -> None:
        self._stop_timer(timer.thread_id, timer.gather_id)
        fact = Expired(timer.conversation_id, timer.thread_id, timer.gather_id, self.clock())
        self._step(timer.conversation_id, fact)

    def _stop_timer(self, thread_id: str, gather_id: str) -> None:
        timers = self._timers.get(thread_id)
        timer = None if timers is None else timers.pop(gather_id, None)
        if timer is not None:
            self._deadlines.discard(timer)
            if not timers:
                del self._timers[thread_id]

    # --- what becomes of a handler call (`runners.Work`) ---

    def begin(self, message: Message) -> Run | None:
        """A message's turn: the handler call that is to be made, if one is."""
        conversation = self.machine.state.conversations.get(message.conversation_id)
        thread = None if conversation is None else conversation.threads.get(message.thread_id)
        if conversation is None or thread is None or message.message_id not in thread.inbox:
            self._skipped.add(message.message_id)
            return None
        if self._step(message.conversation_id, Due(message, self.clock())):
            return None
        listener = self.listeners[message.to]
        try:
            arguments = self._arguments(message, thread, listener)
        except Exception as error:  # its state does not fit its class any more
            self.raised(message, error)
            return None
        if self.observers:
            self.observers.tell(delivered(message))
            if message.message_id not in thread.inbox:  # an observer has ended the thread
                return None
        seconds = listener.timeout_seconds or self.settings.timeout_seconds
        return Run(message, conversation, thread, arguments, seconds)

    def _arguments(self, message: Message, thread: Thread, listener: Listener) -> tuple[Any, ...]:
        """What a handler is called with."""
        metadata = HandlerMetadata(
            message.thread_id,
            message.from_id,
            listener.name if listener.agent else None,
            message.from_id == message.to,
            self.machine.terms.addressing.instructions(listener) if listener.agent else "",
            message.message_id,
            message.attempt,
            thread.session_id,
            message.conversation_id,
            message.in_reply_to,
            message.at,
            thread.memory,
        )
        if listener.state is None:
            return (message.payload, metadata)
        kept = thread.state
        state = None if kept is None else codec_of(listener.state).decode(parse(kept.data, KEPT))
        return (message.payload, metadata, state)

    def returned(self, message: Message, value: Any) -> None:
        """A handler returned."""
        self.handled += 1
        self._step(message.conversation_id, Returned(message, value, self.clock()))

    def raised(self, message: Message, error: BaseException) -> None:
        """A handler raised: its caller is told, the trace goes to the log."""
        code: Code
        if isinstance(error, BudgetExceededError):
            logger.warning("the budget of %s is used up: %s", error.scope, error)
            code, text = "budget", "the budget for this work is used up"
        else:
            logger.error(
                "the handler of '%s' failed on message %s", message.to, message.message_id, exc_info=error
            )
            code, text = "handler", f"the handler failed with {type(error).__name__}"
        fact = Failed(message, code, text, described(error), self.clock())
        self._step(message.conversation_id, fact)

    def late(self, message: Message, seconds: float) -> None:
        """A handler took too long: its caller is told now, whether or not the handler heeds the cancel."""
        logger.error("the handler of '%s' did not return within %g s", message.to, seconds)
        detail = f"TimeoutError: no return within {seconds:g} s"
        fact = Failed(message, "timeout", "no answer in time", detail, self.clock())
        self._step(message.conversation_id, fact)


_EFFECTS: dict[type[Any], Callable[[Pump, str, Any], None]] = {
    Accepted: Pump._accepted,
    Asked: Pump._asked,
    DeadLetter: Pump._bury,
    Ended: Pump._ended,
    Gathering: Pump._gathering,
    Handled: Pump._done,
    Over: Pump._over,
    Redelivered: Pump._redelivered,
}
