"""What an agent keeps: the task it is working on, and the ones it remembers. Pure.

Both are payloads, so they live where every listener's state and memory live, and nowhere else (ADR 13). Inside
them an exchange stands as JSON in ASCII: it holds what a model wrote, character for character, also what XML cannot
carry.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from xml_pipeline.agents.history import Bounds, Exchange, Result, Round, within
from xml_pipeline.agents.reading import Reading
from xml_pipeline.agents.toolbox import BadCall, Lookup, ModelCall
from xml_pipeline.agents.wording import document, inside_result, is_plain, result_text
from xml_pipeline.envelope import is_error
from xml_pipeline.llm.types import Message, shown_text
from xml_pipeline.payload import xmlify
from xml_pipeline.payload.text import carriable

_MOST_PARTIAL = 100_000  # characters of what there is of an answer
VERSION = 1
"""Of what stands in the two classes below; another number is not read."""


@xmlify
@dataclass(frozen=True)
class AgentState:
    """A task that an agent is working on."""

    version: int
    task: str


@xmlify
@dataclass(frozen=True)
class RememberedTask:
    """A finished task that an agent remembers."""

    version: int
    exchange: str

    def messages(self) -> list[Message]:
        """As a model sees it: the task, the calls with their results, the answer."""
        return list(recalled(self).messages())


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call in the model's latest answer.

    Attributes:
        id: the tool call's.
        name: the tool's.
        peer: who was called, or gets the task; "" for a call that goes to nobody.
        complaint: what the model is told about one that could not be sent.
        text: what stands in the skill that one reads.
        ends: whether it hands the task over.
    """

    id: str
    name: str
    peer: str = ""
    complaint: str = ""
    text: str = ""
    ends: bool = False


@dataclass(frozen=True, slots=True)
class RunningTask:
    """A task from its arrival to its answer.

    Attributes:
        exchange: the task and the rounds so far.
        turns: begun so far.
        corrections: invalid answers of the model in a row.
        waiting: the model's message whose calls are out, or None.
        calls: of that message.
        answered: whether an answer was given (it may still be refused).
        message: the id of the message that brought the task, where the thread keeps that; else "".
    """

    exchange: Exchange
    turns: int = 0
    corrections: int = 0
    waiting: Message | None = None
    calls: tuple[PendingCall, ...] = field(default=())
    answered: bool = False
    message: str = ""

    @property
    def handing_over(self) -> bool:
        """Whether it was handed over, so that what comes now is a refusal."""
        return any(call.ends for call in self.calls)

    @classmethod
    def restored(cls, state: AgentState) -> RunningTask:
        """The task that `kept` wrote. Raises ValueError for one of another version."""
        return msgspec.json.decode(_readable(state.version, state.task), type=cls)

    def kept(self) -> AgentState:
        """The task as its thread's state."""
        return AgentState(VERSION, _json(self))

    def remembered(self, bounds: Bounds) -> RememberedTask | None:
        """The task as an entry of the agent's memory, with long results shortened; None when it is too large."""
        kept = within(bounds, (self.exchange,))
        return RememberedTask(VERSION, _json(kept[0])) if kept else None

    def so_far(self) -> str:
        """What there is of an answer: what the model wrote beside its calls, or else what those brought."""
        said = [shown_text(each.answer) for each in self.exchange.rounds]
        results = [
            each.text
            for turn in self.exchange.rounds
            for each in turn.results
            if not (each.is_error or each.own)
        ]
        parts = [text.strip() for text in said if text.strip()] or results
        return carriable("\n\n".join(parts)[:_MOST_PARTIAL])

    def add(self, message: Message, results: tuple[Result, ...] = (), note: str = "") -> RunningTask:
        """A round is complete."""
        done = Round(message, results, note, bool(message.get("tool_calls")))
        return replace(self, exchange=replace(self.exchange, rounds=(*self.exchange.rounds, done)))

    def noted(self, text: str) -> RunningTask:
        """The model is told something about its latest answer."""
        *before, last = self.exchange.rounds
        return replace(self, exchange=replace(self.exchange, rounds=(*before, replace(last, note=text))))

    def calling(self, reading: Reading) -> RunningTask:
        """The calls of an answer go out."""
        return replace(self, waiting=reading.message, calls=pending(reading))

    def handed_over(self, reading: Reading, to: str) -> RunningTask:
        """As it is remembered when its hand-over is accepted."""
        (call,) = reading.calls
        native = bool(reading.message.get("tool_calls"))
        name = call.name if native else to
        text = f"The task was handed over to {to}, who answers it."
        return self.add(reading.message, (Result(call.id, name, text, own=True),))

    def take(self, answers: tuple[Any, ...]) -> RunningTask:
        """The answers to the calls that are out, in call order."""
        assert self.waiting is not None
        results = results_of(self.waiting, self.calls, answers)
        return replace(self.add(self.waiting, results), waiting=None, calls=())


def recalled(entry: RememberedTask) -> Exchange:
    """The exchange that an entry holds. Raises ValueError for one of another version."""
    return msgspec.json.decode(_readable(entry.version, entry.exchange), type=Exchange)


def pending(reading: Reading) -> tuple[PendingCall, ...]:
    """The calls of an answer, as they are kept until their results are in."""
    return tuple(map(_pending, reading.calls))


def _pending(call: ModelCall) -> PendingCall:
    match call:
        case BadCall():
            return PendingCall(call.id, call.name, complaint=call.huh)
        case Lookup():
            return PendingCall(call.id, call.name, text=call.text)
    return PendingCall(call.id, call.name, call.tool.peer, ends=call.tool.does == "hands over")


def results_of(
    message: Message, calls: tuple[PendingCall, ...], answers: tuple[Any, ...] = ()
) -> tuple[Result, ...]:
    """The results of all calls of a message: `answers` for those that were sent, complaints for the others."""
    native = bool(message.get("tool_calls"))
    rest = iter(answers)
    results = []
    for call in calls:
        if not call.peer:
            text = call.complaint or call.text
            own = not call.complaint
            results.append(Result(call.id, call.name, text if native else inside_result(text), not own, own))
        else:
            answer = next(rest)
            if native:
                text = result_text(answer)
            else:
                text = inside_result(result_text(answer)) if is_plain(answer) else document(answer)
            name = call.name if native else call.peer
            results.append(Result(call.id, name, text, answer is None or is_error(answer)))
    return tuple(results)


def _json(value: object) -> str:
    return json.dumps(msgspec.to_builtins(value), separators=(",", ":"))


def _readable(version: int, text: str) -> str:
    if version != VERSION:
        raise ValueError(f"an agent's state of version {version}; only {VERSION} is read here")
    return text
