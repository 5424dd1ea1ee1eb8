"""Who is at work below a gather: counted as things happen, and held to a plain reading of the state."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.journal.lagging import Lagging, journaled
from tests.pump.scenes import Answer, Question, call, delegate, gather, respond, virtual
from xml_pipeline import Gathered, HandlerMetadata, SystemError
from xml_pipeline.journal import Step
from xml_pipeline.pump import listener
from xml_pipeline.pump.waits import Waits
from xml_pipeline.threads import Conversation, Thread


def at_work(thread: Thread) -> bool:
    return any(message_id != thread.asked for message_id in thread.inbox)


def below(conversation: Conversation, gather_id: str) -> int:
    """How many threads below a gather have something to do."""
    found = 0
    for thread in conversation.threads.values():
        above: Thread | None = thread
        while above is not None and (above.slot is None or above.slot[0] != gather_id):
            above = conversation.threads.get(above.parent)
        found += above is not None and at_work(thread)
    return found


class Followed(Lagging):
    """Follows each conversation, and compares after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: dict[str, Waits] = {}
        self.seen = 0

    def append(self, conversation_id: str, expected_seq: int, step: Step, done: Any) -> None:
        super().append(conversation_id, expected_seq, step, done)
        conversation = self.state.conversations.get(conversation_id)
        if conversation is None:
            return
        waits = self.waits.setdefault(conversation_id, Waits())
        before = {each: timed.below for each, timed in waits.gathers.items()}
        waits.follow(conversation, step.events)
        open_ = {each for thread in conversation.threads.values() for each in thread.gathers or ()}
        assert set(waits.gathers) == open_
        for gather_id, timed in waits.gathers.items():
            assert timed.below == below(conversation, gather_id)
            self.seen += timed.below == 0
            if bool(before.get(gather_id)) != bool(timed.below):
                assert gather_id in waits.changed
        waits.changed.clear()


@pytest.mark.parametrize("seed", range(30))
@virtual
async def test_who_is_at_work_below_a_gather_is_known_after_each_step(seed: int) -> None:
    source, journal = random.Random(seed), Followed()

    async def node(payload: Question | Answer | Gathered | SystemError, metadata: HandlerMetadata) -> Any:
        await asyncio.sleep(source.choice([0, 0, 1]))
        depth = int(payload.text or 0) if isinstance(payload, Question) else 0
        names = [source.choice(["node", "other", "anna"]) for _ in range(source.randint(1, 3))]
        calls = [call(Question(str(max(0, depth - 1))), to=name) for name in names]
        if depth and source.random() < 0.2:
            return delegate(calls[0].payload, to="other")
        if depth and source.random() < 0.2:
            return calls
        if depth:
            return gather(calls, timeout=source.choice([1, 60]))
        return source.choice([respond(Answer("done")), respond(Answer("done")), None])

    peers = ["node", "other", "anna"]
    people = listener("anna", None, human=True, accepts=[Question])
    organism = journaled(
        journal,
        listener("node", node, peers=peers, hands_over_to=["other"]),
        listener("other", node, peers=peers, hands_over_to=["other"]),
        people,
    )
    async with organism:
        for _ in range(5):
            await organism.send("node", Question("3"))
        for _ in range(300):
            await asyncio.sleep(0.5)
            for question in source.sample(organism.questions(), k=len(organism.questions()) // 2):
                if question in organism.questions():
                    organism.answer(question.thread_id, Answer("me"))
        assert journal.seen
