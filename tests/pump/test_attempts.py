"""How often a message is handled: retries of handlers that raise, and handlers that are called once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.journal.lives import World
from tests.pump.scenes import Answer, Go, Question, at_rest, call, echo, respond, virtual
from xml_pipeline import AnswerError, HandlerMetadata, Organism
from xml_pipeline.errors import ConfigError, TaskFailed
from xml_pipeline.events import HandlerFailed
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import listener
from xml_pipeline.testing import Recorder


def flaky(
    organism: Organism, failures: int, retries: int, error: Exception | None = None
) -> list[tuple[int, float]]:
    tries: list[tuple[int, float]] = []

    @organism.listener(retries=retries)
    async def worker(payload: Question, metadata: HandlerMetadata) -> Any:
        tries.append((metadata.attempt, asyncio.get_running_loop().time()))
        if len(tries) <= failures:
            raise error or ConnectionError("the other side is away")
        return respond(Answer(payload.text))

    return tries


@virtual
async def test_a_handler_that_raises_is_tried_again_later_each_time() -> None:
    organism = Organism.build()
    tries = flaky(organism, failures=3, retries=3)
    recorder = Recorder(organism)
    async with organism:
        assert await organism.ask("worker", Question("x")) == Answer("x")
        assert at_rest(organism)
        assert organism.dead_letters() == []
    assert [attempt for attempt, _ in tries] == [1, 2, 3, 4]
    begun = tries[0][1]
    assert [round(at - begun) for _, at in tries] == [0, 1, 3, 7]
    assert next(fact.error for fact in recorder.of(HandlerFailed)) == (
        "ConnectionError: the other side is away (it is tried again in 1 s)"
    )


@virtual
async def test_when_all_tries_failed_the_caller_gets_the_error_and_the_message_is_a_dead_letter() -> None:
    organism = Organism.build()
    tries = flaky(organism, failures=9, retries=2)
    async with organism:
        with pytest.raises(AnswerError, match="ConnectionError"):
            await organism.ask("worker", Question("x"))
        assert len(tries) == 3
        (letter,) = organism.dead_letters()
        assert letter.reason == "its handler failed 3 times: ConnectionError: the other side is away"
        assert letter.payload == Question("x")
        assert at_rest(organism)


@virtual
async def test_what_a_handler_gave_up_in_words_is_not_tried_again() -> None:
    organism = Organism.build()
    tries = flaky(organism, failures=9, retries=2, error=TaskFailed("validation", "no such order"))
    async with organism:
        with pytest.raises(AnswerError, match="no such order"):
            await organism.ask("worker", Question("x"))
    assert len(tries) == 1


@virtual
async def test_while_it_is_paused_others_are_handled_and_a_cancel_ends_it() -> None:
    organism = Organism.build(max_concurrent_handlers=1)
    tries = flaky(organism, failures=99, retries=5)
    organism.listener(echo)
    async with organism:
        conversation = await organism.send("worker", Question("x"))
        await asyncio.sleep(0.5)
        assert await organism.ask("echo", Question("y"), timeout=0.1) == Answer("y")
        assert organism.status().in_flight == 1
        assert organism.cancel(conversation)
        assert at_rest(organism)
        await asyncio.sleep(60)
    assert len(tries) == 1


@virtual
async def test_the_order_of_a_thread_holds_over_retries() -> None:
    organism = Organism.build()
    seen: list[str] = []

    @organism.listener(retries=1)
    async def own(payload: Question | Go, metadata: HandlerMetadata) -> Any:
        if isinstance(payload, Go):
            return [call(Question(text), to="own") for text in "abc"]
        if payload.text == "a" and metadata.attempt == 1:
            raise ValueError("once")
        seen.append(payload.text)
        return respond(Answer("".join(seen))) if payload.text == "c" else None

    async with organism:
        assert await organism.ask("own", Go()) == Answer("abc")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"retries": -1}, "retries of 'echo' is -1; allowed: 0 to 20"),
        ({"retries": 21}, "allowed: 0 to 20"),
        ({"retries": True}, "retries"),
        ({"retries": 1.5}, "retries"),
        ({"effects": "never"}, "effects of 'echo' is 'never'; allowed: repeat, once"),
        ({"effects": "once", "retries": 1}, "effects: once and retries"),
        ({"effects": "once", "agent": True}, "effects: once and agent"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Organism.build().listener(echo, **options)


# --- effects: once ---


def payer(world: World, calls: list[int], *, dies: bool = False) -> Organism:
    async def pay(payload: Question, metadata: HandlerMetadata) -> Any:
        calls.append(metadata.attempt)
        if dies:
            await asyncio.Event().wait()
        return respond(Answer("paid"))

    one = listener("pay", pay, effects="once")
    return Organism("bank", [one], journal=SqliteJournal(world.path), shutdown_seconds=0)


async def begun(calls: list[int]) -> None:
    async with asyncio.timeout(10):
        while not calls:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.002)


async def test_what_is_done_once_is_not_done_again_in_the_next_life(tmp_path: Any) -> None:
    world, calls = World(tmp_path / "state.db"), list[int]()
    async with payer(world, calls, dies=True) as organism:
        await organism.send("pay", Question("100"), key="k")
        await begun(calls)
    async with payer(world, calls) as organism:
        with pytest.raises(AnswerError, match="interrupted: it was interrupted when it had begun"):
            await organism.ask("pay", Question("100"), key="k")
        assert await organism.ask("pay", Question("100"), key="another") == Answer("paid")
    assert calls == [1, 1]


async def test_what_had_not_begun_is_done_in_the_next_life(tmp_path: Any) -> None:
    world, calls = World(tmp_path / "state.db"), list[int]()
    organism = payer(world, calls, dies=True)
    organism._pump.runners.halt()  # it is accepted, and no handler is called any more
    async with organism:
        await organism.send("pay", Question("100"), key="k")
    assert calls == []
    async with payer(world, calls) as organism:
        assert await organism.ask("pay", Question("100"), key="k") == Answer("paid")
    assert calls == [1]


@virtual
async def test_one_that_is_given_up_was_interrupted() -> None:
    async def pay(payload: Question, metadata: HandlerMetadata) -> Any:
        await asyncio.sleep(100)

    organism = Organism("bank", [listener("pay", pay, effects="once", timeout_seconds=1)])
    async with organism:
        with pytest.raises(AnswerError) as error:
            await organism.ask("pay", Question("x"))
        assert error.value.code == "interrupted"
