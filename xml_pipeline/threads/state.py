"""Conversations, threads, gathers, sessions as plain data, and `apply`, which alone changes them.

A conversation begins with a message from outside and is a tree of threads: each is one call of one listener, named
by an opaque id. A thread is over when it was answered, or when nothing waits in it and nothing is open below it;
with its first thread the conversation is over.

`apply` decides nothing and runs nobody's code: it sets and removes. What happens is decided by the rules
(`pump.machine`), and the events of record in order are the state: fold them again and it is the same (ADR 12).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from msgspec import Struct, field

from xml_pipeline.envelope import Message
from xml_pipeline.threads.phases import Phase
from xml_pipeline.threads.record import (
    Accepted,
    Approved,
    Asked,
    Began,
    Closed,
    DeadLetter,
    Ended,
    Entry,
    Event,
    Gathering,
    Handled,
    Opening,
    Over,
    Redelivered,
    Refused,
    Remembered,
    Resting,
    Slot,
    Started,
    StateKept,
)

Memory: TypeAlias = tuple[Entry, ...]
"""Entries, oldest first. A tuple: a thread keeps the one that was there when it opened."""


class Gather(Struct):
    """Calls of one thread whose answers come back together.

    Attributes:
        calls: the open threads by position, "" where none is open.
        answers: by position; None where none came.
        missing: how many positions are still open.
        cause: the message whose handling asked for it.
        apart: whether each of the calls has a session of its own.
        first: the id of the first call's message, once it is made.
    """

    calls: list[str]
    answers: list[Message | None]
    missing: int
    cause: str
    apart: bool = False
    first: str = ""


class Thread(Struct):
    """One call of one listener, until it is answered.

    Attributes:
        id: names it.
        listener: who works on it.
        parent: the calling thread; "" for a call from outside.
        caller: its listener, or the outside name.
        opened_by: who sent the opening message: the caller, or one that handed over.
        opening_id: the message that the answer is a reply to.
        depth: 1 for a call from outside, 2 for a call below it, …
        session_id: of all calls that its caller's thread makes to this listener.
        slot: the place in the caller's gather that the answer fills, if any.
        memory: what the listener remembered of earlier calls when this one came.
        inbox: messages that are queued, being handled or waiting for a person, by id, in order.
        children: open threads below it.
        sessions: of its own calls, by listener.
        gathers: open ones by id.
        state: what its handler keeps while it is open.
        asked: the message that waits for a person; "" for none.
        started: the message of which it is written down that its handler is called; "" for none.
        interrupted: how often handlers of the message that is worked on were interrupted.
        failed: how often they raised.
        posted, handovers, call, called, apart: as of its `Opening`.
        kept: messages that its handler keeps while it is open, by id.
        held: the digest of what a person is asked to approve; b"" where they are asked for an answer.
        approved: the digest of what was approved.
    """

    id: str
    listener: str
    parent: str
    caller: str
    opened_by: str
    opening_id: str
    depth: int
    session_id: str
    slot: Slot | None
    memory: Memory
    inbox: dict[str, Message]
    children: dict[str, None] | None = None
    sessions: dict[str, str] | None = None
    gathers: dict[str, Gather] | None = None
    state: Entry | None = None
    asked: str = ""
    started: str = ""
    interrupted: int = 0
    failed: int = 0
    posted: bool = False
    handovers: int = 0
    call: str = ""
    called: str = ""
    apart: bool = False
    kept: dict[str, Message] | None = None
    held: bytes = b""
    approved: bytes = b""

    @property
    def phase(self) -> Phase:
        """What it is doing."""
        if self.asked:
            return "asking"
        return "working" if self.inbox else "waiting"

    @property
    def session_ids(self) -> tuple[str, ...]:
        """Those that end with it: of its own calls, and its own when that is its alone."""
        own = (self.session_id,) if self.apart else ()
        return (*self.sessions.values(), *own) if self.sessions else own


class Conversation(Struct):
    """Everything that follows from one message from outside.

    Attributes:
        id: names it.
        caller: the outside name that listeners see.
        session: of the outside caller.
        lasting: whether that session outlives the conversation.
        awaited: whether somebody outside waits for the answer.
        root: its first thread (or the one that it was handed over to); "" when that has ended.
        threads: open ones by id.
        messages: how many were accepted so far.
        due: how many are queued or handled: with none it waits for people, or for a time.
        seq: how many events were applied so far.
        sessions: of the outside caller's own calls, by listener.
        memory: entries by session id, or by listener for those that remember per conversation.
    """

    id: str
    caller: str = ""
    session: str = ""
    lasting: bool = False
    awaited: bool = False
    root: str = ""
    threads: dict[str, Thread] = field(default_factory=dict)
    messages: int = 0
    due: int = 0
    seq: int = 0
    sessions: dict[str, str] = field(default_factory=dict)
    memory: dict[str, Memory] | None = None


class OutsideSession(Struct):
    """What listeners remember of one outside caller over several conversations.

    Attributes:
        sessions: of its calls, by listener.
        memory: entries by session id.
        added: how many entries each memory ever got.
        shown: how many of them, the newest, a memory is that was read from a journal; older ones are for threads that
            had seen them.
        running: conversations that are open.
        ending: whether it goes with the last of them.
        seconds: how long it may rest after the last of them; None for ever.
        until: when that is over, in seconds of Unix time; None while it is used.
    """

    sessions: dict[str, str] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)
    added: dict[str, int] = field(default_factory=dict)
    shown: dict[str, int] = field(default_factory=dict)
    running: int = 0
    ending: bool = False
    seconds: float | None = None
    until: float | None = None

    def entries(self, memory: str) -> Memory:
        """What is remembered now."""
        entries = self.memory.get(memory, ())
        return entries[-self.shown[memory] :] if memory in self.shown else entries

    def seen(self, memory: str, keep: int) -> tuple[int, int] | None:
        """What a thread that opens now sees of a memory, as in `Opening.seen`."""
        entries = self.memory.get(memory)
        return (self.added[memory], min(len(entries), keep)) if entries else None


class State(Struct):
    """All that a running organism knows, except what runs.

    Attributes:
        conversations: open ones by id.
        sessions: lasting ones of outside callers, by id.
    """

    conversations: dict[str, Conversation] = field(default_factory=dict)
    sessions: dict[str, OutsideSession] = field(default_factory=dict)

    def apply(self, conversation_id: str, event: Event) -> None:
        """Let `event` have happened to the conversation (`Closed`, `Resting`: to the session) of this id.

        A conversation that is over already does not change any more.
        """
        conversation = self.conversations.get(conversation_id)
        if conversation is not None:
            conversation.seq += 1
            CHANGES[type(event)](self, conversation, event)
        elif type(event) is Began:
            begin(self, conversation_id, event)
        elif (session := self.sessions.get(conversation_id)) is None:
            pass
        elif type(event) is Closed:
            session.ending = True
            if not session.running:
                del self.sessions[conversation_id]
        elif type(event) is Resting:
            session.seconds, session.until = event.seconds, event.until


def is_named(session_id: str) -> bool:
    """Whether a lasting session has a name by which its caller comes back to it: `SENDER/NAME`."""
    return "/" in session_id


def lineage(conversation: Conversation, thread: Thread) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids of a thread and of the open ones above it, innermost first, and whose they are.

    A call that was handed over is one call: behind its thread stands the one that it began with.
    """
    ids, listeners = [], []
    each: Thread | None = thread
    while each is not None:
        ids.append(each.id)
        listeners.append(each.listener)
        if each.call:
            ids.append(each.call)
            listeners.append(each.called)
        each = conversation.threads.get(each.parent)
    return tuple(ids), tuple(listeners)


