"""A journal is changed all, or not at all, at whatever statement the process dies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.journal.lives import World, written
from tests.journal.test_recovery import came_to
from tests.pump.scenes import Go, Note, Question
from xml_pipeline.door import alone
from xml_pipeline.door.requests import Erase
from xml_pipeline.errors import JournalError, XmlPipelineError
from xml_pipeline.journal.file import looked_at
from xml_pipeline.journal.history import faults
from xml_pipeline.journal.letters import numbers
from xml_pipeline.journal.owner import InUse
from xml_pipeline.journal.sqlite import SqliteJournal

COUNTS = (
    "SELECT count(*) FROM conversations",
    "SELECT count(*) FROM open",
    "SELECT count(*) FROM letters",
    "SELECT count(*) FROM steps",
    "SELECT count(*) FROM steps WHERE erased IS NOT NULL",
)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """With a dead letter, a session, and conversations that are over."""
    world = World(tmp_path / "state.db")
    world.stuck = {"slow"}
    async with world.life() as organism:
        await organism.ask("top", Go(0))
        await organism.session(id="s").ask("greeter", Note("secret 4711"))
        with pytest.raises(XmlPipelineError):
            await organism.ask("slow", Question("x"), timeout=0.05)
        await came_to(lambda: organism.dead_letters)
    return world


def counted(path: Path) -> tuple[int, ...]:
    journal = looked_at(path)
    try:
        assert list(faults(journal)) == []
        return tuple(journal.execute(each).fetchone()[0] for each in COUNTS)
    finally:
        journal.close()


@pytest.mark.parametrize("what", ["erase", "compact", "retry", "drop"])
def test_it_is_changed_all_or_not_at_all(world: World, what: str) -> None:
    journal = looked_at(world.path)
    (name,) = journal.execute("SELECT id FROM conversations WHERE listener = 'greeter'").fetchone()
    journal.close()
    before, copy = counted(world.path), world.path.with_name("copy.db")
    mortal = subprocess.Popen(
        [sys.executable, "-m", "tests.journal.mortal", str(world.path), str(copy), name, what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert mortal.stdin is not None
    assert mortal.stdout is not None
    found, code = [], -9
    while code == -9:
        mortal.stdin.write("\n")
        code = int(mortal.stdout.readline())
        found.append(counted(copy))
    mortal.stdin.close()
    assert mortal.wait(30) == 0
    mortal.stdout.close()
    assert code == 0
    assert len(found) > 5
    after = found[-1]
    assert after != before
    assert set(found) == {before, after}, "nothing in between"
    assert found == sorted(found, key=lambda each: each == after), "and not back again"


async def test_what_fails_in_it_leaves_the_journal_to_others(world: World) -> None:
    with pytest.raises(JournalError, match="no conversation begins with 'x'"):
        await alone(world.path, Erase("x"))
    with written(world.path), pytest.raises(InUse, match="is in use by process"):
        await alone(world.path, Erase("x"))
    journal = SqliteJournal(world.path)
    await journal.start(lambda error: None)
    try:
        with pytest.raises(JournalError, match="cannot be used"):
            await journal.change(lambda connection: connection.execute("SELECT * FROM nothing"))
        with pytest.raises(RuntimeError, match="StopIteration"):
            await journal.change(lambda connection: next(iter(())))
        assert await journal.change(numbers) == [1]
    finally:
        await journal.close()
    with pytest.raises(JournalError, match="is closed"):
        await journal.change(numbers)
