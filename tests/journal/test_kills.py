"""Real processes, really killed: at each place between a decision and its effects, and at any time."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journal.nursery import KEYS, expected
from xml_pipeline.journal.file import read_only, steps_of
from xml_pipeline.journal.history import faults
from xml_pipeline.threads.record import Accepted, DeadLetter, Handled

SCALE = float(os.environ.get("XP_SLOW_SCALE", "0.02"))  # of ten thousand deaths


class Nursery:
    """Lives, one after the other, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.deaths = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.journal.nursery", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def life(self, **fate: Any) -> int:
        """How a life ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(fate) + "\n")
        code = int(self.process.stdout.readline())
        self.deaths += code == -9
        return code

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def holds(self) -> None:
        """All was answered, once; no message is lost, none was accepted twice, and the file is whole."""
        answers = json.loads((self.folder / "answers").read_text())
        assert answers == [expected(n).text for n in range(len(KEYS))]
        journal = read_only(self.folder / "state.db")
        assert list(faults(journal)) == []
        assert journal.execute("SELECT count(*) FROM open").fetchone() == (0,)
        conversations = [name for (name,) in journal.execute("SELECT id FROM conversations")]
        assert len(conversations) == len(KEYS)
        for conversation in conversations:
            consistent(journal, conversation)
        diary = (self.folder / "diary").read_text().splitlines()
        starts = Counter(line.rpartition(" ")[0] for line in diary)
        assert len(starts) == len(KEYS) * 7  # calls of handlers, by message: 3 of the front, 4 of workers
        (remembered,) = journal.execute("SELECT count(*) FROM memories").fetchone()
        assert remembered == len(KEYS)
        journal.close()


def consistent(journal: sqlite3.Connection, conversation: str) -> None:
    """Each accepted message is done once, and the numbers have no gap."""
    steps = steps_of(journal, conversation)
    accepted: list[str] = []
    done: list[str] = []
    seq = 0
    for step in steps:
        assert step.seq == seq
        seq += len(step.events)
        for event in step.events:
            if isinstance(event, Accepted):
                accepted.append(event.message.message_id)
                if event.leaves or event.fills is not None:
                    done.append(event.message.message_id)
            elif isinstance(event, Handled):
                done.append(event.message_id)
            assert not isinstance(event, DeadLetter)
    assert len(set(accepted)) == len(accepted)
    assert sorted(done) == sorted(accepted)


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path)
    yield nursery
    nursery.close()


def fresh(nursery: Nursery) -> None:
    for file in nursery.folder.iterdir():
        file.unlink()


MOST = 4  # deaths of one organism: a message that was interrupted more often is taken for their cause
PLACES = ["append", "durable", "handler", "returned", "statement"]


@pytest.mark.parametrize("place", PLACES)
def test_a_death_at_each_place_between_a_decision_and_its_effects(nursery: Nursery, place: str) -> None:
    for nth in (0, 1, 2, 5, 9, 14, 20, 33):
        if nursery.folder.joinpath("answers").exists():
            fresh(nursery)
        for again in range(4):
            if nursery.life(failpoint=place, nth=nth + again) == 0:
                break
        assert nursery.life() == 0
        nursery.holds()
    assert nursery.deaths >= 16


def test_deaths_at_any_time(nursery: Nursery) -> None:
    chance = random.Random(5)
    while nursery.deaths < 60:
        for _ in range(MOST):
            if nursery.life(milliseconds=chance.uniform(1, 60)) == 0:
                break
        else:
            assert nursery.life() == 0
        nursery.holds()
        fresh(nursery)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_ten_thousand_deaths(nursery: Nursery) -> None:
    chance = random.Random(1)
    while nursery.deaths < 10_000 * SCALE:
        for _ in range(chance.randint(1, MOST)):
            if chance.random() < 0.5:
                code = nursery.life(milliseconds=chance.uniform(1, 80))
            else:
                code = nursery.life(failpoint=chance.choice(PLACES), nth=chance.randrange(40))
            if code == 0:
                break
            assert code == -9
        else:
            assert nursery.life() == 0
        nursery.holds()
        fresh(nursery)
    print(f"{nursery.deaths} deaths")
