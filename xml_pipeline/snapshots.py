"""An organism at one moment, for consoles and monitors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xml_pipeline.pump import Pump


@dataclass(frozen=True, slots=True)
class Status:
    """An organism at one moment.

    Attributes:
        in_flight: messages accepted and not handled yet.
        running: handlers at work.
        conversations: open ones, those of an earlier life that are not back yet among them.
        threads: open ones.
        handled: messages handled since the start.
        dead_letters: kept ones.
        waiting_for_people: messages that a person has to answer.
    """

    in_flight: int
    running: int
    conversations: int
    threads: int
    handled: int
    dead_letters: int
    waiting_for_people: int


@dataclass(frozen=True, slots=True)
class ThreadInfo:
    """An open thread, for consoles.

    Attributes:
        depth: 1 for a call from outside, 2 for a call below it, …
        waiting: messages of it that are queued or being handled.
        parent_id: the calling thread; "" for a call from outside.
        phase: `working` (a message is queued or handled), `asking` (a person), `waiting` (for calls below it).
    """

    thread_id: str
    listener: str
    caller: str
    conversation_id: str
    session_id: str
    depth: int
    waiting: int
    parent_id: str = ""
    phase: str = "working"


@dataclass(frozen=True, slots=True)
class Question:
    """A message that waits for a person: answer it with `organism.answer(thread_id, payload)`.

    Attributes:
        thread_id: of the message.
        listener: the person; or, of what is to be approved, the listener that would handle it.
        conversation_id: of the message.
        payload: what is asked, or is to be done.
        approver: who approves it, with an `Approval`; "" where the person answers.
    """

    thread_id: str
    listener: str
    conversation_id: str
    payload: Any
    approver: str = ""


def questions_of(pump: Pump) -> list[Question]:
    """The messages that wait for people, oldest first. Raises JournalError."""
    table = pump.listeners
    return [
        Question(
            each.thread_id,
            each.listener,
            each.conversation_id,
            each.payload,
            table[each.listener].approve if each.listener in table else "",
        )
        for each in pump.asked()
    ]


def threads_of(pump: Pump) -> list[ThreadInfo]:
    """The open threads that are in memory, callers before callees."""
    return [
        ThreadInfo(
            thread.id,
            thread.listener,
            thread.caller,
            conversation.id,
            thread.session_id,
            thread.depth,
            len(thread.inbox),
            thread.parent,
            thread.phase,
        )
        for conversation in pump.state.conversations.values()
        for thread in sorted(conversation.threads.values(), key=lambda thread: thread.depth)
    ]


def status_of(pump: Pump) -> Status:
    """In numbers."""
    conversations = pump.state.conversations
    return Status(
        in_flight=pump.admission.in_flight,
        running=pump.scheduler.running,
        conversations=len(conversations) + (0 if pump.sleepers is None else pump.sleepers.asleep),
        threads=sum(len(each.threads) for each in conversations.values()),
        handled=pump.handled,
        dead_letters=len(pump.dead_letters),
        waiting_for_people=len(pump.questions),
    )
