"""What becomes of open conversations under today's listeners: told before a deploy, by the code that recovers.

Each conversation is folded by the `Reviver` that a start would use, and looked at instead of being set going.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias

from msgspec import Struct, field

from xml_pipeline.envelope import Message
from xml_pipeline.errors import described
from xml_pipeline.journal import Kept, Step
from xml_pipeline.journal.uptime import Uptime
from xml_pipeline.payload import codec_of
from xml_pipeline.pump.attempts import careful
from xml_pipeline.pump.facts import Interrupted, Undeliverable
from xml_pipeline.pump.kept import read
from xml_pipeline.pump.listener import Listener
from xml_pipeline.pump.machine import Machine
from xml_pipeline.pump.recovery import Revived, Reviver, Unreadable, sessions_of
from xml_pipeline.threads.ids import DerivedIds
from xml_pipeline.threads.record import DeadLetter, Entry, Handled
from xml_pipeline.threads.state import Conversation, OutsideSession, Thread

Kind: TypeAlias = Literal["conversation", "message", "answer", "call", "question", "state", "entry", "timer"]
"""`answer`: one that waits in a gather for the others. `call`: a thread that waits for calls below it. `entry`: of a
memory. `timer`: the time limit of a gather."""


UPGRADED = "its class has changed, and upgrades it"


class Prospect(Struct, frozen=True):
    """Something that does not go on as it was.

    Attributes:
        conversation_id: whose; the session's name for a memory that outlives conversations.
        kind: what it is.
        listener: whose; "" for none.
        name: of its payload; "" for none.
        why: in words.
        lost: whether what it stands for is lost; else it goes on in another way.
    """

    conversation_id: str
    kind: Kind
    listener: str
    name: str
    why: str
    lost: bool = True


class Prospects(Struct):
    """What becomes of all that is open.

    Attributes:
        conversations: how many are open.
        unchanged: how many of each kind go on as they were.
        changed: the others.
    """

    conversations: int = 0
    unchanged: Counter[Kind] = field(default_factory=Counter)
    changed: list[Prospect] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many are lost."""
        return sum(each.lost for each in self.changed)


def prospects(kept: Kept, steps: Callable[[str], list[Step]], machine: Machine) -> Prospects:
    """Look at all that a journal holds.

    Args:
        kept: what a start finds in it.
        steps: those of a conversation.
        machine: a fresh one, over today's listeners and limits.
    """
    found = Prospects()
    machine.state.sessions.update(sessions_of(kept))
    look = _Look(machine, found, kept.uptime)
    for session_id, session in machine.state.sessions.items():
        look.session(session_id, session)
    for each in kept.open:
        found.conversations += 1
        try:
            revived = look.reviver.revive(each.id, steps(each.id))
        except Exception as error:  # as a start does: this one stays where it is
            why = f"it cannot be brought back: {described(error)}"
            found.changed.append(Prospect(each.id, "conversation", "", "", why))
            machine.state.conversations.pop(each.id, None)
            continue
        if revived is not None:
            look.conversation(revived)
            machine.state.conversations.pop(each.id, None)  # it is not looked at again
    return found


