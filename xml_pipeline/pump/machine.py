"""The rules: what follows from a handler's return, an injection, a timeout. State in, effects out, no I/O.

A message is accepted only after it went the whole way: encoded, parsed, checked as an envelope, validated by
the receiver's schema, decoded. What fails on the way is told to its sender while the sender's thread is still
open; what was accepted cannot fail that way any more.

An answer that its receiver does not accept passes on to that receiver's caller when its turn comes, so up to
the outside. A refused message, a crash, a timeout become messages too: `<huh>` and `<SystemError>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xml_pipeline import events
from xml_pipeline.envelope import (
    SYSTEM,
    Gathered,
    GatheredCodec,
    Huh,
    SystemError,
    encode,
    extract_payloads,
    unwrap,
)
from xml_pipeline.errors import EnvelopeError, PayloadError, Violation
from xml_pipeline.hardened import DEFAULT_LIMITS
from xml_pipeline.hardened import Limits as WireLimits
from xml_pipeline.payload import PayloadCodec, codec_of, is_payload
from xml_pipeline.pump.addressing import NOT_DELIVERABLE, Addressing
from xml_pipeline.pump.effects import (
    Cancel,
    DeadLetter,
    Effect,
    GatherTimer,
    Message,
    Over,
    Reply,
    Unanswered,
)
from xml_pipeline.pump.listener import Listener
from xml_pipeline.pump.response import (
    DELEGATE,
    RESPOND,
    SEND,
    GatherResponse,
    HandlerMetadata,
    HandlerResponse,
)
from xml_pipeline.threads import Call, Conversation, Gather, Port, Registry
from xml_pipeline.threads.ids import IdSource, uuid_source
from xml_pipeline.threads.registry import Slot

_ERROR = codec_of(SystemError)
_HUH = codec_of(Huh)


@dataclass(frozen=True, slots=True)
class ConversationLimits:
    """What ends a runaway conversation.

    Attributes:
        messages: accepted in all its threads.
        depth: calls below calls.
        seconds: from its first message on.
    """

    messages: int = 10_000
    depth: int = 64
    seconds: float = 3600.0


class NonsenseReturned(Exception):
    """A handler returned what the contract does not know; the text says what it was."""


class Machine:
    """All state of a running organism except time and tasks.

    `trace` makes it report every fact as an event; without an observer nothing is built.
    """

    def __init__(
        self,
        table: Mapping[str, Listener],
        *,
        limits: ConversationLimits | None = None,
        wire_limits: WireLimits = DEFAULT_LIMITS,
        new_id: IdSource | None = None,
    ) -> None:
        self.table = table
        self.limits = limits or ConversationLimits()
        self.trace = False
        self._wire_limits = wire_limits
        self._new_id = new_id or uuid_source()
        self.registry = Registry(self._new_id)
        self.addressing = Addressing(table)

    # --- entries: each returns the effects of one thing that happened ---

    def inject(self, port: Port, to: str, payload: Any) -> tuple[Conversation, list[Effect]]:
        """A message from outside opens a conversation.

        Raises:
            RoutingError: no such listener, or it does not accept the class.
            PayloadError, EnvelopeError: the payload is not valid, or too large.
        """
        target, accepting = self.addressing.from_outside(to, payload)
        codec = codec_of(type(payload))
        conversation = self.registry.start(port)
        fx: list[Effect] = []
        try:
            message_id = self._new_id()
            call = self.registry.new_call(to, conversation, None, opened_by=port.name, opening_id=message_id)
            typed = self._transfer(codec, accepting, payload, port.name, to, call, message_id)
        except BaseException:
            self.registry.forget(conversation)
            raise
        self.registry.attach(call)
        if self.trace:
            fx.append(events.ConversationStarted(conversation.id, to))
            self._opened(call, fx)
        self._accept(Message(call, target, accepting, typed, port.name, message_id), fx)
        return conversation, fx

    def begin(self, message: Message) -> tuple[HandlerMetadata | None, list[Effect]]:
        """A message's turn has come: the metadata for its handler, or None when no handler is to be called."""
        call = message.call
        target = message.to
        if call.ended:
            fx: list[Effect] = [_dead(message, "its thread has ended")]
            self._settle(call, fx)
            return None, fx
        if message.codec.root not in target.accepts:
            fx = []
            if self.trace:
                fx.append(
                    events.AnswerPassedOn(call.conversation.id, call.thread_id, target.name, message.codec.root)
                )
            self._answer(call, message.codec, message.payload, message.message_id, fx)
            self._settle(call, fx)
            return None, fx
        agent = target.agent
        metadata = HandlerMetadata(
            call.thread_id,
            message.from_id,
            target.name if agent else None,
            message.from_id == target.name,
            self.addressing.instructions(target) if agent else "",
            message.message_id,
            1,
            call.session_id,
            call.conversation.id,
            message.in_reply_to,
        )
        if self.trace:
            return metadata, [self._delivered(message.call, message, target.name)]
        return metadata, []

    def finish(self, message: Message, returned: Any) -> list[Effect]:
        """A handler returned; NonsenseReturned (nothing was sent then) when it was none of the contract's."""
        fx: list[Effect] = []
        call = message.call
        if returned is not None:
            if call.ended:
                fx.append(_dead(message, "its thread had ended when the handler returned"))
            else:
                self._route(message, returned, fx)
        self._settle(call, fx)
        self._limit(call.conversation, fx)
        return fx

    def fail(self, message: Message, code: Any, text: str) -> list[Effect]:
        """A handler crashed, timed out, or returned nonsense: its caller is told."""
        fx: list[Effect] = []
        call = message.call
        if call.ended:
            fx.append(_dead(message, f"its thread had ended when its handler failed ({code})"))
        else:
            self._answer(call, _ERROR, SystemError(code, text), message.message_id, fx)
        self._settle(call, fx)
        return fx

    def expire(self, gather: Gather) -> list[Effect]:
        """A gather's time is up: what is still open is given up, the rest is delivered."""
        fx: list[Effect] = []
        if not gather.closed and not gather.call.ended:
            late = SystemError("timeout", "no answer in time")
            for position, call in enumerate(tuple(gather.calls)):
                if call is not None:
                    self._end(call, "pruned", fx)
                    self._fill((gather, position), late, _ERROR, fx)
        return fx

    def abort(self, conversation: Conversation, error: SystemError | None) -> list[Effect]:
        """End a whole conversation; the outside gets `error`, or nothing."""
        fx: list[Effect] = []
        root = conversation.root
        if root is not None and not root.ended:
            self._end(root, "pruned", fx)
            if error is None:
                fx.append(Unanswered(conversation.port, conversation))
            else:
                message_id = self._new_id()
                typed = self._transfer(
                    _ERROR, _ERROR, error, SYSTEM, conversation.port.name, root, message_id
                )
                self._leave(conversation, _ERROR, typed, SYSTEM, message_id, fx)
        fx.append(Cancel(conversation))
        return fx

    # --- routing of what a handler returned ---

    def _route(self, message: Message, returned: Any, fx: list[Effect]) -> None:
        if isinstance(returned, str | bytes):
            self._send_text(message, returned, fx)
        else:
            responses = returned if isinstance(returned, list | tuple) else (returned,)
            for response in responses:  # all are checked before one is sent: no half-sent list
                _check_response(response, message.to)
            for response in responses:
                if isinstance(response, GatherResponse):
                    self._gather(message, response, fx)
                else:
                    self._send(message, response, fx)

    def _send(
        self,
        message: Message,
        response: HandlerResponse,
        fx: list[Effect],
        slot: Slot | None = None,
        repairs: tuple[str, ...] = (),
    ) -> None:
        call = message.call
        payload = response.payload
        codec = codec_of(type(payload))
        if call.ended:
            fx.append(
                DeadLetter(
                    "its thread had ended before it was sent",
                    call.conversation.id, call.thread_id, response.message_id, call.listener,
                    response.to or "", payload,
                )
            )  # fmt: skip
            return
        to = response.to
        if response.kind == RESPOND or (slot is None and response.kind != DELEGATE and self._is_caller(call, to)):
            self._answer(call, codec, payload, message.message_id, fx, repairs)
        elif to == call.listener and response.kind != DELEGATE and slot is None:
            self._call_self(message, codec, response, fx)
        elif to is None:
            receivers = self.addressing.unaddressed(message.to, codec.root)
            if not receivers or (slot is not None and len(receivers) > 1):
                self._refuse(call, slot, SystemError("routing", NOT_DELIVERABLE), response.message_id, to, fx)
            for receiver in receivers:
                own_id = response.message_id if len(receivers) == 1 else self._new_id()
                self._call(message, codec, payload, receiver.name, own_id, fx, slot, repairs)
        else:
            delegated = response.kind == DELEGATE
            self._call(message, codec, payload, to, response.message_id, fx, slot, repairs, delegated=delegated)

    def _is_caller(self, call: Call, to: str | None) -> bool:
        """Whether `to` names whoever is to be answered: the caller, or the one that delegated this call here."""
        return to is not None and (
            to == call.caller_name or (to == call.opened_by and to not in self.table[call.listener].peers)
        )

    def _send_text(self, message: Message, text: str | bytes, fx: list[Effect]) -> None:
        """What a model wrote: every payload in it is validated and routed."""
        call = message.call
        codecs, calls = self.addressing.from_text(message.to, call)
        extraction = extract_payloads(text, codecs)
        for found in extraction.found:
            if found.repairs and self.trace:
                fx.append(
                    events.PayloadRepaired(call.conversation.id, call.thread_id, call.listener, found.repairs)
                )
            to = found.to if found.to in message.to.peers else None
            answers = found.codec.root not in calls
            response = HandlerResponse(found.payload, to, kind=RESPOND if answers else SEND)
            self._send(message, response, fx, repairs=found.repairs)
        for name, error in extraction.errors:
            example = next((codec.example for codec in codecs if codec.root == name), "")
            self._refuse(call, None, Huh.from_error(error, f"<{name}>", example), "", None, fx)
        if not extraction.found and not extraction.errors:
            allowed = ", ".join(f"<{codec.root}>" for codec in codecs) or "none"
            rule = Violation("text", "holds no payload element", None, allowed)
            self._refuse(call, None, Huh.from_error(PayloadError(rule), "the text"), "", None, fx)

    def _call_self(
        self, message: Message, codec: PayloadCodec[Any], response: HandlerResponse, fx: list[Effect]
    ) -> None:
        call, own = message.call, message.to
        accepting = own.accepts.get(codec.root)
        if accepting is None:
            self._refuse(call, None, _unaccepted(own, codec), response.message_id, own.name, fx)
            return
        try:
            typed = self._transfer(
                codec, accepting, response.payload, own.name, own.name, call, response.message_id, message.message_id
            )
        except (PayloadError, EnvelopeError) as error:
            self._refuse(call, None, _complaint(error, accepting), response.message_id, own.name, fx)
            return
        self._accept(Message(call, own, accepting, typed, own.name, response.message_id), fx)

    def _call(
        self,
        message: Message,
        codec: PayloadCodec[Any],
        payload: Any,
        to: str,
        message_id: str,
        fx: list[Effect],
        slot: Slot | None = None,
        repairs: tuple[str, ...] = (),
        *,
        delegated: bool = False,
    ) -> None:
        """Open a call of a peer, below this call or (delegated) in its place."""
        caller = message.call
        target = self.table.get(to)
        if target is None or to not in message.to.peers:
            self._refuse(caller, slot, SystemError("routing", NOT_DELIVERABLE), message_id, to, fx)
            return
        accepting = target.accepts.get(codec.root)
        if accepting is None:
            self._refuse(caller, slot, _unaccepted(target, codec), message_id, to, fx)
            return
        if caller.depth >= self.limits.depth and not delegated:
            error = SystemError("limit", f"calls are nested deeper than {self.limits.depth}")
            self._refuse(caller, slot, error, message_id, to, fx)
            return
        child = self.registry.new_call(
            to,
            caller.conversation,
            caller.parent if delegated else caller,
            opened_by=caller.listener,
            opening_id=caller.opening_id if delegated else message_id,
            slot=caller.slot if delegated else slot,
        )
        try:
            typed = self._transfer(
                codec, accepting, payload, caller.listener, to, child, message_id, message.message_id, "", repairs
            )
        except (PayloadError, EnvelopeError) as error:
            self._refuse(caller, slot, _complaint(error, accepting), message_id, to, fx)
            return
        self.registry.attach(child)
        if self.trace:
            self._opened(child, fx)
        if delegated:
            self._end(caller, "delegated", fx)
        self._accept(Message(child, target, accepting, typed, caller.listener, message_id), fx)

    def _gather(self, message: Message, response: GatherResponse, fx: list[Effect]) -> None:
        call = message.call
        gather = Gather(call, len(response.responses), message.message_id)
        for position, each in enumerate(response.responses):
            self._send(message, each, fx, (gather, position))
        if not response.responses:
            self._deliver_gathered(gather, fx)
        elif not gather.closed and response.timeout is not None:
            fx.append(GatherTimer(gather, response.timeout))

    def _fill(self, slot: Slot, answer: Any, codec: PayloadCodec[Any] | None, fx: list[Effect]) -> None:
        gather, position = slot
        if gather.closed:
            return
        gather.fill(position, answer, codec)
        if not gather.missing:
            self._deliver_gathered(gather, fx)

    def _deliver_gathered(self, gather: Gather, fx: list[Effect]) -> None:
        gather.closed = True
        if gather.timer is not None:
            gather.timer.cancel()
        if not gather.call.ended:
            codec = GatheredCodec(gather.codecs)
            self._notify(gather.call, codec, Gathered(tuple(gather.answers)), fx, cause=gather.causation_id)

    # --- answers, refusals, ends ---

    def _answer(
        self,
        call: Call,
        codec: PayloadCodec[Any],
        payload: Any,
        cause: str,
        fx: list[Effect],
        repairs: tuple[str, ...] = (),
    ) -> None:
        """Answer `call`'s caller. An answer that does not fit the receiver leaves the call open, with a huh."""
        parent, slot, conversation = call.parent, call.slot, call.conversation
        receiver = None if parent is None else self.table[parent.listener]
        accepting = codec
        if receiver is not None and codec.cls is not Gathered:
            accepting = receiver.accepts.get(codec.root, codec)
        message_id = self._new_id()
        try:
            typed = self._transfer(
                codec, accepting, payload, call.listener, call.caller_name, parent or call, message_id, cause,
                call.opening_id, repairs,
            )  # fmt: skip
        except (PayloadError, EnvelopeError) as error:
            self._refuse(call, None, _complaint(error, accepting), message_id, call.caller_name, fx)
            return
        self._end(call, "answered", fx)
        if slot is not None:
            self._fill(slot, typed, accepting, fx)
        elif receiver is None or parent is None:
            self._leave(conversation, accepting, typed, call.listener, message_id, fx)
        else:
            self._accept(
                Message(parent, receiver, accepting, typed, call.listener, message_id, call.opening_id), fx
            )

    def _leave(
        self,
        conversation: Conversation,
        codec: PayloadCodec[Any],
        payload: Any,
        from_id: str,
        message_id: str,
        fx: list[Effect],
    ) -> None:
        """The answer leaves the organism."""
        conversation.answered = True
        reply = Reply(conversation.port, conversation, payload, codec, from_id, message_id)
        fx.append(reply)
        if self.trace and conversation.root is not None:
            fx.append(self._delivered(conversation.root, reply, conversation.port.name))

    def _refuse(
        self,
        call: Call,
        slot: Slot | None,
        error: SystemError | Huh,
        message_id: str,
        to: str | None,
        fx: list[Effect],
    ) -> None:
        """Tell the sender that its message was not let through; its thread lives on."""
        codec = _ERROR if isinstance(error, SystemError) else _HUH
        if self.trace:
            code = error.code if isinstance(error, SystemError) else "huh"
            fx.append(
                events.MessageRefused(
                    call.conversation.id, call.thread_id, call.listener, to or "", code, error.message
                )
            )
        if slot is not None:
            self._fill(slot, error, codec, fx)
        else:
            self._notify(call, codec, error, fx, in_reply_to=message_id)

    def _notify(
        self,
        call: Call,
        codec: PayloadCodec[Any],
        payload: Any,
        fx: list[Effect],
        *,
        cause: str = "",
        in_reply_to: str = "",
    ) -> None:
        """A message of the system into `call`'s own thread."""
        message_id = self._new_id()
        typed = self._transfer(
            codec, codec, payload, SYSTEM, call.listener, call, message_id, cause, in_reply_to
        )
        self._accept(
            Message(call, self.table[call.listener], codec, typed, SYSTEM, message_id, in_reply_to), fx
        )

    def _transfer(
        self,
        codec: PayloadCodec[Any],
        accepting: PayloadCodec[Any],
        payload: Any,
        from_id: str,
        to: str,
        thread: Call,
        message_id: str,
        cause: str = "",
        in_reply_to: str = "",
        repairs: tuple[str, ...] = (),
    ) -> Any:
        """The one way of every message: canonical bytes → hardened parse → envelope → schema → typed instance."""
        data = encode(
            codec,
            payload,
            from_id=from_id,
            to=to,
            thread_id=thread.thread_id,
            message_id=message_id,
            causation_id=cause,
            in_reply_to=in_reply_to,
            repairs=repairs,
        )
        _, element = unwrap(data, self._wire_limits)
        return accepting.decode(element)

    def _accept(self, message: Message, fx: list[Effect]) -> None:
        call = message.call
        call.load += 1
        conversation = call.conversation
        conversation.load += 1
        conversation.messages += 1
        fx.append(message)

    def _settle(self, call: Call, fx: list[Effect]) -> None:
        """One message of `call` is done. A call that is over now ends, and so may its caller's."""
        conversation = call.conversation
        call.load -= 1
        conversation.load -= 1
        current: Call | None = call
        while current is not None and not current.ended and not current.load and not current.children:
            self._end(current, "unanswered", fx)
            if current.slot is not None:
                self._fill(current.slot, None, None, fx)
            elif current.parent is None:
                fx.append(Unanswered(conversation.port, conversation))
            current = current.parent
        if not conversation.load:
            self.registry.forget(conversation)
            fx.append(Over(conversation))

    def _limit(self, conversation: Conversation, fx: list[Effect]) -> None:
        if conversation.messages > self.limits.messages and conversation.load:
            text = f"the conversation took more than {self.limits.messages} messages"
            fx.extend(self.abort(conversation, SystemError("limit", text)))

    def _end(self, call: Call, how: str, fx: list[Effect]) -> None:
        for ended in self.registry.end(call):
            if ended.sessions:
                fx.extend(events.SessionEnded(session_id) for session_id in ended.sessions.values())
            if self.trace:
                fx.append(
                    events.ThreadEnded(
                        call.conversation.id,
                        ended.thread_id,
                        ended.listener,
                        how if ended is call else "pruned",
                    )
                )

    def _opened(self, call: Call, fx: list[Effect]) -> None:
        fx.append(
            events.ThreadOpened(
                call.conversation.id, call.thread_id, call.listener, call.caller_name, call.session_id
            )
        )

    def _delivered(self, call: Call, message: Message | Reply, to: str) -> events.MessageDelivered:
        return events.MessageDelivered(
            call.conversation.id, call.thread_id, message.message_id, message.from_id, to, message.payload
        )


