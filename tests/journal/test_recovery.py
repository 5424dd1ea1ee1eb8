"""What a stop suspends and a crash breaks off goes on in the next life."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.journal.lives import World
from tests.pump.scenes import Answer, Go, Note, Question, at_rest, call, respond
from xml_pipeline import AnswerError, HandlerMetadata, Keep, Organism, xmlify
from xml_pipeline.errors import AskTimeout, ConfigError, JournalError, KeyConflict, NoReply, OrganismClosed
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import listener
from xml_pipeline.pump.settings import PumpSettings


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state.db")


async def came_to(condition: Callable[[], object], seconds: float = 20) -> None:
    """Let the loop turn, and the journal's thread write, until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.002)


async def finished(organism: Organism) -> None:
    """Wait until nothing is open any more."""
    await came_to(lambda: not (organism.threads() or organism.status().in_flight or organism._pump.sleepers))


async def test_what_runs_at_a_stop_goes_on_in_the_next_life(world: World) -> None:
    world.stuck = {"helper"}
    async with world.life() as organism:
        asking = asyncio.ensure_future(organism.ask("top", Go(0), key="order-17"))
        await came_to(lambda: ("helper", "Question", 1) in world.calls)
    with pytest.raises(OrganismClosed, match="goes on"):
        await asking
    world.stuck = set()
    async with world.life() as organism:
        assert await organism.ask("top", Go(0), key="order-17") == Answer("calls: helped")
        await finished(organism)
        assert at_rest(organism)
        assert organism.dead_letters() == []
    assert world.calls == [
        ("top", "Go", 1),
        ("helper", "Question", 1),
        ("helper", "Question", 2),
        ("top", "Answer", 1),
    ]


async def test_a_key_gives_the_answer_that_was_given(world: World) -> None:
    async with world.life() as organism:
        both = await asyncio.gather(*(organism.ask("top", Go(0), key="k") for _ in range(2)))
        assert both == [Answer("calls: helped")] * 2
        assert await organism.ask("top", Go(0), key="k") == Answer("calls: helped")
        with pytest.raises(KeyConflict, match="another request"):
            await organism.ask("top", Go(2), key="k")
        with pytest.raises(KeyConflict):
            await organism.ask("helper", Question("x"), key="k")
    calls = list(world.calls)
    async with world.life() as organism:
        assert await organism.ask("top", Go(0), key="k") == Answer("calls: helped")
        with pytest.raises(KeyConflict):
            await organism.send("top", Go(2), key="k")
    assert world.calls == calls


async def test_an_ask_that_is_given_up_goes_on_under_its_key(world: World) -> None:
    world.stuck = {"helper"}
    async with world.life() as organism:
        asking = asyncio.ensure_future(organism.ask("top", Go(0), key="k"))
        await came_to(lambda: len(world.calls) == 2)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert organism.threads()
        with pytest.raises(AskTimeout):  # but its own time is the caller's word
            await organism.ask("top", Go(0), key="k", timeout=0.05)
        await finished(organism)


async def test_a_key_needs_a_journal_and_is_a_text(world: World) -> None:
    async with Organism("without", [listener("helper", world.helper)]) as organism:
        with pytest.raises(ConfigError, match=r"journal: state\.db"):
            await organism.ask("helper", Question("x"), key="k")
    async with world.life() as organism:
        for bad in ("", "a\nb", 5):
            with pytest.raises(ValueError, match="key"):
                await organism.ask("helper", Question("x"), key=bad)  # type: ignore[arg-type]


async def test_a_send_is_durable_when_it_returns(world: World) -> None:
    async with world.life() as organism:
        conversation_id = await organism.send("helper", Question("x"))
        assert world.path.stat().st_size
        journal = organism._pump._durable
        assert journal is not None
        assert journal.steps(conversation_id)


async def test_people_gathers_and_state_survive(world: World) -> None:
    world.stuck = {"slow"}
    async with world.life() as organism:
        asking = asyncio.ensure_future(organism.ask("top", Go(4), key="k"))
        await came_to(lambda: organism.questions() and ("slow", "Question", 1) in world.calls)
        await came_to(lambda: organism.status().in_flight == 1)
    with pytest.raises(OrganismClosed):
        await asking
    world.stuck = set()
    async with world.life() as organism:
        await came_to(lambda: organism.questions())
        (question,) = organism.questions()
        assert question.payload == Question("anna")
        organism.answer(question.thread_id, Answer("said"))
        assert await organism.ask("top", Go(4), key="k") == Answer("gathers: helped, said, at last")
        await finished(organism)


