"""How threads end: what goes with them, what closes with them. The rules that a plain answer does not need.

Whatever ends a thread first ends what is below it, and buries what waits in it. A gather is closed by its last
answer, or by the end of a call that gave none.
"""

from __future__ import annotations

from typing import Any

from xml_pipeline.envelope import SYSTEM, Gathered, GatheredCodec, Heading, Message, SystemError, codec_for
from xml_pipeline.errors import EnvelopeError, PayloadError
from xml_pipeline.payload import PayloadCodec, codec_of
from xml_pipeline.pump.reasons import ENDED
from xml_pipeline.pump.response import HandlerResponse
from xml_pipeline.pump.terms import Terms
from xml_pipeline.threads.ids import DerivedIds
from xml_pipeline.threads.record import Accepted, DeadLetter, Ended, Event, Over, Slot
from xml_pipeline.threads.state import Conversation, State, Thread

ERROR = codec_of(SystemError)


class Endings(DerivedIds, kw_only=True):
    """What one step reads, and the events made so far; new ids follow from the seed."""

    terms: Terms
    state: State
    conversation: Conversation
    at: float
    events: list[Event]
    over: bool = False

    def record(self, event: Event) -> None:
        """Let `event` have happened."""
        raise NotImplementedError

    def open(self, thread: Thread) -> bool:
        """Whether a thread is open still: an earlier response of the same list may have ended it."""
        return thread.id in self.conversation.threads

    # --- threads ---

    def _settle(self, thread: Thread) -> None:
        """A thread with nothing in it and nothing below it is over, and so may its caller's be."""
        conversation = self.conversation
        while self.open(thread) and not thread.inbox and not thread.children:
            slot = thread.slot
            self.record(Ended(thread.id, thread.listener, "unanswered", thread.session_ids, slot))
            if not thread.parent:
                self._over()
                return
            thread = conversation.threads[thread.parent]
            if slot is not None:
                self._close_if_full(thread, slot[0])

    def _clear(self, thread: Thread) -> None:
        """A thread is about to end: end what is below it, callees first, and bury what waits in it."""
        conversation = self.conversation
        if thread.children:
            below = [thread]
            for each in below:  # grows while it is walked: a tree of any depth needs no recursion
                below += [conversation.threads[child] for child in each.children or ()]
            for each in reversed(below[1:]):
                self._bury_inbox(each)
                self.record(Ended(each.id, each.listener, "pruned", each.session_ids))
        self._bury_inbox(thread)

    def _bury_inbox(self, thread: Thread) -> None:
        for message in tuple(thread.inbox.values()):
            self.record(DeadLetter(message, ENDED, True))

    def _over(self) -> None:
        conversation = self.conversation
        self.over = True
        if conversation.lasting:
            self.record(Over(self._last_sessions(), conversation.session))
        else:
            self.record(Over(tuple(conversation.sessions.values())))

    def _last_sessions(self) -> tuple[str, ...]:
        """The listeners' sessions of a lasting one that ends with this conversation."""
        session = self.state.sessions[self.conversation.session]
        return tuple(session.sessions.values()) if session.ending and session.running == 1 else ()

    # --- gathers ---

    def _fill(self, thread: Thread, notice: Message, slot: Slot) -> None:
        self.record(Accepted(notice, fills=slot))
        self._close_if_full(thread, slot[0])

    def _close_if_full(self, thread: Thread, gather_id: str) -> None:
        assert thread.gathers is not None
        if not thread.gathers[gather_id].missing:
            self._close_gather(thread, gather_id)

    def _close_gather(self, thread: Thread, gather_id: str) -> None:
        """All is in: the answers together are one message."""
        assert thread.gathers is not None
        gather = thread.gathers[gather_id]
        answers = tuple(None if each is None else each.payload for each in gather.answers)
        codecs = tuple(None if each is None else codec_for(each.payload) for each in gather.answers)
        try:
            # The answer to a single call can be told by it, as any answer.
            of = ""
            if len(gather.answers) == 1:
                of = gather.first or (gather.answers[0].in_reply_to if gather.answers[0] else "")
            notice = self._notice(thread, GatheredCodec(codecs), Gathered(answers), gather.cause, of)
        except (PayloadError, EnvelopeError) as error:  # each answer fits, all together do not
            advice = "raise organism.limits.message_bytes, or gather less at once"
            failure = SystemError("limit", f"the answers together: {error}; {advice}")
            notice = self._notice(thread, ERROR, failure, gather.cause)
        self.record(Accepted(notice, closes=gather_id))

    # --- messages of the system ---

    def _notice(
        self, thread: Thread, codec: PayloadCodec[Any], payload: Any, cause: str = "", in_reply_to: str = ""
    ) -> Message:
        """A message of the system into a thread."""
        heading = self._heading(SYSTEM, thread.listener, thread.id, self.new_id(), cause, None, in_reply_to)
        limits = self.terms.gathered_limits if codec.cls is Gathered else self.terms.system_limits
        return Message.sealed(heading, payload, codec, codec, limits)

    def _heading(
        self,
        from_id: str,
        to: str,
        thread_id: str,
        message_id: str,
        cause: str,
        response: HandlerResponse | None,
        in_reply_to: str = "",
    ) -> Heading:
        repairs = () if response is None else response.repairs
        return Heading(
            from_id, to, thread_id, message_id, cause, in_reply_to, 1, repairs, self.conversation.id, self.at
        )
