"""From a conversation in a journal to a case: what was said becomes the script, its answer what is expected. Pure.

A model's line is what its agent did with it: the calls that went out, the answer that was accepted. What a model
had to write again is not in it. A handler that asked models itself becomes a stand-in, and so does one with effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xml_pipeline.composition import limits_of, listeners_of
from xml_pipeline.config import OrganismConfig
from xml_pipeline.envelope import Huh, Message, SystemError
from xml_pipeline.errors import ConfigError, JournalError, cut
from xml_pipeline.journal import Step
from xml_pipeline.payload import codec_of
from xml_pipeline.pump.machine import Machine
from xml_pipeline.pump.recovery import Reviver, Unreadable
from xml_pipeline.threads.record import Accepted, Over

NAME_CUT = 60


def recorded(
    config: OrganismConfig, steps: Sequence[Step], asked_models: set[str], name: str = ""
) -> dict[str, Any]:
    """The case, as YAML holds it.

    Args:
        config: the organism's, with everything imported.
        steps: of the conversation, all of them.
        asked_models: the listeners that asked models in it.
        name: of the case; "" for one by what was sent.

    Raises:
        ConfigError: it cannot be a case: it is still open, or something in it cannot be read any more.
    """
    try:
        return _Recording(config, asked_models).case(steps, name)
    except (Unreadable, JournalError) as error:
        raise ConfigError(f"the conversation cannot be recorded: {error}") from None


class _Recording:
    """What is known while the steps are read, the first of them first."""

    def __init__(self, config: OrganismConfig, asked_models: set[str]) -> None:
        listeners = {each.name: each for each in listeners_of(config)}
        limits, wire_limits = limits_of(config.organism)
        machine = Machine(listeners, limits, wire_limits)
        self._reviver = Reviver(machine.state, listeners, machine.terms.kept_limits)
        self._agents = {each.name for each in config.listeners if each.kind == "agent"}
        self._stand_ins = {
            each.name
            for each in config.listeners
            if each.kind == "human" or each.effects == "once" or each.name in asked_models - self._agents
        }
        self._lines: list[tuple[int, str, dict[str, Any]]] = []  # when it was asked, who, what was said
        self._listener: dict[str, str] = {}  # by thread
        self._asked: dict[str, int] = {}  # by thread: when it was asked last
        self._stood_in: set[str] = set()  # threads whose calls are nobody's who plays

    def case(self, steps: Sequence[Step], name: str) -> dict[str, Any]:
        events = [event for step in steps for event in step.events]
        first = next((event for event in events if isinstance(event, Accepted)), None)
        if first is None or first.opens is None:
            raise ConfigError("the conversation cannot be recorded: nothing was sent in it")
        number = 0
        for step in steps:
            calls: dict[str, list[Accepted]] = {}
            for event in step.events:
                number += 1
                self._seen(number, event)
                if isinstance(event, Accepted) and event.opens is not None and event.opens.parent:
                    calls.setdefault(event.opens.parent, []).append(event)
            for thread, made in calls.items():
                self._called(thread, made)
        case: dict[str, Any] = {
            "name": name or self._name(first.message),
            "to": first.message.to,
            "send": self._said(first.message, "Task"),
        }
        script: dict[str, list[dict[str, Any]]] = {}
        for _, who, line in sorted(self._lines, key=lambda each: each[0]):
            script.setdefault(who, []).append(line)
        return {**case, **({"script": script} if script else {}), "expect": self._expected(events)}

    def _seen(self, number: int, event: object) -> None:
        if not isinstance(event, Accepted):
            return
        message = event.message
        if event.ends:
            self._answered(event)
        if event.opens is not None:
            self._listener[message.thread_id] = message.to
            if event.opens.parent in self._stood_in or message.to in self._stand_ins:
                self._stood_in.add(message.thread_id)
        if event.fills is None:
            self._asked[message.thread_id] = number

    def _answered(self, event: Accepted) -> None:
        """A thread is over, with an answer."""
        who, message = self._listener.get(event.ends, ""), event.message
        if event.opens is not None and (who in self._agents or who in self._stand_ins):
            raise ConfigError(
                f"the conversation cannot be recorded: '{who}' handed its call over to '{message.to}'"
            )
        if message.from_id != who or not self._plays(event.ends):
            return
        if message.root == codec_of(SystemError).root:
            self._failed(event.ends, self._reviver.said(message).payload)
        else:
            self._line(event.ends, {"answer": self._said(message, "Answer")})

    def _plays(self, thread: str) -> bool:
        """Whether the script speaks for a thread: for one below a stand-in nobody is asked."""
        who = self._listener.get(thread, "")
        below = thread in self._stood_in and who not in self._stand_ins
        return not below and (who in self._agents or who in self._stand_ins)

    def _failed(self, thread: str, error: SystemError) -> None:
        """What came was an error: of a model when it is one that models cause."""
        if self._listener[thread] in self._agents and error.code not in ("handler", "timeout"):
            return
        message = error.message.removeprefix("no model answered: ")
        self._line(thread, {"fail": {"code": error.code, "message": cut(message)}})

    def _called(self, thread: str, made: Sequence[Accepted]) -> None:
        """A turn of an agent's model: its calls."""
        if self._listener.get(thread) not in self._agents or not self._plays(thread):
            return
        calls = [{"call": each.message.to, "with": self._said(each.message, "Task")} for each in made]
        self._line(thread, calls[0] if len(calls) == 1 else {"calls": calls})

    def _line(self, thread: str, line: dict[str, Any]) -> None:
        self._lines.append((self._asked.get(thread, 0), self._listener[thread], line))

    def _said(self, message: Message, text_class: str) -> Any:
        """A message as the file holds it. Raises Unreadable."""
        if not message.data:
            raise ConfigError("the conversation cannot be recorded: what was said in it was erased")
        payload = self._reviver.said(message).payload
        codec = codec_of(type(payload))
        fields = codec.to_json(payload)
        return (
            fields["text"] if codec.root == text_class and set(fields) == {"text"} else {codec.root: fields}
        )

    def _name(self, first: Message) -> str:
        said = self._said(first, "Task")
        text = said if isinstance(said, str) else f"{first.to}: {next(iter(said))}"
        return f"{' '.join(text.split())[:NAME_CUT]}" or first.to

    def _expected(self, events: Sequence[object]) -> dict[str, Any]:
        for event in reversed(events):
            if isinstance(event, Over):
                return {"error": {"code": "unanswered"}}
            if isinstance(event, Accepted) and event.leaves:
                payload = self._reviver.said(event.message).payload
                if isinstance(payload, SystemError):
                    return {"error": {"code": payload.code}}
                if isinstance(payload, Huh):
                    return {"error": {"code": "huh"}}
                return {"answer": self._said(event.message, "Answer")}
        raise ConfigError("the conversation cannot be recorded: it is not over")