def begin(state: State, conversation_id: str, event: Began) -> Conversation:
    """Let a conversation begin."""
    conversation = state.conversations[conversation_id] = Conversation(
        conversation_id, event.caller, event.session, event.lasting, event.awaited, seq=1
    )
    if event.lasting:
        session = state.sessions.get(event.session)
        if session is None:
            session = state.sessions[event.session] = OutsideSession()
        session.running += 1
    return conversation


def _accept(state: State, conversation: Conversation, event: Accepted) -> None:
    message, opens = event.message, event.opens
    if event.ends:
        _remove(conversation, event.ends, event.sessions)
    if event.leaves:
        del state.conversations[conversation.id]
        if conversation.lasting:
            _leave_session(state, conversation.session)
    elif opens is None:
        thread = conversation.threads[message.thread_id]
        if event.fills is not None:
            _fill(thread, event.fills, message)
            return
        if event.closes:
            assert thread.gathers is not None
            del thread.gathers[event.closes]
        thread.inbox[message.message_id] = message
        conversation.messages += 1
        conversation.due += 1
    else:
        thread_id, slot = message.thread_id, opens.slot
        owner: Thread | Conversation | OutsideSession
        if opens.parent:
            parent = owner = conversation.threads[opens.parent]
            if parent.children is None:
                parent.children = {}
            parent.children[thread_id] = None
            if slot is not None:
                assert parent.gathers is not None
                gather = parent.gathers[slot[0]]
                gather.calls[slot[1]] = thread_id
                gather.first = gather.first or opens.opening_id
        else:
            conversation.root = thread_id
            owner = state.sessions[conversation.session] if conversation.lasting else conversation
        if not opens.apart:
            if owner.sessions is None:
                owner.sessions = {}
            owner.sessions[message.to] = opens.session_id
        memory: Memory = ()
        if conversation.memory is not None or conversation.lasting:
            memory = _recalled(state, conversation, opens)
        conversation.threads[thread_id] = Thread(
            thread_id,
            message.to,
            opens.parent,
            opens.caller,
            message.from_id,
            opens.opening_id,
            opens.depth,
            opens.session_id,
            slot,
            memory,
            {message.message_id: message},
            posted=opens.posted,
            handovers=opens.handovers,
            call=opens.call,
            called=opens.called,
            apart=opens.apart,
        )
        conversation.messages += 1
        conversation.due += 1