class _Look:
    """Looks at one conversation after the other."""

    def __init__(self, machine: Machine, found: Prospects, uptime: Uptime) -> None:
        self._machine = machine
        self._listeners = machine.terms.listeners
        self._found = found
        self._uptime = uptime
        self.reviver = Reviver(machine.state, self._listeners, machine.terms.kept_limits)

    def session(self, session_id: str, session: OutsideSession) -> None:
        """What is remembered over conversations."""
        names = {DerivedIds(f"{session_id}/{name}").new_id(): name for name in self._listeners}
        shown = session_id.partition("\n")[0]
        for memory in session.memory:
            self._memory(shown, memory, names.get(memory, ""), session.entries(memory), per="session")

    def conversation(self, revived: Revived) -> None:
        """All that one holds."""
        conversation = revived.conversation
        seconds = self._uptime.within(revived.times.spans[""])
        if seconds >= (longest := self._machine.terms.limits.seconds):
            why = f"it took {seconds:.0f} s so far, and organism.limits.seconds is {longest:g}: it is ended"
            self._change(conversation.id, "conversation", "", "", why)
        threads = [(thread, not thread.inbox, _answers(thread)) for thread in conversation.threads.values()]
        asked = {message.message_id for message in revived.asked}
        # In the order of a start. The rules say what else ends with a message: its thread, and what is below it.
        for message, why in revived.unreadable:
            self._message(message, "question" if message.message_id in asked else "message", why)
            self._machine.step(Undeliverable(message, why))
        for message in revived.first:
            self._first(message, conversation)
        unreadable = {message.message_id for message, _ in revived.unreadable}
        for message in (each for each in revived.asked if each.message_id not in unreadable):
            self._message(message, "question", _ended(conversation, message.thread_id))
        for message in revived.behind:
            if why := _ended(conversation, message.thread_id):
                self._message(message, "message", why)
            else:
                self._message(message, "message", self._passes_on(message), lost=False)
        for message, why in revived.lost:
            self._message(message, "answer", why)
        for thread, waits, answers in threads:
            self._thread(conversation, thread, answers, waits=waits)
        self._memories(conversation)
        for timed in revived.times.waits.gathers.values():
            self._tell(conversation.id, "timer", "", "", _ended(conversation, timed.thread_id))

    def _first(self, message: Message, conversation: Conversation) -> None:
        """One that may have been handled when the process ended: what the rules make of that."""
        if why := _ended(conversation, message.thread_id):
            self._message(message, "message", why)
            return
        why = self._passes_on(message)
        thread, listener = conversation.threads[message.thread_id], self._listeners[message.to]
        if why or (careful(thread, listener) and thread.started != message.message_id):
            self._message(message, "message", why, lost=False)
            return
        for each in self._machine.step(Interrupted(message)):
            if type(each) is Handled:
                why = f"its caller gets the error {each.code}: {each.detail}"
            elif type(each) is DeadLetter and each.message.message_id == message.message_id:
                why = each.reason
        self._message(message, "message", why)

    def _passes_on(self, message: Message) -> str:
        listener = self._listeners[message.to]
        if listener.human or message.root in listener.handles:
            return ""
        return f"'{message.to}' does not handle {message.root}: it passes on to the caller"

    def _thread(self, conversation: Conversation, thread: Thread, answers: int, *, waits: bool) -> None:
        listener, ended = self._listeners.get(thread.listener), _ended(conversation, thread.id)
        if waits:
            gone = "" if listener else f"there is no listener '{thread.listener}' any more to take the answer"
            self._tell(conversation.id, "call", thread.listener, "", ended or gone)
        if thread.state is not None:
            why, lost = (ended, True) if ended else _state(thread, listener)
            self._tell(conversation.id, "state", thread.listener, thread.state.root, why, lost=lost)
        self._found.unchanged["answer"] += 0 if ended else answers

    def _memories(self, conversation: Conversation) -> None:
        names = {session_id: name for name, session_id in conversation.sessions.items()}
        for thread in conversation.threads.values():
            names |= {session_id: name for name, session_id in (thread.sessions or {}).items()}
        for memory, entries in (conversation.memory or {}).items():
            start, _, name = memory.rpartition("/")
            if start == conversation.id:
                self._memory(conversation.id, memory, name, entries, per="conversation")
            else:
                self._memory(conversation.id, memory, names.get(memory, ""), entries, per="session")

    def _memory(self, whose: str, memory: str, name: str, entries: Iterable[Entry], *, per: str) -> None:
        listener = self._listeners.get(name)
        for entry in entries:
            why, lost = "", True
            if listener is None:
                why = (
                    f"there is no listener '{name}' any more"
                    if name
                    else "its listener is not there any more"
                )
            elif listener.remembers != per:
                why = f"'{name}' remembers per {listener.remembers} now, and this is of a {per}"
            else:
                try:
                    if self.reviver.kept(entry, listener)[1]:
                        why, lost = UPGRADED, False
                except Unreadable as error:
                    why = str(error)
            self._tell(whose, "entry", name, entry.root, why, lost=lost)

    # --- telling ---

    def _message(self, message: Message, kind: Kind, why: str = "", *, lost: bool = True) -> None:
        self._tell(message.conversation_id, kind, message.to, message.root, why, lost=lost)

    def _tell(
        self, conversation_id: str, kind: Kind, listener: str, name: str, why: str, *, lost: bool = True
    ) -> None:
        if why:
            self._change(conversation_id, kind, listener, name, why, lost=lost)
        else:
            self._found.unchanged[kind] += 1

    def _change(
        self, conversation_id: str, kind: Kind, listener: str, name: str, why: str, *, lost: bool = True
    ) -> None:
        self._found.changed.append(Prospect(conversation_id, kind, listener, name, why, lost))


def _answers(thread: Thread) -> int:
    """How many wait in its gathers for the others."""
    return sum(each is not None for gather in (thread.gathers or {}).values() for each in gather.answers)


def _ended(conversation: Conversation, thread_id: str) -> str:
    """Why a thread is not there any more; "" when it is."""
    return "" if thread_id in conversation.threads else "its thread ends, with what cannot go on"


def _state(thread: Thread, listener: Listener | None) -> tuple[str, bool]:
    """What becomes of a thread's state, "" when it goes on as it is; and whether it is lost."""
    assert thread.state is not None
    if listener is None:
        return f"there is no listener '{thread.listener}' any more", True
    if listener.state is None:
        return f"'{listener.name}' keeps no state any more", True
    try:
        _, upgraded = read(thread.state, codec_of(listener.state))
    except Exception as error:  # whatever the class's own code raises, the handler is not called
        return f"it does not fit {listener.state.__name__} any more: {described(error)}", True
    return (UPGRADED, False) if upgraded else ("", False)
