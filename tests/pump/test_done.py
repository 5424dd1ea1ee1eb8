"""What is done at once, and awaited until it is durable: `answer`, `cancel`, the `close` of a session."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.pump.scenes import Answer, Note, Question, respond, until
from xml_pipeline import HandlerMetadata, Organism
from xml_pipeline.errors import JournalError, RoutingError
from xml_pipeline.threads.record import Handled, Over


def office(journal: Path | None) -> Organism:
    organism = Organism.build("office", journal=journal, shutdown_seconds=0)
    organism.human("anna", accepts=[Question], answers=[Answer])

    @organism.listener
    async def greeter(payload: Note, metadata: HandlerMetadata) -> Any:
        before = [note.text for note in metadata.recall(Note)]
        return respond(Note("+".join([*before, payload.text])), remember=payload)

    return organism


def rows(path: Path, what: str) -> list[Any]:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return connection.execute(what).fetchall()
    finally:
        connection.close()


def kinds(organism: Organism, conversation_id: str) -> set[type]:
    journal: Any = organism._pump._durable
    return {type(event) for step in journal.steps(conversation_id) for event in step.events}


async def test_what_was_awaited_is_in_the_file(tmp_path: Path) -> None:
    async with office(tmp_path / "state.db") as organism:
        answered, cancelled = [await organism.send("anna", Question(text)) for text in "ab"]
        await until(lambda: len(organism.questions()) == 2, 1_000_000)
        assert await organism.answer(organism.questions()[0].thread_id, Answer("yes")) is None
        assert Handled in kinds(organism, answered)
        assert await organism.cancel(cancelled) is True
        assert Over in kinds(organism, cancelled)
        assert await organism.cancel(cancelled) is False
        async with organism.session(id="alice") as alice:
            await alice.ask("greeter", Note("x"))
            assert rows(tmp_path / "state.db", "SELECT * FROM memories")
            await alice.close()
        assert not rows(tmp_path / "state.db", "SELECT * FROM memories")


@pytest.mark.parametrize("journal", [True, False])
async def test_it_is_done_whether_or_not_it_is_awaited(tmp_path: Path, journal: bool) -> None:
    async with office(tmp_path / "state.db" if journal else None) as organism:
        conversation = await organism.send("anna", Question("?"))
        await until(organism.questions, 1_000_000)
        done = organism.cancel(conversation)
        assert done
        assert repr(done) == "Done(True)"
        assert not organism.cancel(conversation)
        assert not organism.threads()
        assert await done
        with pytest.raises(RoutingError):
            organism.answer("no such thread", Answer("x"))


async def test_what_cannot_become_durable_is_told(tmp_path: Path) -> None:
    organism = office(tmp_path / "state.db")
    async with organism:
        conversation = await organism.send("anna", Question("?"))
        await until(organism.questions, 1_000_000)
        done = organism.cancel(conversation)
        organism._pump._break_off(JournalError("the file is gone"))
        with pytest.raises(JournalError, match="gone"):
            await done
        with pytest.raises(JournalError, match="gone"):
            await organism.session(id="x").close()


@pytest.mark.parametrize("when", ["while it stops", "afterwards"])
async def test_who_waits_for_it_at_a_stop_is_told_in_the_end(tmp_path: Path, when: str) -> None:
    organism = office(tmp_path / "state.db")
    await organism.start()
    await organism.send("anna", Question("?"))
    await until(organism.questions, 1_000_000)
    done = organism.answer(organism.questions()[0].thread_id, Answer("yes"))
    stopping = asyncio.ensure_future(organism.stop())
    if when == "while it stops":
        await asyncio.sleep(0)
    else:
        await stopping
    async with asyncio.timeout(30):
        await done
        await stopping
    assert rows(tmp_path / "state.db", "SELECT count(*) FROM open") == [(0,)]
