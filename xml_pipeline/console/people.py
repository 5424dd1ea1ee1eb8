"""Questions that wait for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xml_pipeline.agents import Answer
from xml_pipeline.console import render
from xml_pipeline.console.fill import accepted
from xml_pipeline.console.parse import InputError
from xml_pipeline.organism import Organism, Question
from xml_pipeline.payload import Codec, codec_of
from xml_pipeline.pump import Listener
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


def answer_classes(
    organism: Organism, question: Question, requests: Mapping[str, str]
) -> Sequence[Codec[Any]]:
    """What the one who asked takes as an answer: a plain text, unless its handler accepts other classes.

    Args:
        organism: where the question waits.
        question: the one that is answered.
        requests: thread id → root name of its first message. What a thread was asked is no answer it waits for.
    """
    found = [each for each in organism.threads() if each.thread_id == question.thread_id]
    if not found:
        return (codec_of(Answer),)
    return taken_by(organism.listeners.get(found[0].caller), requests.get(found[0].parent_id, ""))


def taken_by(caller: Listener | None, task: str) -> Sequence[Codec[Any]]:
    """What whoever asked a person takes as an answer; `task` names the payload that they work on themselves."""
    text = codec_of(Answer)
    if caller is None or caller.agent:
        return (text,)
    taken = [codec for codec in accepted(caller) if codec.root != task]
    return (text,) if not taken or text in taken else taken


def question_of(organism: Organism, start: str) -> Question:
    """The one waiting question whose thread id begins with `start`. Raises InputError."""
    waiting = organism.questions()
    found = [question for question in waiting if start and question.thread_id.startswith(start)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(question.thread_id[:SHOWN_ID] for question in waiting) or "none"
    what = "more than one question starts" if found else "no question waits"
    raise InputError(f"{what} with '{start}'; waiting: {known}")
