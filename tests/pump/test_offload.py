"""Sync handlers in threads, cpu_bound ones in processes: the event loop is never held up."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.pump import cpu
from tests.pump.scenes import Answer, Go, Note, Question, at_rest, call, echo, respond
from xml_pipeline import AnswerError, ConfigError, HandlerMetadata, Organism
from xml_pipeline.pump.offload import Threads


async def test_sync_handlers_run_beside_each_other_and_beside_the_loop() -> None:
    organism = Organism.build()
    meeting = threading.Barrier(5, timeout=20)

    @organism.listener
    def meet(payload: Go, metadata: HandlerMetadata) -> Any:
        meeting.wait()
        return respond(Note(threading.current_thread().name))

    organism.listener(echo)
    async with organism:
        asks = [asyncio.ensure_future(organism.ask("meet", Go())) for _ in range(4)]
        assert await organism.ask("echo", Question("beside")) == Answer("beside")
        answers = await asyncio.gather(organism.ask("meet", Go()), *asks)
        assert all(answer.text != threading.main_thread().name for answer in answers)
        assert at_rest(organism)


async def test_threads_are_used_again() -> None:
    organism = Organism.build()
    names: set[int] = set()

    @organism.listener
    def note(payload: Go, metadata: HandlerMetadata) -> Any:
        names.add(threading.get_ident())
        return respond(Note())

    async with organism:
        for n in range(50):
            await organism.ask("note", Go(n))
    assert len(names) == 1


async def test_there_are_no_more_threads_than_asked_for_and_none_when_they_are_closed() -> None:
    threads, free, lock = Threads(3), threading.Event(), threading.Lock()
    inside: list[threading.Thread] = []
    full = threading.Event()

    def work(_: int) -> None:
        with lock:
            inside.append(threading.current_thread())
            if len(inside) == 3:
                full.set()
        free.wait()

    calls = [asyncio.ensure_future(threads.run(work, (n,))) for n in range(10)]
    assert await asyncio.to_thread(full.wait, 20)
    assert len({*inside}) == len(inside) == 3
    free.set()
    await asyncio.gather(*calls)
    assert len(inside) == 10
    serving = {*inside}
    assert len(serving) == 3
    threads.close()
    for each in serving:
        await asyncio.to_thread(each.join, 20)
    assert not [each for each in serving if each.is_alive()]


async def test_a_thread_that_was_given_up_ends_with_its_handler() -> None:
    threads, free, begun = Threads(1), threading.Event(), threading.Event()
    own: list[threading.Thread] = []

    def work(waits: bool) -> None:
        own.append(threading.current_thread())
        if waits:
            begun.set()
            free.wait()

    given_up = asyncio.ensure_future(threads.run(work, (True,)))
    assert await asyncio.to_thread(begun.wait, 20)
    queued = asyncio.ensure_future(threads.run(work, (False,)))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    await asyncio.wait_for(queued, 20)  # another thread took its place
    assert own[1] is not own[0]
    free.set()
    await asyncio.to_thread(own[0].join, 20)
    assert not own[0].is_alive()
    await threads.run(work, (False,))
    assert own[2] is own[1]
    threads.close()
    await asyncio.to_thread(own[1].join, 20)
    assert not own[1].is_alive()


async def test_sync_handlers_that_are_stuck_do_not_use_up_the_threads() -> None:
    organism = Organism.build(max_concurrent_handlers=2, timeout_seconds=0.05)
    free = threading.Event()

    @organism.listener
    def stuck(payload: Go, metadata: HandlerMetadata) -> Any:
        free.wait()
        return respond(Note("late"))

    @organism.listener(timeout_seconds=20)
    def quick(payload: Question, metadata: HandlerMetadata) -> Any:
        return respond(Answer(payload.text))

    try:
        async with organism:
            stuck_ones = (organism.ask("stuck", Go(n)) for n in range(5))
            errors = await asyncio.gather(*stuck_ones, return_exceptions=True)
            assert {error.code for error in errors if isinstance(error, AnswerError)} == {"timeout"}
            answers = await asyncio.gather(*(organism.ask("quick", Question(str(n))) for n in range(20)))
            assert answers == [Answer(str(n)) for n in range(20)]
            assert at_rest(organism)
    finally:
        free.set()


@pytest.mark.parametrize("wrap", ["lambda", "partial", "object", "wrapper"])
async def test_an_async_handler_in_whatever_wrapping_is_awaited(wrap: str) -> None:
    class Callable:
        async def __call__(self, payload: Question, metadata: HandlerMetadata) -> Any:
            return await echo(payload, metadata)

    @functools.wraps(echo)
    def wrapper(*args: Any) -> Any:
        return echo(*args)

    handlers: dict[str, Any] = {
        "lambda": lambda payload, metadata: echo(payload, metadata),
        "partial": functools.partial(echo),
        "object": Callable(),
        "wrapper": wrapper,
    }
    organism = Organism.build(timeout_seconds=20)
    organism.listener(handlers[wrap], name="wrapped", accepts=[Question])
    async with organism:
        assert await organism.ask("wrapped", Question("x")) == Answer("x")


@contextmanager
def no_more_threads() -> Iterator[None]:
    """The system gives none: each would need more memory for its stack than there are addresses."""
    before = threading.stack_size(1 << 46)
    try:
        yield
    finally:
        threading.stack_size(before)


async def test_threads_that_could_not_be_started_take_no_place() -> None:
    organism = Organism.build(max_concurrent_handlers=3)
    free, inside = threading.Event(), threading.Semaphore(0)

    @organism.listener
    def note(payload: Go, metadata: HandlerMetadata) -> Any:
        inside.release()
        if payload.n:
            free.wait(20)
        return respond(Note())

    organism.listener(echo)
    async with organism:
        with no_more_threads():
            for _ in range(5):
                with pytest.raises(AnswerError, match="RuntimeError"):
                    await organism.ask("note", Go())
        busy = asyncio.ensure_future(organism.ask("note", Go(1)))
        await asyncio.to_thread(inside.acquire)
        with no_more_threads():
            second = asyncio.ensure_future(organism.ask("note", Go()))  # waits for the thread that there is
            assert await organism.ask("echo", Question("meanwhile")) == Answer("meanwhile")
            assert not second.done()
            free.set()
            assert await second == await busy == Note()
        assert await organism.ask("note", Go()) == Note()
        assert at_rest(organism)


async def test_a_sync_handler_may_call_peers_like_any_other() -> None:
    organism = Organism.build()

    @organism.listener(peers=["echo"])
    def caller(payload: Go | Answer, metadata: HandlerMetadata) -> Any:
        return call(Question("x"), to="echo") if isinstance(payload, Go) else respond(payload)

    organism.listener(echo)
    async with organism:
        assert await organism.ask("caller", Go()) == Answer("x")


async def test_cpu_bound_handlers_run_in_processes_that_may_fail_hang_and_die() -> None:
    organism = Organism.build(timeout_seconds=30)
    organism.listener(cpu.where, name="where", cpu_bound=True)
    organism.listener(cpu.where, name="hangs", cpu_bound=True, timeout_seconds=0.3)
    organism.listener(cpu.async_where, name="async_where", cpu_bound=True, accepts=[Go])
    async with organism:
        pid = int((await organism.ask("where", Go())).text)
        assert pid != os.getpid()
        assert int((await organism.ask("async_where", Go())).text) != os.getpid()
        for listener, n, code in (("where", 1, "handler"), ("where", 3, "handler"), ("hangs", 2, "timeout")):
            with pytest.raises(AnswerError) as error:
                await organism.ask(listener, Go(n))
            assert error.value.code == code
        last = int((await organism.ask("where", Go())).text)
        assert at_rest(organism)
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)  # a stop leaves no process behind


async def test_a_cpu_bound_handler_that_no_process_can_find_is_told_at_the_start() -> None:
    organism = Organism.build(timeout_seconds=30)
    organism.listener(lambda payload, metadata: None, name="local", accepts=[Go], cpu_bound=True)
    with pytest.raises(ConfigError, match="'local' is cpu_bound, but no other process can find its handler"):
        await organism.start()


async def test_nothing_that_a_handler_does_in_a_process_ends_the_pool() -> None:
    organism = Organism.build(timeout_seconds=30)
    organism.listener(cpu.hostile, name="hostile", cpu_bound=True)
    names = [
        "TwoArguments",
        "StopIteration",
        "SystemExit",
        "KeyboardInterrupt",
        "ValueError",
        "",
        "GeneratorExit",
        "ProcessEnded",
        "ProcessEnded",
    ]
    async with organism:
        for n, name in enumerate(names, 1):
            with pytest.raises(AnswerError, match=f"handler: the handler failed with .*{name}"):
                await organism.ask("hostile", Go(n))
            assert await organism.ask("hostile", Go()) == Note("fine")
        both = await asyncio.gather(
            *(organism.ask("hostile", Go(n % 8)) for n in range(40)), return_exceptions=True
        )
        assert both.count(Note("fine")) == 5
        assert await organism.ask("hostile", Go(10)) == Note("fine, 0")  # what it forked left with 0
        assert at_rest(organism)


async def test_a_pool_heals_whose_processes_were_killed_while_nothing_ran() -> None:
    organism = Organism.build(timeout_seconds=30, processes=1)
    organism.listener(cpu.where, name="where", cpu_bound=True)
    async with organism:
        for _ in range(2):
            os.kill(int((await organism.ask("where", Go())).text), signal.SIGKILL)
            both = await asyncio.gather(
                *(organism.ask("where", Go()) for _ in range(2)), return_exceptions=True
            )
            assert {type(each) for each in both} <= {Note, AnswerError}
            assert {each.code for each in both if isinstance(each, AnswerError)} <= {"handler"}
            assert isinstance(await organism.ask("where", Go()), Note)
        assert at_rest(organism)


async def test_waiting_for_a_free_process_is_no_time_of_the_handler(tmp_path: Path) -> None:
    organism = Organism.build(timeout_seconds=30, processes=1)
    organism.listener(cpu.wait_for, name="first", cpu_bound=True)
    organism.listener(cpu.wait_for, name="second", cpu_bound=True, timeout_seconds=1)

    @organism.listener(timeout_seconds=1)
    async def never(payload: Go, metadata: HandlerMetadata) -> Any:
        await asyncio.Event().wait()

    async with organism:
        first = asyncio.ensure_future(organism.ask("first", Note(str(tmp_path / "go"))))
        second = asyncio.ensure_future(organism.ask("second", Note()))
        with pytest.raises(AnswerError, match="timeout"):
            await organism.ask("never", Go())
        assert not second.done()
        (tmp_path / "go").touch()
        assert await first == await second == Note("there")
        assert at_rest(organism)


@pytest.mark.parametrize("processes", [0, -1, 1.5, 257, 10**400, True, "2"])
async def test_a_pool_has_a_whole_number_of_processes(processes: Any) -> None:
    with pytest.raises(ConfigError, match="processes is "):
        Organism.build(processes=processes)
