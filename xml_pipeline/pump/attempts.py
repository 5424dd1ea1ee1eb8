"""How often a message is handled, and what is said when that was often enough."""

from __future__ import annotations

from collections.abc import Mapping

from xml_pipeline.envelope import Message
from xml_pipeline.pump.listener import Listener
from xml_pipeline.threads import State, Thread

MOST_INTERRUPTIONS = 5
POISONOUS = f"its handler was interrupted {MOST_INTERRUPTIONS} times, by the end of the process"
NOT_TWICE = "it was interrupted when it had begun, and what it does is not done twice"
_LONGEST_PAUSE = 60.0


def pause_after(failures: int) -> float:
    """Seconds until a message is tried again whose handler raised so often: 1, 2, 4, … at most 60."""
    return min(_LONGEST_PAUSE, 2.0 ** (failures - 1))


def failed_for_good(times: int, detail: str) -> str:
    """Why a message is a dead letter whose handler raised each of these times."""
    return f"its handler failed {times} times: {detail}"


def careful(thread: Thread, listener: Listener) -> bool:
    """Whether it is written down that a handler is called, before it is."""
    again = thread.posted or thread.interrupted or thread.approved
    return bool(again) or listener.effects == "once"


def begun_again(state: State, listeners: Mapping[str, Listener]) -> list[Message]:
    """Messages whose handlers were called again, as is written down, and may be called once more."""
    return [
        thread.inbox[thread.started]
        for conversation in state.conversations.values()
        for thread in conversation.threads.values()
        if thread.started and thread.listener in listeners and listeners[thread.listener].effects != "once"
    ]
