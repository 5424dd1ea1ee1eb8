"""When what gathers for the thread that writes is handed over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from xml_pipeline.errors import JournalError
from xml_pipeline.journal import Step
from xml_pipeline.journal.gathering import Gathering
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.threads.record import Began

BEGAN = Began("outside", "helper", "s", False, True)


class Turns(asyncio.AbstractEventLoop):
    """An event loop that makes its turns when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.soon: list[Callable[..., Any]] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        self.soon.append(callback)

    def turn(self, seconds: float = 0.001) -> None:
        self.now += seconds
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


class Desk:
    """Somebody to whom things are handed over."""

    def __init__(self) -> None:
        self.loop = Turns()
        self.batches: list[tuple[list[int], bool]] = []
        self.gathering = Gathering[int](self.loop, lambda batch, more: self.batches.append((batch, more)))


def test_one_alone_is_handed_over_after_a_turn_that_adds_nothing() -> None:
    desk = Desk()
    desk.gathering.add(1)
    desk.loop.turn()
    assert not desk.batches
    desk.loop.turn()
    assert desk.batches == [([1], False)]
    assert not desk.loop.soon


def test_what_comes_turn_after_turn_is_handed_over_together() -> None:
    desk = Desk()
    for number in range(10):
        desk.gathering.add(number)
        desk.loop.turn()
    desk.loop.turn()
    assert desk.batches == [(list(range(10)), False)]


def test_the_first_waits_no_longer_for_a_loop_that_is_always_busy() -> None:
    desk = Desk()
    for number in range(1000):
        desk.gathering.add(number)
        desk.loop.turn(0.001)
    assert len(desk.batches) > 10
    assert all(more for _, more in desk.batches)
    assert max(len(batch) for batch, _ in desk.batches) < 60


def test_what_there_is_can_be_handed_over_at_once() -> None:
    desk = Desk()
    desk.gathering.hand_over()
    desk.gathering.add(1)
    desk.gathering.hand_over()
    assert desk.batches == [([1], False)]
    desk.gathering.add(2)
    for _ in range(4):
        desk.loop.turn()
    assert desk.batches == [([1], False), ([2], False)]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.001, 0.1]), st.booleans())))
def test_all_come_once_and_in_order(turns: list[tuple[int, float, bool]]) -> None:
    desk, added = Desk(), 0
    for many, seconds, now in turns:
        for _ in range(many):
            desk.gathering.add(added)
            added += 1
        if now:
            desk.gathering.hand_over()
        desk.loop.turn(seconds)
    for _ in range(3):
        desk.loop.turn()
    assert [each for batch, _ in desk.batches for each in batch] == list(range(added))
    assert all(batch for batch, _ in desk.batches)


async def test_a_step_becomes_durable_although_the_loop_never_rests(tmp_path: Path) -> None:
    def failed(error: JournalError) -> None:
        raise error

    journal, durable = SqliteJournal(tmp_path / "state.db"), list[int]()
    await journal.start(failed)
    number = 0
    while not durable:
        name = f"conversation {number}"
        journal.append(name, 0, Step(name, 0, 1.0, [BEGAN]), lambda number=number: durable.append(number))  # type: ignore[misc]
        number += 1
        await asyncio.sleep(0)
    await journal.close()
    assert durable == list(range(number))
