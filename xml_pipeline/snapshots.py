"""An organism at one moment, for consoles and monitors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
    """A message that waits for a person: answer it with `organism.answer(thread_id, payload)`."""

    thread_id: str
    listener: str
    conversation_id: str
    payload: Any
