"""What runs on behalf of whom: attribution, context variables, cancellation; nothing leaks from one to the next."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from decimal import Context, Decimal, setcontext
from typing import Any

import pytest

from tests.pump.scenes import Answer, Go, Note, Question, at_rest, call, echo, respond, settled, virtual
from xml_pipeline import AnswerError, HandlerMetadata, Organism
from xml_pipeline.attribution import current_caller

secret: contextvars.ContextVar[Any] = contextvars.ContextVar("secret", default=None)


def charged() -> tuple[str, str, str]:
    caller = current_caller.get()
    assert caller is not None
    return caller.listener, caller.thread_id, caller.conversation_id


class Odd:
    """A value with an equality that is none, as arrays have."""

    def __eq__(self, other: object) -> Any:
        raise ValueError("the truth value is ambiguous")

    __hash__ = None  # type: ignore[assignment]


@virtual
async def test_a_handler_and_the_tasks_it_starts_are_charged_to_its_thread() -> None:
    organism = Organism.build(max_concurrent_handlers=3)
    wrong: list[Any] = []

    @organism.listener(peers=["below"])
    async def above(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        mine = ("above", metadata.thread_id, metadata.conversation_id)

        async def check() -> None:
            await asyncio.sleep(payload.n if isinstance(payload, Go) else 0)
            if charged() != mine:
                wrong.append(charged())

        async with asyncio.TaskGroup() as group:
            group.create_task(check())
            group.create_task(check())
        await check()
        if isinstance(payload, Go):
            return call(Question(metadata.thread_id), to="below")
        return respond(payload)

    @organism.listener
    async def below(payload: Question, metadata: HandlerMetadata) -> Any:
        await asyncio.sleep(1)
        caller = current_caller.get()
        assert caller is not None
        assert caller.lineage() == ((metadata.thread_id, payload.text), ("below", "above"))
        return respond(Answer("x"))

    async with organism:
        await asyncio.gather(*(organism.ask("above", Go(n % 5)) for n in range(40)))
        assert not wrong
        assert current_caller.get() is None


async def test_a_handler_in_a_thread_is_charged_to_its_thread_too() -> None:
    organism = Organism.build()

    @organism.listener
    def sync(payload: Go, metadata: HandlerMetadata) -> Any:
        assert threading.current_thread() is not threading.main_thread()
        assert charged() == ("sync", metadata.thread_id, metadata.conversation_id)
        secret.set(payload.n)
        return respond(Note("right"))

    @organism.listener
    def next_one(payload: Question, metadata: HandlerMetadata) -> Any:
        assert secret.get() is None
        return respond(Note("clean"))

    async with organism:
        for n in range(5):
            assert await organism.ask("sync", Go(n)) == Note("right")
            assert await organism.ask("next_one", Question("x")) == Note("clean")


@pytest.mark.parametrize("value", [1, Odd()])
@virtual
async def test_a_context_variable_of_one_handler_never_reaches_another(value: Any) -> None:
    organism = Organism.build(max_concurrent_handlers=1)

    @organism.listener
    async def sets(payload: Go, metadata: HandlerMetadata) -> Any:
        assert secret.get() is None
        secret.set(value)
        setcontext(Context(prec=3))
        if payload.n == 1:
            await asyncio.sleep(1)
        if payload.n == 2:
            raise RuntimeError
        return respond(Note())

    @organism.listener
    async def looks(payload: Question, metadata: HandlerMetadata) -> Any:
        return respond(Answer(f"{secret.get()} {Decimal(1) / 3}"))

    async with organism:
        expected = Answer(f"None {Decimal(1) / 3}")
        for n in range(3):
            results = await asyncio.gather(
                organism.ask("sets", Go(n)), organism.ask("looks", Question("")), return_exceptions=True
            )
            assert results[1] == expected
        assert secret.get() is None


@virtual
async def test_a_context_variable_of_the_sender_does_not_reach_the_handler() -> None:
    organism = Organism.build()
    secret.set("of the organism")

    @organism.listener
    async def looks(payload: Go, metadata: HandlerMetadata) -> Any:
        return respond(Note(secret.get()))

    async with organism:
        secret.set("of one sender")
        assert await organism.ask("looks", Go()) == Note("of the organism")


# --- cancellation inside handlers ---


async def a_group_that_fails() -> None:
    async def fail() -> None:
        raise RuntimeError

    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
        await asyncio.sleep(10)


@virtual
async def test_timeouts_and_task_groups_work_inside_handlers() -> None:
    organism = Organism.build(max_concurrent_handlers=1)

    @organism.listener
    async def careful(payload: Go, metadata: HandlerMetadata) -> Any:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(10)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(10), 1)
        with pytest.raises(ExceptionGroup):
            await a_group_that_fails()
        task = asyncio.ensure_future(asyncio.sleep(10))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0
        return respond(Note("all well"))

    async with organism:
        for _ in range(3):
            assert await organism.ask("careful", Go()) == Note("all well")


@pytest.mark.parametrize("way", ["and returns", "and waits", "and swallows"])
@virtual
async def test_a_handler_that_cancels_itself_harms_no_other(way: str) -> None:
    organism = Organism.build(max_concurrent_handlers=1)

    @organism.listener
    async def suicidal(payload: Go, metadata: HandlerMetadata) -> Any:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if way != "and returns":
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                if way == "and waits":
                    raise
        return respond(Note("returned"))

    @organism.listener
    async def beside(payload: Question, metadata: HandlerMetadata) -> Any:
        with pytest.raises(ExceptionGroup):  # a count of cancels left behind would break this
            await a_group_that_fails()
        await asyncio.sleep(1)
        return respond(Answer("unharmed"))

    async with organism:
        for _ in range(3):
            both = await asyncio.gather(
                organism.ask("suicidal", Go()), organism.ask("beside", Question("x")), return_exceptions=True
            )
            if way == "and waits":
                assert isinstance(both[0], AnswerError)
            else:
                assert both[0] == Note("returned")
            assert both[1] == Answer("unharmed")


@virtual
async def test_a_task_that_outlives_its_handler_and_cancels_its_runner_stalls_nothing() -> None:
    organism = Organism.build(max_concurrent_handlers=1)
    leftover: list[asyncio.Task[None]] = []

    @organism.listener
    async def careless(payload: Go, metadata: HandlerMetadata) -> Any:
        runner = asyncio.current_task()

        async def later() -> None:
            await asyncio.sleep(5)
            assert runner is not None
            runner.cancel()

        leftover.append(asyncio.ensure_future(later()))
        return respond(Note())

    organism.listener(echo)
    async with organism:
        await organism.ask("careless", Go())
        await asyncio.sleep(5)
        for _ in range(3):
            asking = asyncio.ensure_future(organism.ask("echo", Question("x"), timeout=10))
            await asyncio.sleep(0)
            assert await asking == Answer("x")
        assert at_rest(organism)


@pytest.mark.parametrize("way", ["a timer", "a task", "a closure in a callback"])
@virtual
async def test_a_cancel_that_a_handler_leaves_behind_hits_no_other(way: str) -> None:
    organism = Organism.build(max_concurrent_handlers=1)
    tasks: list[asyncio.Task[None]] = []

    @organism.listener
    async def careless(payload: Go, metadata: HandlerMetadata) -> Any:
        runner, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert runner is not None
        if way == "a timer":
            loop.call_later(5, runner.cancel)
        elif way == "a task":

            async def later() -> None:
                await asyncio.sleep(5)
                runner.cancel()

            tasks.append(loop.create_task(later()))
        else:
            loop.call_later(5, lambda: runner.cancel("too late"))
        return respond(Note())

    @organism.listener
    async def innocent(payload: Question, metadata: HandlerMetadata) -> Any:
        await asyncio.sleep(10)
        return respond(Answer("unharmed"))

    async with organism:
        await organism.ask("careless", Go())
        assert await organism.ask("innocent", Question("x"), timeout=20) == Answer("unharmed")
        assert at_rest(organism)


@virtual
async def test_handlers_that_wait_need_no_new_runner_each() -> None:
    organism = Organism.build(max_concurrent_handlers=1)
    runners: set[int] = set()

    @organism.listener
    async def patient(payload: Question, metadata: HandlerMetadata) -> Any:
        async with asyncio.timeout(100):
            await asyncio.gather(asyncio.sleep(1), asyncio.wait_for(asyncio.sleep(1), 5))
        task = asyncio.current_task()
        assert task is not None
        runners.add(int(task.get_name() == "xml-pipeline-runner") and id(task))
        return respond(Answer(payload.text))

    async with organism:
        for _ in range(50):
            await organism.ask("patient", Question("x"))
    assert len(runners) <= 3


# --- two organisms ---


@virtual
async def test_two_organisms_in_one_process_share_nothing() -> None:
    one, two = Organism.build(name="one"), Organism.build(name="two")
    for organism in (one, two):

        @organism.listener
        async def same_name(payload: Go, metadata: HandlerMetadata, name: str = organism.name) -> Any:
            await asyncio.sleep(1)
            return respond(Note(name))

        @organism.listener
        async def failing(payload: Go, metadata: HandlerMetadata) -> Any:
            raise RuntimeError

    one.listener(echo)
    assert "echo" not in two.listeners
    async with one:
        async with two:
            asks = [organism.ask("same_name", Go()) for organism in (one, two, one)]
            assert await asyncio.gather(*asks) == [Note("one"), Note("two"), Note("one")]
            await two.send("failing", Go())
            await settled(two)
            assert (len(one.dead_letters()), len(two.dead_letters())) == (0, 1)
            assert (one.status().handled, two.status().handled) == (2, 1)
        assert await one.ask("same_name", Go()) == Note("one")


@virtual
async def test_an_organism_may_be_started_by_a_handler_of_another() -> None:
    outer = Organism.build()

    @outer.listener
    async def host(payload: Go, metadata: HandlerMetadata) -> Any:
        inner = Organism.build()

        @inner.listener
        async def guest(payload: Go, metadata: HandlerMetadata) -> Any:
            return respond(Note(charged()[0]))

        async with inner:
            answer = await inner.ask("guest", Go())
        assert charged()[0] == "host"
        return respond(answer)

    async with outer:
        assert await outer.ask("host", Go()) == Note("guest")


@virtual
async def test_runners_that_may_not_go_on_are_gone() -> None:
    organism, variable = Organism.build(), contextvars.ContextVar[int]("variable")

    @organism.listener
    async def leaving(payload: Go, metadata: HandlerMetadata) -> Any:
        variable.set(payload.n)
        return respond(payload)

    def tasks() -> int:
        gc.collect()
        every = [each for each in gc.get_objects() if isinstance(each, asyncio.Task)]
        return sum(each.get_name() == "xml-pipeline-runner" for each in every)

    async with organism:
        await organism.ask("leaving", Go())
        before = tasks()
        for n in range(50):
            await organism.ask("leaving", Go(n))
        assert tasks() <= before + 1
