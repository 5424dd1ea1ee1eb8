"""A flow that was read: steps as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from xml_pipeline.templates import Reference

INPUT = "input"
"""The name of the task."""

ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Build:
    """A message that is made of constants and templates."""

    cls: type
    given: Mapping[str, Any]


Message: TypeAlias = Build | Reference
"""What is sent: made here, or passed on as it is."""


@dataclass(frozen=True, slots=True)
class Each:
    """That a call is made for each item of a list.

    Attributes:
        variable: the name of the item.
        of: the list.
        at_once: calls that are open at once.
        most: items.
    """

    variable: str
    of: Reference
    at_once: int = 8
    most: int = 100


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a listener.

    Attributes:
        to: whom.
        send: what.
        name: under which the answer is known; "" for none.
        seconds: that it may take; None for as long as anything.
        absent: whether a failure leaves the name without a value.
        instead: what stands for the answer when it failed; None for nothing.
        each: that it is made for each item of a list.
    """

    to: str
    send: Message
    name: str = ""
    seconds: float | None = None
    absent: bool = False
    instead: Build | None = None
    each: Each | None = None

    @property
    def catches(self) -> bool:
        """Whether the flow goes on when it fails."""
        return self.absent or self.instead is not None


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls that are made at once, one of them or several."""

    calls: tuple[Call, ...]

    @property
    def apart(self) -> bool:
        """Whether the calls have sessions of their own, because there may be several at once."""
        return len(self.calls) > 1 or self.calls[0].each is not None


@dataclass(frozen=True, slots=True)
class Repeat:
    """Steps that are done until a field has a value.

    Attributes:
        until: the field, and its value as it is found in payloads.
        at_most: rounds.
        go_on: whether the flow goes on after the last of them.
    """

    steps: tuple[Step, ...]
    until: tuple[Reference, Any]
    at_most: int
    go_on: bool = False


@dataclass(frozen=True, slots=True)
class Choose:
    """One of several ways.

    Attributes:
        on: what decides: the text of a word, `true` or `false`, or of a name the class of its value, or `absent`.
        ways: the steps of each.
    """

    on: Reference
    ways: Mapping[str, tuple[Step, ...]]


@dataclass(frozen=True, slots=True)
class Delegate:
    """The end: somebody else answers."""

    to: str
    send: Message


@dataclass(frozen=True, slots=True)
class Answer:
    """The end: the flow answers."""

    send: Message


Step: TypeAlias = Calls | Repeat | Choose | Delegate | Answer


@dataclass(frozen=True, slots=True)
class Flow:
    """All that a flow does.

    Attributes:
        steps: in order.
        answers: the classes that its callers get.
        calls: whom it may call.
        hands_over_to: whom it may hand over to.
        always: whom it calls, or hands over to, on every path.
    """

    steps: tuple[Step, ...]
    answers: tuple[type, ...] = ()
    calls: tuple[str, ...] = ()
    hands_over_to: tuple[str, ...] = ()
    always: frozenset[str] = frozenset()
