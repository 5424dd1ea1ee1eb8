"""One organism in memory and one on a file, which dies now and then, told the same: they agree.

Random plans of calls, gathers, delegations, questions to a person, failures and silence are begun on both; each
handler waits until it is let go, on both. The one on the file is stopped, or killed, and started anew at any moment.
At every step each accepted message is exactly one of done, dead and pending on either side, and the file is never
ahead of what memory has done; at the end both have said the same to whoever asked.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.journal.births import SCALE
from tests.journal.lagging import Lagging
from tests.journal.lives import killed
from xml_pipeline import (
    AnswerError,
    Gathered,
    HandlerMetadata,
    HandlerResponse,
    Keep,
    Organism,
    SystemError,
    xmlify,
)
from xml_pipeline.errors import NoReply
from xml_pipeline.journal import Step
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import listener
from xml_pipeline.pump.attempts import MOST_INTERRUPTIONS
from xml_pipeline.threads.record import Accepted, DeadLetter, Handled

T = TypeVar("T")


@xmlify
@dataclass
class Job:
    """What is to be done: `plan` is a list of what to do and of the plans of others."""

    label: str
    plan: str


@xmlify
@dataclass
class Result:
    """What came of it."""

    text: str


plans: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([["answer"], ["answer"], ["silent"], ["fail"], ["person"]]),
    lambda inner: st.one_of(
        st.builds(lambda one: ["call", one], inner),
        st.builds(lambda one: ["delegate", one], inner),
        st.builds(lambda some: ["gather", *some], st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=5,
)


def labels(label: str, plan: list[Any]) -> Iterable[str]:
    """All jobs of a plan, which wait until they are let go."""
    yield label
    for number, each in enumerate(plan[1:]):
        yield from labels(f"{label}.{number}", each)


class Side:
    """One of the two organisms, in all its lives."""

    def __init__(self, free: set[str]) -> None:
        self.free = free
        self.freed = asyncio.Event()
        self.organism: Organism

    async def work(
        self, payload: Job | Result | Gathered | SystemError, state: Result | None, other: str
    ) -> Any:
        if not isinstance(payload, Job):
            assert state is not None
            answers = payload.answers if isinstance(payload, Gathered) else (payload,)
            told = ", ".join(getattr(each, "text", getattr(each, "code", "nothing")) for each in answers)
            return HandlerResponse.respond(Result(f"{state.text}({told})"), remember=state)
        while payload.label not in self.free:
            await self.freed.wait()
        kind, *inner = json.loads(payload.plan)
        jobs = [Job(f"{payload.label}.{n}", json.dumps(each)) for n, each in enumerate(inner)]
        calls = [HandlerResponse(job, to=other) for job in jobs]
        kept = Result(payload.label)
        match kind:
            case "answer":
                return HandlerResponse.respond(kept)
            case "fail":
                raise RuntimeError(payload.label)
            case "person":
                return Keep(kept, HandlerResponse(Job(payload.label, "[]"), to="anna"))
            case "call":
                return Keep(kept, calls[0])
            case "delegate":
                return HandlerResponse.delegate(jobs[0], to=other)
            case "gather":
                return Keep(kept, HandlerResponse.gather(calls, timeout=3600))
        return None

    def born(self, journal: Any) -> Organism:
        self.freed = asyncio.Event()

        async def left(
            payload: Job | Result | Gathered | SystemError, metadata: HandlerMetadata, state: Result | None
        ) -> Any:
            return await self.work(payload, state, "right")

        async def right(
            payload: Job | Result | Gathered | SystemError, metadata: HandlerMetadata, state: Result | None
        ) -> Any:
            return await self.work(payload, state, "left")

        self.organism = Organism(
            "sides",
            [
                listener("left", left, peers=["right", "anna"], hands_over_to=["right"]),
                listener("right", right, peers=["left", "anna"], hands_over_to=["left"]),
                listener("anna", None, human=True, accepts=[Job]),
            ],
            journal=journal,
            shutdown_seconds=0,
        )
        return self.organism

    def let_go(self) -> None:
        self.freed.set()
        self.freed = asyncio.Event()

    @property
    def pending(self) -> set[str]:
        found = self.organism._pump.state.conversations.values()
        return {each for one in found for thread in one.threads.values() for each in thread.inbox}

    @property
    def questions(self) -> dict[str, str]:
        """Threads in which a person is asked, by the job's label."""
        return {each.payload.label: each.thread_id for each in self.organism.questions()}


