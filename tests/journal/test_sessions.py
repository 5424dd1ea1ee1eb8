"""Lasting sessions of outside callers over several lives: how long they rest, how they end, what goes with them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.journal.lives import World
from tests.journal.test_recovery import came_to
from tests.pump.scenes import Answer, Go, Note, Question
from xml_pipeline.journal.sessions import Sessions
from xml_pipeline.threads.record import Closed, Entry, Remembered, Resting

HOUR = 3600.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state.db")


def kept(world: World) -> dict[str, list[Any]]:
    """What the file holds of sessions."""
    connection = sqlite3.connect(f"{world.path.as_uri()}?mode=ro", uri=True)
    try:
        return {
            table: [row[0] for row in connection.execute(f"SELECT DISTINCT session FROM {table}")]
            for table in ("memories", "sessions")
        }
    finally:
        connection.close()


NOTHING: dict[str, list[Any]] = {"memories": [], "sessions": []}


async def test_a_session_that_rested_long_enough_while_the_organism_was_down_is_gone(world: World) -> None:
    async with world.life() as organism:
        alice = organism.session(id="alice", ttl=HOUR)
        assert await alice.ask("greeter", Note("a")) == Note("a")
    world.jumped += HOUR - 60
    async with world.life() as organism:
        assert await organism.session(id="alice").ask("greeter", Note("b")) == Note("a+b")
    world.jumped += HOUR - 60  # since it was used, also by whoever names no ttl
    async with world.life() as organism:
        assert organism.remembered(next(iter(organism._pump.state.sessions["outside/alice"].memory)), Note)
    world.jumped += 120
    async with world.life() as organism:
        assert not organism._pump.state.sessions
        assert await organism.session(id="alice").ask("greeter", Note("c")) == Note("c")
        await organism.session(id="alice").close()
    assert kept(world) == NOTHING


async def test_a_session_whose_conversation_goes_on_in_the_next_life_rests_after_it(world: World) -> None:
    world.stuck = {"greeter"}
    async with world.life() as organism:
        await organism.session(id="alice", ttl=HOUR).send("greeter", Note("a"))
        await came_to(lambda: world.calls)
    world.stuck = set()
    world.jumped += 10 * HOUR
    async with world.life() as organism:
        await came_to(lambda: organism._pump.state.sessions["outside/alice"].until is not None)
    world.jumped += HOUR / 2
    async with world.life() as organism:
        assert await organism.session(id="alice").ask("greeter", Note("b")) == Note("a+b")
    world.jumped += HOUR * 2
    async with world.life() as organism:
        assert not organism._pump.state.sessions


async def test_a_life_that_ended_before_it_was_written_down_that_a_session_rests(world: World) -> None:
    async with world.life() as organism:
        await organism.session(id="alice", ttl=HOUR).ask("greeter", Note("a"))
    connection = sqlite3.connect(world.path)
    connection.execute("UPDATE sessions SET until = NULL")  # as a death at that moment leaves it
    connection.commit()
    connection.close()
    world.jumped += 5 * HOUR
    async with world.life() as organism:
        assert organism._pump.state.sessions["outside/alice"].until is not None
    world.jumped += 2 * HOUR
    async with world.life() as organism:
        assert not organism._pump.state.sessions
    assert kept(world) == NOTHING


async def test_a_session_that_was_closed_stays_closed(world: World) -> None:
    """Closed while a conversation of it waits for a person: that one goes on, and takes the memory with it."""
    world.stuck = {"greeter"}
    async with world.life() as organism:
        alice = organism.session(id="alice")
        world.stuck = set()
        await alice.ask("greeter", Note("a"))
        world.stuck = {"greeter"}
        await alice.send("greeter", Note("b"))
        await came_to(lambda: len(world.calls) == 2)
        await alice.close()
        assert kept(world)["memories"] == ["outside/alice"]
    for life in range(2):
        async with world.life() as organism:
            await came_to(lambda life=life: len(world.calls) >= 3 + life)
            world.stuck = set()
            again = organism.session(id="alice")
            assert await again.ask("greeter", Note("c")) == Note("c" if not life else "c+c")
            world.stuck = {"greeter"}
    world.stuck = set()
    async with world.life() as organism:
        await came_to(lambda: not organism.status().conversations and not organism._pump.sleepers)
        assert await organism.session(id="alice").ask("greeter", Note("d")) == Note("c+c+d")
        await organism.session(id="alice").close()
        assert kept(world) == NOTHING
        assert not organism._pump.state.sessions


async def test_a_session_without_a_name_ends_with_its_last_conversation(world: World) -> None:
    async with world.life() as organism:
        gone, asking = organism.session(), organism.session()
        await gone.ask("greeter", Note("a"))
        await asking.ask("greeter", Note("a"))
        sent = await asking.send("top", Go(1))
        await came_to(lambda: organism.questions())
        assert len(kept(world)["memories"]) == 2
    for _ in range(2):
        async with world.life() as organism:
            await came_to(lambda: organism.questions())
            assert len(kept(world)["memories"]) == 1
    async with world.life() as organism:
        await came_to(lambda: organism.questions())
        organism.answer(organism.questions()[0].thread_id, Answer("said"))
        await came_to(lambda: sent not in {each.conversation_id for each in organism.threads()})
        await organism._pump.flush()
        assert kept(world) == NOTHING
        assert not organism._pump.state.sessions


async def test_a_session_does_not_end_under_conversations_that_sleep(world: World) -> None:
    async with world.life() as organism:
        alice = organism.session(id="alice", ttl=HOUR)
        for _ in range(2):
            await alice.send("top", Go(1))
        await alice.ask("greeter", Note("a"))
        await came_to(lambda: len(organism.questions()) == 2)
    world.jumped += 10 * HOUR
    async with world.life() as organism:
        await came_to(lambda: len(organism.questions()) == 2)
        first, second = organism.questions()
        await organism.answer(first.thread_id, Answer("said"))
        await organism.session(id="alice").close()
        assert await organism.session(id="alice").ask("greeter", Note("x")) == Note("x")
        await organism.answer(second.thread_id, Answer("said"))
        await came_to(lambda: kept(world)["sessions"] == [])
    async with world.life() as organism:
        assert [each.partition("\n")[0] for each in organism._pump.state.sessions] == ["outside/alice"]


async def test_a_journal_of_the_first_format_goes_on(world: World) -> None:
    """Two open conversations, a session with a name and one without, written by the version that had this format."""
    old = sqlite3.connect(world.path)
    old.executescript(Path(__file__).with_name("first_life.sql").read_text())
    old.close()
    async with world.life() as organism:
        await came_to(lambda: ("slow", "Question", 2) in world.calls)
        assert await organism.session(id="alice").ask("greeter", Note("x")) == Note("first+x")
        await came_to(lambda: len(organism.questions()) == 2)
        for question in organism.questions():
            await organism.answer(question.thread_id, Answer("said"))
        assert await organism.ask("top", Go(4), key="k") == Answer("gathers: helped, said, at last")
        assert await organism.ask("top", Go(1), key="p") == Answer("calls: said")
        assert await organism.ask("helper", Question("done"), key="done") == Answer("helped")
    assert kept(world)["memories"] == ["outside/alice"]


async def test_a_conversation_that_cannot_be_brought_back_keeps_its_session_and_no_more(world: World) -> None:
    async with world.life() as organism:
        alice = organism.session(id="alice")
        await alice.ask("greeter", Note("a"))
        for _ in range(2):
            await alice.send("top", Go(1))
        await came_to(lambda: len(organism.questions()) == 2)
    damaged = sqlite3.connect(world.path)
    damaged.execute("UPDATE steps SET events = x'00' WHERE conversation = 3 AND seq > 0")
    damaged.commit()
    damaged.close()
    async with world.life() as organism:
        await came_to(lambda: len(organism.questions()) == 1 and not organism._pump.sleepers)
        assert organism._pump.state.sessions["outside/alice"].running == 2
        await organism.answer(organism.questions()[0].thread_id, Answer("said"))
        await came_to(lambda: organism._pump.state.sessions["outside/alice"].running == 1)
        assert await organism.session(id="alice").ask("greeter", Note("b")) == Note("a+b")


# --- the rows, held to a plain table ---

ids = st.sampled_from(["s/a", "s/b", "nameless"])
moves = st.lists(
    st.tuples(st.sampled_from(["began", "ended", "closed", "rests", "remembers", "died"]), ids), max_size=40
)


@given(moves)
@example([("began", "nameless"), ("died", "s/a"), ("remembers", "nameless"), ("ended", "nameless")])
def test_nothing_is_kept_of_a_session_that_is_gone_and_all_of_one_that_is_not(
    moves: list[tuple[str, str]],
) -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(
        "CREATE TABLE memories (session, memory, ordinal, keep, root, entry, schema);"
        "CREATE TABLE sessions (session TEXT PRIMARY KEY, seconds, until, closed);"
    )
    sessions, running, remembers = Sessions(), dict[str, int](), dict[str, int]()
    closed = set[str]()

    def write(statements: Any) -> None:
        for statement, values in statements:
            connection.execute(statement, values)

    def gone(session: str) -> None:
        closed.discard(session)
        remembers.pop(session, None)

    for move, session in moves:
        if move == "began":
            sessions.began(session)
            running[session] = running.get(session, 0) + 1
        elif move == "ended" and running.get(session):
            write(sessions.ended(session))
            running[session] -= 1
            if not running[session] and session in closed:
                gone(session)
        elif move == "closed":
            write(sessions.happened(session, Closed()))
            closed.add(session)
            if not running.get(session):
                gone(session)
        elif move == "rests" and session not in closed:
            write(sessions.happened(session, Resting(5.0)))
        elif move == "remembers" and running.get(session):
            remembers[session] = remembers.get(session, 0) + 1
            write(
                sessions.remembered(
                    session, Remembered("m", Entry("Note", b"x"), 5, True, remembers[session])
                )
            )
        elif move == "died":
            sessions = Sessions()
            was_closed = [each for (each,) in connection.execute("SELECT session FROM sessions WHERE closed")]
            known = [each for (each,) in connection.execute("SELECT session FROM memories")]
            write(sessions.start([name for name, n in running.items() for _ in range(n)], was_closed, known))
            for each in ("nameless", *closed):
                if not running.get(each):
                    gone(each)
                else:
                    closed.add(each)
        found = {each for (each,) in connection.execute("SELECT session FROM memories")}
        assert found == set(remembers)
    connection.close()
