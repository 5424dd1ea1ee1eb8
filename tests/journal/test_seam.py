"""Between deciding and carrying out: nothing leaves before its step is durable, and nothing is lost in between."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.journal.lagging import Lagging, journaled
from tests.pump.scenes import (
    Answer,
    Go,
    Note,
    Question,
    at_rest,
    call,
    delegate,
    gather,
    respond,
    settled,
    until,
    virtual,
)
from xml_pipeline import (
    AnswerError,
    AskTimeout,
    Gathered,
    HandlerMetadata,
    Keep,
    NoReply,
    Organism,
    SystemError,
)
from xml_pipeline.errors import OrganismClosed, RoutingError
from xml_pipeline.events import ConversationEnded, ConversationStarted, Fact, MessageDelivered
from xml_pipeline.pump import PumpSettings, listener
from xml_pipeline.testing import Recorder
from xml_pipeline.threads import State


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Office:
    """A caller that asks a helper, a person or both; it says what it began."""

    def __init__(self, *, held: bool = True, **options: Any) -> None:
        self.began: list[str] = []
        self.release = asyncio.Event()
        self.journal = Lagging(held=held)
        self.organism = journaled(
            self.journal,
            listener("top", self.top, peers=["helper", "anna", "slow"]),
            listener("helper", self.helper),
            listener("slow", self.slow, timeout_seconds=50),
            listener("anna", None, human=True, accepts=[Question]),
            **options,
        )

    async def top(
        self,
        payload: Go | Answer | Gathered | Note | SystemError,
        metadata: HandlerMetadata,
        state: Note | None,
    ) -> Any:
        self.began.append(f"top {type(payload).__name__}")
        if isinstance(payload, Go):
            name = ("helper", "anna", "slow")[payload.n % 3]
            if payload.n >= 3:
                return Keep(Note("gathers"), gather([call(Question("?"), to=name)], timeout=30))
            return Keep(Note("calls"), call(Question("?"), to=name))
        return respond(Answer(f"{type(payload).__name__} after {state and state.text}"))

    async def helper(self, payload: Question, metadata: HandlerMetadata) -> Any:
        self.began.append("helper")
        return respond(Answer("!"), remember=Note("entry"))

    async def slow(self, payload: Question, metadata: HandlerMetadata) -> Any:
        self.began.append("slow")
        await self.release.wait()
        return respond(Answer("slow"))

    async def flushed(self) -> None:
        """Everything becomes durable from now on."""
        self.journal.held = False
        self.journal.flush()
        await turns()

    def has_kept_everything(self) -> bool:
        """What was appended is the machine's state: nothing was decided beside the journal."""
        return self.journal.state == self.organism._pump.machine.state


@virtual
async def test_a_step_leaves_when_it_is_durable_and_not_before() -> None:
    office = Office()
    recorder = Recorder(office.organism)
    journal, organism = office.journal, office.organism
    async with organism:
        asking = asyncio.ensure_future(organism.ask("top", Go(0)))
        await turns()
        assert office.began == []
        assert recorder.events == []
        assert organism.threads()  # decided it is
        journal.flush(1)  # the injection
        assert recorder.of(ConversationStarted)
        await turns()
        assert office.began == ["top Go"]
        assert not any(each.to == "helper" for each in recorder.of(MessageDelivered))
        journal.flush(1)  # its call
        await turns()
        assert office.began == ["top Go", "helper"]
        journal.flush(1)  # the answer
        await turns()
        assert office.began == ["top Go", "helper", "top Answer"]
        assert len(journal.waiting) == 1
        await asyncio.sleep(100)
        assert not asking.done()
        assert not recorder.of(ConversationEnded)
        assert organism.status().in_flight == 1
        assert organism.status().running == 0
        journal.flush(1)
        assert await asking == Answer("Answer after calls")
        assert recorder.of(ConversationEnded)
        assert at_rest(organism)
    assert journal.state == State()


@virtual
async def test_facts_are_told_with_the_numbers_that_they_have_in_the_journal() -> None:
    office = Office()
    recorder = Recorder(office.organism)
    async with office.organism:
        asking = asyncio.ensure_future(office.organism.ask("top", Go(0)))
        for _ in range(4):
            await turns()
            office.journal.flush(1)
        await asking
    told = [each.seq for each in recorder.events if isinstance(each, Fact)]
    (count,) = office.journal.known.values()
    assert told == sorted(told)
    assert told[0] == 1
    assert told[-1] == count == sum(len(step.events) for step in office.journal.steps)


