"""What the library says to those who hold it wrong: what was wrong, and what to do instead."""

from __future__ import annotations

import asyncio
import enum
import functools
import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from tests.pump.scenes import Answer, Note, Question, echo
from xml_pipeline import AnswerError, ConfigError, HandlerMetadata, HandlerResponse, Organism, xmlify
from xml_pipeline.errors import OrganismClosed, PayloadTypeError, RoutingError
from xml_pipeline.events import MessageDelivered
from xml_pipeline.testing import Recorder


@dataclass
class Plain:
    text: str


def an_echo() -> Organism:
    organism = Organism.build("small")
    organism.listener(echo)
    return organism


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (
            {"text": "x"},
            "text is not what 'echo' takes; 'echo' takes Question; a mapping is .*{Class: {field: value}}",
        ),
        ("Alice", "a str is no payload; 'echo' takes an instance of Question"),
        (None, "a NoneType is no payload; 'echo' takes an instance of Question"),
        (Question, r"the class Question is no payload; send an instance: Question\(\.\.\.\)"),
        (
            Plain("x"),
            "a Plain is no payload: decorate its class with @xmlify.*'echo' takes an instance of Question",
        ),
    ],
)
async def test_what_is_no_payload_is_named(payload: Any, said: str) -> None:
    async with an_echo() as organism:
        with pytest.raises(RoutingError, match=said):
            await organism.ask("echo", payload)


@pytest.mark.parametrize("to", [None, 5, ["echo"], echo, Question("x")])
async def test_what_is_no_name_is_no_receiver(to: Any) -> None:
    async with an_echo() as organism:
        for way in (organism.ask, organism.send):
            with pytest.raises(
                RoutingError, match=r"the receiver is a listener's name, a text, not a .*: echo"
            ):
                await way(to, Question("x"))


@pytest.mark.parametrize("sender", [None, 5, b"me"])
async def test_what_is_no_name_is_no_sender(sender: Any) -> None:
    async with an_echo() as organism:
        with pytest.raises(RoutingError, match="the sender is a name, a text, not a"):
            await organism.ask("echo", Question("x"), sender=sender)
        with pytest.raises(RoutingError, match="the sender is a name, a text, not a"):
            organism.session(sender)


@pytest.mark.parametrize("timeout", ["5", timedelta(seconds=5), True, math.nan])
async def test_a_timeout_is_a_number_of_seconds(timeout: Any) -> None:
    async with an_echo() as organism:
        with pytest.raises(TypeError, match="timeout is a number of seconds, or None; not "):
            await organism.ask("echo", Question("x"), timeout=timeout)
        with pytest.raises(TypeError, match="timeout is a number of seconds, or None; not "):
            await organism.exchange(b"<message/>", timeout=timeout)
        assert organism.status().conversations == 0


async def test_an_envelope_is_bytes() -> None:
    async with an_echo() as organism:
        with pytest.raises(TypeError, match="an envelope is bytes, not str"):
            await organism.exchange("<message/>")  # type: ignore[arg-type]  # that is the mistake


async def test_another_event_loop_is_told_the_way_in() -> None:
    async with an_echo() as organism:
        session = organism.session()
        ways = (
            lambda: organism.ask("echo", Question("x")),
            lambda: organism.send("echo", Question("x")),
            lambda: organism.exchange(b"<message/>"),
            lambda: session.ask("echo", Question("x")),
            lambda: session.send("echo", Question("x")),
        )
        for way in ways:
            with pytest.raises(RuntimeError, match=r"another event loop.*asyncio\.run_coroutine_threadsafe"):
                await asyncio.to_thread(lambda way=way: asyncio.run(way()))
        loop = asyncio.get_running_loop()
        with pytest.raises(RuntimeError, match=r"another event loop.*asyncio\.run_coroutine_threadsafe"):
            await asyncio.to_thread(lambda: asyncio.run(organism.stop()))
        for call in (
            lambda: organism.cancel("x"),
            lambda: organism.answer("x", Question("x")),
            session.close,
        ):
            with pytest.raises(RuntimeError, match=r"another event loop.*loop\.call_soon_threadsafe"):
                await asyncio.to_thread(call)

        def from_a_thread() -> Any:
            return asyncio.run_coroutine_threadsafe(organism.ask("echo", Question("x")), loop).result()

        assert await asyncio.to_thread(from_a_thread) == Answer("x")


async def test_before_and_after_its_life_an_organism_says_so() -> None:
    organism = an_echo()
    for way in (organism.ask, organism.send):
        with pytest.raises(OrganismClosed, match="async with organism"):
            await way("echo", Question("x"))
    async with organism:
        assert await organism.ask("echo", Question("x")) == Answer("x")
    for way in (organism.ask, organism.send):
        with pytest.raises(OrganismClosed, match="async with organism"):
            await way("echo", Question("x"))


def test_the_instructions_of_an_unknown_listener_name_the_nearest() -> None:
    with pytest.raises(RoutingError, match="no listener 'eco'; did you mean 'echo'"):
        an_echo().usage_instructions("eco")


async def test_an_envelope_to_nobody_names_the_nearest() -> None:
    envelope = (
        b'<message xmlns="https://xml-pipeline.org/ns/envelope/v1"><meta><from>me</from><to>eco</to>'
        b"<thread>2f1c0000-0000-4000-8000-000000000000</thread></meta>"
        b'<Question xmlns=""><text>x</text></Question></message>'
    )
    async with an_echo() as organism:
        with pytest.raises(RoutingError, match="no listener 'eco'; did you mean 'echo'"):
            await organism.exchange(envelope)


