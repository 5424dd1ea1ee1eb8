"""A simple model of calls: what design §5 and §8.3 say, without wire, ids, schedules and effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

OUTSIDE = "outside"
MAX_MESSAGES = 18
MAX_DEPTH = 3
MAX_HANDOVERS = 2
KEEP = 2


@dataclass(eq=False)
class Memory:
    """Entries of a session, or of a listener's part of a conversation; the newest are kept."""

    entries: tuple[int, ...] = ()

    def add(self, entry: int) -> None:
        self.entries = (*self.entries, entry)[-KEEP:]


@dataclass(eq=False)
class Outside:
    """A lasting session of somebody outside."""

    sessions: dict[str, Memory] = field(default_factory=dict)


@dataclass(eq=False)
class Conversation:
    root: Call | None = None
    messages: int = 0
    outcomes: list[str] = field(default_factory=list)  # what the outside got: a class name, or "unanswered"
    freed: bool = False
    sessions: dict[str, Memory] = field(default_factory=dict)  # of the outside's calls
    by_listener: dict[str, Memory] = field(default_factory=dict)


@dataclass(eq=False)
class Call:
    listener: str
    conversation: Conversation
    parent: Call | None
    opened_by: str
    place: tuple[Gather, int] | None = None
    children: list[Call] = field(default_factory=list)
    inbox: list[Sent] = field(default_factory=list)
    open: bool = True
    sessions: dict[str, Memory] = field(default_factory=dict)  # of its own calls
    memory: Memory = field(default_factory=Memory)  # that its answer may add to
    seen: tuple[int, ...] = ()  # what was in it at the opening
    state: int | None = None
    handovers: int = 0

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
    human: bool = False
    hands_over_to: frozenset[str] = frozenset()
    remembers: str = "session"


@dataclass(eq=False)
class Sent:
    """A message that the model expects to be accepted; pending until it is handled, or buried with its thread."""

    call: Call
    cls: str
    pending: bool = True


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

    def inject(self, to: str, outside: Outside | None = None) -> Conversation:
        conversation = Conversation() if outside is None else Conversation(sessions=outside.sessions)
        self.conversations.append(conversation)
        conversation.root = self.remembering(Call(to, conversation, None, OUTSIDE))
        self.deliver(conversation.root, "Task")
        return conversation

    def remembering(self, call: Call) -> Call:
        """A call about to be open, with the memory that it sees."""
        if self.table[call.listener].remembers == "conversation":
            owner = call.conversation.by_listener
        elif call.place is not None and len(call.place[0].calls) > 1:
            owner = {}  # beside others: a session of its own
        else:
            owner = call.conversation.sessions if call.parent is None else call.parent.sessions
        call.memory = owner.setdefault(call.listener, Memory())
        call.seen = call.memory.entries
        return call

    def begin(self, sent: Sent) -> bool:
        """Whether a handler is to be called, or a person to be asked."""
        if sent.cls in self.table[sent.call.listener].accepts:
            return True
        self.handled(sent)
        self.answer(sent.call, sent.cls)
        self.settle(sent.call)
        return False

    def handled(self, sent: Sent) -> None:
        sent.pending = False
        sent.call.inbox.remove(sent)

    def answered(self, sent: Sent, cls: str) -> None:
        """A person answered."""
        self.handled(sent)
        self.answer(sent.call, cls)

    def finish(self, sent: Sent, actions: list[tuple] | None, keeps: tuple[int | None] | None = None) -> None:
        self.handled(sent)
        if keeps is not None:
            (sent.call.state,) = keeps
        for action in actions or ():
            self.act(sent.call, action)
            if sent.call.conversation.messages > MAX_MESSAGES:
                break
        self.settle(sent.call)
        conversation = sent.call.conversation
        if conversation.messages > MAX_MESSAGES and not conversation.freed:
            self.abort(conversation, "SystemError")

    def late(self, actions: list[tuple] | None) -> None:
        """A handler returned after its message was buried."""
        self.dead += actions is not None

    def fail(self, sent: Sent) -> None:
        self.handled(sent)
        self.answer(sent.call, "SystemError")

    def expire(self, gather: Gather) -> None:
        if not gather.closed and gather.call.open:
            for position, call in enumerate(gather.calls):
                if call is not None and call.open:
                    self.close(call)
                    self.fill(gather, position, "SystemError")

    def abort(self, conversation: Conversation, outcome: str) -> None:
        root = conversation.root
        assert root is not None
        self.close(root)
        self.over(conversation, outcome)

    def over(self, conversation: Conversation, outcome: str) -> None:
        conversation.outcomes.append(outcome)
        conversation.freed = True

    # --- what a handler wants ---

    def act(self, call: Call, action: tuple) -> None:
        kind, *rest = action
        if not call.open:
            self.dead += len(rest[0]) if kind == "gather" else 1
        elif kind == "gather":
            self.gather(call, rest[0])
        elif kind == "respond":
            if len(rest) > 1:
                call.memory.add(rest[1])
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
        own = self.table[call.listener]
        allowed = own.hands_over_to if delegated else own.peers
        if to not in self.table or (to != call.listener and to not in allowed):
            refusal = "SystemError"
        elif cls not in self.table[to].accepts:
            refusal = "huh"
        elif (call.depth >= MAX_DEPTH and not delegated) or (delegated and call.handovers >= MAX_HANDOVERS):
            refusal = "SystemError"
        if refusal is not None:
            if place is None:
                self.deliver(call, refusal)
            else:
                self.fill(*place, refusal)
            return
        if delegated:
            child = self.remembering(Call(to, call.conversation, call.parent, call.listener, call.place))
            child.handovers = call.handovers + 1
            if call.parent is None:
                call.conversation.root = child
            self.close(call)
        else:
            child = self.remembering(Call(to, call.conversation, call, call.listener, place))
        if child.parent is not None:
            child.parent.children.append(child)
        if child.place is not None:
            gather, position = child.place
            gather.calls[position] = child
        self.deliver(child, cls)

    # --- who owes what to whom ---

    def deliver(self, call: Call, cls: str) -> None:
        sent = Sent(call, cls)
        call.inbox.append(sent)
        call.conversation.messages += 1
        self.sent.append(sent)

    def answer(self, call: Call, cls: str) -> None:
        self.close(call)
        if call.place is not None:
            self.fill(*call.place, cls)
        elif call.parent is None:
            self.over(call.conversation, cls)
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
        for sent in call.inbox:
            sent.pending = False
            self.dead += 1
        call.inbox.clear()

    def settle(self, call: Call) -> None:
        over: Call | None = call
        while over is not None and over.open and not over.inbox and not over.children:
            self.close(over)
            if over.place is not None:
                self.fill(*over.place, None)
            elif over.parent is None:
                self.over(over.conversation, "unanswered")
            over = over.parent
