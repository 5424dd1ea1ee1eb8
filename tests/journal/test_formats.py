"""Journals of every format that there was are gone on with, or refused with what to do."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.journal.golden.firm import Done, Firm, Order, Task
from tests.journal.golden.make import FOLDER
from tests.journal.test_recovery import came_to, finished
from xml_pipeline.errors import JournalError
from xml_pipeline.journal.file import VERSION, looked_at, made, opened
from xml_pipeline.journal.history import faults
from xml_pipeline.journal.sqlite import SqliteJournal

FORMATS = sorted(FOLDER.glob("format_*.sql"))


def written(dump: Path, path: Path) -> Path:
    with closing(sqlite3.connect(path)) as journal:
        journal.executescript(dump.read_text())
    return path


def schema(journal: sqlite3.Connection) -> set[str]:
    return {sql for (sql,) in journal.execute("SELECT sql FROM sqlite_schema WHERE sql NOT NULL")}


@pytest.mark.parametrize("dump", FORMATS, ids=lambda each: each.stem)
def test_every_format_becomes_the_golden_one_of_today(dump: Path, tmp_path: Path) -> None:
    """Another table or column is another format: give it a number, and let `golden.make` write its journal."""
    made(tmp_path / "new.db")
    with (
        closing(opened(tmp_path / "new.db", "normal")) as new,
        closing(opened(written(dump, tmp_path / "old.db"), "normal")) as old,
        closing(looked_at(written(FOLDER / f"format_{VERSION}.sql", tmp_path / "golden.db"))) as golden,
    ):
        assert schema(new) == schema(old) == schema(golden)


@pytest.mark.parametrize("dump", FORMATS, ids=lambda each: each.stem)
async def test_a_golden_journal_is_gone_on_with(dump: Path, tmp_path: Path) -> None:
    path = written(dump, tmp_path / "state.db")
    anew = dump.stem == "format_1"  # what models answered was kept by another digest: they are asked again
    firm = Firm(closed=False)
    first = Done("order 1: charged 1, answer 1 charged 2, granted; before: []")
    second = f"order 2: charged 3, answer {1 if anew else 2} charged 4, granted again; before: ['order 1']"
    async with firm.organism(path) as organism:
        session = organism.session(id="customer")
        assert await session.ask("desk", Order(1), key="first") == first
        await came_to(lambda: organism.questions())
        (question,) = organism.questions()
        assert question.payload == Task("boss 2")
        organism.answer(question.thread_id, Done("granted again"))
        assert await session.ask("desk", Order(2), key="second") == Done(second)
        await finished(organism)
    assert firm.charged == 0
    assert len(firm.model.asked) == anew
    with closing(looked_at(path)) as journal:
        assert list(faults(journal)) == []
        assert journal.execute("SELECT count(*) FROM letters").fetchone() == (1,)


@pytest.mark.parametrize(
    ("pragma", "told"),
    [
        (
            f"user_version = {VERSION + 1}",
            f"has format {VERSION + 1}, and this version .* reads {VERSION}; use the",
        ),
        (
            "user_version = 0",
            f"has format 0, and this version .* reads {VERSION}; use the version that wrote it",
        ),
        ("application_id = 7", "database of another program; name another file"),
        ("application_id = 0", "database of another program; name another file"),
    ],
)
async def test_a_format_that_is_not_known_is_refused_and_left_as_it_is(
    tmp_path: Path, pragma: str, told: str
) -> None:
    path = written(FOLDER / f"format_{VERSION}.sql", tmp_path / "state.db")
    with closing(sqlite3.connect(path)) as journal:
        journal.execute(f"PRAGMA {pragma}")
    before = path.read_bytes()
    with pytest.raises(JournalError, match=told):
        await SqliteJournal(path).start(lambda error: None)
    with pytest.raises(JournalError, match=told):
        looked_at(path)
    assert path.read_bytes() == before


async def test_an_empty_file_is_a_journal_for_who_starts_and_none_for_who_looks(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch()
    with pytest.raises(JournalError, match="holds nothing: a journal is made when the organism is started"):
        looked_at(path)
    journal = SqliteJournal(path)
    await journal.start(lambda error: None)
    await journal.close()
    looked_at(path).close()
