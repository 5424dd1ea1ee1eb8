"""A simple model of calls: what design §5 says, without wire, ids, schedules and effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

OUTSIDE = "outside"
MAX_MESSAGES = 18
MAX_DEPTH = 3


@dataclass(eq=False)
class Conversation:
    root: Call | None = None
    load: int = 0
    messages: int = 0
    outcomes: list[str] = field(default_factory=list)  # what the outside got: a class name, or "unanswered"
    freed: bool = False


@dataclass(eq=False)
class Call:
    listener: str
    conversation: Conversation
    parent: Call | None
    opened_by: str
    place: tuple[Gather, int] | None = None
    children: list[Call] = field(default_factory=list)
    load: int = 0
    open: bool = True

    @property
    def caller(self) -> str:
        return OUTSIDE if self.parent is None else self.parent.listener

    @property
    def depth(self) -> int:
        return 1 if self.parent is None else self.parent.depth + 1


@dataclass(eq=False)
class Gather:
    call: Call
    answers: list[str | None]
    calls: list[Call | None]
    missing: int
    closed: bool = False


@dataclass(frozen=True)
class Listener:
    accepts: frozenset[str]
    peers: frozenset[str]


@dataclass(eq=False)
class Sent:
    """A message that the model expects to be accepted."""

    call: Call
    cls: str


class Model:
    """The tree of calls, and what was sent and dead-lettered by the last step."""

    def __init__(self, table: Mapping[str, Listener]) -> None:
        self.table = table
        self.conversations: list[Conversation] = []
        self.forget_step()

    def forget_step(self) -> None:
        self.sent: list[Sent] = []
        self.dead = 0

    # --- what happens ---

    def inject(self, to: str) -> Conversation:
        conversation = Conversation()
        self.conversations.append(conversation)
        conversation.root = Call(to, conversation, None, OUTSIDE)
        self.deliver(conversation.root, "Task")
        return conversation

    def begin(self, sent: Sent) -> bool:
        """Whether a handler is to be called."""
        if not sent.call.open:
            self.dead += 1
        elif sent.cls in self.table[sent.call.listener].accepts:
            return True
        else:
            self.answer(sent.call, sent.cls)
        self.settle(sent.call)
        return False

    def finish(self, sent: Sent, actions: list[tuple] | None) -> None:
        if actions is not None and not sent.call.open:
            self.dead += 1
        else:
            for action in actions or ():
                self.act(sent.call, action)
                if sent.call.conversation.messages > MAX_MESSAGES:
                    break
        self.settle(sent.call)
        conversation = sent.call.conversation
        if conversation.messages > MAX_MESSAGES and conversation.load:
            self.abort(conversation, "SystemError")

    def fail(self, sent: Sent) -> None:
        if sent.call.open:
            self.answer(sent.call, "SystemError")
        else:
            self.dead += 1
        self.settle(sent.call)

    def expire(self, gather: Gather) -> None:
        if not gather.closed and gather.call.open:
            for position, call in enumerate(gather.calls):
                if call is not None and call.open:
                    self.close(call)
                    self.fill(gather, position, "SystemError")

    def abort(self, conversation: Conversation, outcome: str) -> None:
        root = conversation.root
        assert root is not None
        if root.open:
            self.close(root)
            conversation.outcomes.append(outcome)

    # --- what a handler wants ---

    def act(self, call: Call, action: tuple) -> None:
        kind, *rest = action
        if kind == "gather":
            self.gather(call, rest[0])
        elif not call.open:
            self.dead += 1
        elif kind == "respond":
            self.answer(call, rest[0])
        elif kind == "invalid":
            self.deliver(call, "huh")
        elif kind == "delegate":
            self.open_call(call, *rest, delegated=True)
        elif self.names_caller(call, rest[0]):
            self.answer(call, rest[1])
        elif rest[0] == call.listener:
            accepted = rest[1] in self.table[call.listener].accepts
            self.deliver(call, rest[1] if accepted else "huh")
        else:
            self.open_call(call, *rest)

    def names_caller(self, call: Call, to: str) -> bool:
        return to == call.caller or (to == call.opened_by and to not in self.table[call.listener].peers)

    def gather(self, call: Call, calls: list[tuple[str, str]]) -> None:
        gather = Gather(call, [None] * len(calls), [None] * len(calls), len(calls))
        self.last_gather = gather
        for position, (to, cls) in enumerate(calls):
            if call.open:
                self.open_call(call, to, cls, place=(gather, position))
            else:
                self.dead += 1
            if call.conversation.messages > MAX_MESSAGES:
                return
        if not calls:
            gather.closed = True
            if call.open:
                self.deliver(call, "Gathered")

    def open_call(
        self,
        call: Call,
        to: str,
        cls: str,
        place: tuple[Gather, int] | None = None,
        delegated: bool = False,
    ) -> None:
        refusal = None
        if to not in self.table or (to != call.listener and to not in self.table[call.listener].peers):
            refusal = "SystemError"
        elif cls not in self.table[to].accepts:
            refusal = "huh"
        elif call.depth >= MAX_DEPTH and not delegated:
            refusal = "SystemError"
        if refusal is not None:
            if place is None:
                self.deliver(call, refusal)
            else:
                self.fill(*place, refusal)
            return
        if delegated:
            child = Call(to, call.conversation, call.parent, call.listener, call.place)
            if call.parent is None:
                call.conversation.root = child
            self.close(call)
        else:
            child = Call(to, call.conversation, call, call.listener, place)
        if child.parent is not None:
            child.parent.children.append(child)
        if child.place is not None:
            gather, position = child.place
            gather.calls[position] = child
        self.deliver(child, cls)

    # --- who owes what to whom ---

    def deliver(self, call: Call, cls: str) -> None:
        call.load += 1
        call.conversation.load += 1
        call.conversation.messages += 1
        self.sent.append(Sent(call, cls))

    def answer(self, call: Call, cls: str) -> None:
        self.close(call)
        if call.place is not None:
            self.fill(*call.place, cls)
        elif call.parent is None:
            call.conversation.outcomes.append(cls)
        else:
            self.deliver(call.parent, cls)

    def fill(self, gather: Gather, position: int, cls: str | None) -> None:
        if gather.closed or not gather.call.open:
            return
        gather.answers[position] = cls
        gather.calls[position] = None
        gather.missing -= 1
        if not gather.missing:
            gather.closed = True
            self.deliver(gather.call, "Gathered")

    def close(self, call: Call) -> None:
        call.open = False
        if call.parent is not None and call in call.parent.children:
            call.parent.children.remove(call)
        for child in list(call.children):
            self.close(child)

    def settle(self, call: Call) -> None:
        call.load -= 1
        call.conversation.load -= 1
        over: Call | None = call
        while over is not None and over.open and not over.load and not over.children:
            self.close(over)
            if over.place is not None:
                self.fill(*over.place, None)
            elif over.parent is None:
                over.conversation.outcomes.append("unanswered")
            over = over.parent
        if not call.conversation.load:
            call.conversation.freed = True
