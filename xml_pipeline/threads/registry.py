"""The tree of open calls.

A conversation begins with a message from outside and is a tree of calls: each call is one listener working for
one caller, named by an opaque thread id. Answering ends a call and prunes what is below it. A call that has
nothing in flight, nothing running and nobody below it is over, answered or not; so nobody waits for ever, and
when the last call is over the conversation is freed.

`load` counts the messages of a call that are queued, being handled, or waiting for a person.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from xml_pipeline.threads.ids import IdSource

Slot: TypeAlias = "tuple[Gather, int]"


@dataclass(eq=False, slots=True)
class Port:
    """An outside caller: where answers leave the organism.

    Attributes:
        name: what listeners see as `from_id`.
        sessions: listener name → session id; lives as long as the outside caller keeps the port.
    """

    name: str
    sessions: dict[str, str] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Conversation:
    """Everything that follows from one message from outside.

    Attributes:
        id: opaque UUID.
        port: where the answer goes.
        messages: how many were accepted so far.
        load: messages queued, being handled or waiting for a person, in all threads, pruned ones too.
        answered: whether the answer has left.
    """

    id: str
    port: Port
    messages: int = 0
    load: int = 0
    answered: bool = False
    root: Call | None = None


class Call:
    """One call of one listener, until it is answered.

    It is also what accounting sees as the current caller (`attribution.Caller`).
    """

    __slots__ = (
        "active",
        "caller_name",
        "children",
        "conversation",
        "depth",
        "ended",
        "gathers",
        "listener",
        "load",
        "opened_by",
        "opening_id",
        "parent",
        "pending",
        "question",
        "run",
        "session_id",
        "sessions",
        "slot",
        "thread_id",
    )

    def __init__(
        self,
        thread_id: str,
        listener: str,
        conversation: Conversation,
        parent: Call | None,
        session_id: str,
        opened_by: str,
        opening_id: str,
        slot: Slot | None,
    ) -> None:
        self.thread_id = thread_id
        self.listener = listener
        self.conversation = conversation
        self.parent = parent
        self.session_id = session_id
        self.opened_by = opened_by  # who sent the opening message: the caller, or one that delegated
        self.caller_name = conversation.port.name if parent is None else parent.listener
        self.opening_id = opening_id
        self.slot = slot
        self.depth: int = 1 if parent is None else parent.depth + 1
        self.load = 0
        self.ended = False
        self.active = False  # a message of this call is ready or being handled; the others are in `pending`
        self.pending: deque[Any] | None = None
        self.children: dict[str, Call] | None = None
        self.sessions: dict[str, str] | None = None
        self.gathers: list[Gather] | None = None  # those of its gathers that have a timer
        self.question: Any = None  # the message that a person is to answer
        self.run: Any = None  # the handler call in progress (the runners')

    @property
    def conversation_id(self) -> str:
        return self.conversation.id

    def lineage(self) -> tuple[str, ...]:
        """This thread's id and those above it, innermost first."""
        ids = []
        call: Call | None = self
        while call is not None:
            ids.append(call.thread_id)
            call = call.parent
        return tuple(ids)


class Gather:
    """Calls whose answers come back together.

    Attributes:
        call: the call that waits.
        answers: by position; `missing` counts those still open.
    """

    __slots__ = ("answers", "call", "calls", "causation_id", "closed", "codecs", "missing", "timer")

    def __init__(self, call: Call, size: int, causation_id: str) -> None:
        self.call = call
        self.calls: list[Call | None] = [None] * size
        self.answers: list[Any] = [None] * size
        self.codecs: list[Any] = [None] * size
        self.missing = size
        self.closed = False
        self.causation_id = causation_id
        self.timer: Any = None

    def close(self) -> None:
        """Nobody waits for it any more, or all is in."""
        self.closed = True
        if self.timer is not None:
            self.timer.cancel()

    def fill(self, position: int, answer: Any, codec: Any = None) -> None:
        self.answers[position] = answer
        self.codecs[position] = codec
        self.calls[position] = None
        self.missing -= 1


class Registry:
    """All open calls of one organism, by thread id and as trees."""

    def __init__(self, new_id: IdSource) -> None:
        self.calls: dict[str, Call] = {}
        self.conversations: dict[str, Conversation] = {}
        self._new_id = new_id

    def start(self, port: Port) -> Conversation:
        conversation = Conversation(self._new_id(), port)
        self.conversations[conversation.id] = conversation
        return conversation

    def new_call(
        self,
        listener: str,
        conversation: Conversation,
        parent: Call | None,
        *,
        opened_by: str,
        opening_id: str,
        slot: Slot | None = None,
    ) -> Call:
        """A call of `listener` for `parent` (None is the outside); it counts from `attach` on."""
        session_id = self._session(conversation.port if parent is None else parent, listener)
        return Call(self._new_id(), listener, conversation, parent, session_id, opened_by, opening_id, slot)

    def attach(self, call: Call) -> None:
        """Open `call`: its caller waits for it from now on."""
        parent = call.parent
        self.calls[call.thread_id] = call
        if parent is None:
            call.conversation.root = call
        elif parent.children is None:
            parent.children = {call.thread_id: call}
        else:
            parent.children[call.thread_id] = call
        if call.slot is not None:
            gather, position = call.slot
            gather.calls[position] = call

    def _session(self, caller: Port | Call, listener: str) -> str:
        """The session of all calls that one caller's thread makes to one listener."""
        sessions = caller.sessions
        if sessions is None:
            sessions = caller.sessions = {}
        session_id = sessions.get(listener)
        if session_id is None:
            session_id = sessions[listener] = self._new_id()
        return session_id

    def end(self, call: Call) -> list[Call]:
        """End `call` and all below it; returns them, `call` first. Its caller forgets it."""
        if call.parent is not None and call.parent.children is not None:
            call.parent.children.pop(call.thread_id, None)
        ended = [call]
        for each in ended:  # grows while it is walked: a tree of any depth needs no recursion
            each.ended = True
            self.calls.pop(each.thread_id, None)
            if each.children:
                ended.extend(each.children.values())
                each.children = None
            if each.gathers:
                for gather in each.gathers:
                    gather.close()
                each.gathers = None
        return ended

    def forget(self, conversation: Conversation) -> None:
        """Nothing of `conversation` is in flight: free it."""
        self.conversations.pop(conversation.id, None)

    def tree(self, conversation: Conversation) -> Iterator[Call]:
        """Open calls of a conversation, callers before callees."""
        queue = deque([conversation.root] if conversation.root and not conversation.root.ended else [])
        while queue:
            call = queue.popleft()
            yield call
            queue.extend((call.children or {}).values())
