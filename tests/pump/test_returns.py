"""The handler contract, row by row: what a handler returns and what follows from it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.pump.scenes import (
    Answer,
    Go,
    Note,
    Question,
    at_rest,
    call,
    delegate,
    echo,
    gather,
    respond,
    settled,
    silent,
    virtual,
)
from xml_pipeline import AnswerError, Gathered, HandlerMetadata, Huh, NoReply, Organism, SystemError
from xml_pipeline.errors import RoutingError
from xml_pipeline.events import AnswerPassedOn, ThreadEnded, ThreadOpened
from xml_pipeline.pump import ConversationLimits
from xml_pipeline.testing import Recorder


@virtual
async def test_a_call_of_a_peer_opens_a_thread_and_its_answer_comes_back_into_this_one() -> None:
    organism = Organism.build()
    seen: list[tuple[str, HandlerMetadata]] = []

    @organism.listener(peers=["helper"])
    async def caller(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        seen.append(("caller", metadata))
        return call(Question("?"), to="helper") if isinstance(payload, Go) else respond(payload)

    @organism.listener
    async def helper(payload: Question, metadata: HandlerMetadata) -> Any:
        seen.append(("helper", metadata))
        return respond(Answer("!"))

    async with organism:
        assert await organism.ask("caller", Go(), sender="me") == Answer("!")
        assert at_rest(organism)
    (_, first), (_, below), (_, back) = seen
    assert [name for name, _ in seen] == ["caller", "helper", "caller"]
    assert first.from_id == "me"
    assert below.from_id == "caller"
    assert back.from_id == "helper"
    assert first.thread_id == back.thread_id != below.thread_id
    assert first.conversation_id == below.conversation_id == back.conversation_id
    assert back.in_reply_to == below.message_id
    assert first.in_reply_to == below.in_reply_to == ""
    assert len({first.message_id, below.message_id, back.message_id}) == 3
    assert {first.attempt, below.attempt, back.attempt} == {1}


@virtual
async def test_the_id_of_a_call_is_known_before_it_is_sent() -> None:
    organism = Organism.build()
    sent: dict[str, str] = {}
    answered: list[str] = []

    @organism.listener(peers=["echo"])
    async def caller(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Answer):
            assert sent[metadata.in_reply_to] == payload.text
            answered.append(payload.text)
            return respond(Note("all")) if len(answered) == 3 else None
        calls = [call(Question(text), to="echo") for text in "abc"]
        sent.update({each.message_id: each.payload.text for each in calls})
        return calls

    organism.listener(echo)
    async with organism:
        assert await organism.ask("caller", Go()) == Note("all")
    assert sorted(answered) == ["a", "b", "c"]


@virtual
async def test_a_response_that_is_returned_again_is_another_message() -> None:
    organism = Organism.build()
    the_same = call(Question("x"), to="helper")
    ids: list[str] = []

    @organism.listener(peers=["helper"])
    async def caller(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        return [the_same, the_same] if isinstance(payload, Go) else respond(payload)

    @organism.listener
    async def helper(payload: Question, metadata: HandlerMetadata) -> Any:
        ids.append(metadata.message_id)
        return respond(Answer("x"))

    async with organism:
        for _ in range(3):
            await organism.ask("caller", Go())
            await settled(organism)
    assert len(ids) == len(set(ids)) == 6


@pytest.mark.parametrize("way", ["respond", "to the caller"])
@virtual
async def test_an_answer_ends_its_thread_and_all_below_it(way: str) -> None:
    organism = Organism.build()
    never = asyncio.Event()

    @organism.listener(peers=["middle"])
    async def top(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        return call(Question("?"), to="middle") if isinstance(payload, Go) else respond(payload)

    @organism.listener(peers=["slow"])
    async def middle(payload: Question | Note, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Question):
            return [call(Question("below"), to="slow"), call(Note("self"), to="middle")]
        assert len(organism.threads()) == 3
        answer = Answer("done")
        return respond(answer) if way == "respond" else call(answer, to="top")

    @organism.listener
    async def slow(payload: Question, metadata: HandlerMetadata) -> Any:
        await never.wait()
        return respond(Answer("late"))

    recorder = Recorder(organism)
    async with organism:
        assert await organism.ask("top", Go()) == Answer("done")
        assert organism.threads() == []
        ended = {fact.listener: fact.how for fact in recorder.of(ThreadEnded)}
        assert ended == {"middle": "answered", "slow": "pruned", "top": "answered"}
        never.set()
        await settled(organism)
        assert at_rest(organism)
        assert [letter.to for letter in organism.dead_letters()] == ["slow"]


@virtual
async def test_naming_a_caller_that_is_a_peer_too_answers_it_and_the_trace_says_so() -> None:
    organism = Organism.build()

    @organism.listener(peers=["back"])
    async def front(payload: Go | Note, metadata: HandlerMetadata) -> Any:
        return call(Question("x"), to="back") if isinstance(payload, Go) else respond(payload)

    @organism.listener(peers=["front"])
    async def back(payload: Question, metadata: HandlerMetadata) -> Any:
        return call(Note(metadata.from_id), to="front")

    recorder = Recorder(organism)
    async with organism:
        assert await organism.ask("front", Go()) == Note("front")
        assert at_rest(organism)
    ended = {fact.listener: fact.note for fact in recorder.of(ThreadEnded)}
    assert "named 'front', its caller, so this is the answer" in ended["back"]
    assert ended["front"] == ""


@virtual
async def test_a_gather_calls_a_caller_that_is_a_peer_too() -> None:
    organism = Organism.build()

    @organism.listener(peers=["back"])
    async def front(payload: Go | Note | Answer, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Go):
            return call(Question("x"), to="back")
        return respond(Answer("from the front") if isinstance(payload, Note) else payload)

    @organism.listener(peers=["front"])
    async def back(payload: Question | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Question):
            return gather([call(Note(), to="front")])
        return respond(payload.answers[0])

    async with organism:
        assert await organism.ask("front", Go()) == Answer("from the front")
        assert at_rest(organism)


@virtual
async def test_an_answer_to_one_of_two_gathers_gives_the_other_up_and_the_trace_says_so() -> None:
    organism = Organism.build()

    @organism.listener(peers=["echo", "slow"])
    async def top(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Go):
            return [gather([call(Question("x"), to="echo")]), gather([call(Question("y"), to="slow")])]
        return respond(payload.answers[0])

    @organism.listener
    async def slow(payload: Question, metadata: HandlerMetadata) -> Any:
        await asyncio.sleep(10)

    organism.listener(echo)
    recorder = Recorder(organism)
    async with organism:
        assert await organism.ask("top", Go()) == Answer("x")
        assert at_rest(organism)
        assert [letter.to for letter in organism.dead_letters()] == ["slow"]
    (pruned,) = [fact for fact in recorder.of(ThreadEnded) if fact.how == "pruned"]
    assert pruned.listener == "slow"
    assert "what had called it ended first" in pruned.note


@virtual
async def test_naming_the_outside_answers_it() -> None:
    organism = Organism.build()

    @organism.listener
    async def greeter(payload: Go, metadata: HandlerMetadata) -> Any:
        return call(Note("hello"), to=metadata.from_id)

    async with organism:
        assert await organism.ask("greeter", Go(), sender="console") == Note("hello")


@virtual
async def test_a_delegated_call_answers_the_delegators_caller() -> None:
    organism = Organism.build()
    seen: list[HandlerMetadata] = []

    @organism.listener(peers=["front"])
    async def caller(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Go):
            return call(Question("?"), to="front")
        seen.append(metadata)
        return respond(payload)

    @organism.listener(hands_over_to=["expert"])
    async def front(payload: Question | Answer, metadata: HandlerMetadata) -> Any:
        assert isinstance(payload, Question), "the answer came back to the one who handed over"
        seen.append(metadata)
        return delegate(payload, to="expert")

    @organism.listener
    async def expert(payload: Question, metadata: HandlerMetadata) -> Any:
        assert metadata.from_id == "front"
        assert {info.listener for info in organism.threads()} == {"caller", "expert"}
        return respond(Answer("from the expert"))

    recorder = Recorder(organism)
    async with organism:
        assert await organism.ask("caller", Go()) == Answer("from the expert")
        assert at_rest(organism)
    in_front, back = seen
    assert back.from_id == "expert"
    assert back.in_reply_to == in_front.message_id
    assert ("front", "delegated") in [(fact.listener, fact.how) for fact in recorder.of(ThreadEnded)]


@virtual
async def test_a_chain_of_delegations_is_as_deep_as_one_call() -> None:
    organism = Organism.build(limits=ConversationLimits(handovers=500))

    @organism.listener(hands_over_to=["a", "b"])
    async def a(payload: Go, metadata: HandlerMetadata) -> Any:
        assert len(organism.threads()) == 1
        return delegate(Go(payload.n - 1), to="b") if payload.n else respond(Note("end"))

    organism.listener(a, name="b", hands_over_to=["a", "b"])
    async with organism:
        assert await organism.ask("a", Go(500)) == Note("end")
        assert at_rest(organism)


@virtual
async def test_a_refused_delegation_leaves_the_thread_alive() -> None:
    organism = Organism.build()

    @organism.listener
    async def front(payload: Go | SystemError, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, SystemError):
            return respond(Note(payload.code))
        return delegate(Question("?"), to="nobody")

    async with organism:
        assert await organism.ask("front", Go()) == Note("routing")


@virtual
async def test_a_list_is_handled_concurrently_and_each_answer_comes_back_on_its_own() -> None:
    organism = Organism.build()
    together = asyncio.Barrier(3)
    answers: list[str] = []

    @organism.listener(peers=["one", "two", "three"])
    async def caller(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Go):
            return [call(Question(name), to=name) for name in ("one", "two", "three")]
        answers.append(payload.text)
        return respond(Note("all")) if len(answers) == 3 else None

    async def meet(payload: Question, metadata: HandlerMetadata) -> Any:
        await together.wait()  # all three are inside at once, or nobody gets on
        return respond(Answer(payload.text))

    for name in ("one", "two", "three"):
        organism.listener(meet, name=name)
    async with organism:
        assert await organism.ask("caller", Go(), timeout=5) == Note("all")
    assert sorted(answers) == ["one", "three", "two"]


@virtual
async def test_what_comes_after_an_answer_in_a_list_is_a_dead_letter() -> None:
    organism = Organism.build()

    @organism.listener(peers=["echo"])
    async def hasty(payload: Go, metadata: HandlerMetadata) -> Any:
        return [respond(Note("first")), call(Question("x"), to="echo"), respond(Note("second"))]

    organism.listener(echo)
    async with organism:
        assert await organism.ask("hasty", Go()) == Note("first")
        await settled(organism)
        assert [letter.payload for letter in organism.dead_letters()] == [Question("x"), Note("second")]


@virtual
async def test_an_empty_list_sends_nothing() -> None:
    organism = Organism.build()

    @organism.listener
    async def quiet(payload: Go, metadata: HandlerMetadata) -> Any:
        return []

    async with organism:
        with pytest.raises(NoReply):
            await organism.ask("quiet", Go())


# --- gather ---


@virtual
async def test_a_gather_brings_all_answers_together_in_call_order() -> None:
    organism = Organism.build()

    @organism.listener(peers=["slow", "echo", "silent", "failing"])
    async def caller(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Go):
            return gather(
                [
                    call(Question("slow"), to="slow"),
                    call(Question("fast"), to="echo"),
                    call(Question("nothing"), to="silent"),
                    call(Question("crash"), to="failing"),
                    call(Question("forbidden"), to="unknown"),
                    call(Note("not taken"), to="echo"),
                ]
            )
        slow, fast, nothing, crash, forbidden, not_taken = payload.answers
        assert (slow, fast, nothing) == (Answer("slow"), Answer("fast"), None)
        assert isinstance(crash, SystemError)
        assert crash.code == "handler"
        assert isinstance(forbidden, SystemError)
        assert forbidden.code == "routing"
        assert isinstance(not_taken, Huh)
        assert not payload.complete
        assert metadata.from_id == "system"
        return respond(Note("right"))

    @organism.listener
    async def slow(payload: Question, metadata: HandlerMetadata) -> Any:
        await asyncio.sleep(10)
        return respond(Answer("slow"))

    @organism.listener
    async def failing(payload: Question, metadata: HandlerMetadata) -> Any:
        raise RuntimeError

    organism.listener(echo)
    organism.listener(silent)
    async with organism:
        assert await organism.ask("caller", Go()) == Note("right")
        assert at_rest(organism)


@virtual
async def test_a_gather_gives_up_what_is_late() -> None:
    organism = Organism.build()
    loop = asyncio.get_running_loop()

    @organism.listener(peers=["slow", "echo"])
    async def caller(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Go):
            return gather([call(Question("slow"), to="slow"), call(Question("fast"), to="echo")], timeout=5)
        late, fast = payload.answers
        assert isinstance(late, SystemError)
        assert late.code == "timeout"
        return respond(fast)

    @organism.listener
    async def slow(payload: Question, metadata: HandlerMetadata) -> Any:
        await asyncio.sleep(60)
        return respond(Answer("slow"))

    organism.listener(echo)
    async with organism:
        started = loop.time()
        assert await organism.ask("caller", Go()) == Answer("fast")
        assert loop.time() - started == 5
        await asyncio.sleep(100)
        assert [letter.to for letter in organism.dead_letters()] == ["slow"]
        assert at_rest(organism)


@virtual
async def test_an_empty_gather_comes_back_at_once() -> None:
    organism = Organism.build()

    @organism.listener
    async def caller(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
        return gather([]) if isinstance(payload, Go) else respond(Note(str(len(payload.answers))))

    async with organism:
        assert await organism.ask("caller", Go()) == Note("0")


@virtual
async def test_gathers_inside_gathers_and_two_at_once() -> None:
    organism = Organism.build()

    @organism.listener(peers=["tree"])
    async def tree(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Gathered):
            return respond(Go(sum(answer.n for answer in payload.answers)))
        if not payload.n:
            return respond(Go(1))
        return gather([call(Go(payload.n - 1), to="tree") for _ in range(3)])

    @organism.listener(peers=["tree"])
    async def twice(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Go):
            return [gather([call(Go(n), to="tree")]) for n in (1, 2)]
        totals.append(payload.answers[0].n)
        return respond(Go(sum(totals))) if len(totals) == 2 else None

    totals: list[int] = []
    async with organism:
        assert await organism.ask("tree", Go(4)) == Go(81)
        assert await organism.ask("twice", Go()) == Go(3 + 9)
        assert at_rest(organism)


@virtual
async def test_a_listener_may_gather_calls_of_itself_without_naming_itself_a_peer() -> None:
    organism = Organism.build()
    threads: set[str] = set()

    @organism.listener
    async def halves(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
        threads.add(metadata.thread_id)
        if isinstance(payload, Gathered):
            return respond(Go(sum(answer.n for answer in payload.answers)))
        if payload.n == 1:
            return respond(Go(1))
        half = payload.n // 2
        return gather([call(Go(half), to="halves"), call(Go(payload.n - half), to="halves")])

    async with organism:
        assert await organism.ask("halves", Go(6)) == Go(6)
    assert len(threads) == 11  # every call has a thread of its own


@virtual
async def test_a_delegated_call_answers_into_its_place_in_a_gather() -> None:
    organism = Organism.build()

    @organism.listener(peers=["front", "echo"])
    async def caller(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Go):
            return gather([call(Question("a"), to="front"), call(Question("b"), to="echo")])
        return respond(Note(" ".join(answer.text for answer in payload.answers)))

    @organism.listener(hands_over_to=["echo"])
    async def front(payload: Question, metadata: HandlerMetadata) -> Any:
        return delegate(Question("handed over"), to="echo")

    organism.listener(echo)
    async with organism:
        assert await organism.ask("caller", Go()) == Note("handed over b")


@pytest.mark.parametrize(
    ("to", "answer"), [("echo", Answer("?")), ("silent", None), ("nobody", "routing"), ("deaf", "huh")]
)
@virtual
async def test_what_a_gather_of_one_call_brings_names_that_call(to: str, answer: object) -> None:
    organism = Organism.build()
    ids: list[str] = []

    @organism.listener(peers=["echo", "silent", "deaf"])
    async def caller(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Gathered):
            (came,) = payload.answers
            came = came.code if isinstance(came, SystemError) else "huh" if isinstance(came, Huh) else came
            assert came == answer
            assert metadata.in_reply_to == ids[0]
            return respond(Note("done"))
        one = call(Question("?"), to=to)
        ids.append(one.message_id)
        return gather([one])

    organism.listener(echo)
    organism.listener(silent)
    organism.listener(silent, name="deaf", accepts=[Go])
    async with organism:
        assert await organism.ask("caller", Go()) == Note("done")


# --- no receiver ---


@virtual
async def test_without_a_receiver_every_broadcast_peer_that_takes_it_gets_it() -> None:
    organism = Organism.build()
    reached: list[str] = []

    def taker(name: str) -> Any:
        async def take(payload: Question, metadata: HandlerMetadata) -> None:
            reached.append(name)

        return take

    @organism.listener(peers=["a", "b", "no_broadcast", "other_class"])
    async def speaker(payload: Go, metadata: HandlerMetadata) -> Any:
        return call(Question("hear"))

    for name in ("a", "b"):
        organism.listener(taker(name), name=name, accepts=[Question], broadcast=True)
    organism.listener(taker("no_broadcast"), name="no_broadcast", accepts=[Question])
    organism.listener(taker("no_peer"), name="no_peer", accepts=[Question], broadcast=True)
    organism.listener(taker("other_class"), name="other_class", accepts=[Note], broadcast=True)
    async with organism:
        with pytest.raises(NoReply):
            await organism.ask("speaker", Go())
    assert sorted(reached) == ["a", "b"]


@virtual
async def test_each_answer_to_a_broadcast_comes_back() -> None:
    organism = Organism.build()
    heard: list[tuple[str, str]] = []

    @organism.listener(peers=["a", "b"])
    async def speaker(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Go):
            return call(Question("hear"))
        heard.append((metadata.from_id, metadata.in_reply_to))
        return respond(Note("both")) if len(heard) == 2 else None

    for name in ("a", "b"):
        organism.listener(echo, name=name, broadcast=True)
    async with organism:
        assert await organism.ask("speaker", Go()) == Note("both")
    assert {name for name, _ in heard} == {"a", "b"}
    assert len({reply for _, reply in heard}) == 2


@virtual
async def test_without_a_receiver_the_only_peer_that_takes_it_gets_it() -> None:
    organism = Organism.build()

    @organism.listener(peers=["echo", "notes"])
    async def caller(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        return call(Question("x")) if isinstance(payload, Go) else respond(payload)

    organism.listener(echo)
    organism.listener(silent, name="notes", accepts=[Note])
    async with organism:
        assert await organism.ask("caller", Go()) == Answer("x")


@pytest.mark.parametrize("peers", [[], ["one", "two"], ["notes"]])
@virtual
async def test_without_a_receiver_and_without_the_only_one_it_is_refused(peers: list[str]) -> None:
    organism = Organism.build()

    @organism.listener(peers=peers)
    async def caller(payload: Go, metadata: HandlerMetadata) -> Any:
        return call(Question("x"))

    organism.listener(echo, name="one")
    organism.listener(echo, name="two")
    organism.listener(silent, name="notes", accepts=[Note])
    async with organism:
        with pytest.raises(AnswerError) as error:
            await organism.ask("caller", Go())
    assert error.value.code == "routing"


# --- text ---


@pytest.mark.parametrize("kind", [str, bytes])
@virtual
async def test_every_payload_in_a_text_is_validated_and_routed(kind: type) -> None:
    organism = Organism.build()
    heard: list[str] = []

    @organism.listener(peers=["echo"])
    async def model(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Answer):
            heard.append(payload.text)
            return None if len(heard) < 2 else respond(Note(" and ".join(sorted(heard))))
        text = (
            "Let me ask.\n```xml\n<Question><text>one</text></Question>\n```\nand also"
            " <Question><text>two & three</text></Question>"
        )
        return text if kind is str else text.encode()

    organism.listener(echo)
    async with organism:
        assert await organism.ask("model", Go()) == Note("one and two & three")


@virtual
async def test_a_payload_in_a_text_that_calls_nobody_answers_the_caller() -> None:
    organism = Organism.build()

    @organism.listener(peers=["model"])
    async def caller(payload: Go | Note, metadata: HandlerMetadata) -> Any:
        return call(Question("?"), to="model") if isinstance(payload, Go) else respond(payload)

    @organism.listener
    async def model(payload: Question, metadata: HandlerMetadata) -> Any:
        return "Here you are: <Note><text>written</text></Note>"

    async with organism:
        assert await organism.ask("caller", Go()) == Note("written")


@pytest.mark.parametrize(
    "text",
    ["nothing in it", "", "<Question><text>cut", "<Question><wrong/></Question>", "<\x00>", b"\xff\xfe<"],
)
@virtual
async def test_a_text_without_a_valid_payload_comes_back_as_a_huh(text: str | bytes) -> None:
    organism = Organism.build()

    @organism.listener(peers=["echo"])
    async def model(payload: Go | Huh, metadata: HandlerMetadata) -> Any:
        return respond(Note("told")) if isinstance(payload, Huh) else text

    organism.listener(echo)
    async with organism:
        assert await organism.ask("model", Go()) == Note("told")


# --- self-calls ---


@virtual
async def test_a_self_call_stays_in_the_thread_and_says_so() -> None:
    organism = Organism.build()
    seen: list[tuple[str, bool]] = []

    @organism.listener
    async def counter(payload: Go, metadata: HandlerMetadata) -> Any:
        seen.append((metadata.thread_id, metadata.is_self_call))
        return call(Go(payload.n - 1), to="counter") if payload.n else respond(Note("zero"))

    async with organism:
        assert await organism.ask("counter", Go(3)) == Note("zero")
    assert [is_self for _, is_self in seen] == [False, True, True, True]
    assert len({thread for thread, _ in seen}) == 1


@virtual
async def test_a_self_call_with_a_class_it_does_not_take_comes_back_as_a_huh() -> None:
    organism = Organism.build()

    @organism.listener
    async def odd(payload: Go | Huh, metadata: HandlerMetadata) -> Any:
        return respond(Note("told")) if isinstance(payload, Huh) else call(Question("x"), to="odd")

    async with organism:
        assert await organism.ask("odd", Go()) == Note("told")


# --- answers that pass on ---


@virtual
async def test_an_answer_that_nobody_below_takes_passes_on_to_the_outside() -> None:
    organism = Organism.build()

    @organism.listener(peers=["summarizer"])
    async def research(payload: Go, metadata: HandlerMetadata) -> Any:
        return call(Question("sum it up"), to="summarizer")

    @organism.listener(peers=["writer"])
    async def summarizer(payload: Question, metadata: HandlerMetadata) -> Any:
        return call(Note(payload.text), to="writer")

    @organism.listener
    async def writer(payload: Note, metadata: HandlerMetadata) -> Any:
        return respond(Answer(f"in short: {payload.text}"))

    recorder = Recorder(organism)
    async with organism:
        assert await organism.ask("research", Go()) == Answer("in short: sum it up")
        assert at_rest(organism)
    passed = [(fact.listener, fact.payload_name) for fact in recorder.of(AnswerPassedOn)]
    assert passed == [("summarizer", "Answer"), ("research", "Answer")]


@virtual
async def test_an_answer_stops_where_it_is_accepted() -> None:
    organism = Organism.build()

    @organism.listener(peers=["middle"])
    async def top(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Go):
            return call(Question("x"), to="middle")
        assert metadata.from_id == "middle"
        return respond(Note(f"top got {payload.text}"))

    @organism.listener(peers=["echo"])
    async def middle(payload: Question, metadata: HandlerMetadata) -> Any:
        return call(payload, to="echo")

    organism.listener(echo)
    async with organism:
        assert await organism.ask("top", Go()) == Note("top got x")


@virtual
async def test_a_call_without_an_answer_ends_its_callers_too_up_to_the_outside() -> None:
    organism = Organism.build()

    @organism.listener(peers=["middle"])
    async def top(payload: Go, metadata: HandlerMetadata) -> Any:
        return call(Question("x"), to="middle")

    @organism.listener(peers=["silent"])
    async def middle(payload: Question, metadata: HandlerMetadata) -> Any:
        return call(payload, to="silent")

    organism.listener(silent)
    recorder = Recorder(organism)
    async with organism:
        with pytest.raises(NoReply):
            await organism.ask("top", Go())
        assert at_rest(organism)
    assert [(fact.listener, fact.how) for fact in recorder.of(ThreadEnded)] == [
        ("silent", "unanswered"),
        ("middle", "unanswered"),
        ("top", "unanswered"),
    ]


# --- several classes, parallel calls ---


@virtual
async def test_a_handler_gets_each_of_the_classes_that_its_annotation_names() -> None:
    organism = Organism.build()

    @organism.listener
    async def many(payload: Go | Question | Note, metadata: HandlerMetadata) -> Any:
        return respond(Answer(type(payload).__name__))

    async with organism:
        for payload in (Go(), Question("x"), Note()):
            assert await organism.ask("many", payload) == Answer(type(payload).__name__)
        with pytest.raises(RoutingError, match="Go, Question, Note"):
            await organism.ask("many", Answer("x"))


@virtual
async def test_parallel_calls_to_one_peer_have_threads_and_sessions_of_their_own() -> None:
    organism = Organism.build()
    seen: list[tuple[str, str]] = []

    @organism.listener(peers=["worker"])
    async def caller(payload: Go | Gathered, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Gathered):
            return respond(Note("done"))
        return gather([call(Question(str(n)), to="worker") for n in range(20)])

    @organism.listener
    async def worker(payload: Question, metadata: HandlerMetadata) -> Any:
        seen.append((metadata.thread_id, metadata.session_id))
        await asyncio.sleep(1)
        return respond(Answer(payload.text))

    recorder = Recorder(organism)
    async with organism:
        assert await organism.ask("caller", Go()) == Note("done")
    assert len({thread for thread, _ in seen}) == 20
    assert len({session for _, session in seen}) == 20
    assert len({fact.thread_id for fact in recorder.of(ThreadOpened)}) == 21


@virtual
async def test_a_text_that_names_its_caller_answers_it_also_where_a_peer_takes_the_class() -> None:
    organism = Organism.build()
    called: list[str] = []

    @organism.listener(peers=["writer"])
    async def front(payload: Go | Question, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Go):
            return call(Note(), to="writer")
        return respond(Answer(payload.text))

    @organism.listener(peers=["helper"])
    async def writer(payload: Note | Answer, metadata: HandlerMetadata) -> str:
        return '<call to="front"><Question><text>for you</text></Question></call>'

    @organism.listener
    async def helper(payload: Question, metadata: HandlerMetadata) -> Any:
        called.append(payload.text)
        return respond(Answer("not asked"))

    async with organism:
        assert await organism.ask("front", Go()) == Answer("for you")
    assert not called
