"""A process that is stopped keeps what is its own; when it goes on nothing is missing, and when it dies neither."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journal.births import SCALE, STOPPED, Nursery
from tests.journal.large_run import note
from xml_pipeline.errors import JournalError
from xml_pipeline.journal.sqlite import SqliteJournal


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    with Nursery(tmp_path) as nursery:
        yield nursery


async def in_use(path: Path) -> bool:
    """Whether whoever wants the journal now is told to let it be, and by whom it is used."""
    journal = SqliteJournal(path)
    try:
        await journal.start(lambda error: None)
    except JournalError as error:
        return "in use by process" in str(error)
    finally:
        await journal.close()
    return False


async def test_nobody_gets_the_journal_of_a_process_that_is_stopped(nursery: Nursery) -> None:
    assert nursery.life(failpoint="handler", nth=3, does="stop") == STOPPED
    assert await in_use(nursery.journal)
    assert nursery.signalled((0, signal.SIGCONT)) == 0
    nursery.holds()
    nursery.fresh()
    assert nursery.life(failpoint="handler", nth=3, does="stop") == STOPPED
    assert await in_use(nursery.journal)
    assert nursery.signalled((0, signal.SIGKILL)) == -signal.SIGKILL
    assert nursery.life() == 0
    nursery.holds()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_stops_at_odd_times(nursery: Nursery) -> None:
    chance = random.Random(7)
    stops = 0
    while stops < 1000 * SCALE:
        for _ in range(4):  # lives
            code = nursery.life(signals=[(chance.uniform(1, 50), signal.SIGSTOP)])
            while code == STOPPED:
                stops += 1
                for_good = chance.random() < 0.4
                code = nursery.signalled(
                    (chance.uniform(0, 30), signal.SIGKILL if for_good else signal.SIGCONT),
                    *([] if for_good else [(chance.uniform(31, 60), signal.SIGSTOP)]),
                )
            if code == 0:
                break
        else:
            assert nursery.life() == 0
        nursery.holds()
        nursery.fresh()
    note("stops", stops=stops, killed_while_stopped=nursery.deaths, lost=0, twice=0)
