"""Questions that wait for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xml_pipeline.agents import Answer
from xml_pipeline.console import render
from xml_pipeline.console.fill import fill, how_to_write
from xml_pipeline.console.parse import InputError
from xml_pipeline.organism import Organism, Question
from xml_pipeline.payload import Codec, codec_of
from xml_pipeline.pump import Listener
from xml_pipeline.pump.approvals import Approval
from xml_pipeline.terminal import Line, labelled, line

SHOWN_ID = 8
"""Characters of a thread id that people see and type."""


def shown(question: Question, classes: Sequence[Codec[Any]], *, several: bool) -> list[Line]:
    """The question, and how to answer it.

    Args:
        question: what is asked.
        classes: what the person may answer with, see `answer_classes`.
        several: whether other questions wait too.
    """
    who = f"{question.approver} approves {question.listener}" if question.approver else question.listener
    label = line(("warn", f"? {who} "), ("dim", f"({question.thread_id[:SHOWN_ID]}): "))
    head = f"/answer {question.thread_id[:SHOWN_ID]} " if several else "!"
    ways = [f"{head}…"]
    if question.approver:
        ways = [f"{head}yes", f"{head}no why"]
    elif [codec.cls for codec in classes] != [Answer]:
        ways = [
            how_to_write(f"{head}{codec.root}" if len(classes) > 1 else head, codec).replace("! ", "!")
            for codec in classes
        ]
    return [
        *labelled(label, render.answer(question.payload)),
        line(("dim", f"  answer with {' or '.join(f'`{way}`' for way in ways)}")),
    ]


def answer_classes(person: Listener | None, caller: Listener | None) -> tuple[Codec[Any], ...]:
    """What a person answers with: of several classes those that the caller takes, or an approval.

    Args:
        person: who is asked, or what is to be approved; a text is the answer when nothing is declared.
        caller: who asked: an agent and the outside (None) take every answer.
    """
    if person is not None and person.approve:
        return (codec_of(Approval),)
    declared = None if person is None else person.answers
    given: tuple[Codec[Any], ...] = tuple(map(codec_of, declared or (Answer,)))
    if caller is None or caller.agent:
        return given
    return tuple(codec for codec in given if codec.root in caller.requests) or given


def said(listener: str, classes: Sequence[Codec[Any]], body: str) -> Any:
    """The answer that a person typed: `yes` or `no why` for an approval. Raises as `fill`."""
    if [codec.cls for codec in classes] == [Approval]:
        word, _, note = body.strip().partition(" ")
        if word.lower() in ("yes", "no"):
            return Approval(word.lower() == "yes", note.strip())
    return fill(listener, classes, body, sign="!")


def question_of(organism: Organism, start: str) -> Question:
    """The one waiting question whose thread id begins with `start`. Raises InputError."""
    waiting = organism.questions()
    found = [question for question in waiting if start and question.thread_id.startswith(start)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(question.thread_id[:SHOWN_ID] for question in waiting) or "none"
    what = "more than one question starts" if found else "no question waits"
    raise InputError(f"{what} with '{start}'; waiting: {known}")
