"""The machine: what follows from a fact. Pure: values in, events out, no clock, no tasks.

`Machine.step(fact)` runs the rule for a fact. A rule makes events. Each is applied as it is made, so what comes later
in the same step sees it; the changes that events make (`threads.state`) are the only ones. A step reads and writes
one conversation (and, append-only, the lasting session of its outside caller).

**A message** is accepted or refused. Every message takes the one way of `Message.sealed`. What is accepted waits in
its thread's inbox until it is handled; a refused one comes back to its sender as `<huh>` or `<SystemError>`, into the
sender's own thread, which lives on.

**A thread** is open until it is answered, handed over, or over: nothing in its inbox and nothing open below it.
Whatever ends a thread first ends what is below it, and buries what waits in it: each such message is a dead letter
of the same step. So an accepted message is at any time exactly one of pending, handled, dead.

**An answer** ends the thread that gives it. It goes to the thread that called: into its inbox, or into its place in
a gather. With no thread above it leaves for the outside, and the conversation is over. What a listener does not
accept passes on, as its own answer, when its turn comes.

**A gather** waits for several calls together. The last answer closes it; a call that ended without one leaves its
place empty; when its time is up, what is still open ends, and an error stands in its place.

**Runaways** end: a conversation has limits on messages, depth and time.

Ids of what a step makes are derived from the message that caused it: the same fact gives the same events again
(ADR 10).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from xml_pipeline.envelope import (
    SYSTEM,
    Code,
    Gathered,
    Heading,
    Huh,
    Message,
    SystemError,
    codec_for,
    complaint,
    is_error,
)
from xml_pipeline.errors import EnvelopeError, PayloadError, RoutingError, cut, described
from xml_pipeline.hardened import DEFAULT_LIMITS
from xml_pipeline.hardened import Limits as WireLimits
from xml_pipeline.payload import REGISTRATION, PayloadCodec, codec_of
from xml_pipeline.pump.addressing import NOT_DELIVERABLE, not_promised
from xml_pipeline.pump.approvals import Approval, to_approve
from xml_pipeline.pump.attempts import MOST_INTERRUPTIONS, NOT_TWICE, POISONOUS, failed_for_good, pause_after
from xml_pipeline.pump.endings import ERROR, Endings
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
from xml_pipeline.pump.kept import entry_of
from xml_pipeline.pump.listener import NAME, Listener
from xml_pipeline.pump.log import logger
from xml_pipeline.pump.reasons import COLLAPSED, DIED, LATE, NOBODY_WAITS, NONSENSE, UNSENT
from xml_pipeline.pump.response import (
    DELEGATE,
    RESPOND,
    SEND,
    GatherResponse,
    HandlerResponse,
    Intent,
    check_response,
    intent_of,
)
from xml_pipeline.pump.settings import ConversationLimits, seconds
from xml_pipeline.pump.terms import MOST_GATHERED, Terms
from xml_pipeline.pump.texts import NOTHING, read
from xml_pipeline.threads.ids import DerivedIds
from xml_pipeline.threads.record import (
    Accepted,
    Approved,
    Asked,
    Began,
    DeadLetter,
    Ended,
    Event,
    Gathering,
    Handled,
    Opening,
    Redelivered,
    Refused,
    Remembered,
    Slot,
    Started,
    StateKept,
)
from xml_pipeline.threads.state import CHANGES, Conversation, State, Thread, begin

HUH = codec_of(Huh)

_NOTHING = Intent()
_ABOUT_CONVERSATIONS = (Injected, Aborted, Expired)


class Machine:
    """The state of an organism, and the steps by which it changes.

    Args and attributes are those of `Terms`; `state` is what is known now, which only events change.
    """

    def __init__(
        self,
        listeners: Mapping[str, Listener],
        limits: ConversationLimits | None = None,
        wire_limits: WireLimits = DEFAULT_LIMITS,
    ) -> None:
        self.terms = Terms.of(listeners, limits or ConversationLimits(), wire_limits)
        self.state = State()

    def step(self, fact: Fact) -> list[Event]:
        """What follows from `fact`, applied already.

        A rule that fails (a defect of ours, or of a payload class's own code) ends its one conversation and no other.

        Raises:
            RoutingError: an injection names no listener, or one that does not take the class. No event follows.
            PayloadError, EnvelopeError: the payload of an injection, or of a person's answer, is not valid or too
                large. No event follows.
        """
        kind = type(fact)
        if isinstance(fact, _ABOUT_CONVERSATIONS):
            conversation_id = fact.conversation_id
            seed = fact.gather_id if isinstance(fact, Expired) else f"{conversation_id}/{kind.__name__}"
        else:
            message = fact.message
            conversation_id, seed = message.conversation_id, message.message_id
            if kind is Due and self._is_handled(message):
                return []  # nothing to write down
        conversation = self.state.conversations.get(conversation_id)
        if conversation is None:
            if kind is not Injected:
                return _too_late(fact)
            conversation = Conversation(conversation_id)
        events: list[Event] = []
        step = Rules(
            seed, terms=self.terms, state=self.state, conversation=conversation, at=fact.at, events=events
        )
        try:
            _RULES[kind](step, fact)
        except KeyboardInterrupt:
            raise
        except BaseException:
            if not events and (kind is Injected or kind is Answered):
                raise  # whoever brings it from outside is told
            logger.exception("a rule failed; the conversation %s ends", conversation_id)
            step.collapse()
        return events

    def _is_handled(self, message: Message) -> bool:
        """Whether a message is its handler's, without anybody's approval."""
        listener = self.terms.listeners[message.to]
        return message.root in listener.handles and not listener.approve


class Rules(Endings, kw_only=True):
    """The rules at work on one step."""

    def record(self, event: Event) -> None:
        """Let `event` have happened: what `State.apply` does, without looking the conversation up again."""
        conversation = self.conversation
        conversation.seq += 1
        CHANGES[type(event)](self.state, conversation, event)
        self.events.append(event)  # last: what could not happen is not carried out

    # --- one rule for each kind of fact ---

    def injected(self, fact: Injected) -> None:
        terms, to, payload = self.terms, fact.to, fact.payload
        target = terms.listeners.get(to) if isinstance(to, str) else None
        if target is None or REGISTRATION not in type(payload).__dict__:
            raise terms.addressing.why_not(to, payload)
        writer = codec_of(type(payload))
        reader = target.requests.get(writer.root)
        if reader is None:
            raise terms.addressing.why_not(to, payload)
        message_id, thread_id, conversation_id = self.new_id(), self.new_id(), fact.conversation_id
        heading = Heading(fact.caller, to, thread_id, message_id, conversation_id=conversation_id, at=self.at)
        message = Message.sealed(heading, payload, writer, reader, terms.wire_limits)
        lasting = bool(fact.session)
        began = Began(fact.caller, to, fact.session or conversation_id, lasting, fact.awaited)
        self.events.append(began)
        self.conversation = begin(self.state, conversation_id, began)
        self.record(Accepted(message, self._opening(None, target, message_id, 1, None)))

    def due(self, fact: Due) -> None:
        """The turn of what no handler takes: an answer that passes on, or a question to a person."""
        message = fact.message
        if (thread := self._thread_of(message)) is None:
            return
        listener = self.terms.listeners[message.to]
        if message.root in listener.accepts:
            if not listener.approve:
                self.record(Asked(message))
            elif digest := to_approve(listener, thread, message):
                self.record(Asked(message, digest, listener.approve))
            return
        self.record(Handled(thread.id, message.message_id, listener.name, "passed on", detail=message.root))
        self._answer(thread, codec_for(message.payload), message.payload, message.message_id)
        self._settle(thread)

    def returned(self, fact: Returned) -> None:
        message, value = fact.message, fact.value
        thread = self.conversation.threads.get(message.thread_id)
        if thread is None or message.message_id not in thread.inbox:
            if value is not None:
                self.record(DeadLetter(message, LATE))
            return
        listener = self.terms.listeners[message.to]
        wants = _NOTHING
        try:
            if type(value) is HandlerResponse:
                check_response(value)
            elif value is not None:
                wants = intent_of(value, listener.accepts, listener.state)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # NonsenseReturned, or what an odd object does when it is looked at
            text, detail = NONSENSE, described(error)
            logger.error("the handler of '%s' returned %s", listener.name, detail)
            self._fail(thread, message, "handler", text, detail)
            return
        self.record(
            Handled(thread.id, message.message_id, thread.listener, kept=True)
            if wants.keeps_message
            else Handled(thread.id, message.message_id, thread.listener)
        )
        if type(value) is HandlerResponse:
            self._send(thread, message, value)
        elif wants is not _NOTHING:
            self._send_all(thread, message, wants)
        if not self.over:
            if not thread.inbox and not thread.children:
                self._settle(thread)
            if self.conversation.messages > self.terms.limits.messages:
                text = f"the conversation took more than {self.terms.limits.messages} messages"
                self.aborted(Aborted(self.conversation.id, SystemError("limit", text)))

    def _send_all(self, thread: Thread, message: Message, wants: Intent) -> None:
        if wants.keeps:
            self.record(StateKept(thread.id, wants.state))
        said = NOTHING if wants.text is None else read(wants.text, thread, self.terms)
        for response in wants.responses or said.responses:
            if not self.open(thread):  # an earlier response of the list has ended it
                self._bury_unsent(thread, message, response)
            elif isinstance(response, HandlerResponse):
                self._send(thread, message, response)
            else:
                self._gather(thread, message, response)
            if self._runaway():
                return  # however long the list is: the conversation is ended
        for huh in said.complaints:
            self._refuse(thread, huh)

    def failed(self, fact: Failed) -> None:
        message = fact.message
        if (thread := self._thread_of(message)) is None:
            return
        listener = self.terms.listeners[message.to]
        retries = listener.retries if fact.code == "handler" else 0
        if thread.failed < retries:
            times, again = thread.failed + 1, self._again(message)
            self.record(Redelivered(again, thread.interrupted, times, pause_after(times), fact.detail))
            return
        if retries:
            self.record(DeadLetter(message, failed_for_good(retries + 1, fact.detail)))
        if fact.cut_off and listener.effects == "once":
            self._fail(thread, message, "interrupted", NOT_TWICE, fact.detail)
        else:
            self._fail(thread, message, fact.code, fact.text, fact.detail)

    def _again(self, message: Message) -> Message:
        return message.again(codec_for(message.payload), self.terms.kept_limits)

    def interrupted(self, fact: Interrupted) -> None:
        message = fact.message
        if (thread := self._thread_of(message)) is None:
            return
        times = thread.interrupted + (not fact.stopped)
        if self.terms.listeners[message.to].effects == "once":
            self._fail(thread, message, "interrupted", NOT_TWICE, DIED)
        elif times == MOST_INTERRUPTIONS:
            self._give_back(thread, message, "interrupted", POISONOUS)
        else:
            self.record(Redelivered(self._again(message), times, thread.failed))

    def starting(self, fact: Starting) -> None:
        if self._thread_of(fact.message) is not None:
            self.record(Started(fact.message))

    def undeliverable(self, fact: Undeliverable) -> None:
        if (thread := self._thread_of(fact.message)) is not None:
            self._give_back(thread, fact.message, "handler", fact.reason)

    def _give_back(self, thread: Thread, message: Message, code: Code, reason: str) -> None:
        """A message that cannot be handled: it is buried, and its thread's caller is told."""
        self.record(DeadLetter(message, reason, True))
        self._answer(thread, ERROR, SystemError(code, reason), message.message_id)

    def answered(self, fact: Answered) -> None:
        message, payload = fact.message, fact.payload
        thread = self._thread_of(message)
        if thread is None or thread.asked != message.message_id:
            raise RoutingError(f"no message waits for a person in thread {message.thread_id}")
        if thread.held:
            self._judged(thread, message, payload)
            return
        writer = codec_of(type(payload))
        if (promised := self._promised(thread, writer)) is not None:
            raise RoutingError(not_promised(thread.listener, writer.root, promised))
        # Sealed twice: an answer that does not fit must not take the question with it.
        self._sealed_answer(thread, writer, payload, message.message_id, self.new_id(), ())
        self.record(Handled(thread.id, message.message_id, thread.listener))
        self._answer(thread, writer, payload, message.message_id)

    def _judged(self, thread: Thread, message: Message, payload: Any) -> None:
        """A person approved what is to be done, or did not."""
        if type(payload) is not Approval:
            raise RoutingError(f"{type(payload).__name__} is no Approval, and '{message.to}' waits for one")
        by = self.terms.listeners[message.to].approve
        if payload.granted:
            self.record(Approved(message, thread.held, by))
            return
        note = f": {payload.note}" if payload.note else ""
        self._fail(thread, message, "refused", f"'{by}' refused it{note}", payload.note)
        self._settle(thread)

    def expired(self, fact: Expired) -> None:
        thread = self.conversation.threads.get(fact.thread_id)
        gather = None if thread is None or thread.gathers is None else thread.gathers.get(fact.gather_id)
        if thread is None or gather is None:
            return
        late = SystemError("timeout", "no answer in time")
        for position, child_id in enumerate(tuple(gather.calls)):
            if child_id and (child := self.conversation.threads.get(child_id)) is not None:
                self._clear(child)
                self.record(Ended(child.id, child.listener, "pruned", child.session_ids))
                notice = self._notice(thread, ERROR, late, in_reply_to=child.opening_id)
                self._fill(thread, notice, (fact.gather_id, position))

    def aborted(self, fact: Aborted) -> None:
        conversation = self.conversation
        root = conversation.threads[conversation.root]
        self._clear(root)
        self.record(Ended(root.id, root.listener, "pruned", root.session_ids))
        if fact.error is None:
            self._over()
        else:
            caller, message_id = conversation.caller, self.new_id()
            heading = self._heading(SYSTEM, caller, root.id, message_id, "", None, root.opening_id)
            self._leave(Message.sealed(heading, fact.error, ERROR, ERROR, self.terms.system_limits))

    def collapse(self) -> None:
        """The last line of defence: what the conversation holds is buried, and the outside gets an error."""
        if self.over:
            return
        conversation = self.conversation
        opening_id = conversation.threads[conversation.root].opening_id if conversation.root else ""
        for thread in reversed(tuple(conversation.threads.values())):  # callees before their callers
            for message in tuple(thread.inbox.values()):
                self.record(DeadLetter(message, COLLAPSED, True))
            self.record(Ended(thread.id, thread.listener, "pruned", thread.session_ids))
        caller, own = conversation.caller, self.new_id()
        heading = self._heading(SYSTEM, caller, own, self.new_id(), "", None, opening_id)
        error = SystemError("handler", f"{COLLAPSED}; its log says more")
        self._leave(Message.sealed(heading, error, ERROR, ERROR, self.terms.system_limits))

    # --- what a handler wants sent ---

    def _send(
        self, thread: Thread, cause: Message, response: HandlerResponse, slot: Slot | None = None
    ) -> None:
        to, kind = response.to, response.kind
        if to is not None and (local := self.terms.listeners[thread.listener].local):
            to = local.get(to, to)
        if kind == RESPOND or (slot is None and kind != DELEGATE and self._is_caller(thread, to)):
            writer = codec_of(type(response.payload))
            self._answer(thread, writer, response.payload, cause.message_id, response)
        elif to == thread.listener and kind != DELEGATE and slot is None:
            self._call_self(thread, cause, response)
        elif to is None:
            listener = self.terms.listeners[thread.listener]
            root = codec_of(type(response.payload)).root
            receivers = self.terms.addressing.unaddressed(listener, root)
            if not receivers or (slot is not None and len(receivers) > 1):
                error = SystemError("routing", NOT_DELIVERABLE)
                self._refuse(thread, error, response.take_id(self), "", slot)
                return
            for receiver in receivers:
                self._call(thread, cause, response, receiver.name, slot)
        else:
            self._call(thread, cause, response, to, slot)

    def _is_caller(self, thread: Thread, to: str | None) -> bool:
        """Whether `to` names whoever is to be answered: the caller, or the one that handed this call over."""
        return to is not None and (
            to == thread.caller or (to == thread.opened_by and not self._is_peer(thread, to))
        )

    def _is_peer(self, thread: Thread, name: str) -> bool:
        return name in self.terms.listeners[thread.listener].peers

    def _may(self, thread: Thread, to: str, *, delegated: bool) -> bool:
        """Whether a listener may call another one, or hand its call over to it: neither implies the other."""
        if not delegated:
            return self._is_peer(thread, to)
        return to in self.terms.listeners[thread.listener].hands_over_to

    def _call_self(self, thread: Thread, cause: Message, response: HandlerResponse) -> None:
        own = self.terms.listeners[thread.listener]
        writer = codec_of(type(response.payload))
        message_id = response.take_id(self)
        reader = own.requests.get(writer.root)
        if reader is None:
            self._refuse(thread, own.unaccepted(writer.root), message_id, own.name)
            return
        heading = self._heading(own.name, own.name, thread.id, message_id, cause.message_id, response)
        try:
            message = Message.sealed(heading, response.payload, writer, reader, self.terms.wire_limits)
        except (PayloadError, EnvelopeError) as error:
            self._refuse(thread, complaint(error, reader), message_id, own.name)
        else:
            self.record(Accepted(message))

    def _call(
        self, thread: Thread, cause: Message, response: HandlerResponse, to: str, slot: Slot | None
    ) -> None:
        """Open a call of a peer: below this thread, or (delegated) in its place."""
        terms = self.terms
        delegated = response.kind == DELEGATE
        writer = codec_of(type(response.payload))
        target = terms.listeners.get(to)
        message_id = response.take_id(self)
        if target is None or (to != thread.listener and not self._may(thread, to, delegated=delegated)):
            self._refuse(thread, SystemError("routing", NOT_DELIVERABLE), message_id, to, slot)
            return
        reader = target.requests.get(writer.root)
        if reader is None:
            self._refuse(thread, target.unaccepted(writer.root), message_id, to, slot)
            return
        if thread.depth >= terms.limits.depth and not delegated:
            error = SystemError("limit", f"calls are nested deeper than {terms.limits.depth}")
            self._refuse(thread, error, message_id, to, slot)
            return
        if delegated and thread.handovers >= terms.limits.handovers:
            error = SystemError("limit", f"the call was handed over {terms.limits.handovers} times already")
            self._refuse(thread, error, message_id, to, slot)
            return
        conversation, sender, repairs = self.conversation, thread.listener, response.repairs
        heading = Heading(
            sender, to, self.new_id(), message_id, cause.message_id, "", 1, repairs, conversation.id, self.at
        )
        try:
            entry = entry_of(response.remember) if delegated and response.remember is not None else None
            message = Message.sealed(heading, response.payload, writer, reader, terms.wire_limits)
        except (PayloadError, EnvelopeError) as error:
            self._refuse(thread, complaint(error, reader), message_id, to, slot)
            return
        if delegated:
            if entry is not None:
                self._remember(thread, entry)
            parent = conversation.threads[thread.parent] if thread.parent else None
            opening = self._opening(parent, target, thread.opening_id, thread.depth, thread.slot, thread)
            if thread.children or thread.inbox:
                self._clear(thread)
            self.record(Accepted(message, opening, thread.id, thread.session_ids))
        else:
            opening = self._opening(thread, target, message_id, thread.depth + 1, slot)
            self.record(Accepted(message, opening))

    def _opening(
        self,
        parent: Thread | None,
        target: Listener,
        opening_id: str,
        depth: int,
        slot: Slot | None,
        before: Thread | None = None,
    ) -> Opening:
        """What a call of `target` for `parent` (None: the outside) opens, also in the place of a thread `before`."""
        conversation = self.conversation
        sessions: dict[str, str] | None = conversation.sessions
        if parent is not None:
            sessions = parent.sessions
        elif conversation.lasting:
            sessions = self.state.sessions[conversation.session].sessions
        apart = False
        if parent is not None and slot is not None:
            assert parent.gathers is not None
            apart = parent.gathers[slot[0]].apart
        session_id = None if sessions is None or apart else sessions.get(target.name)
        if session_id is None:
            session_id = (
                DerivedIds(f"{conversation.session}/{target.name}").new_id()
                if parent is None and conversation.lasting
                else self.new_id()
            )
        memory = f"{conversation.id}/{target.name}" if target.remembers == "conversation" else session_id
        if parent is None:
            outside = self.state.sessions[conversation.session] if conversation.lasting else None
            seen = None if outside is None else outside.seen(memory, target.keep)
            opening = Opening("", conversation.caller, opening_id, depth, session_id, memory, slot, seen)
        else:
            opening = Opening(
                parent.id, parent.listener, opening_id, depth, session_id, memory, slot, apart=apart
            )
        if before is None:
            return opening
        call, called = (before.call, before.called) if before.call else (before.id, before.listener)
        return replace(opening, handovers=before.handovers + 1, call=call, called=called)

    def _gather(self, thread: Thread, cause: Message, response: GatherResponse) -> None:
        gather_id = self.new_id()
        size = len(response.responses)
        if size > MOST_GATHERED:
            text = (
                f"a gather of {size:,} calls; at most {MOST_GATHERED:,} are made, so call in several rounds"
            )
            self._refuse(thread, SystemError("limit", text))
            return
        limit = None if response.timeout is None else seconds(response.timeout)
        apart = response.apart or size > 1
        self.record(Gathering(thread.id, gather_id, size, limit, cause.message_id, apart))
        for position, each in enumerate(response.responses):
            self._send(thread, cause, each, (gather_id, position))
            if self._runaway():
                return
        if not size:
            self._close_gather(thread, gather_id)

    # --- what is owed to whom ---

    def _answer(
        self,
        thread: Thread,
        writer: PayloadCodec[Any],
        payload: Any,
        cause: str,
        response: HandlerResponse | None = None,
    ) -> None:
        """Answer a thread's caller. An answer that does not fit leaves the thread open, with a complaint in it."""
        message_id, entry = self.new_id(), None
        repairs: tuple[str, ...] = ()
        own = self.terms.listeners.get(thread.listener)
        bound = thread.called or (own is not None and own.answers is not None)
        if bound and (promised := self._promised(thread, writer)) is not None:
            error = SystemError("validation", not_promised(thread.listener, writer.root, promised))
            self._refuse(thread, error, message_id, thread.caller)
            return
        try:
            if response is not None:
                repairs = response.repairs
                if response.remember is not None:
                    entry = entry_of(response.remember)
            answer = self._sealed_answer(thread, writer, payload, cause, message_id, repairs)
        except (PayloadError, EnvelopeError) as error:
            self._refuse(thread, complaint(error, self._reader(thread, writer)), message_id, thread.caller)
            return
        if entry is not None:
            self._remember(thread, entry)
        slot = thread.slot
        if thread.children or thread.inbox:
            self._clear(thread)
        if not thread.parent:
            self._leave(answer, thread)
            return
        by_name = response is not None and response.kind == SEND and self._is_peer(thread, thread.caller)
        self.record(Accepted(answer, None, thread.id, thread.session_ids, slot, by_name=by_name))
        if slot is not None:
            self._close_if_full(self.conversation.threads[thread.parent], slot[0])

    def _promised(self, thread: Thread, writer: PayloadCodec[Any]) -> tuple[type, ...] | None:
        """What a thread's answer has to be of, when it is of none of that; errors always pass."""
        listeners = self.terms.listeners
        for name in (thread.listener, thread.called) if thread.called else (thread.listener,):
            listener = listeners.get(name)  # None: of an earlier life
            if listener is not None and listener.answers is not None and writer.cls not in listener.answers:
                return None if writer is ERROR or writer is HUH else listener.answers
        return None

    def _sealed_answer(
        self,
        thread: Thread,
        writer: PayloadCodec[Any],
        payload: Any,
        cause: str,
        message_id: str,
        repairs: tuple[str, ...],
    ) -> Message:
        heading = Heading(
            thread.listener,
            thread.caller,
            thread.parent or thread.id,
            message_id,
            cause,
            thread.opening_id,
            1,
            repairs,
            self.conversation.id,
            self.at,
        )
        reader, terms = self._reader(thread, writer), self.terms
        limits = terms.system_limits if writer is ERROR or writer is HUH else terms.wire_limits
        return Message.sealed(heading, payload, writer, reader, limits, writer.fingerprint)

    def _reader(self, thread: Thread, writer: PayloadCodec[Any]) -> PayloadCodec[Any]:
        """The codec by which a thread's caller reads an answer: its own, if it takes the class."""
        if not thread.parent or writer.cls is Gathered:
            return writer
        caller = self.terms.listeners.get(thread.caller)  # None: of an earlier life
        return writer if caller is None else caller.accepts.get(writer.root, writer)

    def _leave(self, answer: Message, root: Thread | None = None) -> None:
        """The answer goes outside, and the conversation is over."""
        conversation = self.conversation
        ended = self._last_sessions() if conversation.lasting else tuple(conversation.sessions.values())
        if root is not None and root.sessions:
            ended = (*root.sessions.values(), *ended)
        self.over = True
        ends, lasting = "" if root is None else root.id, conversation.session if conversation.lasting else ""
        self.record(Accepted(answer, None, ends, ended, leaves=True, lasting=lasting))
        if not conversation.awaited and is_error(answer.payload):
            self.record(DeadLetter(answer, NOBODY_WAITS))

    def _remember(self, thread: Thread, entry: Any) -> None:
        conversation = self.conversation
        listener = self.terms.listeners[thread.listener]
        if listener.remembers == "conversation":
            self.record(Remembered(f"{conversation.id}/{listener.name}", entry, listener.keep))
        else:
            lasting = conversation.lasting and not thread.parent
            added = self.state.sessions[conversation.session].added if lasting else {}
            ordinal = added.get(thread.session_id, 0) + 1
            self.record(Remembered(thread.session_id, entry, listener.keep, lasting, ordinal))

    def _refuse(
        self,
        thread: Thread,
        error: SystemError | Huh,
        message_id: str = "",
        to: str = "",
        slot: Slot | None = None,
    ) -> None:
        """Tell the sender that its message was not let through; its thread lives on."""
        if not self.open(thread):
            return  # an earlier response of the same list has ended it: nobody is left to be told
        codec: PayloadCodec[Any] = ERROR if isinstance(error, SystemError) else HUH
        code = error.code if isinstance(error, SystemError) else "huh"
        self.record(Refused(thread.id, thread.listener, to, code, error.message))
        notice = self._notice(thread, codec, error, in_reply_to=message_id)
        if slot is None:
            self.record(Accepted(notice))
        else:
            self._fill(thread, notice, slot)

    def _fail(self, thread: Thread, message: Message, code: Any, text: str, detail: str) -> None:
        """A handler failed: its caller is told, and its thread ends."""
        self.record(Handled(thread.id, message.message_id, thread.listener, "failed", code, detail))
        self._answer(thread, ERROR, SystemError(code, text), message.message_id)

    def _bury_unsent(
        self, thread: Thread, cause: Message, response: HandlerResponse | GatherResponse
    ) -> None:
        """What a handler wanted sent after an earlier response of the same list had ended its thread."""
        if isinstance(response, GatherResponse):
            for each in response.responses:
                self._bury_unsent(thread, cause, each)
            return
        codec = codec_of(type(response.payload))
        to, message_id = response.to or thread.caller, response.take_id(self)
        reason = UNSENT
        if not NAME.fullmatch(to):  # any text at all, which no envelope carries
            to, reason = thread.caller, f"{reason}; it was for {cut(to)!r}, which is no name"
        heading = self._heading(thread.listener, to, thread.id, message_id, cause.message_id, response)
        try:
            message = Message.sealed(heading, response.payload, codec, codec, self.terms.wire_limits)
        except (PayloadError, EnvelopeError) as error:
            message, reason = cause, f"a {codec.root} in answer to it was not valid, and {reason}: {error}"
        self.record(DeadLetter(message, reason))

    # --- parts ---

    def _runaway(self) -> bool:
        return not self.over and self.conversation.messages > self.terms.limits.messages

    def _thread_of(self, message: Message) -> Thread | None:
        """The open thread in which the message is pending."""
        thread = self.conversation.threads.get(message.thread_id)
        return thread if thread is not None and message.message_id in thread.inbox else None


def _too_late(fact: Fact) -> list[Event]:
    """What follows from a fact about a conversation that is over."""
    if isinstance(fact, Answered):
        raise RoutingError(f"no message waits for a person in thread {fact.message.thread_id}")
    if isinstance(fact, Returned) and fact.value is not None:
        return [DeadLetter(fact.message, LATE)]
    return []


_RULES: dict[type[Any], Callable[[Rules, Any], None]] = {
    Injected: Rules.injected,
    Due: Rules.due,
    Returned: Rules.returned,
    Failed: Rules.failed,
    Interrupted: Rules.interrupted,
    Starting: Rules.starting,
    Undeliverable: Rules.undeliverable,
    Answered: Rules.answered,
    Expired: Rules.expired,
    Aborted: Rules.aborted,
}
