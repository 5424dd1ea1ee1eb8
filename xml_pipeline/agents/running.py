"""One task that an agent is working on. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xml_pipeline.agents.history import Bounds, Exchange, Result, Round, within
from xml_pipeline.agents.memory import Record
from xml_pipeline.agents.reading import Reading
from xml_pipeline.agents.toolbox import BadCall
from xml_pipeline.agents.wording import document, is_plain, result_text
from xml_pipeline.envelope import is_error
from xml_pipeline.llm.types import Message


class RunningTask:
    """A task from its arrival to its answer.

    Attributes:
        record: where it is remembered once it is answered.
        exchange: the task and the rounds so far.
        turns: begun so far.
        corrections: invalid answers of the model in a row.
        waiting: the answer of the model whose calls are out, or None.
        answered: whether an answer was given (it may still be refused).
    """

    __slots__ = ("_earlier", "answered", "corrections", "exchange", "record", "turns", "waiting")

    def __init__(self, task: Message, record: Record) -> None:
        self.record = record
        self.exchange = Exchange(task)
        self.turns = 0
        self.corrections = 0
        self.waiting: Reading | None = None
        self.answered = False
        self._earlier = tuple(record.exchanges)

    def history(self, bounds: Bounds, *, latest_only: bool = False) -> list[Message]:
        """What the model sees of the past: earlier tasks and this one, or this one's latest round only."""
        current = self.exchange
        if latest_only:
            current = replace(current, rounds=current.rounds[-1:])
        return [message for each in within(bounds, self._earlier, current) for message in each.messages()]

    def add(self, reading: Reading, results: tuple[Result, ...] = (), note: str = "") -> None:
        """A round is complete."""
        native = bool(reading.message.get("tool_calls"))
        done = Round(reading.message, results, note, native)
        self.exchange = replace(self.exchange, rounds=(*self.exchange.rounds, done))

    def note(self, text: str) -> None:
        """Tell the model something about its latest answer."""
        *before, last = self.exchange.rounds
        self.exchange = replace(self.exchange, rounds=(*before, replace(last, note=text)))

    def take(self, answers: tuple[Any, ...]) -> bool:
        """The answers to the calls that are out, in call order; False when none are out."""
        reading, self.waiting = self.waiting, None
        if reading is None:
            return False
        self.add(reading, results_of(reading, answers))
        return True


def results_of(reading: Reading, answers: tuple[Any, ...] = ()) -> tuple[Result, ...]:
    """The results of all calls of a reading: `answers` for the good ones, complaints for the bad ones."""
    native = bool(reading.message.get("tool_calls"))
    rest = iter(answers)
    results = []
    for call in reading.calls:
        if isinstance(call, BadCall):
            results.append(Result(call.id, call.name, call.huh, True))
        else:
            answer = next(rest)
            text = result_text(answer) if native or is_plain(answer) else document(answer)
            name = call.name if native else call.tool.peer
            results.append(Result(call.id, name, text, answer is None or is_error(answer)))
    return tuple(results)
