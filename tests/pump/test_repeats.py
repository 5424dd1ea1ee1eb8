"""Messages whose handlers were interrupted run few at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.pump.scenes import Question
from xml_pipeline.envelope import Heading, Message
from xml_pipeline.payload import codec_of
from xml_pipeline.pump.deadlines import Deadlines
from xml_pipeline.pump.repeats import Repeats

ID = "2f1c0000-0000-4000-8000-0123456789ab"
ONE = Message.sealed(Heading("a", "b", ID, ID), Question("x"), codec_of(Question))


@given(st.lists(st.tuples(st.integers(2, 5), st.booleans()), max_size=30))
def test_few_run_together_suspects_alone_and_all_have_their_turn(adding: list[tuple[int, bool]]) -> None:
    running: dict[str, Message] = {}
    lane = Repeats(lambda message: running.update({message.message_id: message}), Deadlines())
    started: list[str] = []

    def end_one() -> None:
        message_id = next(iter(running))
        del running[message_id]
        started.append(message_id)
        assert not lane.end(message_id)

    for number, (attempt, ends) in enumerate(adding):
        lane.add(replace(ONE, message_id=str(number), attempt=attempt), attempt - 1)
        attempts = [message.attempt for message in running.values()]
        assert len(attempts) <= 4
        assert len(attempts) == 1 or set(attempts) <= {2} or attempts.count(2) == len(attempts) - 1
        if ends and running:
            end_one()
    while running:
        end_one()
    assert sorted(started) == sorted(str(number) for number in range(len(adding)))
    assert not lane.ids


def test_one_that_waits_may_be_taken_out() -> None:
    running: list[str] = []
    lane = Repeats(lambda message: running.append(message.message_id), Deadlines())
    for number in range(6):
        lane.add(replace(ONE, message_id=str(number)), 1)
    assert running == ["0", "1", "2", "3"]
    assert lane.end("5")
    assert not lane.end("unknown")
    assert not lane.end("0")
    assert running[4:] == ["4"]
