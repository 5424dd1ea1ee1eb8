"""The console for a person at a terminal, with prompt_toolkit: history, completion, a toolbar, live answers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession, renderer
from prompt_toolkit.application import get_app_or_none, get_app_session, run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer
from prompt_toolkit.completion import Completion as Shown
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import Style

from xml_pipeline.arming.armed import Armed
from xml_pipeline.console.banner import banner, told_armed
from xml_pipeline.console.complete import complete
from xml_pipeline.console.overview import toolbar
from xml_pipeline.console.plain import HOW_TO_QUIT, PROMPT
from xml_pipeline.console.renewal import Renewal, looking
from xml_pipeline.console.session import Console
from xml_pipeline.console.signals import interrupts
from xml_pipeline.organism import Organism
from xml_pipeline.terminal import GuardedStream, Line, line, plain, visible, wrapped

LIVE_ROWS = 6
"""Rows of an unfinished line that are shown above the prompt."""

REFRESH_SECONDS = 0.5
"""How often the toolbar is drawn anew."""

STYLE = Style.from_dict(
    {
        "name": "ansicyan bold",
        "dim": "ansibrightblack",
        "good": "ansigreen",
        "warn": "ansiyellow",
        "error": "ansired",
        "bottom-toolbar": "noreverse ansibrightblack",
    }
)


class TerminalScreen:
    """Lines above the prompt, and the growing end of an answer within it."""

    def __init__(self) -> None:
        self._waiting: list[Line] = []
        self._ready = asyncio.Event()
        self._live: Line = ()

    def show(self, lines: Iterable[Line]) -> None:
        self._waiting.extend(lines)
        self._ready.set()

    def complain(self, lines: Iterable[Line]) -> None:
        self.show(lines)

    def note(self, lines: Iterable[Line]) -> None:
        self.show(lines)

    def live(self, text: Line) -> None:
        self._live = text
        app = get_app_or_none()
        if app is not None:
            app.invalidate()

    async def print(self) -> None:
        """Print what is shown, in its order, until cancelled."""
        while True:
            await self._ready.wait()
            await run_in_terminal(self.flush)

    def flush(self) -> None:
        """Print what is waiting now."""
        waiting, self._waiting = self._waiting, []
        self._ready.clear()
        text = FormattedText([fragment for each in waiting for fragment in (*_classes(each), ("", "\n"))])
        renderer.print_formatted_text(get_app_session().output, text, STYLE)

    def prompt(self) -> FormattedText:
        """What stands before the cursor."""
        app = get_app_or_none()
        fragments: list[tuple[str, str]] = []
        if self._live and app is not None and not app.is_done:
            width = app.output.get_size().columns
            for row in wrapped(self._live, width)[-LIVE_ROWS:]:
                fragments += [*_classes(row), ("", "\n")]
        return FormattedText([*fragments, ("class:name", PROMPT)])


def _classes(text: Line) -> list[tuple[str, str]]:
    return [(f"class:{style}" if style else "", part) for style, part in text]


class _Completer(Completer):
    def __init__(self, organism: Organism) -> None:
        self._organism = organism

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Shown]:
        for each in complete(self._organism, document.text_before_cursor):
            meaning = plain(line(each.meaning))
            yield Shown(each.text, start_position=-each.replaces, display_meta=meaning)


def _bindings(console: Console, interrupt: Callable[[], None]) -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("c-c")
    def cancel(event: KeyPressEvent) -> None:
        if event.current_buffer.text and not console.running:
            event.current_buffer.reset()
        else:
            interrupt()

    @bindings.add("escape", "enter")
    def newline(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings


async def run(
    organism: Organism,
    *,
    history: Path | None = None,
    log: str = "",
    renewal: Renewal | None = None,
    armed: Armed | None = None,
) -> int:
    """Talk to a running organism in the terminal of the current prompt_toolkit session.

    Args:
        organism: a started one.
        history: file of the lines typed earlier; None keeps them for this run only.
        log: where the log goes, for error messages.
        renewal: finds another organism to go on with.
        armed: its triggers; None for none.

    Returns:
        0: a person saw the errors.
    """
    screen = TerminalScreen()
    printing = asyncio.create_task(screen.print())
    try:
        async with Console(organism, screen, log=log) as console:
            first = renewal is None or not renewal.times
            screen.show(await banner(organism, armed) if first else told_armed(armed))
            screen.flush()
            console.go_on()

            def interrupt() -> None:
                if not console.cancel():
                    screen.note([line(("dim", HOW_TO_QUIT))])

            session: PromptSession[str] = PromptSession(
                screen.prompt,
                style=STYLE,
                completer=_Completer(organism),
                complete_while_typing=True,
                history=FileHistory(str(history)) if history else InMemoryHistory(),
                key_bindings=_bindings(console, interrupt),
                bottom_toolbar=lambda: visible(toolbar(organism)),
                refresh_interval=REFRESH_SECONDS,
                include_default_pygments_style=False,
            )
            with interrupts(interrupt), patch_stdout(), _guarded():
                with looking(renewal, console.tell_mistakes):
                    await _talk(console, session, renewal)
                if renewal is not None and renewal.successor is not None:
                    await console.give_way()
                else:
                    if console.running:
                        screen.note([line(("dim", "waiting for the last answers; Ctrl-C cancels them"))])
                    await console.drain()
    finally:
        printing.cancel()
        screen.flush()
    return 0


@contextmanager
def _guarded() -> Iterator[None]:
    """What handlers print above the prompt gives no orders: prompt_toolkit itself looks for escapes only."""
    out: Any = GuardedStream(sys.stdout)
    err: Any = GuardedStream(sys.stderr)
    with redirect_stdout(out), redirect_stderr(err):
        yield


async def _talk(console: Console, session: PromptSession[str], renewal: Renewal | None) -> None:
    typed, draft = "", "" if renewal is None else renewal.draft
    while not console.quitting:
        try:
            # prompt_toolkit would ask for Enter when a handler's task fails, and swallow what is being typed.
            typed = await session.prompt_async(
                handle_sigint=False, set_exception_handler=False, default=draft
            )
        except EOFError:
            return
        except asyncio.CancelledError:
            if renewal is not None:
                renewal.draft = session.default_buffer.text
            raise
        draft = ""
        console.submit(typed)
