"""Requests with a key: asked again, they join what runs, or get the answer that was given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b

from xml_pipeline.attribution import Caller
from xml_pipeline.envelope import Heading, Message
from xml_pipeline.errors import JournalError, KeyConflict, OrganismClosed
from xml_pipeline.journal import Step
from xml_pipeline.payload import codec_of
from xml_pipeline.pump.facts import Injected
from xml_pipeline.threads.record import Accepted, Over, ends_conversation

Answer = asyncio.Future[Message | None]


class Keys:
    """What each key of this life stands for, until its conversation is over.

    Args:
        steps: what a journal holds of a conversation.
        read: gives an answer that was written down its payload again.
        asks: who waits for the answer of each conversation.
        disappoint: raises an error for all of them.
        goes_on: whether a conversation is at work, or its end is on its way to the journal.

    Attributes:
        entering: conversations that are named, and wait for room.
    """

    def __init__(
        self,
        steps: Callable[[str], list[Step]],
        read: Callable[[Message], Message],
        asks: dict[str, list[Answer]],
        disappoint: Callable[[str, Exception], None],
        goes_on: Callable[[str], bool],
    ) -> None:
        self._steps = steps
        self._read = read
        self._asks = asks
        self._disappoint = disappoint
        self._goes_on = goes_on
        self._requests: dict[str, tuple[str, str]] = {}
        self.entering: set[str] = set()

    def join(self, fact: Injected, answer: Answer | None) -> bool:
        """Whether there is, or was, a conversation of the fact's id; then `answer` gets its answer.

        Raises:
            KeyConflict: it began with another request.
            JournalError: it cannot be read, or was erased.
        """
        steps: list[Step] = []
        begun = self._requests.get(fact.conversation_id)
        if begun is None:
            steps = self._steps(fact.conversation_id)
            if not steps:
                return False
            opening = next(event.message for event in steps[0].events if type(event) is Accepted)
            if not opening.data:
                raise JournalError("this key was given to a request that was erased; ask with another one")
            begun = opening.to, opening.content
        if begun != _request(fact):
            raise KeyConflict(
                "this key was given to another request before; a key names one request for ever"
            )
        if answer is not None:
            if steps:
                self._answer(fact.conversation_id, steps, answer)
            else:
                self._asks.setdefault(fact.conversation_id, []).append(answer)
        return True

    def known(self, conversation_id: str) -> bool:
        """Whether there is, or was, a conversation of this id. Raises JournalError."""
        return conversation_id in self._requests or bool(self._steps(conversation_id))

    def wait(self, conversation_id: str, answer: Answer) -> None:
        """Let `answer` get the answer of any conversation, with a key or without one.

        Raises:
            JournalError: there is none of this id, its answer was erased, or it cannot be read.
        """
        steps = self._steps(conversation_id)
        if not steps and not self._goes_on(conversation_id):
            raise JournalError(f"there is no conversation {conversation_id} in the journal")
        self._answer(conversation_id, steps, answer)

    def _answer(self, conversation_id: str, steps: list[Step], answer: Answer) -> None:
        events = steps[-1].events if steps else ()
        end = next((event for event in events if ends_conversation(event)), None)
        if type(end) is Accepted:
            if not end.message.data:
                raise JournalError(f"the answer of conversation {conversation_id} was erased")
            answer.set_result(self._read(end.message))
        elif type(end) is Over:
            answer.set_result(None)
        elif self._goes_on(conversation_id):
            self._asks.setdefault(conversation_id, []).append(answer)
        else:
            raise JournalError(
                f"conversation {conversation_id} neither goes on nor is over: the journal is damaged"
            )

    @contextmanager
    def begin(self, fact: Injected) -> Iterator[None]:
        """While a request is let in, and from then on, others of the same key join it."""
        self._requests[fact.conversation_id] = _request(fact)
        self.entering.add(fact.conversation_id)
        try:
            yield
        except BaseException as error:
            self.end(fact.conversation_id)
            told = (
                error
                if isinstance(error, Exception)
                else OrganismClosed("whoever asked first gave up; ask again")
            )
            self._disappoint(fact.conversation_id, told)
            raise
        finally:
            self.entering.discard(fact.conversation_id)

    def end(self, conversation_id: str) -> None:
        """A conversation is over, or was not let in."""
        self._requests.pop(conversation_id, None)

    def __len__(self) -> int:
        return len(self._requests)


def key_inside(caller: Caller, to: str, payload: object) -> str:
    """The key of a request that a handler makes, the same whenever its message is handled again after a crash.

    A handler that raised and is tried again asks anew, as it asks models anew.

    Raises:
        PayloadTypeError, PayloadError: what is asked is no valid payload.
    """
    document = codec_of(type(payload)).encode(payload)
    request = blake2b(f"{to}\n".encode() + document, digest_size=16).digest()
    return f"inside/{caller.message_id}/{caller.run}/{request.hex()}/{caller.nth(request)}"


def _request(fact: Injected) -> tuple[str, str]:
    """What a key stands for: the receiver, and the payload's document."""
    heading = Heading(fact.caller, fact.to, fact.conversation_id, fact.conversation_id)
    return fact.to, Message.sealed(heading, fact.payload, codec_of(type(fact.payload))).content