def _check_response(response: object, listener: Listener) -> None:
    """Raises NonsenseReturned for what the contract does not know."""
    if isinstance(response, GatherResponse):
        if "Gathered" not in listener.accepts:
            raise NonsenseReturned("a gather, but its annotation does not accept Gathered")
        for each in response.responses:
            if not isinstance(each, HandlerResponse) or each.kind != SEND:
                raise NonsenseReturned(f"a gather of {each!r}; it takes calls, as HandlerResponse(payload, to=...)")
            _check_response(each, listener)
    elif not isinstance(response, HandlerResponse):
        raise NonsenseReturned(
            f"a {type(response).__name__}; a handler returns HandlerResponse, a list of them,"
            " HandlerResponse.gather(...), text with payloads, or None"
        )
    elif not is_payload(type(response.payload)):
        raise NonsenseReturned(f"a {type(response.payload).__name__} as payload; decorate its class with @xmlify")


def _unaccepted(target: Listener, codec: PayloadCodec[Any]) -> Huh:
    allowed = ", ".join(target.accepts)
    rule = Violation(codec.root, f"is not what '{target.name}' takes", None, allowed)
    first = next(iter(target.accepts.values()))
    return Huh.from_error(PayloadError(rule), codec.root, first.example)


def _complaint(error: PayloadError | EnvelopeError, codec: PayloadCodec[Any]) -> SystemError | Huh:
    if isinstance(error, PayloadError):
        return Huh.from_error(error, codec.root, codec.example)
    return SystemError("limit" if error.rule in ("size", "depth", "elements") else "validation", str(error))


def _dead(message: Message, reason: str) -> DeadLetter:
    call = message.call
    return DeadLetter(
        reason,
        call.conversation.id,
        call.thread_id,
        message.message_id,
        message.from_id,
        message.to.name,
        message.payload,
    )
