"""The rules: what follows from a handler's return, an injection, a timeout. State in, effects out, no I/O.

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
    Huh,
    SystemError,
    extract_payloads,
)
from xml_pipeline.errors import EnvelopeError, PayloadError, Violation
from xml_pipeline.hardened import DEFAULT_LIMITS
from xml_pipeline.hardened import Limits as WireLimits
from xml_pipeline.payload import PayloadCodec, codec_of, is_payload
from xml_pipeline.pump.addressing import NOT_DELIVERABLE, Addressing
from xml_pipeline.pump.effects import (
    DeadLetter,
    Effect,
    GatherTimer,
    Message,
    Unanswered,
)
from xml_pipeline.pump.ledger import ERROR, Ledger, complaint
from xml_pipeline.pump.listener import Listener
from xml_pipeline.pump.response import (
    DELEGATE,
    RESPOND,
    SEND,
    GatherResponse,
    HandlerMetadata,
    HandlerResponse,
)
from xml_pipeline.threads import Call, Conversation, Gather, Port
from xml_pipeline.threads.ids import IdSource, uuid_source
from xml_pipeline.threads.registry import Slot


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
    """All state of a running organism except time and tasks."""

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
        self.ledger = Ledger(table, wire_limits, new_id or uuid_source())
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
        conversation = self.ledger.registry.start(port)
        fx: list[Effect] = []
        try:
            message_id = self.ledger.new_id()
            call = self.ledger.registry.new_call(
                to, conversation, None, opened_by=port.name, opening_id=message_id
            )
            typed = self.ledger.transfer(codec, accepting, payload, port.name, to, call, message_id)
        except BaseException:
            self.ledger.registry.forget(conversation)
            raise
        self.ledger.registry.attach(call)
        if self.ledger.trace:
            fx.append(events.ConversationStarted(conversation.id, to))
            self.ledger.opened(call, fx)
        self.ledger.accept(Message(call, target, accepting, typed, port.name, message_id), fx)
        return conversation, fx

    def begin(self, message: Message) -> tuple[HandlerMetadata | None, list[Effect]]:
        """A message's turn has come: the metadata for its handler, or None when no handler is to be called."""
        call = message.call
        target = message.to
        if call.ended:
            fx: list[Effect] = [DeadLetter.of(message, "its thread has ended")]
            self.ledger.settle(call, fx)
            return None, fx
        if message.codec.root not in target.accepts:
            fx = []
            if self.ledger.trace:
                fx.append(
                    events.AnswerPassedOn(
                        call.conversation.id, call.thread_id, target.name, message.codec.root
                    )
                )
            self.ledger.answer(call, message.codec, message.payload, message.message_id, fx)
            self.ledger.settle(call, fx)
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
        if self.ledger.trace:
            return metadata, [self.ledger.delivered(message.call, message, target.name)]
        return metadata, []

    def finish(self, message: Message, returned: Any) -> list[Effect]:
        """A handler returned; NonsenseReturned (nothing was sent then) when it was none of the contract's."""
        fx: list[Effect] = []
        call = message.call
        if returned is not None:
            if call.ended:
                fx.append(DeadLetter.of(message, "its thread had ended when the handler returned"))
            else:
                self._route(message, returned, fx)
        self.ledger.settle(call, fx)
        self._limit(call.conversation, fx)
        return fx

    def fail(self, message: Message, code: Any, text: str) -> list[Effect]:
        """A handler crashed, timed out, or returned nonsense: its caller is told."""
        fx: list[Effect] = []
        call = message.call
        if call.ended:
            fx.append(DeadLetter.of(message, f"its thread had ended when its handler failed ({code})"))
        else:
            self.ledger.answer(call, ERROR, SystemError(code, text), message.message_id, fx)
        self.ledger.settle(call, fx)
        return fx

    def expire(self, gather: Gather) -> list[Effect]:
        """A gather's time is up: what is still open is given up, the rest is delivered."""
        fx: list[Effect] = []
        if not gather.closed and not gather.call.ended:
            late = SystemError("timeout", "no answer in time")
            for position, call in enumerate(tuple(gather.calls)):
                if call is not None:
                    self.ledger.end(call, "pruned", fx)
                    self.ledger.fill((gather, position), late, ERROR, fx)
        return fx

    def abort(self, conversation: Conversation, error: SystemError | None) -> list[Effect]:
        """End a whole conversation; the outside gets `error`, or nothing."""
        fx: list[Effect] = []
        root = conversation.root
        if root is not None and not root.ended:
            self.ledger.end(root, "pruned", fx)
            if error is None:
                fx.append(Unanswered(conversation.port, conversation))
            else:
                message_id = self.ledger.new_id()
                typed = self.ledger.transfer(
                    ERROR, ERROR, error, SYSTEM, conversation.port.name, root, message_id
                )
                self.ledger.leave(conversation, ERROR, typed, SYSTEM, message_id, fx)
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
                if self._is_runaway(message.call.conversation):
                    break  # however long the list is: the conversation is ended

    def _send(
        self,
        message: Message,
        response: HandlerResponse,
        fx: list[Effect],
        slot: Slot | None = None,
    ) -> None:
        call = message.call
        payload = response.payload
        repairs = response.repairs
        codec = codec_of(type(payload))
        if call.ended:
            fx.append(
                DeadLetter(
                    "its thread had ended before it was sent",
                    call.conversation.id, call.thread_id, response.take_id(), call.listener,
                    response.to or "", payload,
                )
            )  # fmt: skip
            return
        if repairs and self.ledger.trace:
            fx.append(events.PayloadRepaired(call.conversation.id, call.thread_id, call.listener, repairs))
        to = response.to
        if response.kind == RESPOND or (
            slot is None and response.kind != DELEGATE and self._is_caller(call, to)
        ):
            self.ledger.answer(call, codec, payload, message.message_id, fx, repairs)
        elif to == call.listener and response.kind != DELEGATE and slot is None:
            self._call_self(message, codec, response, fx)
        elif to is None:
            receivers = self.addressing.unaddressed(message.to, codec.root)
            if not receivers or (slot is not None and len(receivers) > 1):
                self.ledger.refuse(
                    call, slot, SystemError("routing", NOT_DELIVERABLE), response.take_id(), to, fx
                )
            for receiver in receivers:
                own_id = response.take_id() if len(receivers) == 1 else self.ledger.new_id()
                self._call(message, codec, payload, receiver.name, own_id, fx, slot, repairs)
        else:
            delegated = response.kind == DELEGATE
            self._call(
                message, codec, payload, to, response.take_id(), fx, slot, repairs, delegated=delegated
            )

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
            named = found.to not in ("", call.caller_name, call.opened_by)
            answers = not named and found.codec.root not in calls
            response = HandlerResponse(
                found.payload,
                found.to if named else None,
                kind=RESPOND if answers else SEND,
                repairs=found.repairs,
            )
            self._send(message, response, fx)
        for name, error in extraction.errors:
            example = next((codec.example for codec in codecs if codec.root == name), "")
            self.ledger.refuse(call, None, Huh.from_error(error, f"<{name}>", example), "", None, fx)
        if not extraction.found and not extraction.errors:
            allowed = ", ".join(f"<{codec.root}>" for codec in codecs) or "none"
            rule = Violation("text", "holds no payload element", None, allowed)
            self.ledger.refuse(call, None, Huh.from_error(PayloadError(rule), "the text"), "", None, fx)

    def _call_self(
        self, message: Message, codec: PayloadCodec[Any], response: HandlerResponse, fx: list[Effect]
    ) -> None:
        call, own = message.call, message.to
        message_id = response.take_id()
        accepting = own.accepts.get(codec.root)
        if accepting is None:
            self.ledger.refuse(call, None, _unaccepted(own, codec), message_id, own.name, fx)
            return
        try:
            typed = self.ledger.transfer(
                codec,
                accepting,
                response.payload,
                own.name,
                own.name,
                call,
                message_id,
                message.message_id,
            )
        except (PayloadError, EnvelopeError) as error:
            self.ledger.refuse(call, None, complaint(error, accepting), message_id, own.name, fx)
            return
        self.ledger.accept(Message(call, own, accepting, typed, own.name, message_id), fx)

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
        if target is None or (target is not message.to and to not in message.to.peers):
            self.ledger.refuse(caller, slot, SystemError("routing", NOT_DELIVERABLE), message_id, to, fx)
            return
        accepting = target.accepts.get(codec.root)
        if accepting is None:
            self.ledger.refuse(caller, slot, _unaccepted(target, codec), message_id, to, fx)
            return
        if caller.depth >= self.limits.depth and not delegated:
            error = SystemError("limit", f"calls are nested deeper than {self.limits.depth}")
            self.ledger.refuse(caller, slot, error, message_id, to, fx)
            return
        child = self.ledger.registry.new_call(
            to,
            caller.conversation,
            caller.parent if delegated else caller,
            opened_by=caller.listener,
            opening_id=caller.opening_id if delegated else message_id,
            slot=caller.slot if delegated else slot,
        )
        try:
            typed = self.ledger.transfer(
                codec,
                accepting,
                payload,
                caller.listener,
                to,
                child,
                message_id,
                message.message_id,
                "",
                repairs,
            )
        except (PayloadError, EnvelopeError) as error:
            self.ledger.refuse(caller, slot, complaint(error, accepting), message_id, to, fx)
            return
        self.ledger.registry.attach(child)
        if self.ledger.trace:
            self.ledger.opened(child, fx)
        if delegated:
            self.ledger.end(caller, "delegated", fx)
        self.ledger.accept(Message(child, target, accepting, typed, caller.listener, message_id), fx)

    def _gather(self, message: Message, response: GatherResponse, fx: list[Effect]) -> None:
        call = message.call
        gather = Gather(call, len(response.responses), message.message_id)
        for position, each in enumerate(response.responses):
            self._send(message, each, fx, (gather, position))
            if self._is_runaway(call.conversation):
                return
        if not response.responses:
            self.ledger.deliver_gathered(gather, fx)
        elif not gather.closed and response.timeout is not None and not call.ended:
            call.gathers = [*(each for each in call.gathers or () if not each.closed), gather]
            fx.append(GatherTimer(gather, response.timeout))

    def _is_runaway(self, conversation: Conversation) -> bool:
        return conversation.messages > self.limits.messages

    def _limit(self, conversation: Conversation, fx: list[Effect]) -> None:
        if self._is_runaway(conversation) and conversation.load:
            text = f"the conversation took more than {self.limits.messages} messages"
            fx.extend(self.abort(conversation, SystemError("limit", text)))