@virtual
async def test_a_slot_is_free_when_the_handler_returned_and_its_thread_when_that_is_durable() -> None:
    office = Office(settings=PumpSettings(max_concurrent_handlers=1))
    started: list[int] = []

    async def twice(payload: Note, metadata: HandlerMetadata) -> Any:
        if payload.text:
            started.append(int(payload.text))
            return None
        return [call(Note("1"), to="twice"), call(Note("2"), to="twice")]

    journal = Lagging(held=True)
    organism = journaled(
        journal,
        listener("twice", twice),
        listener("top", office.helper),
        settings=PumpSettings(max_concurrent_handlers=1),
    )
    async with organism:
        await organism.send("twice", Note(""))
        await organism.send("top", Question("another"))
        journal.flush(2)
        await turns()
        assert len(journal.waiting) == 2  # both have returned, one after the other, in the one slot
        assert organism.status().running == 0
        journal.flush(1)
        await turns()
        assert started == [1]  # the second of that thread waits, though a slot is free
        await asyncio.sleep(10)
        assert started == [1]
        journal.flush(1)
        await turns()
        assert started == [1]
        journal.flush(1)
        await turns()
        assert started == [1, 2]
        journal.held = False
        journal.flush()
        await settled(organism)
        assert at_rest(organism)


@virtual
async def test_other_conversations_go_on_in_the_meantime_and_numbers_have_no_gap() -> None:
    office = Office()
    async with office.organism as organism:
        asking = [asyncio.ensure_future(organism.ask("top", Go(n))) for n in (0, 3, 0, 3, 0)]
        while not all(each.done() for each in asking):
            await turns(3)
            office.journal.flush(1)
            assert office.has_kept_everything()
        assert {answer.text for answer in await asyncio.gather(*asking)} == {
            "Answer after calls",
            "Gathered after gathers",
        }
        assert at_rest(organism)


# --- something happens in the gap ---


async def gap(office: Office, nth: int, n: int, timeout: float | None = None) -> asyncio.Task[Any]:
    """An ask, of which `nth` steps are durable and the next is decided."""
    asking = asyncio.ensure_future(office.organism.ask("top", Go(n), timeout=timeout))
    for _ in range(nth):
        await turns()
        office.journal.flush(1)
    await turns()
    if n % 3 == 1 and not office.journal.waiting:
        for question in office.organism.questions():
            office.organism.answer(question.thread_id, Answer("me"))
    return asking


async def cancel(office: Office) -> None:
    for conversation in {each.conversation_id for each in office.organism.threads()}:
        assert office.organism.cancel(conversation)


async def give_up(office: Office) -> None:
    await asyncio.sleep(20)  # the ask's own time is up


async def wait(office: Office) -> None:
    await asyncio.sleep(120)  # the time of the gather and of the slow handler is up


async def answer(office: Office) -> None:
    for question in office.organism.questions():
        with suppress(RoutingError):  # it is answered, or given up, and that is not durable yet
            office.organism.answer(question.thread_id, Answer("me"))


async def let_go(office: Office) -> None:
    office.release.set()
    await turns()


GAPS: list[Callable[[Office], Awaitable[None]]] = [cancel, give_up, wait, answer, let_go]


@pytest.mark.parametrize("n", range(6), ids=["helper", "person", "slow", "g-helper", "g-person", "g-slow"])
@pytest.mark.parametrize("happens", GAPS, ids=lambda each: each.__name__)
@virtual
async def test_whatever_happens_in_the_gap_nothing_is_lost_and_nobody_hangs(
    happens: Callable[[Office], Awaitable[None]], n: int
) -> None:
    for nth in range(5):
        for then in (None, cancel, let_go):
            office = Office()
            async with office.organism as organism:
                asking = await gap(office, nth, n, timeout=20 if happens is give_up else None)
                await happens(office)
                if then is not None and organism.threads():
                    await then(office)
                await office.flushed()
                office.release.set()
                for _ in range(5):
                    await turns()
                    await answer(office)
                with_answer = await asyncio.wait([asking], timeout=1000)
                assert with_answer[0], "the ask hangs"
                error = asking.exception()
                assert error is None or isinstance(error, AskTimeout | NoReply | AnswerError)
                await settled(organism)
                assert at_rest(organism)
                assert office.has_kept_everything()
                assert not organism._pump.scheduler.threads
                # and it still works
                assert await organism.ask("top", Go(0)) == Answer("Answer after calls")


@pytest.mark.parametrize("nth", range(4))
@virtual
async def test_a_stop_in_the_gap_ends_and_tells_whoever_waits(nth: int) -> None:
    office = Office(shutdown_seconds=5)
    organism = office.organism
    await organism.start()
    asking = await gap(office, nth, 0)
    stopping = asyncio.ensure_future(organism.stop())
    await asyncio.sleep(100)
    assert stopping.done()
    await turns()
    if nth < 3:  # the answer is not decided
        assert isinstance(asking.exception(), OrganismClosed)
    await office.flushed()  # what comes late harms nobody
    assert asking.done()
    assert at_rest(organism)


@virtual
async def test_a_stop_tells_those_too_whose_answer_is_decided_and_never_becomes_durable() -> None:
    office = Office(shutdown_seconds=5)
    organism = office.organism
    await organism.start()
    asking = await gap(office, 3, 0)
    assert not organism.threads()
    await organism.stop()
    await turns()
    try:
        assert asking.done()
    finally:
        asking.cancel()


