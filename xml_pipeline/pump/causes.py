"""Which fact a recorded step followed from: the way back from events of record to what handlers returned.

Events hold what was made of a fact, not the fact. What a handler wanted sent is in the messages that were accepted,
what it kept and what it had remembered stand there too; what a refused message looked like does not. So a step is
read back whole, or not at all (`NotKept`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from msgspec import Struct

from xml_pipeline.envelope import SYSTEM, Code, Message, SystemError
from xml_pipeline.errors import PayloadError, described
from xml_pipeline.journal import Step
from xml_pipeline.pump.approvals import Approval
from xml_pipeline.pump.attempts import NOT_TWICE, POISONOUS
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
from xml_pipeline.pump.kept import restored
from xml_pipeline.pump.listener import Listener
from xml_pipeline.pump.reasons import COLLAPSED, DIED, ENDED, LATE, NOBODY_WAITS, NONSENSE, UNSENT
from xml_pipeline.pump.recovery import Reviver, Unreadable
from xml_pipeline.pump.response import (
    DELEGATE,
    RESPOND,
    GatherResponse,
    HandlerResponse,
    Keep,
    Kind,
)
from xml_pipeline.threads.ids import DerivedIds
from xml_pipeline.threads.record import (
    Accepted,
    Approved,
    Asked,
    Began,
    DeadLetter,
    Entry,
    Event,
    Gathering,
    Handled,
    Redelivered,
    Refused,
    Remembered,
    Started,
    StateKept,
    ends_conversation,
)
from xml_pipeline.threads.state import Conversation, Thread


class NotKept(Exception):
    """The events do not say what the step followed from; the text says what of it is missing."""


class Outgrown(Exception):
    """What a handler returned then does not fit today's classes.

    Attributes:
        field: where.
        was: what stood there.
        now: what is wrong with it.
    """

    def __init__(self, field: str, was: str, now: str) -> None:
        super().__init__(f"{field}: {now}")
        self.field, self.was, self.now = field, was, now


class Causes:
    """Finds the facts behind steps.

    Args:
        listeners: those of today, by name.
        reviver: gives what was written down its instances.
    """

    def __init__(self, listeners: Mapping[str, Listener], reviver: Reviver) -> None:
        self._listeners = listeners
        self._reviver = reviver

    def of(self, conversation: Conversation | None, step: Step) -> Fact:
        """The fact from which a step of a conversation followed.

        Args:
            conversation: as it was before the step; None before the first.
            step: as it was recorded.

        Raises:
            NotKept: the events do not say it.
            Outgrown: it cannot be made of today's classes.
        """
        events, at = step.events, step.at
        first, last = events[0], events[-1]
        if type(first) is Began:
            return self._injected(step, first)
        if conversation is None:
            raise NotKept("how the conversation began is not kept")
        if any(type(each) is DeadLetter and each.reason == COLLAPSED for each in events) or _collapsed(last):
            raise NotKept("the engine failed in it; why is in the log of that time")
        match first:
            case DeadLetter(reason=reason, message=message) if reason == LATE:
                return Returned(message, HandlerResponse(SystemError("handler")), at)
            case DeadLetter(pending=True, reason=reason, message=message) if reason == POISONOUS:
                return Interrupted(self._pending(conversation, message), at)
            case DeadLetter(pending=True, reason=reason, message=message) if reason != ENDED:
                return Undeliverable(self._pending(conversation, message), reason, at)
            case DeadLetter(pending=False, message=message):
                return self._failed(self._pending(conversation, message), events, at)
            case Handled():
                message = self._pending_in(conversation, first.thread_id, first.message_id)
                return self._handled(conversation, first, message, step)
            case Asked(message=message):
                return Due(self._pending(conversation, message), at)
            case Approved(message=message):
                return Answered(self._pending(conversation, message), Approval(True), at)
            case Started(message=message):
                return Starting(self._pending(conversation, message), at)
            case Redelivered(message=message):
                thread = conversation.threads[message.thread_id]
                if not first.detail:
                    stopped = first.interrupted == thread.interrupted
                    return Interrupted(self._pending(conversation, message), at, stopped)
                return Failed(self._pending(conversation, message), "handler", "", first.detail, at)
        if ends_conversation(last):
            error = self._said(last.message).payload if type(last) is Accepted else None
            return Aborted(conversation.id, error, at)
        for event in events:
            if type(event) is Accepted and event.fills is not None:
                return Expired(conversation.id, event.message.thread_id, event.fills[0], at)
        raise NotKept("what caused it cannot be told from what is kept")

    def _injected(self, step: Step, began: Began) -> Injected:
        opening = next((each.message for each in step.events if type(each) is Accepted), None)
        if opening is None:
            raise NotKept("what came from outside is not kept")
        payload = self._said(opening).payload
        session = began.session if began.lasting else ""
        return Injected(
            step.conversation_id, began.caller, began.listener, payload, session, began.awaited, step.at
        )

    def _handled(self, conversation: Conversation, first: Handled, message: Message, step: Step) -> Fact:
        thread = conversation.threads[first.thread_id]
        if first.how == "failed" and thread.held and first.code == "refused":
            return Answered(message, Approval(False, first.detail), step.at)
        if first.how == "failed":
            return self._failed(message, step.events, step.at)
        if first.how == "passed on":
            return Due(message, step.at)
        if thread.asked != message.message_id:
            return Returned(message, self._returned(thread, message, step.events), step.at)
        for event in step.events:
            if type(event) is Accepted and event.ends == thread.id:
                return Answered(message, self._said(event.message).payload, step.at)
        raise NotKept("what the person answered is not kept")

    def _failed(self, message: Message, events: Any, at: float) -> Fact:
        handled = next((each for each in events if type(each) is Handled and each.how == "failed"), None)
        told = next(
            (each.message for each in events if type(each) is Accepted and each.ends == message.thread_id),
            None,
        )
        if handled is None or told is None:
            raise NotKept("what the handler failed with is not kept")
        error, detail = self._said(told).payload, handled.detail
        if error.message == NONSENSE:
            raise NotKept(f"what the handler returned could not be sent, and is not kept: {detail}")
        late, died = detail.startswith("TimeoutError: "), detail.startswith("ProcessEnded")
        if error.message == NOT_TWICE and detail == DIED:
            return Interrupted(message, at)
        if error.message == NOT_TWICE:
            code: Code = "timeout" if late else "handler"
            return Failed(message, code, error.message, detail, at, cut_off=True)
        cut_off = died or handled.code == "timeout"
        return Failed(message, cast("Code", handled.code), error.message, detail, at, cut_off)

    # --- what a handler returned ---

    def _returned(self, thread: Thread, message: Message, events: Any) -> Any:
        """What the handler returned, as one list, and as `Keep` where it kept something."""
        own = DerivedIds(message.message_id)
        own.new_id()
        reading = _Reading(thread, own.prefix)
        kept = events[0].kept
        for event in events[1:]:
            self._read(reading, event)
        sent: list[HandlerResponse | GatherResponse] = []
        for each in reading.sent:
            sent.append(each.whole() if isinstance(each, _Calls) else each)
        if reading.keeps:
            return Keep(self._state(thread, reading.state), sent, message=kept)
        return sent or None

    def _read(self, reading: _Reading, event: Event) -> None:
        """Take from an event what the handler had to do with it."""
        thread = reading.thread
        match event:
            case StateKept():
                reading.keeps, reading.state = True, event.state
            case Remembered():
                reading.remembered = event.entry
            case Refused():
                raise NotKept(f"a message of it was refused, and what is refused is not kept: {event.reason}")
            case Gathering():
                reading.sent.append(_Calls(event))
            case DeadLetter(pending=False, reason=reason) if reason != NOBODY_WAITS:
                if reason != UNSENT:
                    raise NotKept(f"a message of it was not valid, and is not kept: {reason}")
                reading.sent.append(self._response(reading, event.message))
            case Accepted(message=message) if message.from_id == thread.listener:
                opens, ends = event.opens, event.ends
                if opens is not None and opens.slot is not None and not ends:
                    reading.gather(opens.slot[0]).calls.append(self._response(reading, message))
                elif opens is not None:
                    reading.sent.append(self._response(reading, message, DELEGATE if ends else "send"))
                elif ends:
                    reading.sent.append(self._answer(reading, message, by_name=event.by_name))
                else:
                    reading.sent.append(self._response(reading, message))

    def _response(self, reading: _Reading, message: Message, kind: Kind = "send") -> HandlerResponse:
        payload = self._said(message).payload
        own = "" if message.message_id.startswith(reading.prefix) else message.message_id
        remember = self._remember(reading) if kind == DELEGATE else None
        return HandlerResponse(
            payload, message.to, kind=kind, repairs=message.repairs, remember=remember, _message_id=own
        )

    def _remember(self, reading: _Reading) -> Any:
        """What it wanted remembered with what ends its thread; None for nothing."""
        entry, reading.remembered = reading.remembered, None
        if entry is None:
            return None
        try:
            remember, _ = self._reviver.kept(entry, self._listeners.get(reading.thread.listener))
        except Unreadable as error:
            raise _outgrown("remember", entry.data.decode(), error) from error
        return remember

    def _answer(self, reading: _Reading, message: Message, *, by_name: bool) -> HandlerResponse:
        remember = self._remember(reading)
        payload = self._said(message).payload
        return HandlerResponse(
            payload,
            reading.thread.caller if by_name else None,
            kind="send" if by_name else RESPOND,
            repairs=message.repairs,
            remember=remember,
        )

    def _state(self, thread: Thread, entry: Entry | None) -> Any:
        if entry is None:
            return None
        cls, was = self._listeners[thread.listener].state, entry.data.decode()
        if cls is None:
            raise Outgrown("state", was, f"'{thread.listener}' declares no state")
        try:
            return restored(entry, cls)
        except PayloadError as error:
            raise _outgrown("state", was, error) from error

    # --- parts ---

    def _pending(self, conversation: Conversation, bare: Message) -> Message:
        return self._pending_in(conversation, bare.thread_id, bare.message_id)

    def _pending_in(self, conversation: Conversation, thread_id: str, message_id: str) -> Message:
        thread = conversation.threads.get(thread_id)
        if thread is None or message_id not in thread.inbox:
            raise NotKept("it is about a message that is not kept")
        return thread.inbox[message_id]

    def _said(self, message: Message) -> Message:
        try:
            return self._reviver.said(message)
        except Unreadable as error:
            raise _outgrown("message", message.content, error) from error


class _Calls(Struct):
    """The calls of one gather, as far as they were made."""

    of: Gathering
    calls: list[HandlerResponse] = []

    def whole(self) -> GatherResponse:
        """All that were asked for. A conversation that was ended in the middle made only the first of them; for
        those that were never made any call will do, because it was ended before their turn."""
        calls = self.calls
        if len(calls) < self.of.size:
            if not calls:
                raise NotKept("what it gathers is not kept")
            calls = [*calls, *[calls[-1]] * (self.of.size - len(calls))]
        return GatherResponse(tuple(calls), self.of.seconds, self.of.apart)


class _Reading(Struct):
    """What is known so far of what a handler returned.

    Attributes:
        thread: of its message.
        prefix: with which the ids begin that the rules gave in this step; others were taken by the handler.
        sent: in order.
        remembered: the entry that goes with the next answer.
        keeps: whether it kept a state.
        state: which.
    """

    thread: Thread
    prefix: str
    sent: list[HandlerResponse | _Calls] = []
    remembered: Entry | None = None
    keeps: bool = False
    state: Entry | None = None

    def gather(self, gather_id: str) -> _Calls:
        """The one of this id."""
        for each in self.sent:
            if isinstance(each, _Calls) and each.of.gather_id == gather_id:
                return each
        raise NotKept("a gather of it is not kept")


def _collapsed(last: Event) -> bool:
    told = last.message if type(last) is Accepted and last.leaves else None
    return told is not None and told.from_id == SYSTEM and COLLAPSED in told.content


def _outgrown(what: str, was: str, error: Exception) -> Outgrown:
    """With the field that does not fit, when the error says it."""
    cause = error if isinstance(error, PayloadError) else error.__cause__
    if isinstance(cause, PayloadError) and cause.violations:
        what = f"{what}.{cause.violations[0].field}"
    return Outgrown(what, was, str(error) if isinstance(error, Unreadable) else described(error))
