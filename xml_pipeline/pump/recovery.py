"""A conversation of an earlier life: folded from its journal, and its messages given their payloads again.

Events of record hold bytes and no instances. Which class a message has now follows from who takes it, else from its
root element's name: a class is found by name among all that the program has imported and decorated.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from xml_pipeline.envelope import SYSTEM, Gathered, GatheredCodec, Message, decode
from xml_pipeline.errors import EnvelopeError, JournalError, PayloadError, PayloadTypeError, described
from xml_pipeline.hardened import Limits
from xml_pipeline.journal import Kept, Step
from xml_pipeline.payload import codec_of, payload_classes
from xml_pipeline.payload.codec import Codec
from xml_pipeline.payload.declared import declared_beside
from xml_pipeline.pump.kept import read
from xml_pipeline.pump.listener import Listener
from xml_pipeline.pump.waits import Times
from xml_pipeline.threads.record import Began, Entry
from xml_pipeline.threads.state import Conversation, OutsideSession, State, is_named

NO_CLASS = "no payload class is named {} any more, or its module is not imported"


class Unreadable(Exception):
    """A message that no class fits any more; the text says why."""


def gone(message: Message) -> str:
    """Why a message whose listener is not there cannot be handled."""
    return f"there is no listener '{message.to}' any more"


class Revived(Struct):
    """A conversation as it was.

    Attributes:
        conversation: with payloads in its messages, but for the unreadable ones.
        unreadable: messages that cannot be handled any more, and why.
        lost: answers in a gather, and messages that a thread keeps, that cannot be read any more, and why: it goes on
            as if they had not come.
        asked: those that wait for a person.
        first: those that may have been handled when it ended, the first of each thread.
        behind: the others, which wait for those.
        times: when its time limits counted.
    """

    conversation: Conversation
    times: Times
    unreadable: list[tuple[Message, str]] = field(default_factory=list)
    lost: list[tuple[Message, str]] = field(default_factory=list)
    asked: list[Message] = field(default_factory=list)
    first: list[Message] = field(default_factory=list)
    behind: list[Message] = field(default_factory=list)


def sessions_of(kept: Kept) -> dict[str, OutsideSession]:
    """The lasting sessions of outside callers, with what is remembered in them, and how many conversations run.

    Those that sleep count as running: a session does not end under them.
    """
    running = Counter(each.session for each in kept.open if each.session)
    found = {}
    for session_id in {**kept.memories, **kept.sessions, **running}:
        memories, known = kept.memories.get(session_id, {}), kept.sessions.get(session_id)
        session = OutsideSession(
            memory={key: tuple(entry for _, _, entry in entries) for key, entries in memories.items()},
            added={key: entries[-1][0] for key, entries in memories.items()},
            shown={key: entries[-1][1] for key, entries in memories.items()},
            running=running[session_id],
            ending=not is_named(session_id) or (known is not None and known.closed),
        )
        if known is not None:
            session.seconds, session.until = known.seconds, known.until
        if session.running or not session.ending:
            found[session_id] = session
    return found


class Reviver:
    """Brings conversations back.

    Args:
        state: where they are kept.
        listeners: all by name.
        limits: of a message.
    """

    def __init__(self, state: State, listeners: Mapping[str, Listener], limits: Limits) -> None:
        self._state = state
        self._listeners = listeners
        self._limits = limits
        self._named: dict[str, list[Codec[Any]]] = {}

    def revive(self, conversation_id: str, steps: list[Step]) -> Revived | None:
        """Fold the steps of a conversation; None when it is over, or nothing is known of it.

        Raises:
            Exception: a step that no conversation can take; nothing is kept of it then.
        """
        began = steps[0].events[0] if steps else None
        session = None
        if type(began) is Began and began.lasting:
            session = self._state.sessions.get(began.session)
        if session is not None:
            session.running -= 1  # it was counted while it slept
        try:
            times = self._fold(conversation_id, steps)
        except BaseException:
            begun = self._state.conversations.pop(conversation_id, None)
            if session is not None and begun is None:
                session.running += 1  # it sleeps on
            raise
        conversation = self._state.conversations.get(conversation_id)
        if conversation is None:
            return None
        revived = Revived(conversation, times)
        for thread in conversation.threads.values():
            for position, bare in enumerate(tuple(thread.inbox.values())):
                try:
                    message = thread.inbox[bare.message_id] = self.readable(bare)
                except Unreadable as error:
                    revived.unreadable.append((bare, str(error)))
                    if thread.asked == bare.message_id:
                        revived.asked.append(bare)
                    continue
                if thread.asked == message.message_id:
                    revived.asked.append(message)
                elif position or thread.asked:
                    revived.behind.append(message)
                else:
                    revived.first.append(message)
            if thread.kept:
                read = {key: self._or_lost(bare, revived.lost) for key, bare in thread.kept.items()}
                thread.kept = {key: message for key, message in read.items() if message is not None}
            for gather in (thread.gathers or {}).values():
                gather.answers = [self._or_lost(each, revived.lost) for each in gather.answers]
        return revived

    def _fold(self, conversation_id: str, steps: list[Step]) -> Times:
        """Apply all."""
        times, state = Times(), self._state
        for step in steps:
            for event in step.events:
                state.apply(conversation_id, event)
            conversation = state.conversations.get(conversation_id)
            if conversation is not None:
                times.follow(conversation, step.events, step.at)
        return times

    def readable(self, message: Message) -> Message:
        """A message to a listener, with its payload. Raises Unreadable."""
        listener = self._listeners.get(message.to)
        if listener is None:
            raise Unreadable(gone(message))
        if message.from_id != SYSTEM and not message.in_reply_to and message.root not in listener.requests:
            raise Unreadable(f"'{message.to}' does not take {message.root} any more")
        return self._read(message, listener)

    def said(self, message: Message) -> Message:
        """A message with its payload, whether or not anybody takes it now. Raises Unreadable."""
        return self._read(message, self._listeners.get(message.to))

    def said_by(self, sender: str, element: Any) -> Any:
        """What a listener said to the outside, as an instance. Raises Unreadable."""
        return self._fitting(str(element.tag), lambda: self._decoded(None, sender, element))

    def kept(self, entry: Entry, listener: Listener | None) -> tuple[Any, bool]:
        """An entry of a listener's memory, as an instance, and whether it had to be upgraded. Raises Unreadable."""
        candidates = self._by_name(entry.root, (listener,), entry.schema)
        for position, codec in enumerate(candidates, 1):
            try:
                return read(entry, codec)
            except (PayloadError, EnvelopeError) as error:
                if position == len(candidates):
                    text = f"its <{entry.root}> does not fit its class any more: {described(error)}"
                    raise Unreadable(text) from error
        raise Unreadable(NO_CLASS.format(entry.root))

    def answer(self, message: Message) -> Message:
        """A message that left for the outside, with its payload.

        Raises:
            JournalError: no class fits it any more.
        """
        try:
            return self._read(message, None)
        except Unreadable as error:
            raise JournalError(f"the answer that was given cannot be read: {error}") from error

    def _read(self, message: Message, listener: Listener | None) -> Message:
        def payload() -> Any:
            element = decode(message.data, self._limits).payload
            return self._decoded(listener, message.from_id, element, message.schema)

        return replace(message, payload=self._fitting(message.root, payload))

    def _fitting(self, root: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (PayloadError, EnvelopeError) as error:
            text = f"its <{root}> does not fit its class any more: {described(error)}"
            raise Unreadable(text) from error

    def _or_lost(self, answer: Message | None, lost: list[tuple[Message, str]]) -> Message | None:
        try:
            return None if answer is None else self.readable(answer)
        except Unreadable as error:
            assert answer is not None
            lost.append((answer, str(error)))
            return None  # in a Gathered it is an answer that did not come

    def _decoded(self, listener: Listener | None, sender: str, element: Any, schema: bytes = b"") -> Any:
        root = element.tag
        if root == GatheredCodec.root:
            answers = (self._decoded(listener, sender, item[0]) if len(item) else None for item in element)
            return Gathered(tuple(answers))
        taken = listener.accepts.get(root) if listener is not None else None
        near_to = (self._listeners.get(sender), listener)
        candidates: list[Any] = [taken] if taken is not None else self._by_name(root, near_to, schema)
        if not candidates:
            raise Unreadable(NO_CLASS.format(root))
        for codec in candidates[:-1]:
            try:
                return codec.decode(element)
            except PayloadError:
                continue
        return candidates[-1].decode(element)

    def _by_name(self, root: str, near_to: tuple[Listener | None, ...], schema: bytes) -> list[Codec[Any]]:
        """Codecs of the classes of that name: first those of that schema, then those near to these listeners.

        Near are classes that the modules of their handlers know, and those declared beside what a listener accepts.
        """
        if not self._named:
            for cls in payload_classes():
                try:
                    codec: Codec[Any] = codec_of(cls)
                except PayloadTypeError:
                    continue
                self._named.setdefault(codec.root, []).append(codec)
        found = self._named.get(root, [])
        if len(found) < 2:
            return found
        near = {id(value) for each in near_to for value in _names_of(each)}
        for listener in self._listeners.values():
            near |= {id(cls) for taken in listener.accepts.values() for cls in declared_beside(taken.cls)}
        return sorted(found, key=lambda codec: (codec.fingerprint != schema, id(codec.cls) not in near))


def _names_of(listener: Listener | None) -> list[Any]:
    """What the names in the module of a listener's handler stand for."""
    handler = None if listener is None else listener.handler
    module = getattr(handler, "__module__", None)
    return list(vars(sys.modules[module]).values()) if module in sys.modules else []
