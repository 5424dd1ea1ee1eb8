"""What one console leaves open, and another one on the same journal goes on with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.console.organisms import Greeting, Paper, Ping, Slow, Wanted, build
from tests.console.test_session import Talk
from tests.journal.lives import killed
from xml_pipeline.agents.contract import Task
from xml_pipeline.console.earlier import left_open
from xml_pipeline.console.session import Console


@asynccontextmanager
async def talking(journal: Path) -> AsyncIterator[Talk]:
    """One life of a console."""
    slow, paper = Slow(), Paper()
    async with build(slow, journal=journal) as organism, Console(organism, paper) as console:
        console.go_on()
        yield Talk(organism, console, paper, slow, None)  # type: ignore[arg-type]  # nobody writes here


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


async def test_what_a_death_leaves_open_is_answered_in_the_next_life_and_asked_once(journal: Path) -> None:
    async with talking(journal) as talk:
        talk.console.submit("@slow first words")
        talk.console.submit("@asker what=leave")
        await talk.paper.until("May I leave?")
        await talk.slow.called.wait()
        copy = killed(journal)
        talk.console.cancel()
    async with talking(copy) as talk:
        assert talk.paper.notes[:2] == ["slow #1 goes on: first words", "asker #2 goes on: leave"]
        await talk.paper.until("slow #1: first words")
        await talk.paper.until("May I leave?")
        await talk.say("!yes")
        assert "asker #2: the boss says yes" in talk.paper.rows
        await talk.say("@greeter Bob")
        assert "greeter #3: HELLO, BOB!" in talk.paper.rows
    assert not left_open(copy, "console")


async def test_what_waits_for_a_person_waits_for_the_next_start(journal: Path) -> None:
    for _ in range(3):
        async with talking(journal) as talk:
            if not talk.console.running:
                talk.console.submit("@asker what=stay")
            await talk.paper.until("May I stay?")
            await talk.console.drain()
        assert talk.paper.errors == ["asker #1: left open; the next start goes on with it"]
    async with talking(journal) as talk:
        await talk.paper.until("May I stay?")
        await talk.say("!no")
        assert talk.paper.rows == ["asker #1: the boss says no"]


async def test_the_last_answers_are_waited_for_though_a_person_is_asked(journal: Path) -> None:
    async with talking(journal) as talk:
        talk.console.submit("@asker what=stay")
        await talk.paper.until("May I stay?")
        talk.console.submit("@slow x")
        await talk.slow.called.wait()
        leaving = asyncio.create_task(talk.console.drain())
        await asyncio.sleep(0)
        assert not leaving.done()
        talk.slow.go.set()
        await leaving
        assert talk.paper.rows == ["slow #2: x"]


async def test_the_session_goes_on_while_something_is_open_and_ends_with_the_talk(journal: Path) -> None:
    for day, told in (("mon", "mon"), ("tue", "mon, tue"), ("wed", "mon, tue, wed"), ("thu", "thu")):
        async with talking(journal) as talk:
            talk.console.submit(f"@diary {day}")
            await talk.paper.until(f": {told}")
            if day == "mon":
                talk.console.submit("@asker what=stay")
                await talk.paper.until("May I stay?")
            elif day == "wed":
                talk.console.cancel()
                await talk.console.drain()


async def test_questions_of_others_are_shown_and_do_not_hold_up_a_script(journal: Path) -> None:
    async with build(journal=journal) as organism:
        await organism.send("asker", Wanted("enter"))
    async with talking(journal) as talk:
        await talk.paper.until("May I enter?")
        await talk.say("@greeter Bob")
        assert talk.paper.rows == ["greeter #1: HELLO, BOB!"]
        await talk.say("!yes")
        await talk.console.drain()
    assert not talk.paper.errors


async def test_cancel_ends_what_an_earlier_life_began(journal: Path) -> None:
    async with talking(journal) as talk:
        talk.console.submit("@slow x")
        await talk.slow.called.wait()
        talk.console.submit("@asker what=stay")
        await talk.paper.until("May I stay?")
    async with talking(journal) as talk:
        await talk.paper.until("slow #1: x")
        talk.console.submit("/cancel 2")
        await talk.paper.until("asker #2: cancelled")
    assert not left_open(journal, "console")


async def test_a_signal_leaves_without_a_word_for_each(journal: Path) -> None:
    paper, slow = Paper(), Slow()

    async def life() -> None:
        async with build(slow, journal=journal) as organism, Console(organism, paper) as console:
            console.submit("@slow x")
            await asyncio.Event().wait()

    living = asyncio.create_task(life())
    await slow.called.wait()
    living.cancel()
    with pytest.raises(asyncio.CancelledError):
        await living
    assert not paper.errors
    assert [each.listener for each in left_open(journal, "console")] == ["slow"]


async def test_dead_letters_are_shown_sent_again_and_dropped(journal: Path) -> None:
    async with talking(journal) as talk:
        await talk.say("/dead")
        assert talk.paper.rows == ["no dead letters"]
        for _ in range(2):
            await talk.organism.send("broken", Task("help"))
        await talk.organism.ask("counter", Ping())
        talk.paper.rows.clear()
        await talk.say("/dead")
        first, _, how = talk.paper.rows
        assert first.startswith("   1  broken → outside  SystemError in ")
        assert how.startswith("/dead NUMBER shows one")
        await talk.say("/dead 1")
        assert "<code>handler</code>" in talk.paper.rows[-1]
        await talk.say("/dead retry 1")
        assert "dead letter 1 cannot be sent again: it is an answer" in talk.paper.rows[-2]
        await talk.say("/dead drop 1")
        assert talk.paper.rows[-1] == "1 dead letter dropped"
        await talk.say("/dead 1")
        await talk.say("/dead drop 1")
        assert "there is no dead letter 1" in talk.paper.errors[0]
        assert "there is no dead letter 1" in talk.paper.errors[1]
        await talk.say("/dead drop all")
        await talk.say("/dead")
        assert talk.paper.rows[-1] == "no dead letters"
        assert not talk.organism.dead_letters()


async def test_a_letter_that_is_sent_again_is_handled_at_once(journal: Path) -> None:
    async with build(journal=journal) as organism:
        conversation = await organism.send("slow", Task("once more"))
        organism.cancel(conversation)
        await organism.ask("counter", Ping())
    async with talking(journal) as talk:
        await talk.say("/trace on")
        await talk.say("/dead retry 1")
        await talk.paper.until("outside → slow")
        assert talk.paper.rows[-1] == "1 message sent"


@pytest.mark.parametrize("text", ["/dead x", "/dead all", "/dead retry", "/dead retry x", "/dead 1 2"])
async def test_what_dead_takes(text: str, journal: Path) -> None:
    async with talking(journal) as talk:
        await talk.say(text)
        assert "write /dead, /dead NUMBER, /dead retry NUMBER or /dead drop NUMBER" in talk.paper.errors[0]


async def test_without_a_journal_letters_have_no_numbers_and_nobody_is_killed() -> None:
    paper = Paper()
    async with build() as organism, Console(organism, paper) as console:
        console.submit("/dead retry 1")
        console.submit("/kill")
    assert "only with a journal do dead letters have numbers; add `journal: state.db`" in paper.errors[0]
    assert paper.errors[1] == (
        "error: /kill would lose 0 open conversations for good: nothing is written down; add `journal: state.db` to"
        " the `organism` section of organism.yaml"
    )


async def test_an_answer_that_came_in_an_earlier_life_is_joined(journal: Path) -> None:
    async with build(journal=journal) as organism:
        conversation = await organism.send("greeter", Greeting("Al"))
        assert (await organism.join(conversation)).text == "HELLO, AL!"
    async with build(journal=journal) as organism:
        assert (await organism.join(conversation)).text == "HELLO, AL!"
