"""Many deadlines, one timer."""

from __future__ import annotations

import asyncio
import random
import tracemalloc

import pytest

from tests.pump.scenes import virtual
from xml_pipeline.pump.deadlines import Deadlines


def started() -> Deadlines:
    deadlines = Deadlines()
    deadlines.start(asyncio.get_running_loop())
    return deadlines


@virtual
async def test_each_rings_once_in_its_time_unless_it_was_discarded() -> None:
    deadlines, rung, source = started(), list[tuple[float, int]](), random.Random(7)
    now = asyncio.get_running_loop().time
    due = {n: source.choice([1.0, 2.5, 2.5, 7.0, 30.0]) for n in range(500)}
    for n, seconds in due.items():
        deadlines.add(n, seconds, lambda n: rung.append((now(), n)))
    discarded = {n for n in due if source.random() < 0.5}
    for n in discarded:
        deadlines.discard(n)
        deadlines.discard(n)
    await asyncio.sleep(100)
    assert sorted(n for _, n in rung) == sorted(set(due) - discarded)
    assert all(at == pytest.approx(due[n]) for at, n in rung)
    deadlines.close()


@virtual
async def test_a_callback_may_add_and_discard() -> None:
    deadlines, rung = started(), list[str]()

    def first(_: str) -> None:
        rung.append("first")
        deadlines.discard("third")
        deadlines.add("second", 1, rung.append)

    deadlines.add("first", 1, first)
    deadlines.add("third", 2, rung.append)
    await asyncio.sleep(10)
    assert rung == ["first", "second"]
    deadlines.close()


@virtual
async def test_what_is_added_again_has_its_new_time_only() -> None:
    deadlines, rung = started(), list[float]()
    now = asyncio.get_running_loop().time
    for seconds in (1, 7, 5):
        deadlines.add("x", seconds, lambda _: rung.append(now()))
    await asyncio.sleep(10)
    assert rung == [5]
    deadlines.close()


@virtual
async def test_nothing_rings_after_the_close() -> None:
    deadlines, rung = started(), list[str]()
    deadlines.add("x", 1, rung.append)
    deadlines.close()
    await asyncio.sleep(10)
    assert rung == []


@virtual
async def test_deadlines_of_every_length_leave_nothing_behind() -> None:
    """As when a handler gathers with what is left of its time."""
    deadlines = started()

    def round_of(start: int) -> None:
        for n in range(start, start + 5_000):
            deadlines.add("x", n / 7, lambda _: None)
            deadlines.discard("x")

    round_of(1)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        round_of(10_000)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        deadlines.close()
    assert grown < 50_000