async def test_messages_that_a_thread_keeps_survive(world: World) -> None:
    async def reader(payload: Go | Answer, metadata: HandlerMetadata, state: Note | None) -> Any:
        if isinstance(payload, Go):
            return Keep(Note(metadata.message_id), call(Question("?"), to="helper"), message=True)
        assert state is not None
        return respond(Answer(f"{metadata.kept[state.text]} and {payload.text}"))

    def life() -> Organism:
        both = [listener("reader", reader, peers=["helper"]), listener("helper", world.helper)]
        return Organism("kept", both, journal=SqliteJournal(world.path), shutdown_seconds=0)

    world.stuck = {"helper"}
    async with life() as organism:
        asking = asyncio.ensure_future(organism.ask("reader", Go(5), key="k"))
        await came_to(lambda: ("helper", "Question", 1) in world.calls)
        world.die()
    with pytest.raises(OrganismClosed):
        await asking
    world.stuck = set()
    async with life() as organism:
        assert await organism.ask("reader", Go(5), key="k") == Answer("Go(n=5) and helped")


async def test_the_time_of_a_gather_counts_the_time_that_the_organism_was_up(world: World) -> None:
    world.stuck = {"helper"}
    async with world.life() as organism:
        sent = await organism.send("top", Go(3), key="k")
        await came_to(lambda: organism.questions() and ("helper", "Question", 1) in world.calls)
        world.later = 20.0  # that long it was up, and ten seconds are left
        await organism.send("greeter", Note("x"))
    async with world.life() as organism:
        await came_to(lambda: ("helper", "Question", 2) in world.calls)
        await asyncio.sleep(0.05)
        assert [each for each in organism.threads() if each.conversation_id == sent]
        world.later = 40.0
        await organism.send("greeter", Note("x"))
    async with world.life() as organism:
        answer = await organism.ask("top", Go(3), key="k")
        assert "timeout" in answer.text


async def test_a_named_session_remembers_over_lives(world: World) -> None:
    async with world.life() as organism:
        alice = organism.session(id="alice")
        assert await alice.ask("greeter", Note("a")) == Note("a")
    world.stuck = {"greeter"}
    async with world.life() as organism:
        alice = organism.session(id="alice")
        await alice.send("greeter", Note("b"))
        await came_to(lambda: len(world.calls) == 2)
    world.stuck = set()
    async with world.life() as organism:
        await finished(organism)
        alice = organism.session(id="alice")
        assert await alice.ask("greeter", Note("c")) == Note("a+b+c")
        alice.close()
        assert await organism.session(id="alice").ask("greeter", Note("d")) == Note("d")
    async with world.life() as organism:
        assert await organism.session(id="alice").ask("greeter", Note("e")) == Note("d+e")
        assert await organism.session(id="bob").ask("greeter", Note("e")) == Note("e")


async def test_a_thread_sees_the_memory_that_was_there_when_it_opened_in_every_life(world: World) -> None:
    world.stuck = {"greeter"}
    async with world.life() as organism:
        alice = organism.session(id="alice")
        first = await alice.send("greeter", Note("first"))
        await came_to(lambda: len(world.calls) == 1)
        world.stuck = set()
        assert await alice.ask("greeter", Note("second")) == Note("second")
        world.stuck = {"greeter"}
    world.stuck = set()
    async with world.life() as organism:
        await finished(organism)
        assert await organism.session(id="alice").ask("greeter", Note("x")) == Note("second+first+x")
        journal = organism._pump._durable
        assert journal is not None
        assert b"<text>first</text>" in journal.steps(first)[-1].events[-1].message.data  # type: ignore[union-attr]


async def test_of_a_memory_the_newest_entries_are_shown_in_every_life(world: World) -> None:
    def organism() -> Organism:
        greeter = listener("greeter", world.greeter, keep=3)
        return Organism("x", [greeter], journal=SqliteJournal(world.path))

    async with organism() as first:
        for letter in "abcde":
            await first.session(id="alice").ask("greeter", Note(letter))
    async with organism() as second:
        key = next(iter(next(iter(second._pump.state.sessions.values())).memory))
        assert second.remembered(key, Note) == (Note("c"), Note("d"), Note("e"))
        assert await second.session(id="alice").ask("greeter", Note("f")) == Note("c+d+e+f")
        assert second.remembered(key, Note) == (Note("d"), Note("e"), Note("f"))


async def test_an_end_by_cancel_is_an_end(world: World) -> None:
    world.stuck = {"helper"}
    async with world.life() as organism:
        conversation_id = await organism.send("top", Go(0))
        await came_to(lambda: len(world.calls) == 2)
        assert organism.cancel(conversation_id)
    async with world.life() as organism:
        await asyncio.sleep(0.05)
        assert organism.threads() == []
        assert not organism.cancel(conversation_id)
    assert len(world.calls) == 2


