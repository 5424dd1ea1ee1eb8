"""A machine without an event loop, and its events in a form that a reader takes in at a glance.

Each step is held against three things besides: the events fold into the same state elsewhere (without payloads and
without listeners), another machine makes the same events of the same facts, and every id is a UUID of its own.
"""

from __future__ import annotations

import copy
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from xml_pipeline.envelope import Message
from xml_pipeline.pump import Listener, Machine
from xml_pipeline.pump.facts import (
    Aborted,
    Answered,
    Due,
    Expired,
    Fact,
    Failed,
    Injected,
    Interrupted,
    Returned,
)
from xml_pipeline.threads import State, Thread
from xml_pipeline.threads.record import (
    Accepted,
    Asked,
    Began,
    DeadLetter,
    Ended,
    Event,
    Gathering,
    Handled,
    Over,
    Redelivered,
    Refused,
    Remembered,
    StateKept,
)

OUTSIDE = "outside"


def packed(event: Event) -> Event:
    """An event as it comes out of a journal: without its payload, through bytes."""
    message = getattr(event, "message", None)
    bare = event if message is None else replace(event, message=replace(message, payload=None))
    read: Event = msgspec.msgpack.decode(msgspec.msgpack.encode(bare), type=Event)
    return read


def shown(event: Event) -> str:
    """What an event says, without ids."""
    match event:
        case Began():
            return f"began: {event.caller} asks {event.listener}"
        case Accepted():
            message, marks = event.message, []
            if event.opens is not None:
                marks.append(f"opens {event.opens.depth}")
            marks += [
                mark
                for mark, given in (
                    ("ends", event.ends),
                    ("fills", event.fills),
                    ("closes", event.closes),
                    ("leaves", event.leaves),
                )
                if given
            ]
            said = f"{message.root}: {message.from_id} -> {message.to}"
            return " ".join([said, *(f"[{mark}]" for mark in marks)])
        case Handled(how="failed"):
            return f"failed {event.listener}: {event.code}"
        case Handled():
            return f"{event.how} {event.listener}"
        case Asked():
            return f"asked {event.message.to}"
        case Redelivered():
            return f"again {event.message.to}, {event.message.attempt}"
        case Gathering():
            return f"gathering {event.size}"
        case Refused():
            return f"refused {event.listener} -> {event.to or '?'}: {event.code}"
        case Ended():
            return f"{event.how} {event.listener}" + (" [fills]" if event.fills else "")
        case DeadLetter():
            return f"dead {event.message.root} -> {event.to}: {event.reason}"
        case StateKept():
            return f"state {event.state.root if event.state else 'gone'}"
        case Remembered():
            return f"remembered {event.entry.root}"
        case Over():
            return "over, unanswered"
    raise AssertionError(event)


def ids_made(event: Event) -> list[str]:
    """The ids that an event brings up for the first time, if the machine made them."""
    match event:
        case Accepted(message=message):
            return [message.message_id, *([message.thread_id] if event.opens else [])]
        case Gathering():
            return [event.gather_id]
    return []


class Scene:
    """Some listeners, a machine, and the facts that a test tells it one after the other."""

    def __init__(self, *listeners: Listener, **options: Any) -> None:
        self.table = {each.name: each for each in listeners}
        self.machine = Machine(self.table, **options)
        self.again = Machine(self.table, **options)
        self.folded = State()
        self.events: list[Event] = []
        self.last: list[Event] = []
        self.made: set[str] = set()
        self.count = 0

    def step(self, fact: Fact) -> list[str]:
        """What the machine makes of a fact."""
        conversation_id = getattr(fact, "conversation_id", "") or fact.message.conversation_id  # type: ignore[union-attr]
        # A response gives its id away once; its copy has it still.
        twin = replace(fact, value=copy.deepcopy(fact.value)) if isinstance(fact, Returned) else fact
        events = self.machine.step(fact)
        assert self.again.step(twin) == events, "the same fact makes other events"
        for event in events:
            self.folded.apply(conversation_id, packed(event))
            for made in ids_made(event):
                assert str(UUID(made)) == made
                assert made not in self.made, "an id is made twice"
                self.made.add(made)
        assert self.folded == self.machine.state, "the folded events are another state"
        self.events += events
        self.last = events
        return [shown(event) for event in events]

    # --- facts, in short ---

    def inject(self, to: str, payload: Any, **more: Any) -> list[str]:
        self.count += 1
        return self.step(
            Injected(f"conversation-{self.count}", more.pop("caller", OUTSIDE), to, payload, **more)
        )

    def due(self, name: str, nth: int = 0) -> list[str]:
        return self.step(Due(self.pending(name)[nth]))

    def back(self, name: str, value: Any, nth: int = 0) -> list[str]:
        """The handler of a listener's pending message returned."""
        return self.step(Returned(self.pending(name)[nth], value))

    def fail(self, name: str) -> list[str]:
        return self.step(Failed(self.pending(name)[0], "handler", "it failed", "ValueError: no"))

    def interrupt(self, name: str) -> list[str]:
        return self.step(Interrupted(self.pending(name)[0]))

    def answer(self, name: str, payload: Any) -> list[str]:
        return self.step(Answered(self.pending(name)[0], payload))

    def expire(self, nth: int = -1) -> list[str]:
        """The time of the latest gather is up."""
        begun = [event for event in self.events if isinstance(event, Gathering)][nth]
        conversation = next(
            each.message.conversation_id for each in self.events if isinstance(each, Accepted)
        )
        return self.step(Expired(conversation, begun.thread_id, begun.gather_id))

    def abort(self, error: Any = None) -> list[str]:
        return self.step(Aborted(f"conversation-{self.count}", error))

    # --- what is so ---

    def threads(self, name: str) -> list[Thread]:
        """A listener's open threads, oldest first."""
        return [
            thread
            for conversation in self.machine.state.conversations.values()
            for thread in conversation.threads.values()
            if thread.listener == name
        ]

    def pending(self, name: str) -> list[Message]:
        """A listener's messages that are not handled yet."""
        return [message for thread in self.threads(name) for message in thread.inbox.values()]

    @property
    def left(self) -> Any:
        """The payload of the last answer that left for the outside."""
        return [event for event in self.events if isinstance(event, Accepted) and event.leaves][
            -1
        ].message.payload

    @property
    def at_rest(self) -> bool:
        return not self.machine.state.conversations
