"""A handler that ends its process takes nobody with it but itself."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.journal.births import Nursery
from tests.journal.poison import INNOCENT
from xml_pipeline.journal.file import read_only
from xml_pipeline.journal.history import faults


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    with Nursery(tmp_path) as nursery:
        yield nursery


def told(nursery: Nursery) -> tuple[dict[str, str], list[str]]:
    found = json.loads((nursery.folder / "told").read_text())
    return found["answers"], found["letters"]


def innocent(answers: dict[str, str]) -> bool:
    return all(answers[str(n)] == str(n) for n in range(INNOCENT))


def letters_in(journal: sqlite3.Connection) -> list[str]:
    return [reason for (reason,) in journal.execute("SELECT reason FROM letters WHERE sender != 'system'")]


def test_a_handler_that_ends_the_process_is_given_up_after_five_lives_and_all_others_are_answered(
    nursery: Nursery,
) -> None:
    for _ in range(5):
        assert nursery.life(poison="here") == -signal.SIGSEGV
    assert nursery.life(poison="here") == 0
    answers, letters = told(nursery)
    assert "interrupted 5 times" in answers.pop("poison")
    assert innocent(answers)
    assert [each for each in letters if "interrupted 5 times" not in each] == []
    with closing(read_only(nursery.journal)) as journal:
        assert list(faults(journal)) == []
        assert journal.execute("SELECT count(*) FROM open").fetchone() == (0,)
        assert len(letters_in(journal)) == 1


@pytest.mark.timeout(120)
def test_one_that_ends_a_process_of_the_pool_ends_no_life(nursery: Nursery) -> None:
    assert nursery.life(poison="in a process") == 0
    answers, letters = told(nursery)
    assert "ProcessEnded" in answers.pop("poison")  # told at once: nobody else was interrupted
    assert innocent(answers)
    assert letters == []