async def test_what_nobody_takes_any_more_is_a_dead_letter_with_its_reason(world: World) -> None:
    world.stuck = {"helper"}
    async with world.life() as organism:
        await organism.send("top", Go(0), key="k")
        await came_to(lambda: len(world.calls) == 2)
    world.stuck = set()

    async def other(payload: Note, metadata: object) -> None: ...

    changed = Organism(
        "world",
        [listener("top", world.top, peers=["helper"]), listener("helper", other)],
        journal=SqliteJournal(world.path),
    )
    async with changed:
        await finished(changed)
        (letter,) = changed.dead_letters()
        assert "'helper' does not take Question any more" in letter.reason
        assert await changed.ask("top", Go(0), key="k") == Answer(
            f"calls: SystemError(code='handler', message=\"{letter.reason}\")"
        )


async def test_one_process_at_a_time(world: World) -> None:
    async with world.life() as first:
        second = world.organism()
        with pytest.raises(JournalError, match=r"in use by process \d+, since .*one organism at a time"):
            await second.start()
        assert await first.ask("helper", Question("x")) == Answer("helped")
    async with world.life() as third:
        assert await third.ask("helper", Question("x")) == Answer("helped")


async def test_more_than_there_is_room_for_comes_back_oldest_first_and_before_newcomers(world: World) -> None:
    world.stuck = {"helper"}
    async with world.life() as organism:
        for n in range(50):
            await organism.send("helper", Question(str(n)))
    world.stuck, world.calls = set(), []
    async with world.life(settings=PumpSettings(max_in_flight=5)) as organism:
        assert await organism.ask("greeter", Note("new")) == Note("new")
        await finished(organism)
    names = [name for name, _, _ in world.calls]
    assert names.count("helper") == 50
    assert names.index("greeter") > 40


async def test_an_answer_that_nobody_gives_is_none_in_every_life(world: World) -> None:
    async def silent(payload: Question, metadata: object) -> None: ...

    async def life() -> Organism:
        return Organism("x", [listener("silent", silent)], journal=SqliteJournal(world.path))

    for _ in range(2):
        async with await life() as organism:
            with pytest.raises(NoReply):
                await organism.ask("silent", Question("x"), key="k")


async def test_an_error_is_kept_as_an_answer(world: World) -> None:
    async def failing(payload: Question, metadata: object) -> None:
        raise RuntimeError("once and for all")

    for _ in range(2):
        async with Organism(
            "x", [listener("failing", failing)], journal=SqliteJournal(world.path)
        ) as organism:
            with pytest.raises(AnswerError, match="RuntimeError"):
                await organism.ask("failing", Question("x"), key="k")


async def test_a_poisonous_message_is_given_up_after_five_lives_and_harms_no_other(world: World) -> None:
    world.stuck = {"helper", "slow"}
    async with world.life() as organism:
        poison = await organism.send("helper", Question("poison"))
        for _ in range(20):
            await organism.send("slow", Question("innocent"))
        await came_to(lambda: len(world.calls) == 21)
        world.die()
    for attempt in range(2, 6):
        world.calls = []
        async with world.life() as organism:
            await came_to(lambda: any(name == "helper" for name, _, _ in world.calls))
            if attempt == 2:
                await came_to(lambda: len(world.calls) == 4)  # few at a time
            assert ("helper", "Question", attempt) in world.calls
            world.die()
        world.stuck = {"helper"}
    world.stuck = set()
    async with world.life() as organism:
        await finished(organism)
        letter, told = organism.dead_letters()
        assert letter.conversation_id == poison
        assert told.to == "outside"  # where nobody waits for the error
        assert "interrupted 5 times" in letter.reason
        assert len(world.calls) < 21


async def test_a_stop_is_not_held_against_what_it_cuts_off(world: World) -> None:
    world.stuck = {"helper"}
    async with world.life() as organism:
        await organism.send("helper", Question("long"), key="k")
        await came_to(lambda: len(world.calls) == 1)
        world.die()
    for life in range(2, 9):
        async with world.life() as organism:
            await came_to(lambda: len(world.calls) == life)  # noqa: B023 - within this life
    world.stuck = set()
    async with world.life() as organism:
        assert await organism.ask("helper", Question("long"), key="k") == Answer("helped")
        assert not organism.dead_letters()
    assert [attempt for _, _, attempt in world.calls] == list(range(1, 10))


async def test_of_two_classes_of_one_name_the_one_that_the_handlers_module_knows_is_meant(
    world: World,
) -> None:
    async with world.life() as organism:
        assert await organism.ask("helper", Question("x"), key="k") == Answer("helped")

    @xmlify(name="Answer")
    @dataclass
    class Impostor:
        text: str

    async with world.life() as organism:
        assert await organism.ask("helper", Question("x"), key="k") == Answer("helped")
    assert Impostor("x")