@virtual
async def test_a_question_is_answered_once_though_the_answer_is_not_durable_yet() -> None:
    office = Office()
    async with office.organism as organism:
        asking = await gap(office, 1, 1)
        office.journal.flush()
        await turns()
        office.journal.flush()
        (question,) = organism.questions()
        organism.answer(question.thread_id, Answer("me"))
        with pytest.raises(RoutingError, match="no message waits"):
            organism.answer(question.thread_id, Answer("me again"))
        await turns()
        assert office.began == ["top Go"]
        await office.flushed()
        assert await asking == Answer("Answer after calls")
        assert at_rest(organism)


@virtual
async def test_what_was_taken_from_the_queue_while_its_end_is_not_durable_is_skipped() -> None:
    office = Office()
    async with office.organism as organism:
        asking = await gap(office, 0, 0)
        await cancel(office)
        await turns()
        office.journal.flush(1)  # the injection; its end is decided
        await turns()
        assert office.began == []
        assert organism.status().in_flight == 1
        office.journal.flush(1)
        with pytest.raises(NoReply):
            await asking
        assert at_rest(organism)
        assert not organism._pump._skipped


@virtual
async def test_injections_that_are_not_durable_yet_take_places_too() -> None:
    office = Office(settings=PumpSettings(max_in_flight=3))
    async with office.organism as organism:
        sends = [asyncio.ensure_future(organism.send("helper", Question("?"))) for _ in range(20)]
        await turns()
        decided = len(organism.threads())
        await office.flushed()
        await asyncio.gather(*sends)
        await settled(organism)
        assert decided <= 3


@virtual
async def test_what_a_handler_returns_after_its_conversation_is_over_gets_no_number_that_is_taken() -> None:
    journal = Lagging()
    free = asyncio.Event()

    async def deaf(payload: Go, metadata: HandlerMetadata) -> Any:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue
        return respond(Note("late"))

    organism = journaled(journal, listener("deaf", deaf))
    async with organism:
        conversation_id = await organism.send("deaf", Go())
        await turns()
        organism.cancel(conversation_id)
        free.set()
        await until(lambda: len(organism.dead_letters()) == 2)


@virtual
async def test_a_journal_that_fails_once_does_not_stall_the_organism() -> None:
    class Failing(Lagging):
        def append(self, conversation_id: str, *rest: Any) -> None:
            if len(self.steps) == 1:
                self.steps.append(self.steps[0])
                raise OSError("the disk is full")
            super().append(conversation_id, *rest)

    office = Office(held=False)
    organism = journaled(Failing(), listener("helper", office.helper))
    async with organism:
        with pytest.raises((OSError, AskTimeout, NoReply, AnswerError)):
            await organism.ask("helper", Question("?"), timeout=5)
        assert await organism.ask("helper", Question("?"), timeout=5) == Answer("!")


# --- folding ---


@virtual
async def test_what_was_appended_is_the_state_at_every_step() -> None:
    office = Office(held=False)
    async with office.organism as organism:
        async with organism.session(id="named") as session:
            asking = [asyncio.ensure_future(session.ask("top", Go(n))) for n in (0, 1, 2, 3, 4, 5)]
            while office.journal.waiting or len(office.began) < 9:
                await turns(1)
                assert office.has_kept_everything()
        await answer(office)
        office.release.set()
        await asyncio.gather(*asking)
        assert office.has_kept_everything()
        assert at_rest(organism)


@virtual
async def test_the_end_of_a_session_is_in_the_journal_too() -> None:
    office = Office(held=False)
    async with office.organism as organism:
        async with organism.session() as session:
            await session.ask("top", Go(0))
        assert organism._pump.machine.state == State()
        assert office.journal.state == State()


# --- without a journal ---


@virtual
async def test_without_a_journal_nothing_is_called_and_nobody_waits() -> None:
    """No function of the seam is called, not even one that would do nothing."""
    organism = Organism.build()

    async def echo(payload: Question, metadata: HandlerMetadata) -> Any:
        return respond(Answer(payload.text))

    async def pass_it(payload: Note, metadata: HandlerMetadata) -> Any:
        return delegate(Question(payload.text), "echo")

    organism.listener(echo)
    organism.listener(pass_it, hands_over_to=["echo"])
    files: set[str] = set()
    names: list[str] = []

    def profile(frame: Any, kind: str, _: object) -> None:
        if kind == "call" and "xml_pipeline" in frame.f_code.co_filename:
            files.add(frame.f_code.co_filename.rpartition("xml_pipeline/")[2])
            names.append(frame.f_code.co_name)

    async with organism:
        await organism.ask("pass_it", Note("warm"))
        sys.setprofile(profile)
        try:
            await organism.ask("pass_it", Note("x"))
        finally:
            sys.setprofile(None)
    assert not any(name.startswith("journal/") for name in files)
    assert "append" not in names
    assert "done" not in names
