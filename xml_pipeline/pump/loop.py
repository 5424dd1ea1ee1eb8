"""The engine: gives facts to the machine and carries out its events, on one asyncio event loop.

Whatever is alive is kept here and in `Runners`, in tables by thread and conversation id: timers, futures, people,
tasks. What is known is the machine's, as plain data.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from xml_pipeline import events
from xml_pipeline.attribution import current_caller
from xml_pipeline.envelope import Message, SystemError
from xml_pipeline.errors import (
    JournalError,
    OrganismClosed,
    RoutingError,
    described,
)
from xml_pipeline.hardened import DEFAULT_LIMITS
from xml_pipeline.hardened import Limits as WireLimits
from xml_pipeline.journal import Durable, Journal, Step, Uptime
from xml_pipeline.pump.admission import Admission
from xml_pipeline.pump.approvals import check_channel, to_approve
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
from xml_pipeline.pump.guards import Guards
from xml_pipeline.pump.handler_call import HandlerCall
from xml_pipeline.pump.kept import restored
from xml_pipeline.pump.keys import Keys, key_inside
from xml_pipeline.pump.listener import Attaching, Listener, keep_definitions
from xml_pipeline.pump.log import logger
from xml_pipeline.pump.machine import Machine
from xml_pipeline.pump.observers import Observers
from xml_pipeline.pump.offload import ProcessEnded
from xml_pipeline.pump.parts import Parts
from xml_pipeline.pump.projection import asked_before, delivered, observed
from xml_pipeline.pump.recovery import Revived, Reviver, gone, sessions_of
from xml_pipeline.pump.repeats import Repeats
from xml_pipeline.pump.response import HandlerMetadata
from xml_pipeline.pump.runners import Runners
from xml_pipeline.pump.sessions import Sessions
from xml_pipeline.pump.settings import ConversationLimits, PumpSettings
from xml_pipeline.pump.sleepers import Asking, Questions, Sleepers
from xml_pipeline.pump.tenant import Ends
from xml_pipeline.pump.waits import Timed
from xml_pipeline.threads.record import (
    Accepted,
    Approved,
    Asked,
    Closed,
    DeadLetter,
    Ended,
    Gathering,
    Handled,
    Over,
    Redelivered,
    Resting,
    Started,
)


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
        self.questions: Questions = {}
        self.handled = 0
        self.ends = Ends()
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
        self._guards = Guards(
            self.state, self.terms.limits.seconds, self._deadlines, self._endless, self._expired
        )
        self._due = self._guards.due
        self._longest = self.terms.limits.seconds
        self._asks: dict[
            str, list[asyncio.Future[Message | None]]
        ] = {}  # who waits for a conversation's answer
        self._written: dict[str, asyncio.Future[None]] = {}  # who waits for a conversation to be durable
        self.keys: Keys | None = None
        self.sleepers: Sleepers | None = None
        if self._durable is not None:
            reviver = Reviver(self.state, listeners, self.terms.kept_limits)
            self.sleepers = Sleepers(
                self._durable, reviver, self.admission, self.questions, self._go_on, self._let_go
            )
            self.keys = Keys(
                self._durable.steps, reviver.answer, self._asks, self._disappoint, self._guards.has
            )
        self._skipped: set[str] = set()  # taken, but buried by a step that is not durable yet
        self.sessions = Sessions(
            self.state, self._deadlines, lambda: self.clock(), self._session_step, self._sessions_gone
        )
        self._repeats = Repeats(self.scheduler.again, self._deadlines)
        self._steps: deque[Step] = deque()  # to be carried out
        self._carrying = False
        self._open = False
        self._instructions = self.terms.addressing.instructions
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
        self._guards.start(loop)
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
        if self.ends.tenant is not None:
            await self.ends.tenant.take_up(self._durable.ledger)
        self.state.sessions.update(sessions_of(kept))
        self.sessions.resume()
        keep_definitions(self.listeners.values(), kept.definitions, self._durable.define)
        self.sleepers.start(kept)

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
            self._guards.close()
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
        if self._guards.bell is None:
            self._guards.ring_at(due)
        if fact.session:
            self.sessions.use(fact.session)
        if self._journal is not None:
            self._reserved.add(conversation_id)  # until it is durable, its message holds a place already
            self.admission.in_flight += 1
            # Observers see whoever sends in their context, then as now.
            self._append(Step(conversation_id, 0, fact.at, changes), copy_context())
        else:
            self._carry_out(Step(conversation_id, 0, fact.at, changes))

    async def flush(self) -> None:
        """Wait until all that was decided so far is durable. Raises JournalError: it cannot be."""
        if self._durable is not None:
            await self._durable.flush()
        if self._failure is not None:
            raise self._failure

    async def written(self, conversation_id: str) -> None:
        """Wait until a conversation that was injected just now is durable."""
        if conversation_id in self._reserved:
            self._written[conversation_id] = future = self._loop.create_future()
            await future

    def key_inside(self, to: str, payload: Any) -> str | None:
        """The key of a request that is made inside a handler of this organism, if it is, and outlives the process.

        Raises:
            PayloadTypeError, PayloadError: as `keys.key_inside`.
        """
        caller = current_caller.get()
        if self.keys is None or not isinstance(caller, HandlerCall):
            return None
        own = self.state.conversations.get(caller.conversation_id) is caller.conversation
        return key_inside(caller, to, payload) if own else None

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

    def answer(self, thread_id: str, payload: Any, channel: str) -> None:
        """A person answered what waits under `thread_id` in `questions`.

        Raises:
            RoutingError: nothing waits there, or not for what comes through this channel.
            PayloadError, EnvelopeError: the answer is no valid payload, or too large; the question goes on waiting.
        """
        asked = self.questions.get(thread_id)
        if asked is not None:
            conversation_id = asked if isinstance(asked, str) else asked.conversation_id
            self.wake(conversation_id)
            conversation = self.state.conversations.get(conversation_id)
            thread = None if conversation is None else conversation.threads.get(thread_id)
            if thread is not None and thread.asked:
                message = thread.inbox[thread.asked]
                check_channel(self.listeners, message.to, channel)
                self._step(conversation_id, Answered(message, payload, self.clock()))
                self.handled += 1
                return
        raise RoutingError(f"no message waits for a person in thread {thread_id}")

    def asked(self) -> Iterable[Asking]:
        """What waits for people, oldest first, in conversations that sleep too. Raises JournalError."""
        if self.sleepers is not None:
            return self.sleepers.asked()
        return [each for each in self.questions.values() if isinstance(each, Asking)]

    def wake(self, conversation_id: str) -> None:
        """Bring a conversation of an earlier life back, if it still sleeps. Raises JournalError: it cannot be."""
        if self.sleepers is not None:
            self.sleepers.wake(conversation_id)

    def cancel(self, conversation_id: str, error: SystemError | None = None) -> bool:
        """End a conversation and cancel its handlers; False when there is none of that id."""
        self.wake(conversation_id)
        if conversation_id not in self.state.conversations:
            return False
        self._step(conversation_id, Aborted(conversation_id, error, self.clock()))
        return True

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

    def _session_step(self, session_id: str, event: Closed | Resting) -> None:
        """What happened to a lasting session, and to no one conversation."""
        self.state.apply(session_id, event)
        self._commit(Step(session_id, 0, self.clock(), [event]))

    def _sessions_gone(self, session_ids: Iterable[str]) -> None:
        if self._hooks:
            for each in session_ids:
                self.observers.tell(events.SessionEnded(each))

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
                if conversation_id in self._guards.watched:
                    self._guards.follow(conversation_id, step.events)
                    self._may_sleep(conversation_id, step.seq + len(step.events))
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
        seq = conversation.seq
        self._guards.resume(conversation_id, revived.times, self._uptime)
        for thread in conversation.threads.values():
            if thread.inbox:
                self.scheduler.hold(thread.id)
        for message in revived.asked:
            if self._hooks and not isinstance(self.questions.get(message.thread_id), Asking):
                self.observers.tell(asked_before(message))
            self.questions[message.thread_id] = Asking.of(message)
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
        self._may_sleep(conversation_id, seq)

    def _may_sleep(self, conversation_id: str, seq: int) -> None:
        """So many events of a conversation that asks people are durable, and carried out."""
        conversation = self.state.conversations.get(conversation_id)
        if self.sleepers is None:
            return
        if conversation is None or conversation.due:
            self.sleepers.works(conversation_id)
        else:
            self.sleepers.rests(conversation_id, seq)

    def _let_go(self, conversation_id: str, seq: int) -> bool:
        """Forget what is in memory of a conversation that only waits: its limits rest, and it holds no place.

        Not while a step of it is on its way to the journal. Nor one of a lasting session: the memory that its threads
        have seen may be gone from memory when it comes back.
        """
        conversation = self.state.conversations.get(conversation_id)
        if conversation is None or conversation.due or conversation.seq != seq or conversation.lasting:
            return False
        for thread_id in self.state.conversations.pop(conversation_id).threads:
            self._threads.pop(thread_id, None)
        self._guards.let_go(conversation_id)
        return True

    def _end_limits(self, conversation_id: str) -> None:
        """A conversation that may have asked people is over."""
        self._guards.end(conversation_id)
        if self.sleepers is not None:
            self.sleepers.works(conversation_id)

    def _started(self, conversation_id: str, event: Started) -> None:
        self.scheduler.again(event.message)

    def _accepted(self, conversation_id: str, event: Accepted) -> None:
        message, ended = event.message, event.ends
        if ended:
            self._threads.pop(ended, None)
            if self.ends.tenant is not None:
                self.ends.thread(ended, event)
        if event.leaves:
            for future in self._asks.pop(conversation_id, ()):
                if not future.done():
                    future.set_result(message)
            if self._due.pop(conversation_id, None) is None or conversation_id in self._guards.watched:
                self._end_limits(conversation_id)
            if event.lasting or self.ends.tenant is not None or self.keys:
                self._closed(conversation_id, event.lasting)
        elif event.fills is None:
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
        self.questions[event.message.thread_id] = Asking.of(event.message)
        self._guards.watch(conversation_id)
        self.admission.in_flight -= 1

    def _approved(self, conversation_id: str, event: Approved) -> None:
        self.questions.pop(event.message.thread_id, None)
        self.admission.in_flight += 1
        self.scheduler.again(event.message)

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
            self._guards.watch(conversation_id)

    def _ended(self, conversation_id: str, event: Ended) -> None:
        thread_id = event.thread_id
        self._threads.pop(thread_id, None)
        if self.ends.tenant is not None:
            self.ends.thread(thread_id)

    def _bury(self, conversation_id: str, letter: DeadLetter) -> None:
        self.dead_letters.append(letter)
        logger.info("dead letter from %s to %s: %s", letter.from_id, letter.to, letter.reason)
        if not letter.pending:
            return
        message = letter.message
        question = self.questions.get(message.thread_id)
        if isinstance(question, Asking) and question.message_id == message.message_id:
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
        self._end_limits(conversation_id)
        self._closed(conversation_id, event.lasting)

    def _closed(self, conversation_id: str, session_id: str) -> None:
        """Free what is kept for a conversation that is over; `session_id`: its caller's lasting one, or ""."""
        if self.keys:
            self.keys.end(conversation_id)
        if self.ends.tenant is not None:
            self.ends.conversation(conversation_id)
        if session_id:
            self.sessions.rest(session_id)

    # --- time ---

    def _endless(self, conversation_id: str) -> None:
        text = f"the conversation took longer than {self._longest:g} s"
        self.cancel(conversation_id, SystemError("limit", text))

    def _expired(self, timed: Timed) -> None:
        fact = Expired(timed.conversation_id, timed.thread_id, timed.gather_id, self.clock())
        self._step(timed.conversation_id, fact)

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
        if message.root not in listener.handles or (
            listener.approve and to_approve(listener, thread, message)
        ):
            self._step(conversation.id, Due(message, self.clock()))
            return None
        if self._durable is not None and thread.started != message.message_id and careful(thread, listener):
            self._step(conversation.id, Starting(message, self.clock()))
            return None
        metadata = HandlerMetadata(
            message.thread_id,
            listener.called(message.from_id) if listener.local else message.from_id,
            listener.called(listener.name) if listener.agent else None,
            message.from_id == message.to,
            self._instructions(listener) if listener.agent else "",
            message.message_id,
            message.attempt,
            thread.session_id,
            message.conversation_id,
            message.in_reply_to,
            message.at,
            thread.memory,
            {key: each.payload for key, each in thread.kept.items()} if thread.kept else {},
        )
        arguments: tuple[Any, ...] = (message.payload, metadata)
        if listener.state is not None:
            try:
                arguments = (*arguments, restored(thread.state, listener.state))
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                reason = (
                    f"its thread's state does not fit {listener.state.__name__} any more: {described(error)}"
                )
                self._skipped.add(message.message_id)
                self._step(conversation.id, Undeliverable(message, reason, self.clock()))
                return None
        if self._hooks:
            self.observers.tell(delivered(message))
            if message.message_id not in thread.inbox:  # an observer has ended the thread
                return None
        seconds = listener.timeout_seconds or self.settings.timeout_seconds
        what = listener.operation
        return HandlerCall(
            message, conversation, thread, arguments, seconds, parts=self._parts, operation=what
        )

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


_EFFECTS: dict[type[Any], Callable[[Pump, str, Any], None]] = {
    Accepted: Pump._accepted,
    Approved: Pump._approved,
    Asked: Pump._asked,
    DeadLetter: Pump._bury,
    Ended: Pump._ended,
    Gathering: Pump._gathering,
    Handled: Pump._done,
    Over: Pump._over,
    Redelivered: Pump._redelivered,
    Started: Pump._started,
}