async def test_who_waits_for_a_person_is_back_however_long_the_work_takes_that_is_owed(world: World) -> None:
    world.stuck = {"helper"}
    async with world.life() as organism:
        for n in range(20):
            await organism.send("helper", Question(str(n)))
        await organism.send("top", Go(1), key="asks")
        await came_to(lambda: organism.questions())
        (question,) = organism.questions()
    async with world.life(settings=PumpSettings(max_in_flight=5)) as organism:
        await came_to(lambda: organism.questions() and organism.status().in_flight == 5)
        organism.answer(question.thread_id, Answer("said"))
        await came_to(lambda: not organism.questions())


async def test_newcomers_do_not_wait_for_those_that_wait_for_people(world: World) -> None:
    async with world.life() as organism:
        for _ in range(200):
            await organism.send("top", Go(1))
        await came_to(lambda: len(organism.questions()) == 200)
    async with world.life() as organism:
        await asyncio.sleep(0)
        assert not organism._pump.admission.held
        assert await organism.ask("helper", Question("x")) == Answer("helped")
        await came_to(lambda: len(organism.questions()) == 200)


# --- a damaged file ---


def damaged(world: World, statement: str) -> None:
    """Change what stands in the file."""
    connection = sqlite3.connect(world.path)
    assert connection.execute(statement).rowcount
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE steps SET events = x'00' WHERE rowid = 2",
        "UPDATE steps SET events = x'90' WHERE rowid = 2",  # no event
        "DELETE FROM steps WHERE rowid = 1",
        "DELETE FROM open",
    ],
)
async def test_what_cannot_be_brought_back_is_told_to_whoever_asks_and_holds_up_nobody(
    world: World, damage: str
) -> None:
    world.stuck = {"helper"}
    async with world.life() as organism:
        for n in range(3):
            await organism.send("top", Go(0), key=str(n))
            await came_to(lambda n=n: world.calls.count(("helper", "Question", 1)) == n + 1)  # type: ignore[misc]
    damaged(world, damage)
    world.stuck = set()
    async with world.life() as organism:
        told = await asyncio.gather(
            *(organism.ask("top", Go(0), key=str(n)) for n in range(3)), return_exceptions=True
        )
        whole = 0 if damage == "DELETE FROM open" else 2
        assert told.count(Answer("calls: helped")) == whole
        assert [type(each) for each in told].count(JournalError) == 3 - whole
        with pytest.raises(JournalError):
            await organism.ask("top", Go(0), key="0")
        assert await organism.ask("helper", Question("x")) == Answer("helped")
        await came_to(lambda: at_rest(organism))


async def test_a_file_that_cannot_be_read_any_more_is_an_error_of_the_journal(world: World) -> None:
    async with world.life() as organism:
        await organism.ask("helper", Question("x"), key="k")
        vandal = sqlite3.connect(world.path)
        vandal.execute("DROP TABLE steps")
        vandal.close()
        with pytest.raises(JournalError, match="no such table"):
            await organism.ask("helper", Question("x"), key="k")


async def test_a_key_gives_the_error_that_nobody_waited_for(world: World) -> None:
    async def failing(payload: Question, metadata: object) -> None:
        raise RuntimeError("in vain")

    def organism() -> Organism:
        return Organism("x", [listener("failing", failing)], journal=SqliteJournal(world.path))

    async with organism() as first:
        await first.send("failing", Question("x"), key="k")
        await came_to(lambda: first.dead_letters())
        with pytest.raises(AnswerError, match="RuntimeError"):
            await first.ask("failing", Question("x"), key="k", timeout=5)
    async with organism() as second:
        with pytest.raises(AnswerError, match="RuntimeError"):
            await second.ask("failing", Question("x"), key="k", timeout=5)


async def test_a_session_that_was_opened_again_while_an_older_one_runs_remembers_in_the_next_life(
    world: World,
) -> None:
    async with world.life() as organism:
        alice = organism.session(id="alice")
        await alice.ask("greeter", Note("forgotten"))
        world.stuck = {"greeter"}
        await alice.send("greeter", Note("runs on"))
        await came_to(lambda: len(world.calls) == 2)
        world.stuck = set()
        alice.close()
        assert await organism.session(id="alice").ask("greeter", Note("a")) == Note("a")
    for letter, expected in (("b", "a+b"), ("c", "a+b+c")):
        async with world.life() as organism:
            await finished(organism)
            assert await organism.session(id="alice").ask("greeter", Note(letter)) == Note(expected)
    async with world.life() as organism:
        organism.session(id="alice").close()
        assert await organism.session(id="alice").ask("greeter", Note("d")) == Note("d")


async def test_a_request_that_took_too_long_is_over_when_its_caller_is_told(world: World) -> None:
    world.stuck = {"helper"}
    async with world.life() as organism:
        with pytest.raises(AskTimeout):
            await organism.ask("helper", Question("x"), timeout=0.05)
        world.die()
    world.stuck = set()
    async with world.life() as organism:
        await finished(organism)
    assert len(world.calls) == 1
