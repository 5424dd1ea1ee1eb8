"""Real processes, really killed: at each place between a decision and its effects, and at any time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journal.births import SCALE, Nursery
from tests.journal.large_run import note


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    with Nursery(tmp_path) as nursery:
        yield nursery


MOST = 4  # deaths of one organism: a message that was interrupted more often is taken for their cause
PLACES = ["append", "durable", "handler", "returned", "statement"]


@pytest.mark.parametrize("place", PLACES)
def test_a_death_at_each_place_between_a_decision_and_its_effects(nursery: Nursery, place: str) -> None:
    for nth in (0, 1, 2, 5, 9, 14, 20, 33):
        if nursery.folder.joinpath("answers").exists():
            nursery.fresh()
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
        nursery.fresh()


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_ten_thousand_deaths(nursery: Nursery) -> None:
    """What `holds` finds lost or done twice fails the test, so of either there is none in the figures."""
    chance = random.Random(1)
    deaths: Counter[str] = Counter()
    while deaths.total() < 10_000 * SCALE:
        for _ in range(chance.randint(1, MOST)):
            if chance.random() < 0.5:
                place = "at_any_time"
                code = nursery.life(milliseconds=chance.uniform(1, 80))
            else:
                place = chance.choice(PLACES)
                code = nursery.life(failpoint=place, nth=chance.randrange(40))
            if code == 0:
                break
            assert code == -9
            deaths[place] += 1
        else:
            assert nursery.life() == 0
        nursery.holds()
        nursery.fresh()
    note("kills", deaths=deaths.total(), lost=0, twice=0, **deaths)
