"""Time limits of conversations and gathers: they count while somebody works below them, not while people think."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from functools import partial
from math import ceil

from xml_pipeline.journal import Uptime
from xml_pipeline.pump.deadlines import Deadlines
from xml_pipeline.pump.waits import Timed, Times, Waits
from xml_pipeline.threads import State
from xml_pipeline.threads.record import Event


class Guards:
    """Rings when a conversation or a gather takes too long.

    Args:
        state: of the conversations.
        longest: seconds for each conversation.
        deadlines: where those stand that are not the usual one.
        endless: called with a conversation that takes too long.
        expired: called with a gather that does.

    Attributes:
        due: conversations whose limit has counted from their beginning on, and when they take too long.
        bell: set for the first of them; None while there is none.
        watched: conversations that ask people, or gather with a time limit: their steps have to be followed.
    """

    def __init__(
        self,
        state: State,
        longest: float,
        deadlines: Deadlines,
        endless: Callable[[str], None],
        expired: Callable[[Timed], None],
    ) -> None:
        self.due: dict[str, float] = {}
        self.bell: asyncio.TimerHandle | None = None
        self.watched: dict[str, Waits] = {}
        self._state = state
        self._longest = longest
        self._deadlines = deadlines
        self._endless = endless
        self._expired = expired
        self._left: dict[str, float] = {}  # conversations and gathers whose limits rest, and their seconds
        self._loop: asyncio.AbstractEventLoop
        self._context: Context

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; time is that of `loop`."""
        self._loop, self._context = loop, copy_context()

    def close(self) -> None:
        """Ring no more."""
        if self.bell is not None:
            self.bell.cancel()

    def ring_at(self, due: float) -> None:
        """Look then which conversations take too long; to be called for the first one of `due`."""
        self.bell = self._loop.call_at(due, self._ring, context=self._context)

    def watch(self, conversation_id: str) -> None:
        """Follow the steps of a conversation from the one on that is carried out just now."""
        self.watched.setdefault(conversation_id, Waits())

    def follow(self, conversation_id: str, events: Sequence[Event]) -> None:
        """A step of a watched conversation was carried out: limits rest, or go on."""
        conversation, waits = self._state.conversations.get(conversation_id), self.watched[conversation_id]
        if conversation is None:
            return  # it is over, which is carried out next
        waits.follow(conversation, events)
        self._settle(waits)
        if conversation.due:
            self._go_on(conversation_id, self._endless)
        else:
            self._rest(conversation_id)

    def end(self, conversation_id: str) -> None:
        """A conversation is over."""
        self.due.pop(conversation_id, None)
        self._discard(conversation_id)
        waits = self.watched.pop(conversation_id, None)
        if waits is not None:
            for gather_id in (*waits.gathers, *waits.changed):
                self._discard(gather_id)

    def let_go(self, conversation_id: str) -> None:
        """A conversation of which all limits rest is not in memory any more, until `resume`."""
        del self.watched[conversation_id]

    def resume(self, conversation_id: str, times: Times, uptime: Uptime) -> None:
        """A conversation is back: what is left of its limits is what they did not count."""
        self.watched[conversation_id] = waits = times.waits
        left = self._left
        if conversation_id not in left:
            left[conversation_id] = _whole(self._longest - uptime.within(times.spans[""]))
        for gather_id, timed in waits.gathers.items():
            timed.begun = True
            if gather_id not in left:
                left[gather_id] = _whole(timed.seconds - uptime.within(times.spans[gather_id]))
            waits.changed[gather_id] = timed
        self.follow(conversation_id, ())

    def has(self, conversation_id: str) -> bool:
        """Whether a conversation has a limit still: it goes on, or its end is not carried out yet."""
        return (
            conversation_id in self.due
            or conversation_id in self._left
            or self._deadlines.has(conversation_id)
        )

    # --- one limit ---

    def _settle(self, waits: Waits) -> None:
        for gather_id, timed in waits.changed.items():
            if timed.over:
                self._discard(gather_id)
                continue
            if not timed.begun:
                timed.begun, self._left[gather_id] = True, timed.seconds
            if timed.below:
                self._go_on(gather_id, partial(self._gather_rings, timed))
            else:
                self._rest(gather_id)
        waits.changed.clear()

    def _gather_rings(self, timed: Timed, _: str) -> None:
        self._expired(timed)

    def _rest(self, limit: str) -> None:
        due = self.due.pop(limit, None)
        left = self._deadlines.left(limit) if due is None else due - self._loop.time()
        if left is not None:
            self._deadlines.discard(limit)
            self._left[limit] = _whole(left)

    def _go_on(self, limit: str, ring: Callable[[str], None]) -> None:
        left = self._left.pop(limit, None)
        if left is not None:
            self._deadlines.add(limit, left, ring)

    def _discard(self, limit: str) -> None:
        self._deadlines.discard(limit)
        self._left.pop(limit, None)

    def _ring(self) -> None:
        """One timer looks after all conversations: they may all take as long, so the oldest is the first."""
        self.bell, now = None, self._loop.time()
        for conversation_id, due in tuple(self.due.items()):
            if due > now:
                self.ring_at(due)
                break
            self._endless(conversation_id)


def _whole(seconds: float) -> float:
    """Whole seconds: deadlines are kept by their length, of which there shall be few."""
    return float(ceil(max(0.0, seconds)))
