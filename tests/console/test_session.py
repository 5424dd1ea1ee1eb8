"""A talk with an organism: answers, errors, questions, cancelling, streaming."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.console.organisms import Paper, Slow, Writer, build
from xml_pipeline.agents.contract import Task
from xml_pipeline.console.session import Console
from xml_pipeline.events import DeadLettered
from xml_pipeline.journal.ledger_file import LedgerFile
from xml_pipeline.llm import Router
from xml_pipeline.llm.providers.scripted import Rule, ScriptedBackend
from xml_pipeline.organism import Organism


@dataclass
class Talk:
    """A console with all that a test looks at."""

    organism: Organism
    console: Console
    paper: Paper
    slow: Slow
    writer: Writer

    async def say(self, text: str) -> None:
        """Type a line and wait until there is nothing more to wait for."""
        self.console.submit(text)
        await self.console.settled()


@asynccontextmanager
async def talking(**options: object) -> AsyncIterator[Talk]:
    slow, writer, paper = Slow(), Writer(), Paper()
    async with build(slow, writer, **options) as organism, Console(organism, paper, log="/log") as console:
        yield Talk(organism, console, paper, slow, writer)


async def test_an_answer_is_labelled_with_who_was_asked() -> None:
    async with talking() as talk:
        await talk.say("@greeter Alice")
        await talk.say("@calculator.add a=2 b=40")
        assert talk.paper.rows == ["greeter #1: HELLO, ALICE!", "calculator.add #2: value: 42"]
        assert not talk.console.failed


async def test_bare_text_goes_to_the_default_listener() -> None:
    async with talking() as talk:
        await talk.say("Bob")
        assert talk.paper.rows == ["greeter #1: HELLO, BOB!"]


async def test_without_a_default_bare_text_is_refused_with_the_listeners() -> None:
    async with talking(default=None) as talk:
        await talk.say("Bob")
        assert "no default listener" in talk.paper.errors[0]
        assert "calculator.add" in talk.paper.errors[0]
        assert talk.console.failed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("@greter Bob", "did you mean 'greeter'"),
        ("@calculator.add a=2 b=x", "AddPayload.b"),
        ("/listnrs", "did you mean '/listeners'"),
        ("/describe greter", "did you mean 'greeter'"),
        ("/describe", "write /describe NAME"),
        ("/help me", "takes nothing behind it"),
        ("/trace maybe", "'on' or 'off'"),
        ("/thread zzz", "no open thread starts with 'zzz'"),
        ("/cancel 7", "running: none"),
        ("!yes", "nobody waits for an answer"),
        ("/answer abc yes", "no question waits with 'abc'; waiting: none"),
        ("@broken x", "error (handler)"),
        ("@silent x", "nobody answered"),
    ],
)
async def test_every_mistake_gets_its_error_and_the_talk_goes_on(text: str, says: str) -> None:
    async with talking() as talk:
        await talk.say(text)
        assert says in "\n".join(talk.paper.errors)
        assert talk.console.failed
        await talk.say("@greeter Alice")
        assert talk.paper.rows[-1].endswith("HELLO, ALICE!")


async def test_a_crash_shows_where_the_trace_is_and_not_what_is_in_it() -> None:
    async with talking() as talk:
        await talk.say("@broken x")
        text = "\n".join(talk.paper.errors)
        assert "/log" in text
        assert "secret of the house" not in text


async def test_all_asks_are_one_session() -> None:
    async with talking() as talk:
        await talk.say("@counter")
        await talk.say("@counter")
        first, second = (row.split(": ", 1)[1] for row in talk.paper.rows)
        assert first == second


async def test_several_asks_run_at_once_and_each_answer_has_its_number() -> None:
    async with talking() as talk:
        talk.console.submit("@slow later")
        await talk.slow.called.wait()
        talk.console.submit("@greeter now")
        await talk.paper.until("NOW")
        talk.slow.go.set()
        await talk.console.settled()
        assert talk.paper.rows == ["greeter #2: HELLO, NOW!", "slow #1: later"]


async def test_cancel_ends_the_conversation_and_its_handler() -> None:
    async with talking() as talk:
        talk.console.submit("@slow one")
        await talk.slow.called.wait()
        assert talk.console.cancel() == 1
        await talk.console.settled()
        assert talk.paper.errors == ["slow #1: cancelled"]
        await talk.say("@greeter still here")
        assert talk.paper.rows == ["greeter #2: HELLO, STILL HERE!"]
        assert talk.slow.cancelled == 1
        assert talk.organism.status().threads == 0


async def test_with_a_journal_cancel_ends_the_conversation_for_good(tmp_path: Path) -> None:
    async with talking(journal=tmp_path / "state.db") as talk:
        talk.console.submit("@slow one")
        await talk.slow.called.wait()
        assert talk.console.cancel() == 1
        await talk.console.settled()
        assert talk.paper.errors == ["slow #1: cancelled"]
        assert talk.organism.threads() == []
    async with talking(journal=tmp_path / "state.db") as talk:
        assert talk.organism.threads() == []
        await talk.say("@greeter still here")
    assert not talk.slow.called.is_set()


async def test_cancel_takes_the_number_of_one_ask() -> None:
    async with talking() as talk:
        talk.console.submit("@slow one")
        talk.console.submit("@slow two")
        await talk.slow.called.wait()
        talk.console.submit("/cancel #1")
        await talk.paper.until("cancelled")
        talk.slow.go.set()
        await talk.console.settled()
        assert (talk.paper.errors, talk.paper.rows) == (["slow #1: cancelled"], ["slow #2: two"])


async def test_a_persons_answer_goes_to_the_question() -> None:
    async with talking() as talk:
        await talk.say("@asker what=leave")
        assert any("May I leave?" in note for note in talk.paper.notes)
        assert talk.console.running
        await talk.say("!yes")
        assert talk.paper.rows == ["asker #1: the boss says yes"]


async def test_a_persons_wrong_answer_is_refused_and_the_question_stays() -> None:
    async with talking() as talk:
        await talk.say("@asker what=leave")
        await talk.say("!perhaps")
        assert "decision" in talk.paper.errors[0]
        await talk.say("!decision=no")
        assert talk.paper.rows == ["asker #1: the boss says no"]


async def test_one_of_several_questions_is_answered_by_its_id() -> None:
    async with talking() as talk:
        talk.console.submit("@asker what=leave")
        talk.console.submit("@asker what=stay")
        await talk.paper.until("stay?")
        second = talk.organism.questions()[1].thread_id[:8]
        talk.console.submit(f"/answer {second} no")
        await talk.paper.until("says no")
        talk.console.submit("!yes")
        await talk.console.settled()
        assert talk.paper.rows == ["asker #2: the boss says no", "asker #1: the boss says yes"]


async def test_a_person_who_is_asked_from_outside_answers_in_words() -> None:
    async with talking() as talk:
        await talk.say("@boss Well?")
        await talk.say("!All is well.")
        assert "could take that as one of several" in talk.paper.errors[0]
        await talk.say("!Answer All is well.")
        assert talk.paper.rows == ["boss #1: All is well."]


async def test_a_person_is_told_with_what_the_question_may_be_answered() -> None:
    async with talking() as talk:
        await talk.say("@asker what=leave")
        assert any("answer with `!<decision>`" in note for note in talk.paper.notes)
        talk.console.submit("@boss Well?")
        await talk.paper.until("Verdict")
        ways = [note for note in talk.paper.notes if "Verdict" in note]
        assert len(ways) == 1
        assert "Verdict <decision>` or `/answer " in ways[0]
        assert "Answer <text>`" in ways[0]


async def test_draining_waits_for_answers_and_gives_up_open_questions() -> None:
    async with talking() as talk:
        talk.console.submit("@asker what=leave")
        talk.console.submit("@slow later")
        await talk.slow.called.wait()
        draining = asyncio.create_task(talk.console.drain())
        await talk.paper.until("asker #1: cancelled")
        assert not draining.done()
        talk.slow.go.set()
        await draining
        assert talk.paper.rows == ["slow #2: later"]


async def test_text_grows_on_the_screen_and_is_not_repeated() -> None:
    async with talking() as talk:
        talk.console.submit("@writer One |line.\nAnd |two.")
        talk.writer.go.put_nowait(None)
        await talk.paper.until("One ")
        assert (talk.paper.growing, talk.paper.rows) == ("writer #1: One ", [])
        talk.writer.go.put_nowait(None)
        await talk.paper.until("writer #1: One line.")
        talk.writer.go.put_nowait(None)
        await talk.console.settled()
        assert talk.paper.rows == ["writer #1: One line.", "And two."]
        assert talk.paper.growing == ""


async def test_only_one_answer_grows_at_a_time_and_the_other_comes_whole() -> None:
    async with talking() as talk:
        talk.console.submit("@writer a|b")
        talk.writer.go.put_nowait(None)
        await talk.paper.until("writer #1: a")
        talk.console.submit("@writer c")
        for _ in range(2):
            talk.writer.go.put_nowait(None)
        await talk.console.settled()
        assert sorted(talk.paper.rows) == ["writer #1: ab", "writer #2: c"]


async def test_what_is_cancelled_while_it_grows_stays_on_the_screen() -> None:
    async with talking() as talk:
        talk.console.submit("@writer half |done")
        talk.writer.go.put_nowait(None)
        await talk.paper.until("half")
        talk.console.cancel()
        await talk.console.settled()
        assert talk.paper.rows == ["writer #1: half "]
        assert talk.paper.errors == ["writer #1: cancelled"]


async def test_growing_text_cannot_give_orders_to_the_terminal() -> None:
    async with talking() as talk:
        talk.console.submit("@writer \x9b31m|x")
        talk.writer.go.put_nowait(None)
        await talk.paper.until("writer #1: ")
        assert talk.paper.growing == "writer #1: \\x9b31m"


async def test_trace_shows_each_message_with_its_payload() -> None:
    async with talking() as talk:
        await talk.say("@greeter Alice")
        assert talk.paper.notes == []
        await talk.say("/trace on")
        await talk.say("@greeter Alice")
        assert [note.strip() for note in talk.paper.notes[1:]] == [
            'console → greeter  Greeting {"name": "Alice"}',
            'greeter → shouter  Shout {"text": "Hello, Alice!"}',
            'greeter → console  Shout {"text": "HELLO, ALICE!"}',
        ]
        await talk.say("/trace off")
        before = len(talk.paper.notes)
        await talk.say("@greeter Alice")
        assert len(talk.paper.notes) == before


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("/help", ["/cancel [ID]", "!text", "goes to greeter"]),
        (
            "/listeners",
            ["@calculator.add", "AddPayload", "person", "agent", "(default)", "Order, Refund, Ping"],
        ),
        ("/describe greeter", ["And shouts.", "shouter", "@greeter <name>", "Somebody to greet."]),
        ("/describe @shop", ["@shop Refund number=<int> reason=<str>", ">= 1"]),
        ("/describe writer", ["agent", "calculator.add"]),
        ("/threads", ["no open threads"]),
        ("/usage", ["no model was called yet"]),
        ("/cost", ["no model was called yet"]),
        ("/status", ["house", "0 messages", "/log"]),
        ("/dead", ["no dead letters"]),
    ],
)
async def test_commands_show_what_there_is(command: str, parts: list[str]) -> None:
    async with talking() as talk:
        await talk.say(command)
        text = "\n".join(talk.paper.rows)
        for part in parts:
            assert part in text
        assert not talk.console.failed


async def test_threads_are_shown_below_their_callers() -> None:
    async with talking() as talk:
        await talk.say("@asker what=leave")
        await talk.say("/threads")
        first, second = talk.paper.rows
        assert "  asker  called by console" in first
        assert "    boss  called by asker" in second
        await talk.say(f"/thread {first.split()[0]}")
        assert "asker" in "\n".join(talk.paper.rows[2:])
        assert "0 tokens" in "\n".join(talk.paper.rows[2:])


async def test_dead_letters_are_listed_with_their_reason() -> None:
    async with talking() as talk:
        async with talk.organism.events() as facts:
            await talk.organism.send("broken", Task("x"))
            async for fact in facts:
                if isinstance(fact, DeadLettered):
                    break
        await talk.say("/dead")
        assert "nobody outside waits" in talk.paper.rows[0]


async def test_a_listener_named_console_does_not_stop_the_console() -> None:
    organism = build()

    async def console(payload: object, metadata: object) -> None:
        return None

    organism.listener(console, accepts=[organism.listeners["greeter"].accepts["Greeting"].cls])
    paper = Paper()
    async with organism, Console(organism, paper) as talk:
        talk.submit("@greeter Alice")
        await talk.settled()
        assert paper.rows == ["greeter #1: HELLO, ALICE!"]


async def test_leaving_with_asks_open_cancels_them() -> None:
    slow, paper = Slow(), Paper()
    async with build(slow) as organism:
        async with Console(organism, paper) as console:
            console.submit("@slow x")
            await slow.called.wait()
        assert paper.errors == ["slow #1: cancelled"]


@pytest.mark.parametrize("journal", [None, "state.db"])
async def test_what_is_cancelled_before_its_first_step_ends_like_all_else(
    journal: str | None, tmp_path: Path
) -> None:
    options = {} if journal is None else {"journal": tmp_path / journal}
    async with talking(**options) as talk:
        talk.console.submit("@slow one")
        assert talk.console.cancel() == 1  # in the same tick: its task took no step
        async with asyncio.timeout(10):
            await talk.console.drain()
        assert (talk.console.running, talk.paper.errors) == ({}, ["slow #1: cancelled"])
        await talk.say("@greeter Alice")
        assert talk.paper.rows[-1] == "greeter #2: HELLO, ALICE!"


async def test_costs_come_from_the_ledger(tmp_path: Path) -> None:
    backend = ScriptedBackend(
        rules=(Rule(reply="x", usage={"prompt_tokens": 400, "completion_tokens": 100}),)
    )
    router = Router([backend], ledger=LedgerFile(tmp_path / "usage.db"))
    paper = Paper()
    async with Organism("x", [], router=router) as organism, Console(organism, paper) as talk:
        await router.complete("m", "hello", agent_id="before")
        talk.began = time.time() + 1
        for command in ("/cost", "/cost all", "/cost all model", "/cost nonsense"):
            talk.submit(command)
            await talk.settled()
    text = "\n".join(paper.rows)
    assert "no model was called" in paper.rows[0]
    assert "before" in text
    assert "MODEL" in text
    assert talk.failed, "there is no /cost nonsense"
