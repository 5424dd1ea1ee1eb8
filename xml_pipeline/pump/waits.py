"""Which time limits of a conversation rest, because all that is left below them waits for people. Pure.

The limit of a whole conversation rests while nothing in it is queued or handled (`Conversation.due`). That of a
gather rests while no thread below its calls has anything to do, whatever others do meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field

from xml_pipeline.threads import Conversation, Thread
from xml_pipeline.threads.record import (
    Accepted,
    Asked,
    DeadLetter,
    Ended,
    Event,
    Gathering,
    Handled,
    Redelivered,
)

_TURNS = (
    Accepted,
    Asked,
    DeadLetter,
    Redelivered,
)  # of which the message's thread may begin or end to be at work


class Timed(Struct, eq=False):
    """A gather with a time limit.

    Attributes:
        conversation_id: whose.
        thread_id: the thread that waits.
        gather_id: names it.
        seconds: its limit.
        below: how many threads below it have something to do.
        over: whether it was closed, or its thread has ended.
        begun: whether its limit counts, or rests, already.
    """

    conversation_id: str
    thread_id: str
    gather_id: str
    seconds: float
    below: int = 0
    over: bool = False
    begun: bool = False


class Waits(Struct):
    """The gathers of a conversation that have a time limit, and who is at work below them.

    Attributes:
        gathers: by id.
        changed: those that began, rest, go on or are over since somebody looked.
    """

    gathers: dict[str, Timed] = field(default_factory=dict)
    changed: dict[str, Timed] = field(default_factory=dict)
    _of: dict[str, list[str]] = field(default_factory=dict)  # gathers by thread
    _busy: dict[str, tuple[str, ...]] = field(default_factory=dict)  # threads, and the gathers above each

    def follow(self, conversation: Conversation, events: Sequence[Event]) -> None:
        """Take note of what happened; the conversation is as it was after that, or later."""
        event: Any
        for event in events:
            kind = type(event)
            if kind is Gathering and event.seconds is not None:
                timed = Timed(conversation.id, event.thread_id, event.gather_id, event.seconds)
                self.gathers[event.gather_id] = self.changed[event.gather_id] = timed
                self._of.setdefault(event.thread_id, []).append(event.gather_id)
            elif not self.gathers:
                continue
            elif kind is Ended:
                self._end(event.thread_id)
            elif kind is Handled:
                self._look(conversation, event.thread_id)
            elif kind in _TURNS:
                if kind is Accepted:
                    if event.ends:
                        self._end(event.ends)
                    if event.closes:
                        self._close(event.closes)
                self._look(conversation, event.message.thread_id)

    def _look(self, conversation: Conversation, thread_id: str) -> None:
        """Count a thread in, or out, as it has something to do or not."""
        thread = conversation.threads.get(thread_id)
        if thread is None or len(thread.inbox) <= bool(thread.asked):
            self._rest(thread_id)
        elif thread_id not in self._busy:
            above = self._busy[thread_id] = self._above(conversation, thread)
            for gather_id in above:
                timed = self.gathers[gather_id]
                timed.below += 1
                if timed.below == 1:
                    self.changed[gather_id] = timed

    def _above(self, conversation: Conversation, thread: Thread | None) -> tuple[str, ...]:
        found = []
        while thread is not None:
            if thread.slot is not None and thread.slot[0] in self.gathers:
                found.append(thread.slot[0])
            thread = conversation.threads.get(thread.parent)
        return tuple(found)

    def _rest(self, thread_id: str) -> None:
        for gather_id in self._busy.pop(thread_id, ()):
            timed = self.gathers.get(gather_id)
            if timed is not None:
                timed.below -= 1
                if not timed.below:
                    self.changed[gather_id] = timed

    def _end(self, thread_id: str) -> None:
        self._rest(thread_id)
        for gather_id in tuple(self._of.get(thread_id, ())):
            self._close(gather_id)

    def _close(self, gather_id: str) -> None:
        timed = self.gathers.pop(gather_id, None)
        if timed is not None:
            timed.over = True
            self.changed[gather_id] = timed
            of = self._of[timed.thread_id]
            of.remove(gather_id)
            if not of:
                del self._of[timed.thread_id]
        if not self.gathers:
            self._busy.clear()


class Times(Struct):
    """When the time limits of a conversation counted, as its steps tell.

    Attributes:
        waits: as of the last step.
        spans: from when to when (None: to the end) a limit counted, in seconds of Unix time: of each open gather by
            its id, of the whole conversation under "".
    """

    waits: Waits = field(default_factory=Waits)
    spans: dict[str, list[tuple[float, float | None]]] = field(default_factory=dict)

    def follow(self, conversation: Conversation, events: Sequence[Event], at: float) -> None:
        """Take note of a step that was applied."""
        self._count("", at, counts=conversation.due > 0)
        waits = self.waits
        waits.follow(conversation, events)
        for gather_id, timed in waits.changed.items():
            if timed.over:
                self.spans.pop(gather_id, None)
            else:
                self._count(gather_id, at, counts=timed.below > 0)
        waits.changed.clear()

    def _count(self, limit: str, at: float, *, counts: bool) -> None:
        spans = self.spans.setdefault(limit, [])
        open_ = bool(spans) and spans[-1][1] is None
        if counts and not open_:
            spans.append((at, None))
        elif open_ and not counts:
            spans[-1] = (spans[-1][0], at)