class Told:
    """What becomes of messages, by the events of record."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self.accepted: dict[str, tuple[str, str, str, str]] = {}
        self.done: set[str] = set()
        self.dead: set[str] = set()
        for step in steps:
            for event in step.events:
                if isinstance(event, Accepted):
                    message = event.message
                    assert message.message_id not in self.accepted, "accepted twice"
                    about = (message.from_id, message.to, message.root, message.content)
                    self.accepted[message.message_id] = about
                    if event.leaves or event.fills is not None:
                        self.done.add(message.message_id)
                elif isinstance(event, Handled):
                    assert event.message_id not in self.done, "done twice"
                    self.done.add(event.message_id)
                elif isinstance(event, DeadLetter) and event.pending:
                    assert event.message_id not in self.dead, "dead twice"
                    self.dead.add(event.message_id)

    def each_is_one(self, pending: set[str]) -> None:
        assert not self.done & self.dead
        assert not (self.done | self.dead) & pending
        assert self.done | self.dead | pending == self.accepted.keys()

    def what(self, ids: Iterable[str]) -> Counter[tuple[str, str, str, str]]:
        return Counter(self.accepted[each] for each in ids)


class SideBySide(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "state.db"
        self.loop = asyncio.new_event_loop()
        self.free: set[str] = set()
        self.held: list[str] = []
        self.begun: dict[str, tuple[str, Job]] = {}
        self.asked: dict[str, asyncio.Task[str]] = {}
        self.ids: dict[str, tuple[str, str]] = {}
        self.record = Lagging()
        self.memory, self.file = Side(self.free), Side(self.free)
        self.lives = 1
        self.cancelled = False  # what was cancelled, the file may have been behind with
        self.run(self.memory_born())
        self.run(self.file_born())

    def run(self, doing: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(doing, 20))

    async def memory_born(self) -> None:
        await self.memory.born(self.record).start()

    async def file_born(self) -> None:
        self.journal = SqliteJournal(self.path)
        await self.file.born(self.journal).start()

    async def rest(self) -> None:
        """Until nothing moves any more on either side."""
        before: object = None
        same = 0
        while same < 2:
            await self.journal.drop_part("nobody's", "barrier")  # all that was handed over before is durable
            for _ in range(10):
                await asyncio.sleep(0)
            state = self.file.organism._pump.state.conversations
            now = (
                len(self.record.steps),
                len(self.file.organism._pump.sleepers or ()),
                sorted((each.id, each.seq) for each in state.values()),
            )
            same, before = (same + 1, before) if now == before else (0, now)

    async def outcome(self, doing: Coroutine[Any, Any, Any]) -> str:
        try:
            return str((await doing).text)
        except (AnswerError, NoReply) as error:
            return f"{type(error).__name__} {getattr(error, 'code', '')}"

    # --- what happens ---

    @rule(plan=plans, to=st.sampled_from(["left", "right"]))
    def begin(self, plan: list[Any], to: str) -> None:
        key = f"k{len(self.begun)}"
        job = Job(key, json.dumps(plan))
        self.begun[key] = (to, job)
        self.held += labels(key, plan)

        async def doing() -> None:
            known = set(self.memory.organism._pump.state.conversations)
            asking = self.outcome(self.memory.organism.ask(to, job))
            self.asked[key] = asyncio.ensure_future(asking)
            (file_id,) = (await self.file.organism.send(to, job, key=key),)
            await self.rest()
            (memory_id,) = set(self.memory.organism._pump.state.conversations) - known
            self.ids[key] = (memory_id, file_id)

        self.run(doing())

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        self.free.add(self.held.pop(data.draw(st.integers(0, len(self.held) - 1))))
        self.memory.let_go()
        self.file.let_go()
        self.run(self.rest())

    @precondition(lambda self: self.memory.questions.keys() & self.file.questions.keys())
    @rule(data=st.data())
    def say(self, data: st.DataObject) -> None:
        both = sorted(self.memory.questions.keys() & self.file.questions.keys())
        self.said(data.draw(st.sampled_from(both)))

    def said(self, label: str) -> None:
        for side in (self.memory, self.file):
            side.organism.answer(side.questions[label], Result(f"anna on {label}"))
        self.run(self.rest())

    @precondition(lambda self: self.lives < MOST_INTERRUPTIONS)
    @rule(kill=st.booleans())
    def end(self, kill: bool) -> None:
        """The life on the file ends, and another one begins."""
        self.lives += 1
        if kill:
            self.path = killed(self.path)
        self.run(self.file.organism.stop())
        self.run(self.file_born())
        self.run(self.rest())

    @precondition(lambda self: any(not each.done() for each in self.asked.values()))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(key for key, each in self.asked.items() if not each.done())))
        memory_id, file_id = self.ids[key]
        self.cancelled |= self.lives > 1
        assert self.memory.organism.cancel(memory_id)
        assert self.file.organism.cancel(file_id)
        self.run(self.rest())

    # --- what holds ---

    def told(self) -> tuple[Told, Told]:
        ids = [file_id for _, file_id in self.ids.values()]
        file = Told(step for each in ids for step in self.journal.steps(each))
        return Told(self.record.steps), file

    @invariant()
    def each_message_is_one_of_three(self) -> None:
        memory, file = self.told()
        memory.each_is_one(self.memory.pending)
        file.each_is_one(self.file.pending)
        if self.lives == 1:
            assert memory.what(memory.accepted) == file.what(file.accepted)
            assert memory.what(memory.done) == file.what(file.done)
            assert memory.what(memory.dead) == file.what(file.dead)
        elif not self.cancelled:
            assert not file.what(file.accepted) - memory.what(memory.accepted), "the file is ahead"

    def teardown(self) -> None:
        try:
            self.free.update(self.held)
            self.memory.let_go()
            self.file.let_go()
            self.run(self.rest())
            while self.memory.questions:
                self.run(self.rest())
                self.said(min(self.memory.questions))
            for key, (to, job) in self.begun.items():
                told = self.run(self.outcome(self.file.organism.ask(to, job, key=key)))
                assert told == self.run(asyncio.wait_for(self.asked[key], 20)), (key, job)
            memory, file = self.told()
            assert not self.memory.pending
            assert not self.file.pending
            if not self.cancelled:
                assert memory.what(memory.done) == file.what(file.done)
                assert memory.what(memory.dead) == file.what(file.dead)
        finally:
            self.run(self.file.organism.stop())
            self.run(self.memory.organism.stop())
            self.loop.close()
            shutil.rmtree(self.folder)


TestSideBySide = SideBySide.TestCase
TestSideBySide.settings = settings(
    max_examples=max(10, int(1000 * SCALE)),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
