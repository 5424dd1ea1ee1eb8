"""A log whose end is torn, and a database that is damaged: what was committed before it, or an error."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.journal.births import SCALE, Nursery
from tests.journal.test_power_loss import Written, whole
from xml_pipeline.cli import main
from xml_pipeline.errors import JournalError
from xml_pipeline.journal import Step
from xml_pipeline.journal.durable import Kept
from xml_pipeline.journal.file import looked_at
from xml_pipeline.journal.history import faults
from xml_pipeline.journal.sqlite import SqliteJournal

HEAD, PAGE = 24, 4096
FRAME = HEAD + PAGE


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a journal whose process was killed when most of its work stood in the log."""
    folder = tmp_path_factory.mktemp("killed")
    with Nursery(folder) as nursery:
        assert nursery.life(failpoint="durable", nth=45, idle=60) == -9
    return folder


def copied(source: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    for name in ("state.db", "state.db-wal"):
        shutil.copy(source / name, to)
    return to / "state.db"


def commits(log: bytes) -> list[int]:
    """Where the log has a whole number of transactions: behind the frames that end one."""
    frames = range(32, len(log) - FRAME + 1, FRAME)
    return [start + FRAME for start in frames if log[start + 4 : start + 8] != bytes(4)]


def at_each_kind_of_byte(log: bytes) -> list[int]:
    """Places in the last two transactions and before them: borders of frames, headers, pages, sectors."""
    ends = commits(log)
    first = ends[-3]
    places = {32, 33, ends[0] + 1, len(log) - 1, len(log) - 2}
    for frame in range(first, ends[-1], FRAME):
        places |= {
            frame + each for each in (0, 1, 3, 4, 7, 8, 15, 16, 23, 24, 25, 511, 512, 2048, 4095, 4119)
        }
    return sorted(each for each in places if each < len(log))


def test_a_log_that_is_cut_leaves_what_was_committed_before(killed: Path, tmp_path: Path) -> None:
    all_of_it, _ = whole(copied(killed, tmp_path / "all"))
    log = (killed / "state.db-wal").read_bytes()
    ends = commits(log)
    known: dict[int, Written] = {}
    for place in at_each_kind_of_byte(log):
        for damage in (b"", b"\0" * (len(log) - place), bytes([log[place] ^ 0x40]) + log[place + 1 :]):
            path = copied(killed, tmp_path / "cut")
            path.with_name("state.db-wal").write_bytes(log[:place] + damage)
            found, _ = whole(path)
            assert found == all_of_it[: len(found)]
            last = max((end for end in ends if end <= place), default=0)
            if damage[:1] == log[place : place + 1]:
                continue  # what was written over it was the same there
            assert found == known.setdefault(last, found), (
                "the same commits are left, wherever it is cut behind them"
            )
    assert len({len(each) for each in known.values()}) > 2


# --- damage in the middle ---


async def started(path: Path) -> tuple[Kept, dict[str, list[Step] | JournalError]]:
    """What an organism finds there, and each conversation in it, or the error. Raises JournalError."""
    journal = SqliteJournal(path)
    try:
        kept = await journal.start(lambda error: None)
        found: dict[str, list[Step] | JournalError] = {}
        for each in kept.open:
            try:
                found[each.id] = journal.steps(each.id)
            except JournalError as error:
                found[each.id] = error
        return kept, found
    finally:
        await journal.close()


def told_by_check(path: Path) -> bool:
    try:
        with closing(looked_at(path)) as journal:
            return bool(list(faults(journal)))
    except JournalError:
        return True


Damage = Callable[[bytearray, int, random.Random], None]


def zeroed(content: bytearray, page: int, chance: random.Random) -> None:
    content[page : page + PAGE] = bytes(PAGE)


def scribbled(content: bytearray, page: int, chance: random.Random) -> None:
    start = page + chance.randrange(PAGE - 64)
    content[start : start + 64] = chance.randbytes(64)


def flipped(content: bytearray, page: int, chance: random.Random) -> None:
    content[page + chance.randrange(PAGE)] ^= 1 << chance.randrange(8)


def cut(content: bytearray, page: int, chance: random.Random) -> None:
    del content[page + chance.randrange(PAGE) :]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("damage", [zeroed, scribbled, flipped, cut])
def test_damage_in_the_middle_is_told_and_nothing_is_made_up(
    killed: Path, tmp_path: Path, damage: Damage
) -> None:
    """The start refuses, or the conversation is an error; where the start sees nothing, the check does.

    SQLite has no sums over its pages: a flipped bit in an index hides a row from a start, and from no check.
    """
    path = copied(killed, tmp_path / "folded")
    with closing(sqlite3.connect(path)) as journal:
        journal.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content, chance = path.read_bytes(), random.Random(8)
    _, conversations = asyncio.run(started(path))
    refused = errors = 0
    for _ in range(max(1, int(50 * SCALE))):
        for page in range(0, len(content), PAGE):
            changed = bytearray(content)
            damage(changed, page, chance)
            copied(killed, path.parent)
            path.write_bytes(changed)
            path.with_name("state.db-wal").unlink()
            checked = told_by_check(path)
            try:
                _, found = asyncio.run(started(path))
            except JournalError:
                refused += 1
                continue
            for name, steps in found.items():
                if isinstance(steps, JournalError) or not steps:
                    errors += 1
                    continue
                usually = conversations[name]
                assert isinstance(usually, list)
                assert steps == usually[: len(steps)], "made up"
                assert checked or len(steps) == len(usually), "skipped, and nobody is told"
            assert checked or found.keys() == conversations.keys(), "skipped, and nobody is told"
    assert damage is not zeroed or (refused and errors)


async def test_whoever_starts_on_a_damaged_journal_is_told_what_to_do(killed: Path, tmp_path: Path) -> None:
    path = copied(killed, tmp_path / "damaged")
    with closing(sqlite3.connect(path)) as journal:
        journal.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = journal.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'open'").fetchone()
    content = bytearray(path.read_bytes())
    zeroed(content, (page - 1) * PAGE, random.Random())
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"malformed; it is damaged: .*Put a copy of it back"):
        await started(path)


@pytest.mark.parametrize("command", [("log",), ("journal", "check"), ("journal", "export"), ("dead", "list")])
def test_a_command_that_meets_damage_tells_it_in_one_line(
    killed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    path = copied(killed, tmp_path / "damaged")
    with closing(sqlite3.connect(path)) as journal:
        journal.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = journal.execute("SELECT rootpage FROM sqlite_schema WHERE type = 'table'").fetchall()
    content = bytearray(path.read_bytes())
    for (page,) in pages:
        if page != 1:
            zeroed(content, (page - 1) * PAGE, random.Random())
    path.write_bytes(content)
    assert main([*command, "--journal", str(path)]) == 1
    told = capsys.readouterr()
    assert "damaged" in told.out + told.err
    assert "Traceback" not in told.err
