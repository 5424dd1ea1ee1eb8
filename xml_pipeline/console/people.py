"""Questions that wait for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xml_pipeline.agents import Answer
from xml_pipeline.console import render
from xml_pipeline.console.fill import accepted
from xml_pipeline.console.parse import InputError
from xml_pipeline.organism import Organism, Question
from xml_pipeline.payload import Codec, codec_of
from xml_pipeline.terminal import Line, labelled, line

SHOWN_ID = 8
"""Characters of a thread id that people see and type."""


def shown(question: Question, *, several: bool) -> list[Line]:
    """The question, and how to answer it."""
    label = line(("warn", f"? {question.listener} "), ("dim", f"({question.thread_id[:SHOWN_ID]}): "))
    how = f"/answer {question.thread_id[:SHOWN_ID]} …" if several else "!…"
    return [
        *labelled(label, render.answer(question.payload)),
        line(("dim", f"  answer with `{how}`")),
    ]


class Requests:
    """What each open thread was asked, so that it is not taken for an answer that it waits for."""

    def __init__(self) -> None:
        self._classes: dict[str, type] = {}

    def delivered(self, thread_id: str, payload: object) -> None:
        """A message came into a thread; the first one is the request."""
        self._classes.setdefault(thread_id, type(payload))

    def ended(self, thread_id: str) -> None:
        self._classes.pop(thread_id, None)

    def of(self, thread_id: str) -> type | None:
        """The class of the request, if it was seen."""
        return self._classes.get(thread_id)


def answer_classes(organism: Organism, question: Question, asked: Requests) -> Sequence[Codec[Any]]:
    """What the one who asked takes as an answer: a plain text, unless its handler accepts other classes."""
    found = [each for each in organism.threads() if each.thread_id == question.thread_id]
    text = codec_of(Answer)
    caller = organism.listeners.get(found[0].caller) if found else None
    if caller is None or caller.agent:
        return (text,)
    taken = [codec for codec in accepted(caller) if codec.cls is not asked.of(found[0].parent_id)]
    return (text,) if not taken or text in taken else taken


def question_of(organism: Organism, start: str) -> Question:
    """The waiting question whose id starts so. Raises InputError."""
    waiting = organism.questions()
    found = [question for question in waiting if start and question.thread_id.startswith(start)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(question.thread_id[:SHOWN_ID] for question in waiting) or "none"
    what = "more than one question starts" if found else "no question waits"
    raise InputError(f"{what} with '{start}'; waiting: {known}")
