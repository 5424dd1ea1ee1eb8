"""What a thread may be doing, and which events lead from one phase to the next.

The table is what the documentation's diagram is drawn from; the tests hold every step of the machine to it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Phase: TypeAlias = Literal["new", "working", "asking", "waiting", "ended"]
"""`working`: a message is queued or handled. `asking`: one waits for a person. `waiting`: for calls below it."""

PHASES: dict[tuple[Phase, str], frozenset[Phase]] = {
    ("new", "Accepted"): frozenset({"working"}),
    ("working", "Accepted"): frozenset({"working"}),
    ("working", "Asked"): frozenset({"asking"}),
    ("working", "DeadLetter"): frozenset({"working", "waiting"}),
    ("working", "Handled"): frozenset({"working", "waiting"}),
    ("asking", "Accepted"): frozenset({"asking"}),
    ("asking", "Approved"): frozenset({"working"}),
    ("asking", "Handled"): frozenset({"working", "waiting"}),
    ("asking", "DeadLetter"): frozenset({"working", "waiting"}),
    ("waiting", "Accepted"): frozenset({"waiting", "working", "ended"}),
    ("waiting", "Ended"): frozenset({"waiting", "ended"}),
}
"""(phase, event that concerns the thread) → phases it may be in then.

Events that concern a thread but leave its phase as it is (`Gathering`, `StateKept`, `Refused`, `Redelivered`) are not
listed. Within a step a thread may be `waiting` for nothing; before the step is over it is answered, has a notice in
its inbox, or has ended.
"""


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    arrows: dict[tuple[Phase, Phase], list[str]] = {}
    for (before, event), after in PHASES.items():
        for phase in sorted(after):
            if phase != before:
                arrows.setdefault((before, phase), []).append(event)
    ends = {"new": "[*]", "ended": "[*]"}
    lines = [
        f"    {ends.get(before, before)} --> {ends.get(after, after)}: {', '.join(sorted(events))}"
        for (before, after), events in arrows.items()
    ]
    return "\n".join(["stateDiagram-v2", *lines])
