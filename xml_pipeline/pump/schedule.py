"""Whose turn it is. Fair between conversations, or newest first; no listener's backlog holds up another's.

At most one message of a thread is ready or being handled at a time; the others wait in their order. So the messages
of one thread start in the order sent, and a handler never races itself over one thread's state (ADR 7).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Protocol, TypeAlias

from xml_pipeline.envelope import Message

Scheduling: TypeAlias = Literal["breadth-first", "depth-first"]

_SWEEP = 256  # discarded messages that may lie in the queues before they are swept


Waiting: TypeAlias = tuple[Message, str]
"""A message, and the group in which it keeps its order in depth-first scheduling."""


class ReadyQueue(Protocol):
    """Messages that only wait for a slot."""

    size: int

    def push(self, waiting: Waiting) -> None: ...
    def pop(self) -> Waiting: ...  # there must be one
    def drop(self, gone: set[str]) -> None: ...


class BreadthFirst:
    """Conversations take turns, one message each: a flood in one cannot starve another."""

    def __init__(self) -> None:
        self._ring: deque[Waiting] = deque()  # the next message of each conversation
        self._later: dict[str, deque[Waiting] | None] = {}  # and those behind it
        self.size = 0

    def push(self, waiting: Waiting) -> None:
        self.size += 1
        conversation = waiting[0].conversation_id
        if conversation not in self._later:
            self._later[conversation] = None
            self._ring.append(waiting)
        elif (later := self._later[conversation]) is None:
            self._later[conversation] = deque((waiting,))
        else:
            later.append(waiting)

    def pop(self) -> Waiting:
        self.size -= 1
        waiting = self._ring.popleft()
        conversation = waiting[0].conversation_id
        later = self._later[conversation]
        if later:
            self._ring.append(later.popleft())
        else:
            del self._later[conversation]
        return waiting

    def drop(self, gone: set[str]) -> None:
        every = [*self._ring, *(each for later in self._later.values() for each in later or ())]
        self._ring.clear()
        self._later.clear()
        self.size = 0
        for waiting in every:
            if waiting[0].message_id not in gone:
                self.push(waiting)


class DepthFirst:
    """The newest message first: what was begun last is finished first, few conversations are open at once.

    Messages of one group (calls that one thread makes) keep their order among each other.
    """

    def __init__(self) -> None:
        self._stack: dict[str, deque[Waiting]] = {}  # by group, the newest last
        self.size = 0

    def push(self, waiting: Waiting) -> None:
        group = waiting[1]
        behind = self._stack.pop(group, None)
        if behind is None:
            behind = deque()
        behind.append(waiting)
        self._stack[group] = behind
        self.size += 1

    def pop(self) -> Waiting:
        self.size -= 1
        group, behind = next(reversed(self._stack.items()))
        waiting = behind.popleft()
        if not behind:
            del self._stack[group]
        return waiting

    def drop(self, gone: set[str]) -> None:
        for group, behind in tuple(self._stack.items()):
            kept = deque(each for each in behind if each[0].message_id not in gone)
            self.size -= len(behind) - len(kept)
            if kept:
                self._stack[group] = kept
            else:
                del self._stack[group]


QUEUES: dict[Scheduling, type[BreadthFirst] | type[DepthFirst]] = {
    "breadth-first": BreadthFirst,
    "depth-first": DepthFirst,
}


class Scheduler:
    """Hands out messages as slots come free, and says when there is one to hand out.

    Args:
        scheduling: the order between conversations.
        slots: handlers at once, in all.
        wake: called when a message can run and nobody attends.

    Attributes:
        attended: whether somebody will come for the next message without being woken.
        running: slots that are taken.
        slots: how many there are in all.
        ready: messages that only wait for a slot.
        granted: messages that hold a slot of their listener already, which another has left.
        threads: those with a message that is ready or handled, and the messages behind it. A thread that ends is
            taken out.
    """

    def __init__(self, scheduling: Scheduling, slots: int, wake: Callable[[], None]) -> None:
        self.attended = False
        self.running = 0
        self._queue = QUEUES[scheduling]
        self.ready: ReadyQueue = self._queue()
        self.granted: deque[Message] = deque()  # each holds a slot of its listener that another has left
        self._parked: dict[str, ReadyQueue] = {}
        self._busy: dict[str, int] = {}
        self._limits: dict[str, int] = {}
        self.threads: dict[str, OrderedDict[str, Waiting] | None] = {}
        self._gone: set[str] = set()
        self._turn = False
        self.slots = slots
        self._wake = wake

    def limit(self, limits: Mapping[str, int]) -> None:
        """How many handlers of each listener may run at once.

        A slot is left free of each listener for the others, as far as there are any: one slow listener whose own
        limit is as high as that of all together would else hold up everybody.
        """
        share = max(1, self.slots - 1) if len(limits) > 1 else self.slots
        self._limits = {name: min(most, share) for name, most in limits.items()}

    def add(self, message: Message, group: str) -> None:
        """Queue an accepted message; `group` names what keeps its order in depth-first scheduling."""
        threads = self.threads
        thread_id = message.thread_id
        if thread_id in threads:
            pending = threads[thread_id]
            if pending is None:
                pending = threads[thread_id] = OrderedDict()
            pending[message.message_id] = (message, group)
            return
        threads[thread_id] = None
        self.ready.push((message, group))
        if not self.attended and self.running < self.slots:
            self._wake()

    def hold(self, thread_id: str) -> None:
        """A message of this thread is on its way, or waits for a person: what is added stands behind it."""
        self.threads[thread_id] = None

    def again(self, message: Message) -> None:
        """Queue a message once more that was taken before, ahead of the others of its thread."""
        self.ready.push((message, message.message_id))
        if not self.attended and self.running < self.slots:
            self._wake()

    def take(self) -> Message | None:
        """The next message, its slots taken; None when nothing can run now."""
        if self.running >= self.slots:
            return None
        self._turn = not self._turn  # the backlog of a busy listener and the others take turns
        if self.granted and (self._turn or not self.ready.size):
            self.running += 1
            return self.granted.popleft()
        busy, ready = self._busy, self.ready
        while ready.size:
            waiting = ready.pop()
            message = waiting[0]
            if self._gone and message.message_id in self._gone:
                self._gone.discard(message.message_id)
                continue
            name = message.to
            count = busy.get(name, 0)
            if count < self._limits.get(name, 1):  # a listener of an earlier life may be gone
                busy[name] = count + 1
                self.running += 1
                return message
            parked = self._parked.get(name)
            if parked is None:
                parked = self._parked[name] = self._queue()
            parked.push(waiting)
        if self.granted:
            self.running += 1
            return self.granted.popleft()
        return None

    def release(self, listener: str) -> None:
        """Give back the slots of a handler of `listener`: it is done."""
        self.running -= 1
        following = self._unpark(listener) if self._parked else None
        if following is not None:
            self.granted.append(following)
        else:
            self._busy[listener] -= 1
        if not self.attended and (self.granted or self.ready.size):
            self._wake()

    def _unpark(self, listener: str) -> Message | None:
        parked = self._parked.get(listener)
        while parked is not None and parked.size:
            message = parked.pop()[0]
            if message.message_id not in self._gone:
                return message
            self._gone.discard(message.message_id)
        return None

    def free(self, thread_id: str) -> None:
        """Queue a thread's next message; the one before is done, and there is another."""
        pending = self.threads[thread_id]
        assert pending
        self.ready.push(pending.popitem(last=False)[1])
        if not self.attended and self.running < self.slots:
            self._wake()

    def discard(self, message: Message) -> None:
        """Take a message that still waits out of the queues: its thread has ended."""
        pending = self.threads.get(message.thread_id)
        if pending and pending.pop(message.message_id, None) is not None:
            return
        if message in self.granted:
            self.granted.remove(message)
            self._grant_on(message.to)
            return
        self._gone.add(message.message_id)
        if len(self._gone) > _SWEEP and len(self._gone) * 2 > len(self):
            queues: Iterable[ReadyQueue] = (self.ready, *self._parked.values())
            for queue in queues:
                queue.drop(self._gone)
            self._gone.clear()

    def _grant_on(self, listener: str) -> None:
        """Give the slot of a granted message that went away to the next one."""
        following = self._unpark(listener)
        if following is not None:
            self.granted.append(following)
        else:
            self._busy[listener] -= 1

    def call(self) -> None:
        """Wake somebody if `take` may give a message (it may still park what it finds); nobody attends."""
        if self.running < self.slots and (self.granted or self.ready.size):
            self._wake()

    def __len__(self) -> int:
        """Messages in the queues, discarded ones too."""
        return self.ready.size + sum(each.size for each in self._parked.values()) + len(self.granted)