@pytest.mark.parametrize("timeout", [0, -1, -(10**300), -math.inf])
async def test_a_timeout_that_leaves_no_time_is_refused(timeout: float) -> None:
    async with an_echo() as organism:
        with pytest.raises(ValueError, match="it takes seconds above 0, or None"):
            await organism.ask("echo", Question("x"), timeout=timeout)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "x", None])
def test_a_stream_of_events_keeps_at_least_one(limit: Any) -> None:
    with pytest.raises(ValueError, match="limit is a whole number of events, 1 or more; not"):
        an_echo().events(limit=limit)


@pytest.mark.parametrize(
    ("name", "value"), [("max_in_flight", "x"), ("timeout_seconds", None), ("max_concurrent_handlers", True)]
)
def test_a_size_that_is_no_number_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} is {value!r}; it must be a number"):
        Organism.build(**{name: value})


def test_only_a_class_can_be_a_payload() -> None:
    with pytest.raises(PayloadTypeError, match=r"'len' is a builtin_function_or_method.*only a class"):
        xmlify(len)


async def test_a_class_instead_of_an_instance_is_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    organism = Organism.build()

    @organism.listener
    async def careless(payload: Question, metadata: HandlerMetadata) -> HandlerResponse:
        return HandlerResponse.respond(Question)

    async with organism:
        with pytest.raises(AnswerError) as caught:
            await organism.ask("careless", Question("x"))
    assert caught.value.code == "handler"
    assert "return an instance, Question(...)" in caplog.text


async def test_a_handler_that_raises_generator_exit_fails_like_any_other() -> None:
    organism = Organism.build()

    @organism.listener
    async def odd(payload: Question, metadata: HandlerMetadata) -> HandlerResponse:
        raise GeneratorExit

    async with organism:
        with pytest.raises(AnswerError) as caught:
            await organism.ask("odd", Question("x"), timeout=5)
    assert caught.value.code == "handler"


@pytest.mark.parametrize("odd", [42, "print", None])
def test_what_cannot_be_called_is_no_hook(odd: Any) -> None:
    with pytest.raises(TypeError, match="a hook is a function of one event; not"):
        an_echo().add_hook(odd)


class Awaited:
    async def __call__(self, event: Any) -> None: ...


async def awaited(event: Any) -> None: ...


@pytest.mark.parametrize("hook", [awaited, Awaited(), functools.partial(awaited)])
def test_a_hook_that_nobody_would_await_is_refused(hook: Any) -> None:
    with pytest.raises(TypeError, match=r"is a coroutine function.*async for event in organism\.events\(\)"):
        an_echo().add_hook(hook)


async def test_events_of_an_organism_that_was_stopped_are_none() -> None:
    async with an_echo() as organism:
        await organism.ask("echo", Question("x"))
    assert [event async for event in organism.events()] == []


async def test_events_are_read_in_the_organisms_loop_and_no_other() -> None:
    async with an_echo() as organism:
        stream = organism.events()
        with pytest.raises(RuntimeError, match=r"another event loop.*run_coroutine_threadsafe"):
            await asyncio.to_thread(asyncio.run, anext(stream))
        await organism.ask("echo", Question("x"))
        assert await anext(stream)
    assert [event async for event in stream]


class Names(str, enum.Enum):  # noqa: UP042 - a StrEnum would print its value
    """Names as many keep them; printed, a member is `Names.ECHO`."""

    ECHO = "echo"
    FRONT = "front"
    ME = "me"


async def test_names_may_be_members_of_an_enumeration() -> None:
    organism = Organism.build("named")
    recorder, callers = Recorder(organism), []

    @organism.listener(name=Names.FRONT, peers=[Names.ECHO])
    async def front(payload: Note, metadata: HandlerMetadata) -> HandlerResponse:
        callers.append(metadata.from_id)
        return HandlerResponse(Question(payload.text), to=Names.ECHO)

    organism.listener(echo)
    assert list(organism.listeners) == ["front", "echo"]
    async with organism:
        assert await organism.ask("front", Note("x"), sender=Names.ME) == Answer("x")
        assert await organism.ask(Names.FRONT, Note("x")) == Answer("x")
        raw = await organism.exchange(
            b'<message xmlns="https://xml-pipeline.org/ns/envelope/v1"><meta><from>me</from><to>front</to>'
            b"<thread>00000000-0000-0000-0000-000000000000</thread></meta>"
            b'<Note xmlns=""><text>x</text></Note></message>'
        )
    assert b"<to>me</to>" in raw
    assert b"<from>front</from>" in raw
    assert callers == ["me", "outside", "me"]
    names = {name for event in recorder.of(MessageDelivered) for name in (event.from_id, event.to)}
    assert {type(name) for name in [*callers, *names, *organism.listeners]} == {str}


def test_what_is_no_text_is_no_listeners_name() -> None:
    with pytest.raises(ConfigError, match="'42' is no listener name"):
        Organism.build().listener(echo, name=42)  # type: ignore[call-overload]


def test_an_organism_does_not_outlive_its_event_loop() -> None:
    organism = an_echo()
    asyncio.run(organism.start())
    for way in (organism.ask, organism.send):
        with pytest.raises(OrganismClosed, match=r"is closed; start and ask within one asyncio\.run"):
            asyncio.run(way("echo", Question("x")))
    asyncio.run(organism.stop())
    assert organism.status().conversations == 0
