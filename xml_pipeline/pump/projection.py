"""From events of record to what observers see. Built only while somebody observes; pure."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from xml_pipeline import events
from xml_pipeline.envelope import Message
from xml_pipeline.threads.record import (
    Accepted,
    Approved,
    Asked,
    Began,
    DeadLetter,
    Ended,
    Entry,
    Event,
    Handled,
    Over,
    Redelivered,
    Refused,
    Remembered,
    StateKept,
)

_PRUNED = "what had called it ended first, or waited for it no longer"
_BY_NAME = (
    "it named '{}', its caller, so this is the answer; to call that peer anew, put the call in a gather"
)


def observed(conversation_id: str, event: Event, seq: int) -> Iterator[events.Event]:
    """What observers are told of one event.

    Args:
        conversation_id: whose it is.
        event: of record.
        seq: its number in the conversation.
    """
    cid = conversation_id
    match event:
        case Began():
            yield events.ConversationStarted(cid, event.listener, seq=seq)
        case Accepted():
            yield from _accepted(cid, event, seq)
        case Handled(how="failed"):
            yield events.HandlerFailed(
                cid, event.thread_id, event.listener, event.code, event.detail, seq=seq
            )
        case Redelivered(detail=detail) if detail:
            again = f"{detail} (it is tried again in {event.seconds:g} s)"
            message = event.message
            yield events.HandlerFailed(cid, message.thread_id, message.to, "handler", again, seq=seq)
        case Handled(how="passed on"):
            yield events.AnswerPassedOn(cid, event.thread_id, event.listener, event.detail, seq=seq)
        case Refused():
            yield events.MessageRefused(
                cid, event.thread_id, event.listener, event.to, event.code, event.reason, seq=seq
            )
        case Ended():
            note = _PRUNED if event.how == "pruned" else ""
            yield from _ended(cid, event.thread_id, event.listener, event.how, event.sessions, seq, note)
        case DeadLetter():
            yield events.DeadLettered(cid, event.message_id, event.from_id, event.to, event.reason, seq=seq)
        case Asked(message=message):
            yield delivered(message)
            yield events.QuestionAsked(cid, message.thread_id, message.message_id, seq=seq)
        case Approved(message=message):
            yield events.CallApproved(cid, message.thread_id, message.message_id, event.by, seq=seq)
        case StateKept(state=Entry() as entry):
            digest = sha256(entry.data).hexdigest()
            yield events.StateChanged(cid, event.thread_id, entry.root, len(entry.data), digest, seq=seq)
        case Remembered(entry=entry):
            digest = sha256(entry.data).hexdigest()
            yield events.EntryRemembered(cid, event.memory, entry.root, len(entry.data), digest, seq=seq)
        case Over():
            for session_id in event.sessions:
                yield events.SessionEnded(session_id, seq=seq)
            yield events.ConversationEnded(cid, False, seq=seq)


def _accepted(cid: str, event: Accepted, seq: int) -> Iterator[events.Event]:
    message, opens = event.message, event.opens
    if message.repairs:
        sender = event.ends or (opens.parent if opens is not None else message.thread_id)
        yield events.PayloadRepaired(cid, sender, message.from_id, message.repairs, seq=seq)
    if opens is not None:
        yield events.ThreadOpened(cid, message.thread_id, message.to, opens.caller, opens.session_id, seq=seq)
    if event.leaves and not event.ends:
        for session_id in event.sessions:
            yield events.SessionEnded(session_id, seq=seq)
    if event.ends:
        how = "answered" if opens is None else "delegated"
        note = _BY_NAME.format(message.to) if event.by_name else ""
        yield from _ended(cid, event.ends, message.from_id, how, event.sessions, seq, note)
    if event.leaves:
        yield delivered(message)
        yield events.ConversationEnded(cid, True, seq=seq)


def delivered(message: Message) -> events.Event:
    """A message's handler is called."""
    return events.MessageDelivered(
        message.conversation_id, message.thread_id, message.message_id, message.from_id,
        message.to, message.payload, message.attempt,
    )  # fmt: skip


def asked_before(message: Message) -> events.Event:
    """A person was asked in an earlier life, and is asked still."""
    return events.QuestionAsked(message.conversation_id, message.thread_id, message.message_id, replayed=True)


def _ended(
    cid: str, thread_id: str, listener: str, how: str, sessions: tuple[str, ...], seq: int, note: str
) -> Iterator[events.Event]:
    for session_id in sessions:
        yield events.SessionEnded(session_id, seq=seq)
    yield events.ThreadEnded(cid, thread_id, listener, how, note, seq=seq)
