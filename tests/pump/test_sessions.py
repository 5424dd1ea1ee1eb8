"""Lasting sessions: their names, when they rest, and how they end. What they do in an organism: `test_memory`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from tests.pump.scenes import virtual
from xml_pipeline.pump.deadlines import Deadlines
from xml_pipeline.pump.sessions import Sessions
from xml_pipeline.threads import OutsideSession, State
from xml_pipeline.threads.record import Closed, Resting


class Table:
    """Sessions of a state, with what they record and whom they tell."""

    def __init__(self, **sessions: OutsideSession) -> None:
        self.state = State(sessions={f"s/{name}": session for name, session in sessions.items()})
        self.written: list[tuple[str, Closed | Resting]] = []
        self.gone: list[str] = []
        deadlines = Deadlines()
        deadlines.start(asyncio.get_running_loop())
        self.of = Sessions(self.state, deadlines, asyncio.get_running_loop().time, self._record, self._gone)

    def _record(self, session_id: str, event: Closed | Resting) -> None:
        self.written.append((session_id, event))
        self.state.apply(session_id, event)

    def _gone(self, sessions: Iterable[str]) -> None:
        self.gone += sessions


@virtual
async def test_it_is_written_down_once_how_long_a_session_may_rest() -> None:
    now = asyncio.get_running_loop().time()
    table = Table(a=OutsideSession(running=1))
    table.of.keep("s/a", 10)
    table.of.keep("s/a", 10)
    table.state.sessions["s/a"].running = 0
    table.of.rest("s/a")
    table.state.sessions["s/a"].running = 1
    table.of.use("s/a")
    table.of.use("s/a")
    assert table.written == [("s/a", Resting(10)), ("s/a", Resting(10, now + 10)), ("s/a", Resting(10))]


@virtual
async def test_one_that_rests_for_ever_writes_nothing() -> None:
    table = Table(a=OutsideSession())
    table.of.use("s/a")
    table.of.rest("s/a")
    table.of.rest("s/unknown")
    table.of.keep("s/unknown", 5)
    table.of.end("s/unknown")
    assert not table.written


@virtual
async def test_listeners_sessions_are_told_when_it_is_gone_and_not_before() -> None:
    table = Table(a=OutsideSession({"greeter": "g1"}), b=OutsideSession({"greeter": "g2"}, running=1))
    table.of.end("s/a")
    table.of.end("s/b")
    table.of.end("s/b")
    assert table.gone == ["g1"]
    assert table.written == [("s/a", Closed()), ("s/b", Closed())]
    assert list(table.state.sessions) == ["s/b"]


@virtual
async def test_a_life_goes_on_with_the_names_and_times_of_the_one_before() -> None:
    now = asyncio.get_running_loop().time()
    table = Table(
        late=OutsideSession(seconds=5, until=now - 1),
        rests=OutsideSession(seconds=50, until=now + 20),
        died=OutsideSession(seconds=50),
        used=OutsideSession(seconds=5, until=now - 1, running=1),
        closed=OutsideSession(ending=True, running=1),
        twice=OutsideSession(ending=True, running=1),
    )
    table.state.sessions["s/twice\n3"] = OutsideSession(running=1)
    table.of.resume()
    assert set(table.state.sessions) == {"s/rests", "s/died", "s/used", "s/closed", "s/twice", "s/twice\n3"}
    assert table.of.id_of("s/twice") == "s/twice\n3"
    assert table.of.id_of("s/closed") not in table.state.sessions
    assert table.of.id_of("s/rests") == "s/rests"
    await asyncio.sleep(21)
    assert "s/rests" not in table.state.sessions
    await asyncio.sleep(30)
    assert "s/died" not in table.state.sessions
    assert "s/used" in table.state.sessions