def _recalled(state: State, conversation: Conversation, opens: Opening) -> Memory:
    """The entries of a memory as they are when a thread opens."""
    key = opens.memory
    if conversation.memory is not None and key in conversation.memory:
        return conversation.memory[key]
    if opens.seen is None:
        return ()
    newest, size = opens.seen
    session = state.sessions[conversation.session]
    entries = session.memory.get(key, ())
    end = len(entries) - (session.added.get(key, newest) - newest)
    return entries[max(0, end - size) : max(0, end)]


def _fill(thread: Thread, slot: Slot, answer: Message | None) -> None:
    assert thread.gathers is not None
    gather_id, position = slot
    gather = thread.gathers[gather_id]
    gather.calls[position] = ""
    gather.answers[position] = answer
    gather.missing -= 1


def _remove(conversation: Conversation, thread_id: str, sessions: tuple[str, ...]) -> Thread:
    thread = conversation.threads.pop(thread_id)
    if thread.parent:
        children = conversation.threads[thread.parent].children
        assert children is not None
        del children[thread_id]
    else:
        conversation.root = ""
    if conversation.memory is not None:
        for session_id in sessions:
            conversation.memory.pop(session_id, None)
    return thread


def _handle(state: State, conversation: Conversation, event: Handled) -> None:
    thread = conversation.threads[event.thread_id]
    if event.kept:
        if thread.kept is None:
            thread.kept = {}
        thread.kept[event.message_id] = thread.inbox[event.message_id]
    _take_out(conversation, thread, event.message_id)


def _take_out(conversation: Conversation, thread: Thread, message_id: str) -> None:
    del thread.inbox[message_id]
    if thread.asked == message_id:
        thread.asked = ""
    else:
        conversation.due -= 1
    thread.started, thread.interrupted, thread.failed = "", 0, 0


def _ask(state: State, conversation: Conversation, event: Asked) -> None:
    thread = conversation.threads[event.message.thread_id]
    thread.asked, thread.held = event.message.message_id, event.approval
    conversation.due -= 1


def _approve(state: State, conversation: Conversation, event: Approved) -> None:
    thread = conversation.threads[event.message.thread_id]
    thread.asked, thread.held, thread.approved = "", b"", event.digest
    conversation.due += 1


def _start(state: State, conversation: Conversation, event: Started) -> None:
    conversation.threads[event.message.thread_id].started = event.message.message_id


def _redeliver(state: State, conversation: Conversation, event: Redelivered) -> None:
    message = event.message
    thread = conversation.threads[message.thread_id]
    thread.inbox[message.message_id] = message
    thread.started, thread.interrupted, thread.failed = "", event.interrupted, event.failed


def _gather(state: State, conversation: Conversation, event: Gathering) -> None:
    thread = conversation.threads[event.thread_id]
    if thread.gathers is None:
        thread.gathers = {}
    size = event.size
    thread.gathers[event.gather_id] = Gather([""] * size, [None] * size, size, event.cause, event.apart)


def _refuse(state: State, conversation: Conversation, event: Refused) -> None:
    """Change nothing: what the sender is told is a message of its own."""


def _end(state: State, conversation: Conversation, event: Ended) -> None:
    thread = _remove(conversation, event.thread_id, event.sessions)
    if event.fills is not None:
        _fill(conversation.threads[thread.parent], event.fills, None)


def _bury(state: State, conversation: Conversation, event: DeadLetter) -> None:
    if event.pending:
        thread = conversation.threads[event.message.thread_id]
        _take_out(conversation, thread, event.message.message_id)


def _keep(state: State, conversation: Conversation, event: StateKept) -> None:
    conversation.threads[event.thread_id].state = event.state


def _remember(state: State, conversation: Conversation, event: Remembered) -> None:
    if event.lasting:
        session = state.sessions[conversation.session]
        if event.ordinal <= session.added.get(event.memory, 0):
            return  # the session has it: it outlived the process, and the conversation is read again
        memory = session.memory
        session.added[event.memory] = event.ordinal
    else:
        if conversation.memory is None:
            conversation.memory = {}
        memory = conversation.memory
    memory[event.memory] = (*memory.get(event.memory, ()), event.entry)[-event.keep :]


def _over(state: State, conversation: Conversation, event: Over) -> None:
    del state.conversations[conversation.id]
    if conversation.lasting:
        _leave_session(state, conversation.session)


def _leave_session(state: State, session_id: str) -> None:
    session = state.sessions[session_id]
    session.running -= 1
    if session.ending and not session.running:
        del state.sessions[session_id]


CHANGES: dict[type[Any], Callable[[State, Conversation, Any], None]] = {  # what each event sets and removes
    Accepted: _accept,
    Asked: _ask,
    Approved: _approve,
    DeadLetter: _bury,
    Ended: _end,
    Gathering: _gather,
    Handled: _handle,
    Over: _over,
    Redelivered: _redeliver,
    Refused: _refuse,
    Remembered: _remember,
    Started: _start,
    StateKept: _keep,
}
