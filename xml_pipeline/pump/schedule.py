"""Whose turn it is. Fair between conversations, or newest first; no listener's backlog holds up another's.

At most one message of a thread is ready or being handled at a time; the others wait in the thread. So the
messages of one thread start in the order sent, and a handler never races itself over one thread's state.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, Protocol, TypeAlias

from xml_pipeline.pump.effects import Message
from xml_pipeline.threads import Conversation

Scheduling: TypeAlias = Literal["breadth-first", "depth-first"]


class ReadyQueue(Protocol):
    """Messages that only wait for a slot."""

    def push(self, message: Message) -> None: ...
    def pop(self) -> Message | None: ...
    def __len__(self) -> int: ...


class BreadthFirst:
    """Conversations take turns, one message each: a flood in one cannot starve another."""

    def __init__(self) -> None:
        self._ring: deque[Conversation] = deque()
        self._waiting: dict[Conversation, deque[Message]] = {}
        self._size = 0

    def push(self, message: Message) -> None:
        conversation = message.call.conversation
        waiting = self._waiting.get(conversation)
        if waiting is None:
            self._waiting[conversation] = deque((message,))
            self._ring.append(conversation)
        else:
            waiting.append(message)
        self._size += 1

    def pop(self) -> Message | None:
        if not self._size:
            return None
        self._size -= 1
        conversation = self._ring.popleft()
        waiting = self._waiting[conversation]
        message = waiting.popleft()
        if waiting:
            self._ring.append(conversation)
        else:
            del self._waiting[conversation]
        return message

    def __len__(self) -> int:
        return self._size


class DepthFirst:
    """The newest message first: what was begun last is finished first, few conversations are open at once.

    Calls that one thread makes keep their order among each other.
    """

    def __init__(self) -> None:
        self._stack: dict[object, deque[Message]] = {}  # the newest last; calls by the thread that makes them
        self._size = 0

    def push(self, message: Message) -> None:
        call = message.call
        opens = call.parent is not None and message.message_id == call.opening_id
        key = call.parent if opens else message
        waiting = self._stack.pop(key, None)
        if waiting is None:
            waiting = deque()
        waiting.append(message)
        self._stack[key] = waiting
        self._size += 1

    def pop(self) -> Message | None:
        if not self._size:
            return None
        self._size -= 1
        key, waiting = next(reversed(self._stack.items()))
        message = waiting.popleft()
        if not waiting:
            del self._stack[key]
        return message

    def __len__(self) -> int:
        return self._size


QUEUES: dict[Scheduling, type[BreadthFirst] | type[DepthFirst]] = {
    "breadth-first": BreadthFirst,
    "depth-first": DepthFirst,
}


class Scheduler:
    """Hands out messages as slots come free.

    Args:
        scheduling: the order between conversations.
        slots: handlers at once, in all.
        per_listener: handlers at once of a listener that sets no limit of its own.
    """

    def __init__(self, scheduling: Scheduling, slots: int, per_listener: int) -> None:
        self._queue = QUEUES[scheduling]
        self._ready: ReadyQueue = self._queue()
        self._granted: deque[Message] = deque()  # each holds a slot of its listener that another has left
        self._parked: dict[str, ReadyQueue] = {}
        self._busy: dict[str, int] = {}
        self._turn = False
        self._slots = slots
        self._per_listener = per_listener
        self._share = slots
        self.running = 0

    def share_between(self, listeners: int) -> None:
        """Leave a slot free of each listener for the others, as far as there are any: one slow listener whose
        own limit is as high as that of all together would else hold up everybody."""
        self._share = max(1, self._slots - 1) if listeners > 1 else self._slots

    def add(self, message: Message) -> None:
        """A message was accepted."""
        call = message.call
        if call.active:
            if call.pending is None:
                call.pending = deque()
            call.pending.append(message)
        else:
            call.active = True
            self._ready.push(message)

    def take(self) -> Message | None:
        """The next message, its slots taken; None when nothing can run now."""
        if self.running >= self._slots:
            return None
        self._turn = not self._turn  # the backlog of a busy listener and the others take turns
        if self._granted and (self._turn or not len(self._ready)):
            self.running += 1
            return self._granted.popleft()
        busy = self._busy
        while (message := self._ready.pop()) is not None:
            listener = message.to
            count = busy.get(listener.name, 0)
            if count < min(listener.max_concurrent or self._per_listener, self._share):
                busy[listener.name] = count + 1
                self.running += 1
                return message
            parked = self._parked.get(listener.name)
            if parked is None:
                parked = self._parked[listener.name] = self._queue()
            parked.push(message)
        if self._granted:
            self.running += 1
            return self._granted.popleft()
        return None

    def release(self, message: Message) -> None:
        """The handler of `message` is done: its slots and its thread are free."""
        self.running -= 1
        name = message.to.name
        parked = self._parked.get(name)
        following = parked.pop() if parked is not None else None
        if following is not None:
            self._granted.append(following)
        else:
            self._busy[name] -= 1
        call = message.call
        if call.pending:
            self._ready.push(call.pending.popleft())
        else:
            call.active = False

    @property
    def can_run(self) -> bool:
        """Whether `take` may give a message (it may still park what it finds)."""
        return self.running < self._slots and bool(self._granted or len(self._ready))
