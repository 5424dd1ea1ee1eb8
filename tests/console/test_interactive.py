"""The console in a terminal: prompt_toolkit with a pipe for its keys, and once with a real pseudo-terminal."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output

from tests.console.organisms import Slow, Writer, build
from tests.console.processes import ROOT
from tests.console.real_terminal import (
    AT_THE_TOP,
    CTRL_C,
    CTRL_D,
    ENTER,
    ESCAPE,
    WHERE_IS_THE_CURSOR,
    RealTerminal,
)
from xml_pipeline.agents import Task
from xml_pipeline.console import Renewal, interactive


class Glass(io.StringIO):
    """What a terminal was sent; it tells where its cursor is when it is asked."""

    def __init__(self, keys: PipeInput) -> None:
        super().__init__()
        self._keys = keys
        self.changed = asyncio.Event()
        self.seen = 0

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.changed.set()
        if WHERE_IS_THE_CURSOR in text:
            self._keys.send_text(AT_THE_TOP)
        return super().write(text)

    async def until(self, text: str) -> None:
        """Wait until it shows `text` after what was waited for before."""
        while (place := ESCAPE.sub("", self.getvalue()).find(text, self.seen)) < 0:
            self.changed.clear()
            await self.changed.wait()
        self.seen = place + len(text)


class Terminal:
    """Keys in, screen out."""

    def __init__(self, keys: PipeInput, glass: Glass, slow: Slow, writer: Writer) -> None:
        self.keys, self.glass, self.slow, self.writer = keys, glass, slow, writer
        self.size = Size(rows=24, columns=80)
        self.ended: asyncio.Task[int]

    async def type(self, text: str, *, shows: str) -> None:
        self.keys.send_text(text)
        await self.glass.until(shows)


@asynccontextmanager
async def terminal_session(history: Path | None = None, odd: str = "") -> AsyncIterator[Terminal]:
    """A person's session; `odd` is the description of one more listener."""
    slow, writer = Slow(), Writer()
    built = build(slow, writer)
    if odd:
        built.human("odd", accepts=[Task], description=odd)
    with create_pipe_input() as keys:
        glass = Glass(keys)
        screen = Terminal(keys, glass, slow, writer)
        output = Vt100_Output(glass, lambda: screen.size)
        with create_app_session(input=keys, output=output):
            async with built as organism:
                screen.ended = asyncio.create_task(interactive.run(organism, history=history))
                await glass.until("in flight")
                yield screen
                if not screen.ended.done():
                    keys.send_text(CTRL_C + CTRL_C + CTRL_D)
                await screen.ended


async def test_an_answer_appears_above_the_prompt() -> None:
    async with terminal_session() as screen:
        await screen.type("@greeter Alice" + ENTER, shows="HELLO, ALICE!")
        await screen.type("@calculator.add a=2 b=40" + ENTER, shows="value: 42")


async def test_answers_stream_in_while_the_person_types() -> None:
    async with terminal_session() as screen:
        screen.keys.send_text("\x1b[200~@writer It |grows.\nAnd |ends.\x1b[201~" + ENTER)
        screen.writer.go.put_nowait(None)
        await screen.glass.until("writer #1: It")
        await screen.type("half a li", shows="half a li")
        screen.writer.go.put_nowait(None)
        await screen.glass.until("writer #1: It grows.")
        screen.writer.go.put_nowait(None)
        await screen.glass.until("And ends.")
        await screen.glass.until("half a li")


async def test_ctrl_c_cancels_first_then_clears_then_says_how_to_quit() -> None:
    async with terminal_session() as screen:
        screen.keys.send_text("@slow x" + ENTER)
        await screen.slow.called.wait()
        await screen.type("some text", shows="some text")
        await screen.type(CTRL_C, shows="cancelled")
        screen.keys.send_text(CTRL_C)
        await screen.type("@greeter Alice" + ENTER, shows="HELLO, ALICE!")
        await screen.type(CTRL_C, shows="Ctrl-D")
        assert not screen.ended.done()


async def test_ctrl_d_leaves_after_the_answers_that_are_still_to_come() -> None:
    async with terminal_session() as screen:
        screen.keys.send_text("@slow last words" + ENTER)
        await screen.slow.called.wait()
        await screen.type(CTRL_D, shows="waiting for the last answers")
        screen.slow.go.set()
        await screen.glass.until("last words")
        assert await screen.ended == 0


async def test_quit_leaves() -> None:
    async with terminal_session() as screen:
        screen.keys.send_text("/quit" + ENTER)
        assert await screen.ended == 0


async def test_several_pasted_lines_are_one_message() -> None:
    async with terminal_session() as screen:
        screen.keys.send_text("\x1b[200~@greeter one\r\ntwo\nthree\x1b[201~")
        await screen.type(ENTER, shows="HELLO, ONE")
        await screen.glass.until("THREE!")


