"""A disk that is full, a file that may not be written: nothing is lost, and whoever is refused is told why.

The disk is a real one, of 2 MiB, in memory; whoever may not mount one, not even in a namespace of his own, cannot
run those tests.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journal.births import SCALE, Nursery
from tests.journal.large_run import note
from tests.journal.nursery import REFUSED
from xml_pipeline.errors import JournalError
from xml_pipeline.journal.sqlite import SqliteJournal

ALONE = ("unshare", "--map-root-user", "--mount")
SMALL = 'mount -t tmpfs -o size=2m none "$0" && exec "$@"'
LARGER = 'mount -t tmpfs -o size=40m none "$0" && exec "$@"'
can_mount = (
    shutil.which("unshare") is not None
    and subprocess.run([*ALONE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0
)
needs_a_small_disk = pytest.mark.skipif(not can_mount, reason="no file system can be mounted here")

PLACES = ["append", "durable", "handler", "returned", "statement"]


@pytest.fixture
def cramped(tmp_path: Path) -> Iterator[Nursery]:
    """A nursery whose journals are on a small disk."""
    folder, disk = tmp_path / "outside", tmp_path / "disk"
    folder.mkdir()
    disk.mkdir()
    with Nursery(folder, disk=disk, within=(*ALONE, "sh", "-c", SMALL, str(disk))) as nursery:
        yield nursery


@needs_a_small_disk
@pytest.mark.parametrize("place", PLACES)
def test_a_disk_that_gets_full_under_a_life_that_is_killed_loses_nothing(
    cramped: Nursery, place: str
) -> None:
    for nth in (0, 5, 20):
        code = cramped.life(120, failpoint=place, nth=nth, does="fill")
        assert code in (-9, REFUSED, 0)
        cramped.told(ballast=False)
        assert cramped.life() == 0
        cramped.holds()
        cramped.fresh()


@needs_a_small_disk
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_full_disks_and_kills_at_odd_times(cramped: Nursery) -> None:
    chance = random.Random(3)
    while cramped.deaths < 500 * SCALE:
        for _ in range(2):  # so that nothing is interrupted five times
            place, nth = chance.choice(PLACES), chance.randrange(40)
            cramped.life(chance.uniform(20, 150), failpoint=place, nth=nth, does="fill")
            if chance.random() < 0.5:
                cramped.told(ballast=False)
            if chance.random() < 0.5:
                cramped.life(chance.uniform(1, 60))
        cramped.told(ballast=False)
        assert cramped.life() == 0
        cramped.holds()
        cramped.fresh()
    note("full_disks", deaths=cramped.deaths, lost=0, twice=0)


@needs_a_small_disk
def test_room_for_the_log_and_none_for_its_index_is_a_full_disk_too(tmp_path: Path) -> None:
    life = (sys.executable, "-m", "tests.journal.narrow", str(tmp_path))
    ended = subprocess.run(
        [*ALONE, "sh", "-c", LARGER, str(tmp_path), *life], capture_output=True, text=True, timeout=50
    )
    assert ended.returncode == 0, ended.stderr
    assert "disk I/O error); it is tried again" in ended.stdout


# --- what may not be written ---

AS_ANYBODY = ("setpriv", "--bounding-set=-dac_override") if os.geteuid() == 0 else ()
needs_permissions = pytest.mark.skipif(
    bool(AS_ANYBODY) and shutil.which("setpriv") is None, reason="root may write everything"
)


@pytest.fixture
def ordinary(tmp_path: Path) -> Iterator[Nursery]:
    """A nursery whose lives may write what permissions allow, and no more."""
    folder, disk = tmp_path / "outside", tmp_path / "disk"
    folder.mkdir()
    disk.mkdir()
    with Nursery(folder, disk=disk, within=AS_ANYBODY) as nursery:
        nursery.alone = False
        yield nursery
        disk.chmod(0o700)


@needs_permissions
@pytest.mark.parametrize("begun", [False, True], ids=["at the first start", "over a killed life"])
@pytest.mark.parametrize("what", ["disk", "state.db", "state.db-wal", "state.db.lock"])
def test_what_may_not_be_written_at_a_start_is_told_and_harms_nothing(
    ordinary: Nursery, what: str, begun: bool
) -> None:
    if begun:
        assert ordinary.life(failpoint="durable", nth=20) == -9
    path = ordinary.disk if what == "disk" else ordinary.disk / what
    if not path.exists():
        path.touch()
    usual = path.stat().st_mode
    path.chmod(usual & 0o555)
    if ordinary.life() != 0:  # all files are there, so the folder need not be written
        assert "state.db cannot be" in (ordinary.folder / "refusal").read_text()
    else:
        assert begun
        assert what == "disk"
    path.chmod(usual)
    assert ordinary.life() == 0
    ordinary.holds()


@needs_permissions
def test_what_may_not_be_written_any_more_is_noticed_at_the_next_start(ordinary: Nursery) -> None:
    """Whoever has a file open may go on with it."""
    code = ordinary.life(failpoint="append", nth=10, does="forbid")
    assert code == 0
    ordinary.holds()
    assert ordinary.life() == REFUSED
    assert "Permission denied" in (ordinary.folder / "refusal").read_text()
    for each in (ordinary.disk, *ordinary.disk.iterdir()):
        each.chmod(0o700)
    assert ordinary.life() == 0
    ordinary.holds()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="a process cannot see its open files here")
@pytest.mark.parametrize("place", PLACES)
def test_a_disk_that_begins_to_refuse_stops_the_organism_and_loses_nothing(
    ordinary: Nursery, place: str
) -> None:
    for nth in (0, 20):
        ordinary.fresh()
        assert ordinary.life(failpoint=place, nth=nth, does="bar") == REFUSED
        assert "disk I/O error" in (ordinary.folder / "refusal").read_text()
        assert ordinary.life() == 0
        ordinary.holds()


async def test_a_start_that_failed_leaves_the_journal_to_the_next_one(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "state.db")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(JournalError, match="its disk refuses to read or to write"):
            await journal.start(lambda error: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    await journal.start(lambda error: None)
    await journal.close()