def _check_response(response: object, listener: Listener) -> None:
    """Raises NonsenseReturned for what the contract does not know."""
    if isinstance(response, GatherResponse):
        if "Gathered" not in listener.accepts:
            raise NonsenseReturned("a gather, but its annotation does not accept Gathered")
        seconds = response.timeout
        if seconds is not None and not (isinstance(seconds, int | float) and seconds >= 0):
            raise NonsenseReturned(f"a gather with the timeout {seconds!r}; it takes seconds, 0 or more")
        if not isinstance(response.responses, tuple | list):
            raise NonsenseReturned(f"a gather of {response.responses!r}; it takes a list of calls")
        for each in response.responses:
            if not isinstance(each, HandlerResponse) or each.kind != SEND:
                raise NonsenseReturned(
                    f"a gather of {each!r}; it takes calls, as HandlerResponse(payload, to=...)"
                )
            _check_response(each, listener)
    elif not isinstance(response, HandlerResponse):
        raise NonsenseReturned(
            f"a {type(response).__name__}; a handler returns HandlerResponse, a list of them,"
            " HandlerResponse.gather(...), text with payloads, or None"
        )
    elif isinstance(response.payload, type):
        raise NonsenseReturned(
            f"the class {response.payload.__name__} as payload; return an instance, {response.payload.__name__}(...)"
        )
    elif not is_payload(type(response.payload)):
        raise NonsenseReturned(
            f"a {type(response.payload).__name__} as payload; decorate its class with @xmlify"
        )
    elif not isinstance(response.to, str) and (response.to is not None or response.kind == DELEGATE):
        raise NonsenseReturned(f"a response to {response.to!r}; the name of a listener is a text")


def _unaccepted(target: Listener, codec: PayloadCodec[Any]) -> Huh:
    allowed = ", ".join(target.accepts)
    rule = Violation(codec.root, f"is not what '{target.name}' takes", None, allowed)
    first = next(iter(target.accepts.values()))
    return Huh.from_error(PayloadError(rule), codec.root, first.example)