async def test_names_commands_and_fields_are_completed() -> None:
    async with terminal_session() as screen:
        await screen.type("@calc", shows="@calculator.add")
        await screen.type("\t a=2 ", shows="b=")
        await screen.type("\t40" + ENTER, shows="value: 42")
        await screen.type("/lis", shows="who can be addressed")


async def test_an_error_does_not_end_it() -> None:
    async with terminal_session() as screen:
        await screen.type("@nobody x" + ENTER, shows="no listener 'nobody'")
        await screen.type("@greeter Alice" + ENTER, shows="HELLO, ALICE!")


async def test_a_narrow_terminal_still_shows_all() -> None:
    async with terminal_session() as screen:
        screen.size = Size(rows=4, columns=11)
        await screen.type("@greeter Bob" + ENTER, shows="BOB!")
        screen.writer.go.put_nowait(None)
        await screen.type("@writer " + "漢字 " * 20 + ENTER, shows="漢字")


async def test_history_is_a_private_file(tmp_path: Path) -> None:
    history = tmp_path / "history"
    history.touch(0o600)
    async with terminal_session(history) as screen:
        await screen.type("@greeter Alice" + ENTER, shows="HELLO, ALICE!")
    async with terminal_session(history) as screen:
        await screen.type("\x1b[A" + ENTER, shows="HELLO, ALICE!")
    assert history.stat().st_mode & 0o077 == 0


def test_in_a_real_terminal_the_console_talks_and_leaves(tmp_path: Path) -> None:
    with RealTerminal(tmp_path) as terminal_:
        terminal_.until("in flight")
        terminal_.type("@greeter Alice" + ENTER)
        terminal_.until("HELLO, ALICE!")
        terminal_.type("@slow x" + ENTER)
        terminal_.until("1 in flight")
        terminal_.type(CTRL_C)
        terminal_.until("cancelled")
        terminal_.type(CTRL_C)
        terminal_.until("Ctrl-D")
        terminal_.until("> ")
        terminal_.type(CTRL_D)
        assert terminal_.process.wait(20) == 0
    assert "@greeter Alice" in (tmp_path / "xml-pipeline" / "history").read_text()


def test_a_terminal_without_prompt_toolkit_is_asked_line_by_line(tmp_path: Path) -> None:
    blocked = tmp_path / "prompt_toolkit"
    blocked.mkdir()
    (blocked / "__init__.py").write_text("raise ImportError('not installed')")
    with RealTerminal(tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}") as terminal_:
        terminal_.until("> ")
        terminal_.type("@greeter Alice\n")
        terminal_.until("greeter #1: HELLO, ALICE!")
        terminal_.type("@nobody x\n")
        terminal_.until("no listener")
        terminal_.type("/trace on\n@slow x\n")
        terminal_.until("console → slow")
        terminal_.type(CTRL_C)
        terminal_.until("slow #2: cancelled")
        terminal_.type(CTRL_C)
        terminal_.until("Ctrl-D")
        terminal_.until("> ")
        terminal_.type(CTRL_D)
        assert terminal_.process.wait(20) == 0


async def test_what_a_handler_prints_gives_no_orders() -> None:
    async with terminal_session() as screen:
        print("heard \x9b31m\u202e and \u200b")
        await screen.glass.until("heard \\x9b31m\\u202e and \\u200b")


async def test_what_a_completion_means_gives_no_orders() -> None:
    async with terminal_session(odd="does \u202e this") as screen:
        await screen.type("@od", shows="does \\u202e this")


async def test_a_task_that_fails_takes_no_line_from_who_types() -> None:
    async with terminal_session() as screen:
        await screen.type("@greeter Al", shows="@greeter Al")
        asyncio.get_running_loop().call_exception_handler(
            {"message": "failed", "exception": ValueError("x\x9b31m")}
        )
        await screen.type("ice" + ENTER, shows="HELLO, ALICE!")
        assert "ENTER" not in screen.glass.getvalue()
        assert "\x9b" not in screen.glass.getvalue()


async def test_what_is_typed_when_another_organism_takes_over_is_typed_still() -> None:
    changed = asyncio.Event()

    async def wait(seconds: float) -> None:
        await changed.wait()

    renewal = Renewal(lambda: True, build, wait=wait)
    with create_pipe_input() as keys:
        glass = Glass(keys)
        output = Vt100_Output(glass, lambda: Size(rows=24, columns=80))
        with create_app_session(input=keys, output=output):
            async with build() as organism:
                talk = asyncio.create_task(interactive.run(organism, renewal=renewal))
                await glass.until("in flight")
                keys.send_text("@greeter Al")
                await glass.until("greeter Al")
                changed.set()
                assert await talk == 0
            successor = renewal.taken()
            assert successor is not None
            async with successor as organism:
                changed.clear()
                talk = asyncio.create_task(interactive.run(organism, renewal=renewal))
                await glass.until("in flight")
                keys.send_text("ice" + ENTER)
                await glass.until("HELLO, ALICE!")
                keys.send_text(CTRL_D)
                assert await talk == 0
            assert glass.getvalue().count("/help says more") == 1
