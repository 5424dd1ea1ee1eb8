"""Power cuts, at each moment of a life: what was not synced is gone, or is there in pieces.

A real life is recorded, call by call, and its disk is made anew as it may be after a cut (`power`). With
`synchronous: full` whatever anybody was told is there; with `normal` the file is whole, and holds all up to a moment.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.journal.births import SCALE, Nursery
from tests.journal.large_run import note
from tests.journal.nursery import KEYS, expected
from tests.journal.power import CALLS, Call, Disk, recorded
from xml_pipeline.journal.file import opened, steps_of
from xml_pipeline.journal.history import faults
from xml_pipeline.threads.record import Accepted

SHARES = (0.0, 0.5, 0.95, 1.0)  # of what was not synced, that is left
NOTHING_LOST: dict[str, dict[str, int]] = {"full": {"lost": 0}, "normal": {}}
can_record = (
    shutil.which("strace") is not None
    and subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode == 0
)
pytestmark = pytest.mark.skipif(not can_record, reason="strace is not here, or may not look at a process")


def life(folder: Path, synchronous: str) -> list[Call]:
    """The calls of one whole life, with what it told the outside."""
    disk, record = folder / "disk", folder / "record"
    (folder / "outside").mkdir()
    disk.mkdir()
    strace = ("strace", "-f", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(record))
    with Nursery(folder / "outside", disk=disk, within=strace) as nursery:
        assert nursery.life(synchronous=synchronous) == 0
        nursery.holds()
    return list(recorded(record, folder))


def put(files: dict[Path, bytes], disk: Path, elsewhere: Path) -> Path:
    """The disk as it is after a cut, at another place."""
    shutil.rmtree(elsewhere, ignore_errors=True)
    elsewhere.mkdir()
    for path, content in files.items():
        if path.parent == disk and not path.name.endswith("-shm"):  # shared memory is of one boot
            (elsewhere / path.name).write_bytes(content)
    return elsewhere / "state.db"


Written = list[tuple[int, int, bytes]]


def written(journal: sqlite3.Connection) -> Written:
    return journal.execute("SELECT conversation, seq, digest FROM steps ORDER BY rowid").fetchall()


def whole(path: Path) -> tuple[Written, set[str]]:
    """The steps of a journal that is whole, and the messages in it."""
    if not path.exists():
        return [], set()
    with closing(opened(path, "full")) as journal:
        assert list(faults(journal)) == []
        names = [name for (name,) in journal.execute("SELECT id FROM conversations")]
        messages = {
            event.message.message_id
            for name in names
            for step in steps_of(journal, name)
            for event in step.events
            if isinstance(event, Accepted)
        }
        return written(journal), messages


def moments(calls: list[Call], chance: random.Random) -> set[int]:
    """After which calls the power is cut."""
    most = int(2000 * SCALE)
    return {*chance.sample(range(len(calls)), min(most, len(calls))), len(calls) - 1}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("synchronous", ["full", "normal"])
def test_a_power_cut_leaves_what_was_promised(tmp_path: Path, synchronous: str) -> None:
    calls = life(tmp_path, synchronous)
    all_of_it, _ = whole(tmp_path / "disk" / "state.db")
    assert len(all_of_it) > len(KEYS) * 5
    chance = random.Random(9)
    cuts, disk, told = moments(calls, chance), Disk(), ""
    lost = 0
    for number, call in enumerate(calls):
        disk.take(call)
        if call.path.name == "diary":
            told += call.data.decode()
        if number not in cuts:
            continue
        for share in SHARES:
            files = disk.left(chance, share)
            found, messages = whole(put(files, tmp_path / "disk", tmp_path / "after"))
            assert found == all_of_it[: len(found)], "no prefix"
            handled = {line.split()[1] for line in told.splitlines()}
            if synchronous == "full":
                assert handled <= messages, f"told, and lost, after call {number}: {call.name} of {call.path}"
            lost += len(handled - messages)
            if (tmp_path / "outside" / "answers") in files and call.path.name == "answers":
                assert share < 1 or found == all_of_it
    assert synchronous == "full" or lost, "nothing was lost that could be, so nothing was simulated"
    note(f"power_cuts_{synchronous}", cuts=len(cuts) * len(SHARES), torn=0, **NOTHING_LOST[synchronous])


def test_what_was_told_is_gone_on_with_after_a_power_cut(tmp_path: Path) -> None:
    calls = life(tmp_path, "full")
    (tmp_path / "next").mkdir()
    chance, disk, told = random.Random(4), Disk(), ""
    cuts = {*chance.sample(range(len(calls) // 4, len(calls)), 5)}
    with Nursery(tmp_path / "next", disk=tmp_path / "after") as nursery:
        for number, call in enumerate(calls):
            disk.take(call)
            if call.path.name == "diary":
                told += call.data.decode()
            if number in cuts:
                put(disk.left(chance, 0.5), tmp_path / "disk", tmp_path / "after")
                (tmp_path / "next" / "diary").write_text(told)
                assert nursery.life(synchronous="full") == 0
                answers = json.loads((tmp_path / "next" / "answers").read_text())
                assert answers == [expected(n).text for n in range(len(KEYS))]
                nursery.holds()
