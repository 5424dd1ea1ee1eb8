"""Lasting sessions of outside callers: their names, how long they rest, and how they end.

A session that was closed while conversations of it run ends with the last of them; whoever opens one of its name
meanwhile gets another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil

from xml_pipeline.pump.deadlines import Deadlines
from xml_pipeline.threads import State
from xml_pipeline.threads.record import Closed, Resting
from xml_pipeline.threads.state import is_named

_AGAIN = "\n"  # before a number, in the id of a session that was opened again; no name holds it


class Sessions:
    """The lasting sessions of an organism.

    Args:
        state: what is known of them.
        deadlines: when they have rested long enough.
        clock: Unix time in seconds.
        record: lets an event of a session have happened, and writes it down.
        gone: told the ids under which listeners knew a session that is gone.
    """

    def __init__(
        self,
        state: State,
        deadlines: Deadlines,
        clock: Callable[[], float],
        record: Callable[[str, Closed | Resting], None],
        gone: Callable[[Iterable[str]], None],
    ) -> None:
        self._sessions = state.sessions
        self._deadlines = deadlines
        self._clock = clock
        self._record = record
        self._gone = gone
        self._renamed: dict[str, str] = {}  # names of those that were closed while they ran
        self._again = 0

    def resume(self) -> None:
        """Go on with those of earlier lives; those whose time is up end now."""
        for session_id in self._sessions:  # of several of a name the newest is meant
            name, again, number = session_id.partition(_AGAIN)
            if again:
                self._again = max(self._again, int(number))
                if int(number) > int(self.id_of(name).partition(_AGAIN)[2] or 0):
                    self._renamed[name] = session_id
        now = self._clock()
        for session_id, session in tuple(self._sessions.items()):
            if session.ending:
                if is_named(session_id) and self.id_of(_name(session_id)) == session_id:
                    self._rename(_name(session_id))
            elif session.seconds is not None and not session.running:
                if session.until is None:  # the process died before it was written down
                    self.rest(session_id)
                elif session.until <= now:
                    self.end(session_id)
                else:
                    left = ceil(session.until - now)  # whole seconds: deadlines are kept by their length
                    self._deadlines.add(session_id, float(left), self.end)

    def id_of(self, name: str) -> str:
        """The id of the session of this name; another than before while one that was closed still runs."""
        return self._renamed.get(name, name)

    def keep(self, session_id: str, seconds: float) -> None:
        """After its last conversation it may rest for so long, then it ends."""
        session = self._sessions.get(session_id)
        if session is None or session.ending or session.seconds == seconds:
            return
        self._record(session_id, Resting(seconds, None))
        if not session.running:
            self.rest(session_id)

    def use(self, session_id: str) -> None:
        """A conversation of it has begun."""
        session = self._sessions[session_id]
        if session.until is not None and session.seconds is not None:
            self._deadlines.discard(session_id)
            self._record(session_id, Resting(session.seconds, None))

    def rest(self, session_id: str) -> None:
        """A conversation of it is over: if it was the last one, its time begins."""
        session = self._sessions.get(session_id)
        if session is not None and not session.running and session.seconds is not None:
            self._record(session_id, Resting(session.seconds, self._clock() + session.seconds))
            self._deadlines.add(session_id, session.seconds, self.end)

    def end(self, session_id: str) -> None:
        """Forget it: at once, or with the last of its conversations."""
        self._deadlines.discard(session_id)
        session, name = self._sessions.get(session_id), _name(session_id)
        if self.id_of(name) == session_id:
            self._renamed.pop(name, None)
            if session is not None and session.running:
                self._rename(name)
        if session is not None and not session.ending:
            ended = () if session.running else tuple(session.sessions.values())
            self._record(session_id, Closed())
            self._gone(ended)

    def _rename(self, name: str) -> None:
        self._again += 1
        self._renamed[name] = f"{name}{_AGAIN}{self._again}"


def _name(session_id: str) -> str:
    return session_id.partition(_AGAIN)[0]
