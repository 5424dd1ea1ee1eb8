"""A trigger as a value: when it fires, what it says to whom."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from xml_pipeline.keys.secret import Secret
from xml_pipeline.triggers.cron import Cron, Every

LATE = 60.0
"""Seconds after which a time is missed; until then a restart may have been in its way."""

_FIRST_LOOK = 64.0  # seconds before now in which the last time is looked for first


@dataclass(frozen=True, slots=True)
class Webhook:
    """What is fired by a signed POST.

    Attributes:
        path: of its URL.
        variable: of the environment, in which its secret is looked for.
        secret: of its signatures; "" where there is none.
        payload: the class whose fields its body holds; "" where the body is not read.
    """

    path: str
    variable: str
    secret: Secret = field(default=Secret(""), repr=False)
    payload: str = ""


@dataclass(frozen=True, slots=True)
class Trigger:
    """What begins a conversation by itself.

    Attributes:
        name: its own.
        to: the door that it calls.
        when: at which times, or with which deliveries.
        said: what it says, as `{Class: {field: value}}`; None where a delivery says it.
        if_running: what happens when something goes on that it began: `skip`, `queue` or `also`.
        missed: what becomes of times at which nobody ran: `skip` or `once`.
    """

    name: str
    to: str
    when: Cron | Every | Webhook
    said: Mapping[str, Any] | None = None
    if_running: Literal["skip", "queue", "also"] = "skip"
    missed: Literal["skip", "once"] = "skip"

    @property
    def caller(self) -> str:
        """Who listeners and budgets see."""
        return caller_of(self.name)


def caller_of(name: str) -> str:
    """Who listeners and budgets see when a trigger of this name has fired."""
    return f"trigger:{name}"


@dataclass(frozen=True, slots=True)
class Due:
    """What a clock came to: the last time that was meant, and whether it is fired.

    Attributes:
        moment: in seconds of Unix time.
        fires: False where it was missed, and is left at that.
    """

    moment: float
    fires: bool


def due(when: Cron | Every, seen: float, now: float, missed: Literal["skip", "once"]) -> Due | None:
    """What is due of the times after `seen`; several are one, the last. None for nothing.

    Args:
        when: the times.
        seen: up to when they were seen to, in seconds of Unix time.
        now: the same of now.
        missed: what becomes of a time that was missed.
    """
    if when.after(seen) > now:
        return None
    moment = _last(when, seen, now)
    return Due(moment, missed == "once" or now - moment < LATE)


def _last(when: Cron | Every, seen: float, now: float) -> float:
    """The last time until now; there is one after `seen`."""
    back = _FIRST_LOOK
    while when.after(max(seen, now - back)) > now:
        back *= 4
    moment = found = when.after(max(seen, now - back))
    while found <= now:
        moment, found = found, when.after(found)
        if found == math.inf:
            break
    return moment
