"""Another organism takes over while one is talked to: nothing that was typed or begun is lost."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.console.organisms import Paper, Slow, Writer, build
from xml_pipeline import Organism
from xml_pipeline.console import Renewal, plain
from xml_pipeline.console.session import Console
from xml_pipeline.console.signals import live
from xml_pipeline.console.stdin import LineReader
from xml_pipeline.errors import ConfigError


class Files:
    """What a watch says, by hand; a wait ends when there may be something new."""

    def __init__(self) -> None:
        self.new = False
        self._looked = asyncio.Event()

    def change(self) -> None:
        self.new = True
        self._looked.set()

    def changed(self) -> bool:
        found, self.new = self.new, False
        return found

    async def wait(self, seconds: float) -> None:
        await self._looked.wait()
        self._looked.clear()


def renewal_of(files: Files, *organisms: Organism | ConfigError) -> Renewal:
    left = list(organisms)

    def made() -> Organism:
        found = left.pop(0)
        if isinstance(found, ConfigError):
            raise found
        return found

    return Renewal(files.changed, made, wait=files.wait)


async def test_a_block_is_left_when_there_is_a_successor() -> None:
    files, second = Files(), build()
    renewal = renewal_of(files, ConfigError("first mistake"), second)
    told: list[str] = []

    def tell(error: Exception) -> None:
        told.append(str(error))
        files.change()

    files.change()
    with renewal.looking(tell):
        await asyncio.Event().wait()
    assert told == ["first mistake"]
    assert renewal.taken() is second
    assert renewal.taken() is None
    assert asyncio.current_task().cancelling() == 0
    await nothing_is_left()


async def test_who_cancels_the_talk_is_heard_though_there_is_a_successor() -> None:
    files = Files()
    renewal = renewal_of(files, build())

    async def talk() -> None:
        with renewal.looking(lambda error: None):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()  # a signal, meanwhile
                raise

    talking = asyncio.create_task(talk())
    files.change()
    with pytest.raises(asyncio.CancelledError):
        await talking
    await nothing_is_left()


async def test_what_nobody_foresaw_ends_the_talk_and_is_told() -> None:
    files = Files()

    def broken() -> bool:
        raise ZeroDivisionError

    renewal = Renewal(broken, build, wait=files.wait)
    files.change()
    with pytest.raises(ZeroDivisionError), renewal.looking(lambda error: None):
        await asyncio.Event().wait()
    await nothing_is_left()


async def test_a_block_that_ends_by_itself_is_followed_by_nobody() -> None:
    renewal = renewal_of(Files(), build())
    with renewal.looking(lambda error: None):
        await asyncio.sleep(0)
    assert renewal.taken() is None
    await nothing_is_left()


async def nothing_is_left() -> None:
    """No task but this one, once those that were cancelled have heard of it."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


class Talk:
    """`plain.run` over a pipe, with one organism after another, as `console.main` does it."""

    def __init__(self, renewal: Renewal) -> None:
        self.renewal = renewal
        self.out, self.err = io.StringIO(), io.StringIO()
        out, self._into = os.pipe()
        self._reader = LineReader(out)

    def type(self, text: str) -> None:
        os.write(self._into, text.encode())

    def close(self) -> None:
        os.close(self._into)

    async def run(self, organism: Organism | None) -> int:
        code = 0
        while organism is not None:
            current = organism

            async def once(current: Organism = current) -> int:
                return await plain.run(current, self._reader, self.out, self.err, renewal=self.renewal)

            code = await live(current, once) or code
            organism = self.renewal.taken()
        return code

    async def until(self, met: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not met():  # noqa: ASYNC110 - what is waited for is written to a stream
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("journal", [False, True])
async def test_lines_that_one_did_not_come_to_are_the_next_ones(journal: bool, tmp_path: Path) -> None:
    options = {"journal": tmp_path / "state.db"} if journal else {}
    files = Files()
    talk = Talk(renewal_of(files, build(**options)))
    running = asyncio.create_task(talk.run(build(**options)))
    talk.type("@greeter one\n")
    await talk.until(lambda: "ONE" in talk.out.getvalue())
    files.change()
    await talk.until(lambda: talk.renewal.times == 1)
    talk.type("@greeter two\n@greeter three\n")
    talk.close()
    assert await running == 0
    assert talk.out.getvalue() == "greeter: HELLO, ONE!\ngreeter: HELLO, TWO!\ngreeter: HELLO, THREE!\n"
    assert talk.err.getvalue().count("beginning anew") == 1
    assert talk.err.getvalue().count("/help says more") == 1


async def test_without_a_journal_what_runs_is_let_finish() -> None:
    slow, paper = Slow(), Paper()
    async with build(slow, Writer(), shutdown_seconds=10) as organism, Console(organism, paper) as console:
        console.submit("@slow one")
        await slow.called.wait()
        giving = asyncio.create_task(console.give_way())
        await asyncio.sleep(0)
        assert not giving.done()
        slow.go.set()
        await giving
    assert (paper.rows, paper.errors) == (["slow #1: one"], [])


async def test_without_a_journal_nobody_waits_longer_than_for_a_stop() -> None:
    slow, paper = Slow(), Paper()
    async with build(slow, Writer(), shutdown_seconds=0) as organism, Console(organism, paper) as console:
        console.submit("@slow one")
        console.submit("@boss Well?")
        await slow.called.wait()
        await console.give_way()
    assert sorted(paper.errors) == ["boss #2: cancelled", "slow #1: cancelled"]


async def test_with_a_journal_the_next_one_goes_on(tmp_path: Path) -> None:
    journal, slow, paper = tmp_path / "state.db", Slow(), Paper()
    options = {"journal": journal, "shutdown_seconds": 0}
    async with build(slow, Writer(), **options) as organism, Console(organism, paper) as console:
        console.submit("@slow one")
        console.submit("@asker what=leave")
        await slow.called.wait()
        await paper.until("May I leave?")
        await console.give_way()
        assert (paper.rows, paper.errors, console.running) == ([], [], {})
    slow.go.set()
    later = Paper()
    async with build(slow, Writer(), **options) as organism, Console(organism, later) as console:
        console.go_on()
        while not later.rows:
            later.changed.clear()
            await later.changed.wait()
        assert later.rows == ["slow #1: one"]
        console.submit("!yes")
        await console.drain()
    assert (later.rows[1:], later.errors) == (["asker #2: the boss says yes"], [])


async def test_with_a_journal_what_ends_in_time_is_shown(tmp_path: Path) -> None:
    slow, paper = Slow(), Paper()
    async with (
        build(slow, Writer(), journal=tmp_path / "state.db", shutdown_seconds=10) as organism,
        Console(organism, paper) as console,
    ):
        console.submit("@slow one")
        await slow.called.wait()
        giving = asyncio.create_task(console.give_way())
        await asyncio.sleep(0)
        slow.go.set()
        await giving
    assert (paper.rows, paper.errors) == (["slow #1: one"], [])


async def test_mistakes_are_told_and_are_no_error_of_the_talk() -> None:
    paper = Paper()
    async with build() as organism, Console(organism, paper) as console:
        console.tell_mistakes(ConfigError("no listener 'shoutr'"))
        assert any("shoutr" in row for row in paper.errors)
        assert not console.failed
