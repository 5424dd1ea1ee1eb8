"""Answers on the screen: one grows while it is generated, the others come whole."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from xml_pipeline.console import render
from xml_pipeline.envelope import Gathered
from xml_pipeline.payload import codec_of
from xml_pipeline.terminal import Line, labelled, line, lines, visible


class Screen(Protocol):
    """Where lines go."""

    def show(self, lines: Iterable[Line]) -> None:
        """Answers, and what commands print."""

    def complain(self, lines: Iterable[Line]) -> None:
        """Errors."""

    def note(self, lines: Iterable[Line]) -> None:
        """Hints, traces and questions."""

    def live(self, text: Line) -> None:
        """The end of an answer that is being generated, not a whole line yet; an empty line for none."""


@dataclass(slots=True, eq=False)
class Ask:
    """A message whose answer is awaited.

    Attributes:
        number: as `/cancel` takes it.
        to: the listener that was written to.
        task: waits for the answer.
        conversation_id: as events name it; "" until it has begun.
    """

    number: int
    to: str
    task: asyncio.Task[Any] | None = None
    conversation_id: str = ""


class Transcript:
    """Writes answers with their labels to a screen.

    Args:
        screen: where lines go.
        numbered: whether labels show the numbers of asks.
    """

    def __init__(self, screen: Screen, *, numbered: bool) -> None:
        self._screen = screen
        self._numbered = numbered
        self._growing: Ask | None = None
        self._text = ""  # generated for the growing answer since its last tool call
        self._printed = 0  # characters of it that are on the screen as whole lines
        self._last: Ask | None = None  # whose line was printed last: its next line needs no label

    def complain(self, lines: Iterable[Line]) -> None:
        """Show an error."""
        self._last = None
        self._screen.complain(lines)

    def note(self, lines: Iterable[Line]) -> None:
        """Show what is no answer."""
        self._last = None
        self._screen.note(lines)

    def grow(self, ask: Ask, text: str) -> None:
        """More of an answer was generated; while another one grows, nothing is shown of it."""
        if self._growing is None:
            self._growing = ask
        if self._growing is not ask:
            return
        self._text += text
        whole = self._text.rfind("\n") + 1
        if whole > self._printed:
            self._print(ask, self._text[self._printed : whole - 1])
            self._printed = whole
        rest = visible(self._text[self._printed :])
        self._screen.live((*self._label(ask), ("", rest)) if rest else ())

    def interrupt(self, conversation_id: str) -> None:
        """What was generated so far in a conversation is no longer the end: put it on the screen, and begin anew."""
        if self._growing is not None and self._growing.conversation_id == conversation_id:
            self._interrupt()

    def _interrupt(self) -> None:
        ask = self._growing
        if ask is not None and self._text:
            if self._text[self._printed :].strip():
                self._print(ask, self._text[self._printed :])
            self._text, self._printed = "", 0
            self._screen.live(())

    def failed(self, ask: Ask, lines: Iterable[Line]) -> None:
        """No answer will come; `lines` say why."""
        self._end(ask)
        self.complain(labelled(self._label(ask), lines))

    def answered(self, ask: Ask, answer: Any) -> None:
        """Show the answer, or the rest of what was generated when that is all of it."""
        text = _text(answer)
        there = self._growing is ask and text is not None and self._text.strip() == text.strip() != ""
        self._end(ask)
        if not there:
            self._screen.show(labelled(self._label(ask), render.answer(answer)))
        self._last = None

    def _end(self, ask: Ask) -> None:
        if self._growing is ask:
            self._interrupt()
            self._growing = None

    def _print(self, ask: Ask, text: str) -> None:
        rows = lines(text)
        self._screen.show(rows if self._last is ask else labelled(self._label(ask), rows))
        self._last = ask

    def _label(self, ask: Ask) -> Line:
        number = f" #{ask.number}" if self._numbered else ""
        return line(("name", ask.to), ("dim", f"{number}: "))


def _text(answer: Any) -> str | None:
    """The text of a payload that is one text, for comparing."""
    if isinstance(answer, Gathered):
        return None
    fields = codec_of(type(answer)).fields
    return str(getattr(answer, fields[0].name)) if len(fields) == 1 and fields[0].type == "str" else None
