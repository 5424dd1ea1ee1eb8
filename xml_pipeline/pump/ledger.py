"""What is owed to whom: opening, answering, refusing and ending calls, as effects. State in, effects out.

Every message takes the one way of `transfer`: encoded, parsed, checked as an envelope, validated by the receiver's
schema, decoded. Only then is it accepted. What fails on the way is told to its sender while the sender's thread is
still open; what was accepted cannot fail that way any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from xml_pipeline import events
from xml_pipeline.envelope import SYSTEM, Gathered, GatheredCodec, Huh, SystemError, encode, unwrap
from xml_pipeline.errors import EnvelopeError, PayloadError, Violation
from xml_pipeline.hardened import Limits as WireLimits
from xml_pipeline.payload import PayloadCodec, codec_of
from xml_pipeline.pump.effects import Effect, Message, Over, Reply, Stopped, Unanswered, Withdrawn
from xml_pipeline.pump.listener import Listener
from xml_pipeline.threads import Call, Conversation, Gather, Registry
from xml_pipeline.threads.ids import IdSource
from xml_pipeline.threads.registry import Slot

ERROR = codec_of(SystemError)
HUH = codec_of(Huh)

_ERROR_BYTES = 65_536


class Ledger:
    """Open calls and what may be done with them.

    Attributes:
        registry: the tree of open calls.
        new_id: where ids come from.
        trace: whether every fact is reported as an event; without an observer nothing is built.
        report_ends: whether at least the ends of threads are, for those who keep something for each.
    """

    def __init__(self, table: Mapping[str, Listener], wire_limits: WireLimits, new_id: IdSource) -> None:
        self.registry = Registry(new_id)
        self.new_id = new_id
        self.trace = False
        self.report_ends = False
        self._table = table
        self._wire_limits = wire_limits
        # Errors arrive, however little a message may hold.
        self._system_limits = replace(
            wire_limits,
            max_bytes=max(wire_limits.max_bytes, _ERROR_BYTES),
            max_depth=max(wire_limits.max_depth, 16),
        )

    def fill(self, slot: Slot, answer: Any, codec: PayloadCodec[Any] | None, fx: list[Effect]) -> None:
        gather, position = slot
        if gather.closed:
            return
        gather.fill(position, answer, codec)
        if not gather.missing:
            self.deliver_gathered(gather, fx)

    def deliver_gathered(self, gather: Gather, fx: list[Effect]) -> None:
        gather.close()
        if not gather.call.ended:
            codec: PayloadCodec[Any] = GatheredCodec(gather.codecs)
            answers: Any = Gathered(tuple(gather.answers))
            try:
                self.notify(gather.call, codec, answers, fx, cause=gather.causation_id)
            except (PayloadError, EnvelopeError) as error:  # each answer fits, all together do not
                self.notify(
                    gather.call,
                    ERROR,
                    SystemError("limit", f"the answers together: {error}"),
                    fx,
                    cause=gather.causation_id,
                )

    def answer(
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
        receiver = None if parent is None else self._table[parent.listener]
        accepting = codec
        if receiver is not None and codec.cls is not Gathered:
            accepting = receiver.accepts.get(codec.root, codec)
        message_id = self.new_id()
        try:
            typed = self.transfer(
                codec, accepting, payload, call.listener, call.caller_name, parent or call, message_id, cause,
                call.opening_id, repairs,
            )  # fmt: skip
        except (PayloadError, EnvelopeError) as error:
            self.refuse(call, None, complaint(error, accepting), message_id, call.caller_name, fx)
            return
        self.end(call, "answered", fx)
        if slot is not None:
            self.fill(slot, typed, accepting, fx)
        elif receiver is None or parent is None:
            self.leave(conversation, accepting, typed, call.listener, message_id, fx)
        else:
            self.accept(
                Message(parent, receiver, accepting, typed, call.listener, message_id, call.opening_id), fx
            )

    def leave(
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
            fx.append(self.delivered(conversation.root, reply, conversation.port.name))

    def refuse(
        self,
        call: Call,
        slot: Slot | None,
        error: SystemError | Huh,
        message_id: str,
        to: str | None,
        fx: list[Effect],
    ) -> None:
        """Tell the sender that its message was not let through; its thread lives on."""
        codec = ERROR if isinstance(error, SystemError) else HUH
        if self.trace:
            code = error.code if isinstance(error, SystemError) else "huh"
            fx.append(
                events.MessageRefused(
                    call.conversation.id, call.thread_id, call.listener, to or "", code, error.message
                )
            )
        if slot is not None:
            self.fill(slot, error, codec, fx)
        else:
            self.notify(call, codec, error, fx, in_reply_to=message_id)

    def notify(
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
        message_id = self.new_id()
        typed = self.transfer(
            codec, codec, payload, SYSTEM, call.listener, call, message_id, cause, in_reply_to
        )
        self.accept(
            Message(call, self._table[call.listener], codec, typed, SYSTEM, message_id, in_reply_to), fx
        )

    def transfer(
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
        limits = self._wire_limits if codec is not ERROR and codec is not HUH else self._system_limits
        try:
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
            _, element = unwrap(data, limits)
            return accepting.decode(element, size=len(data))
        except (PayloadError, EnvelopeError):
            raise
        except Exception as error:  # a payload class's own code ran
            rule = f"the class's own code failed with {type(error).__name__}"
            raise PayloadError(Violation(codec.root, rule)) from error

    def accept(self, message: Message, fx: list[Effect]) -> None:
        call = message.call
        call.load += 1
        conversation = call.conversation
        conversation.load += 1
        conversation.messages += 1
        fx.append(message)

    def settle(self, call: Call, fx: list[Effect]) -> None:
        """One message of `call` is done. A call that is over now ends, and so may its caller's."""
        conversation = call.conversation
        call.load -= 1
        conversation.load -= 1
        current: Call | None = call
        while current is not None and not current.ended and not current.load and not current.children:
            self.end(current, "unanswered", fx)
            if current.slot is not None:
                self.fill(current.slot, None, None, fx)
            elif current.parent is None:
                fx.append(Unanswered(conversation.port, conversation))
            current = current.parent
        if not conversation.load:
            self.registry.forget(conversation)
            fx.append(Over(conversation))

    def end(self, call: Call, how: str, fx: list[Effect]) -> None:
        for ended in self.registry.end(call):
            if ended.run is not None:
                fx.append(Stopped(ended))
            if ended.question is not None:
                fx.append(Withdrawn(ended.question))
            if ended.sessions:
                fx.extend(events.SessionEnded(session_id) for session_id in ended.sessions.values())
            if self.trace or self.report_ends:
                fx.append(
                    events.ThreadEnded(
                        call.conversation.id,
                        ended.thread_id,
                        ended.listener,
                        how if ended is call else "pruned",
                    )
                )

    def opened(self, call: Call, fx: list[Effect]) -> None:
        fx.append(
            events.ThreadOpened(
                call.conversation.id, call.thread_id, call.listener, call.caller_name, call.session_id
            )
        )

    def delivered(self, call: Call, message: Message | Reply, to: str) -> events.MessageDelivered:
        return events.MessageDelivered(
            call.conversation.id, call.thread_id, message.message_id, message.from_id, to, message.payload
        )


def complaint(error: PayloadError | EnvelopeError, codec: PayloadCodec[Any]) -> SystemError | Huh:
    """What the sender of an invalid payload, or of too large a message, is told."""
    if isinstance(error, PayloadError):
        return Huh.from_error(error, codec.root, codec.example)
    return SystemError("limit" if error.rule in ("size", "depth", "elements") else "validation", str(error))
