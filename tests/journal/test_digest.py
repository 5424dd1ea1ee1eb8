"""The chain of digests: what was written can be told from what was changed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.journal.lives import World
from tests.pump.scenes import Go, Note, Question
from xml_pipeline.journal.file import looked_at
from xml_pipeline.journal.history import faults


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Of the journal of two lives, with conversations that are over, in a session, and open over a restart."""
    world = World(tmp_path / "state.db")
    for _ in range(2):
        async with world.life() as organism:
            await organism.ask("helper", Question("x"))
            await organism.session(id="s").ask("greeter", Note("hello"))
            await organism.ask("top", Go(0))
            await organism.send("top", Go(1))
            await organism.send("top", Go(4))
            await organism.send("anna", Question("?"))
    return world.path


def told(path: Path) -> list[str]:
    connection = looked_at(path)
    try:
        return list(faults(connection))
    finally:
        connection.close()


def done(path: Path, statement: str) -> None:
    vandal = sqlite3.connect(path)
    assert vandal.execute(statement).rowcount == 1, statement
    vandal.commit()
    vandal.close()


def test_what_nobody_changed_is_whole_over_lives(path: Path) -> None:
    assert told(path) == []


ONE = "(SELECT rowid FROM steps WHERE seq > 0 ORDER BY rowid LIMIT 1)"
LAST = "(SELECT number FROM conversations WHERE ended IS NOT NULL ORDER BY number LIMIT 1)"


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        (f"UPDATE steps SET events = x'90' WHERE rowid = {ONE}", "is changed"),
        (f"UPDATE steps SET at = at + 1 WHERE rowid = {ONE}", "is changed"),
        (f"UPDATE steps SET digest = zeroblob(16) WHERE rowid = {ONE}", "is changed"),
        (f"UPDATE steps SET erased = zeroblob(32) WHERE rowid = {ONE}", "is changed"),
        (f"UPDATE steps SET conversation = 99 WHERE rowid = {ONE}", "end is missing"),
        (f"DELETE FROM steps WHERE seq = 0 AND conversation = {LAST}", "has a gap: event 0 is missing"),
        (f"UPDATE conversations SET id = 'other' WHERE number = {LAST}", "conversation other is changed"),
        (f"UPDATE conversations SET ended = NULL WHERE number = {LAST}", "has ended, and counts as open"),
        ("DELETE FROM open WHERE number = (SELECT max(number) FROM open)", "it would not go on"),
        (f"INSERT INTO open VALUES ({LAST}, 1)", "is over, and is listed as open"),
        ("INSERT INTO conversations VALUES (99, 'empty', '', '', '', 1.0, NULL)", "empty has no events"),
    ],
)
def test_what_was_changed_lost_or_moved_is_found(path: Path, statement: str, fault: str) -> None:
    done(path, statement)
    (found,) = told(path)
    assert fault in found


def test_steps_that_changed_places_between_conversations_are_found(path: Path) -> None:
    vandal = sqlite3.connect(path)
    vandal.execute("UPDATE steps SET conversation = -conversation WHERE conversation IN (1, 2)")
    vandal.execute("UPDATE steps SET conversation = 3 + conversation WHERE conversation IN (-1, -2)")
    vandal.commit()
    vandal.close()
    assert ["is changed" in each for each in told(path)] == [True, True]
