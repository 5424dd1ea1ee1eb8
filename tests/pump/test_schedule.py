"""The scheduler alone: whose turn it is, and that no slot is ever lost."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pump.scenes import Go
from xml_pipeline.envelope import Heading, Message
from xml_pipeline.payload import codec_of
from xml_pipeline.pump.schedule import Scheduler, Scheduling

WRITER = codec_of(Go)
COUNT = itertools.count()
ORDERS: list[Scheduling] = ["breadth-first", "depth-first"]


def message(to: str = "a", thread: str | None = None, conversation: str = "c") -> Message:
    own = f"m{next(COUNT)}"
    return Message.sealed(
        Heading("x", to, thread or f"t-{own}", own, conversation_id=conversation), Go(), WRITER
    )


def scheduler(order: Scheduling = "breadth-first", slots: int = 4, **limits: int) -> Scheduler:
    made = Scheduler(order, slots, lambda: None)
    made.limit(limits or {"a": slots, "b": slots})
    return made


def add(to: Scheduler, *messages: Message) -> None:
    for each in messages:
        to.add(each, each.message_id)


def taken(of: Scheduler) -> list[str]:
    """What can run now, in order."""
    found = []
    while (each := of.take()) is not None:
        found.append(each.message_id)
    return found


@pytest.mark.parametrize("order", ORDERS)
def test_a_slot_that_goes_to_a_message_goes_on_when_that_is_discarded(order: Scheduling) -> None:
    turns = scheduler(order, slots=4, a=1, b=4)
    first, second, third = (message() for _ in range(3))
    add(turns, first, second, third)
    assert len(taken(turns)) == 1
    (granted,) = (turns.release("a"), *turns.granted)[1:]
    turns.discard(granted)
    (following,) = turns.granted
    assert {granted.message_id, following.message_id} < {each.message_id for each in (first, second, third)}
    turns.discard(following)
    assert not turns.granted
    assert not turns.running
    fresh = message()
    add(turns, fresh)
    assert taken(turns) == [fresh.message_id]


@pytest.mark.parametrize("order", ORDERS)
def test_what_was_discarded_is_not_handed_out(order: Scheduling) -> None:
    turns = scheduler(order)
    gone, stays = message(), message()
    add(turns, gone, stays)
    turns.discard(gone)
    assert taken(turns) == [stays.message_id]
    assert turns.running == 1


@pytest.mark.parametrize("order", ORDERS)
def test_what_was_discarded_while_it_was_parked_is_not_handed_out(order: Scheduling) -> None:
    turns = scheduler(order, a=1, b=1)
    running, gone, stays = message(), message(), message()
    if order == "depth-first":
        running, stays = stays, running
    add(turns, running, gone, stays)
    assert len(taken(turns)) == 1
    turns.discard(gone)
    turns.release("a")
    assert len(turns.granted) == 1
    assert gone not in turns.granted


@pytest.mark.parametrize("order", ORDERS)
def test_floods_that_are_discarded_do_not_lie_in_the_queues(order: Scheduling) -> None:
    turns = scheduler(order, a=1, b=1)
    stays = [message("b", conversation=f"s{n}") for n in range(3)]
    add(turns, *stays)
    gone = [message(conversation=f"c{n % 7}") for n in range(2_000)]
    add(turns, *gone)
    for each in gone:
        turns.discard(each)
    assert len(turns) < 1_000
    found = taken(turns)
    assert len(found) == 1
    while turns.running:
        turns.release("b")
        found += taken(turns)
    assert sorted(found) == sorted(each.message_id for each in stays)
    assert len(turns) == 0


def test_a_thread_that_waits_does_not_count_as_ready() -> None:
    turns = scheduler()
    first, second, third = (message(thread="t") for _ in range(3))
    add(turns, first, second, third)
    assert taken(turns) == [first.message_id]
    turns.discard(second)
    turns.release("a")
    turns.free("t")
    assert taken(turns) == [third.message_id]


def test_the_one_that_is_delivered_again_goes_ahead_of_its_thread() -> None:
    turns = scheduler()
    first, second = message(thread="t"), message(thread="t")
    add(turns, first, second)
    assert taken(turns) == [first.message_id]
    turns.release("a")
    turns.again(first)
    assert taken(turns) == [first.message_id]


def test_nobody_is_woken_for_what_cannot_run() -> None:
    woken: list[int] = []
    turns = Scheduler("breadth-first", 1, lambda: woken.append(1))
    turns.limit({"a": 1})
    add(turns, message())
    assert len(woken) == 1
    turns.attended = True
    add(turns, message())
    assert len(woken) == 1
    turns.attended = False
    assert turns.take() is not None
    add(turns, message())
    turns.call()
    assert len(woken) == 1  # no slot is free
    turns.release("a")
    assert len(woken) == 2
    turns.call()
    assert len(woken) == 3


@given(
    st.sampled_from(ORDERS),
    st.integers(1, 4),
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from(["add", "take", "done", "discard"]), st.integers(0, 50)), max_size=60),
)
def test_slots_are_used_and_kept_whatever_comes(
    order: Scheduling, slots: int, limit: int, steps: list[tuple[str, int]]
) -> None:
    turns = scheduler(order, slots, a=limit, b=limit, c=limit)
    share = min(limit, max(1, slots - 1))
    waiting: dict[str, Message] = {}
    running: list[Message] = []
    for what, number in steps:
        if what == "add":
            new = message("abc"[number % 3], conversation=f"c{number % 5}")
            waiting[new.message_id] = new
            add(turns, new)
        elif what == "take":
            got = turns.take()
            counts = {name: sum(each.to == name for each in running) for name in "abc"}
            free = [each for each in waiting.values() if counts[each.to] < share]
            if got is None:
                assert len(running) == slots or not free
            else:
                assert waiting.pop(got.message_id) is got  # never twice, and nothing that was discarded
                running.append(got)
                assert len(running) <= slots
                assert counts[got.to] < share
        elif what == "done" and running:
            turns.release(running.pop(number % len(running)).to)
        elif what == "discard" and waiting:
            turns.discard(waiting.pop(list(waiting)[number % len(waiting)]))
        assert turns.running == len(running)
    while waiting or running:
        while (got := turns.take()) is not None:
            del waiting[got.message_id]
            running.append(got)
        assert running, "what waits never runs"
        turns.release(running.pop().to)
    assert not turns.running
