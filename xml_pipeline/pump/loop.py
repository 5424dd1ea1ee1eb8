"""The engine: carries out what the machine decides, on one asyncio event loop."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context, copy_context
from typing import Any

from xml_pipeline import events
from xml_pipeline.envelope import SystemError, is_error
from xml_pipeline.errors import BudgetExceededError, OrganismClosed
from xml_pipeline.hardened import DEFAULT_LIMITS
from xml_pipeline.hardened import Limits as WireLimits
from xml_pipeline.payload import codec_of
from xml_pipeline.pump.deadlines import Deadlines
from xml_pipeline.pump.effects import (
    DeadLetter,
    Effect,
    GatherTimer,
    Message,
    Over,
    Reply,
    Stopped,
    Unanswered,
    Withdrawn,
)
from xml_pipeline.pump.listener import Listener
from xml_pipeline.pump.machine import ConversationLimits, Machine, NonsenseReturned
from xml_pipeline.pump.response import HandlerMetadata, HandlerResponse
from xml_pipeline.pump.runners import Runners
from xml_pipeline.pump.schedule import Scheduler
from xml_pipeline.pump.settings import PumpSettings
from xml_pipeline.threads import Conversation, Port

logger = logging.getLogger("xml_pipeline.pump")


class Pump:
    """Moves messages between listeners until it is stopped."""

    def __init__(
        self,
        table: Mapping[str, Listener],
        settings: PumpSettings | None = None,
        *,
        limits: ConversationLimits | None = None,
        wire_limits: WireLimits = DEFAULT_LIMITS,
        new_id: Callable[[], str] | None = None,
        hooks: Iterable[events.Hook] = (),
    ) -> None:
        self.settings = settings or PumpSettings()
        self.machine = Machine(table, limits=limits, wire_limits=wire_limits, new_id=new_id)
        self.scheduler = Scheduler(
            self.settings.scheduling,
            self.settings.max_concurrent_handlers,
            self.settings.max_concurrent_per_agent,
        )
        self.dead_letters: deque[DeadLetter] = deque(maxlen=self.settings.dead_letters)
        self.waiting_for_people: dict[str, Message] = {}
        self._unfinished: list[Message] = []
        self.in_flight = 0
        self.handled = 0
        self._hooks: list[events.Hook] = []
        self._internal: list[events.Hook] = []
        self._loop: asyncio.AbstractEventLoop
        self._context: Context
        self._runners = Runners(
            self.scheduler,
            self,
            timeout_seconds=self.settings.timeout_seconds,
            threads=self.settings.max_concurrent_handlers,
            processes=self.settings.processes,
        )
        self._senders: deque[asyncio.Future[None]] = deque()
        self._drained: asyncio.Future[None] | None = None
        self._deadlines = Deadlines()
        self._open = False
        for hook in hooks:
            self.add_hook(hook)

    @property
    def table(self) -> Mapping[str, Listener]:
        """All listeners by name."""
        return self.machine.table

    # --- observers ---

    def add_hook(self, hook: events.Hook, *, internal: bool = False) -> None:
        """Call `hook` with every fact from now on.

        Args:
            internal: it only frees memory: it is promised the ends of threads, sessions and conversations, and for
                its sake alone nothing else is built.
        """
        self._hooks.append(hook)
        if internal:
            self._internal.append(hook)
        self._say_what_is_wanted()

    @property
    def observed(self) -> bool:
        """Whether anybody outside looks at the facts."""
        return len(self._hooks) > len(self._internal)

    def remove_hook(self, hook: events.Hook) -> None:
        self._hooks.remove(hook)
        self._say_what_is_wanted()

    def _say_what_is_wanted(self) -> None:
        ledger = self.machine.ledger
        ledger.trace, ledger.report_ends = self.observed, bool(self._hooks)

    def emit(self, event: events.Event) -> None:
        """Tell the observers; one that fails is logged and changes nothing."""
        for hook in tuple(self._hooks):
            try:
                hook(event)
            except Exception:
                logger.exception("an observer failed at %s", type(event).__name__)

    # --- life ---

    def start(self) -> None:
        """Take messages from now on; handlers run in a copy of the current context.

        A handler that is an object with a method `attach(pump)` is given the pump here, once: for the listener
        table (`pump.table`), to tell the observers something (`pump.emit`), or to be one (`pump.add_hook`).
        """
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._deadlines.start(self._loop)
        self.scheduler.share_between(len(self.table))
        self._runners.start(self._loop)
        for listener in self.machine.table.values():
            attach = getattr(listener.handler, "attach", None)
            if attach is not None:
                attach(self)
        self._open = True

    async def stop(self, seconds: float) -> None:
        """Take nothing new, let what runs finish for `seconds`, then cancel it. Never hangs."""
        self._open = False
        while self._senders:
            _settle_future(self._senders.popleft(), OrganismClosed("the organism is stopping"))
        try:
            if self.in_flight:
                self._drained = self._loop.create_future()
                timer = self._loop.call_later(seconds, self.hurry)
                try:
                    await self._drained
                finally:
                    timer.cancel()
        finally:
            self._give_up_all()
            self._deadlines.close()
            await self._runners.stop()

    def hurry(self) -> None:
        """Let a stop that is going on wait no longer for what runs."""
        _settle_future(self._drained)

    def _give_up_all(self) -> None:
        for conversation in tuple(self.machine.ledger.registry.conversations.values()):
            _fail_asker(conversation.port, OrganismClosed("the organism was stopped before the answer came"))
            self._carry_out(self.machine.abort(conversation, None))
        while (message := self.scheduler.take()) is not None:  # their threads have ended: dead letters
            self.begin(message)
            self.scheduler.release(message)

    # --- the outside ---

    async def inject(self, port: Port, to: str, payload: Any) -> Conversation:
        """Accept a message from outside; waits while the organism is full.

        Raises:
            OrganismClosed: not started, or stopping.
            RoutingError, PayloadError, EnvelopeError: as `Machine.inject`.
        """
        await self._capacity()
        try:
            if not self._open:  # it was stopped while this waited
                raise OrganismClosed("the organism is stopping")
            conversation, fx = self.machine.inject(port, to, payload)
        except BaseException:
            self._done()  # gives the reserved place on to the next sender
            raise
        self.in_flight -= 1  # the reserved place becomes the message's own
        self._deadlines.add(conversation, self.machine.limits.seconds, self._too_long)
        self._carry_out(fx)
        self._runners.wake()
        return conversation

    async def _capacity(self) -> None:
        """Reserve a place for one message, in the order of asking."""
        if not self._open:
            raise OrganismClosed("the organism is not running: use `async with organism:`")
        if self.in_flight >= self.settings.max_in_flight or self._senders:
            place = self._loop.create_future()
            self._senders.append(place)
            try:
                await place  # whoever makes room has counted us in
            except asyncio.CancelledError:
                if place.done() and not place.cancelled() and place.exception() is None:
                    self._done()
                raise
        else:
            self.in_flight += 1

    def _done(self) -> None:
        """One message is done: make room for one from outside."""
        self.in_flight -= 1
        while self._senders and self.in_flight < self.settings.max_in_flight:
            place = self._senders.popleft()
            if not place.done():
                self.in_flight += 1
                place.set_result(None)
        if not self.in_flight and self._drained is not None:
            _settle_future(self._drained)

    def answer_person(self, thread_id: str, payload: Any) -> None:
        """A person answered what waits under `thread_id` in `waiting_for_people`.

        Raises:
            KeyError: nothing waits there.
            PayloadError: the answer is no valid payload; the question goes on waiting.
        """
        message = self.waiting_for_people[thread_id]
        codec_of(type(payload)).encode_body(payload)
        del self.waiting_for_people[thread_id]
        message.call.question = None
        self.in_flight += 1
        self.returned(message, HandlerResponse.respond(payload))
        self._runners.wake()

    def cancel(self, conversation_id: str, error: SystemError | None = None) -> bool:
        """End a conversation and cancel its handlers; False when there is none of that id."""
        conversation = self.machine.ledger.registry.conversations.get(conversation_id)
        if conversation is None:
            return False
        self._carry_out(self.machine.abort(conversation, error))
        self._runners.wake()
        return True

    def _too_long(self, conversation: Conversation) -> None:
        text = f"the conversation took longer than {self.machine.limits.seconds:g} s"
        self._carry_out(self.machine.abort(conversation, SystemError("limit", text)))
        self._runners.wake()

    # --- effects ---

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if type(effect) is Message:
                self.in_flight += 1
                self.scheduler.add(effect)
            else:
                self._carry_out_rare(effect)
        while self._unfinished:  # last, because it may end the conversation
            self._carry_out(self.machine.finish(self._unfinished.pop(), None))
            self._done()

    def _carry_out_rare(self, effect: Effect) -> None:
        match effect:
            case Reply():
                self._reply(effect)
            case Unanswered():
                _settle_future(getattr(effect.port, "future", None), None)
            case Over():
                self._over(effect.conversation)
            case DeadLetter():
                self._bury(effect)
            case GatherTimer():
                gather = effect.gather
                if not gather.closed:
                    gather.timer = self._loop.call_later(
                        effect.seconds, self._expire, gather, context=self._context
                    )
            case Withdrawn():
                del self.waiting_for_people[effect.message.call.thread_id]
                self.in_flight += 1  # as if somebody had just given it back unanswered
                self._unfinished.append(effect.message)
            case Stopped():
                message = self._runners.give_up(effect.call)
                self._bury(DeadLetter.of(message, "its thread ended while it was handled"))
                self._unfinished.append(message)
            case events.Event():
                self.emit(effect)

    def _reply(self, reply: Reply) -> None:
        future = getattr(reply.port, "future", None)
        if future is not None and not future.done():
            future.set_result(reply)
        elif is_error(reply.payload):
            self._bury(
                DeadLetter(
                    "nobody outside waits for this error",
                    reply.conversation.id, "", reply.message_id, reply.from_id, reply.port.name, reply.payload,
                )
            )  # fmt: skip

    def _over(self, conversation: Conversation) -> None:
        self._deadlines.discard(conversation)
        if self._hooks:
            port = conversation.port
            if not getattr(port, "lasting", False):
                for session_id in port.sessions.values():
                    self.emit(events.SessionEnded(session_id))
            self.emit(events.ConversationEnded(conversation.id, conversation.answered))

    def _bury(self, letter: DeadLetter) -> None:
        self.dead_letters.append(letter)
        logger.info("dead letter from %s to %s: %s", letter.from_id, letter.to, letter.reason)
        if self._hooks:
            self.emit(
                events.DeadLettered(
                    letter.conversation_id, letter.message_id, letter.from_id, letter.to, letter.reason
                )
            )

    def _expire(self, gather: Any) -> None:
        self._carry_out(self.machine.expire(gather))
        self._runners.wake()

    # --- what becomes of a handler call (runners.Outcomes) ---

    def begin(self, message: Message) -> HandlerMetadata | None:
        """A message's turn: the metadata for its handler, or None when none is to be called."""
        metadata, fx = self.machine.begin(message)
        if fx:
            self._carry_out(fx)
        if metadata is not None and message.to.handler is not None:
            return metadata
        if metadata is not None:
            message.call.question = self.waiting_for_people[message.call.thread_id] = message
        self._done()
        return None

    def returned(self, message: Message, value: Any) -> None:
        """A handler returned."""
        try:
            fx = self.machine.finish(message, value)
        except NonsenseReturned as error:
            logger.error("the handler of '%s' returned %s", message.to.name, error)
            fx = self._failure(
                message, "handler", "the handler returned something that cannot be sent", error
            )
        self._carry_out(fx)
        self.handled += 1
        self._done()

    def raised(self, message: Message, error: BaseException) -> None:
        """A handler raised."""
        name = message.to.name
        if isinstance(error, BudgetExceededError):
            logger.warning("the budget of %s is used up: %s", error.scope, error)
            fx = self._failure(message, "budget", "the budget for this work is used up", error)
        else:
            logger.error("the handler of '%s' failed on message %s", name, message.message_id, exc_info=error)
            fx = self._failure(message, "handler", f"the handler failed with {type(error).__name__}", error)
        self._carry_out(fx)
        self._done()

    def late(self, message: Message) -> None:
        """A handler took too long: its caller is told now, whether or not the handler heeds the cancel."""
        seconds = message.to.timeout_seconds or self.settings.timeout_seconds
        logger.error("the handler of '%s' did not return within %g s", message.to.name, seconds)
        error = TimeoutError(f"no return within {seconds:g} s")
        self._carry_out(self._failure(message, "timeout", "no answer in time", error))
        self._done()
        self._runners.wake()

    def too_late(self, message: Message) -> None:
        """A handler returned something after it was given up."""
        self._bury(DeadLetter.of(message, "the handler returned after it was given up"))

    def _failure(self, message: Message, code: str, text: str, error: BaseException) -> list[Effect]:
        if self._hooks:
            call = message.call
            self.emit(
                events.HandlerFailed(
                    call.conversation.id,
                    call.thread_id,
                    message.to.name,
                    code,
                    f"{type(error).__name__}: {error}",
                )
            )
        return self.machine.fail(message, code, text)


def _settle_future(future: asyncio.Future[Any] | None, error: Exception | None = None) -> None:
    if future is not None and not future.done():
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


def _fail_asker(port: Port, error: Exception) -> None:
    _settle_future(getattr(port, "future", None), error)
