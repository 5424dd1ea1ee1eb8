"""The organism as a library: declare, ask, send, watch, look inside."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.pump.scenes import Answer, Go, Note, Question, at_rest, call, echo, respond, settled, virtual
from xml_pipeline import HandlerMetadata, Organism
from xml_pipeline.envelope import decode
from xml_pipeline.errors import ConfigError
from xml_pipeline.events import (
    ConversationEnded,
    ConversationStarted,
    Event,
    MessageDelivered,
    SessionEnded,
    ThreadEnded,
    ThreadOpened,
)
from xml_pipeline.testing import Recorder


def a_small_one() -> Organism:
    organism = Organism.build(name="small", description="For tests.")

    @organism.listener(peers=["echo"], agent=True)
    async def asker(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        """Asks the echo."""
        return call(Question("x"), to="echo") if isinstance(payload, Go) else respond(payload)

    organism.listener(echo)
    return organism


def test_a_listener_is_declared_as_decorator_or_call() -> None:
    organism = Organism.build()

    @organism.listener
    async def plain(payload: Question, metadata: HandlerMetadata) -> None:
        """What it is for."""

    @organism.listener(name="with.options", description="Described.", peers=["plain"])
    async def other(payload: Question | Note, metadata: HandlerMetadata) -> None:
        """Not this."""

    assert organism.listener(echo) is echo
    assert list(organism.listeners) == ["plain", "with.options", "echo"]
    assert organism.listeners["plain"].description == "What it is for."
    assert organism.listeners["with.options"].description == "Described."
    assert list(organism.listeners["with.options"].accepts) == ["Question", "Note"]
    assert organism.listeners["with.options"].peers == ("plain",)
    with pytest.raises(ConfigError, match="two listeners named 'echo'"):
        organism.listener(echo)
    with pytest.raises(TypeError):
        organism.listeners["x"] = organism.listeners["echo"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (lambda payload, metadata: None, "does not say what it accepts"),
        (lambda payload: None, "handler"),
        (lambda: None, "handler"),
        ("text", "handler"),
    ],
)
def test_a_handler_that_cannot_be_one_is_refused(handler: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Organism.build().listener(handler, name="odd")


@pytest.mark.parametrize(
    "peers", ["echo", iter(["echo"]), [1], None, 5], ids=["text", "iterator", "numbers", "none", "number"]
)
def test_peers_that_are_no_collection_of_names_are_refused(peers: Any) -> None:
    with pytest.raises(ConfigError, match=r"peers of 'echo' is .*a list of listeners' names is needed"):
        Organism.build().listener(echo, peers=peers)


@virtual
async def test_an_agent_knows_its_name_and_how_to_call_its_peers_and_others_do_not() -> None:
    organism = Organism.build()
    seen: dict[str, HandlerMetadata] = {}
    for name, agent in (("agent", True), ("tool", False)):

        async def look(payload: Go, metadata: HandlerMetadata, name: str = name) -> Any:
            seen[name] = metadata
            return respond(Note())

        organism.listener(look, name=name, agent=agent, peers=["echo"])
    organism.listener(echo)
    async with organism:
        await organism.ask("agent", Go())
        await organism.ask("tool", Go())
    assert seen["agent"].own_name == "agent"
    assert "<Question>" in seen["agent"].usage_instructions
    assert "echo" in seen["agent"].usage_instructions
    assert (seen["tool"].own_name, seen["tool"].usage_instructions) == (None, "")
    with pytest.raises(AttributeError):
        seen["tool"].thread_id = "x"  # type: ignore[misc]


@virtual
async def test_events_tell_the_whole_story_in_order() -> None:
    organism = a_small_one()
    stream = organism.events()
    async with organism:
        assert await organism.ask("asker", Go(), sender="me") == Answer("x")
    story = [event async for event in stream]
    kinds = [type(event) for event in story if not isinstance(event, SessionEnded)]
    assert (
        kinds
        == [
            ConversationStarted,
            ThreadOpened,
            MessageDelivered,  # Go → asker
            ThreadOpened,
            MessageDelivered,  # Question → echo
            ThreadEnded,
            MessageDelivered,  # Answer → asker
            ThreadEnded,
            MessageDelivered,  # Answer → outside
            *(kind for kind in kinds[9:]),
        ]
    )
    assert kinds[-1] is ConversationEnded
    delivered = [(fact.from_id, fact.to) for fact in story if isinstance(fact, MessageDelivered)]
    assert delivered == [("me", "asker"), ("asker", "echo"), ("echo", "asker"), ("asker", "me")]
    with pytest.raises(AttributeError):
        story[0].listener = "x"  # type: ignore[attr-defined]


@virtual
async def test_several_readers_of_one_stream_share_it_and_all_end() -> None:
    organism = a_small_one()
    stream = organism.events()

    async def read() -> int:
        return len([event async for event in stream])

    readers = [asyncio.ensure_future(read()) for _ in range(3)]
    async with organism:
        await organism.ask("asker", Go())
        await asyncio.sleep(1)
    counts = await asyncio.wait_for(asyncio.gather(*readers), 5)
    assert sum(counts) >= 10


@virtual
async def test_a_reader_that_is_cancelled_takes_no_other_with_it() -> None:
    organism = a_small_one()
    async with organism, organism.events() as stream:
        impatient, patient = (asyncio.ensure_future(anext(stream)) for _ in range(2))
        await asyncio.sleep(1)
        impatient.cancel()
        await asyncio.sleep(1)
        await organism.ask("asker", Go())
        assert isinstance(await asyncio.wait_for(patient, 5), ConversationStarted)


@virtual
async def test_a_slow_reader_loses_the_oldest_facts_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    organism = a_small_one()
    stream = organism.events(limit=5)
    with caplog.at_level(logging.WARNING):
        async with organism:
            for _ in range(10):
                await organism.ask("asker", Go())
    kept = [event async for event in stream]
    assert len(kept) == 5
    assert isinstance(kept[-1], ConversationEnded)
    assert stream.dropped > 50
    assert "too slow" in caplog.text


@virtual
async def test_an_observer_that_fails_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    organism = a_small_one()

    def broken(event: Event) -> None:
        raise RuntimeError("observer")

    organism.add_hook(broken)
    recorder = Recorder(organism)
    async with organism:
        assert await organism.ask("asker", Go()) == Answer("x")
        assert at_rest(organism)
    assert recorder.of(ConversationEnded)
    assert "an observer failed" in caplog.text


@pytest.mark.parametrize("kind", [ConversationStarted, ThreadOpened, MessageDelivered, ThreadEnded])
@virtual
async def test_an_observer_may_cancel_at_any_moment(kind: type) -> None:
    organism = a_small_one()
    organism.add_hook(
        lambda event: organism.cancel(event.conversation_id) and None if type(event) is kind else None  # type: ignore[attr-defined]
    )
    async with organism:
        results = await asyncio.gather(
            *(organism.ask("asker", Go(), timeout=60) for _ in range(3)), return_exceptions=True
        )
        assert len(results) == 3
        await settled(organism)
        assert at_rest(organism)


@virtual
async def test_the_status_counts() -> None:
    organism = a_small_one()
    async with organism:
        assert await organism.ask("asker", Go()) == Answer("x")
        status = organism.status()
    assert (status.handled, status.in_flight, status.running, status.dead_letters) == (3, 0, 0, 0)


@virtual
async def test_send_returns_at_once_with_the_conversations_id() -> None:
    organism = a_small_one()
    recorder = Recorder(organism)
    async with organism:
        conversation = await organism.send("asker", Go())
        assert organism.status().conversations == 1
        await settled(organism)
        assert not organism.dead_letters()  # an answer that nobody waits for is no mishap
        assert not organism.cancel(conversation)
        assert not organism.cancel("no such id")
    (ended,) = recorder.of(ConversationEnded)
    assert (ended.conversation_id, ended.answered) == (conversation, True)


@virtual
async def test_an_exchange_of_envelopes_answers_errors_as_envelopes_too() -> None:
    organism = Organism.build()

    @organism.listener
    async def failing(payload: Go, metadata: HandlerMetadata) -> Any:
        raise RuntimeError

    data = (
        b'<message xmlns="https://xml-pipeline.org/ns/envelope/v1"><meta><from>stranger</from><to>failing</to>'
        b"<thread>2f1c0000-0000-4000-8000-0123456789ab</thread></meta><Go xmlns=''><n>1</n></Go></message>"
    )
    async with organism:
        answer = decode(await organism.exchange(data))
    assert (answer.payload.tag, answer.payload.findtext("code")) == ("SystemError", "handler")
    assert answer.to == "stranger"
