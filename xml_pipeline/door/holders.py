"""Who has a journal: an organism that runs, or somebody who only changes something and calls no handlers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from xml_pipeline.agents import Answer
from xml_pipeline.door.requests import Exchange, Reply
from xml_pipeline.errors import JournalError, RoutingError
from xml_pipeline.hardened import DEFAULT_LIMITS, parse
from xml_pipeline.journal import Kept, Step
from xml_pipeline.journal.erasure import Erased
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.ledger import Amended, Forgiven
from xml_pipeline.payload import codec_of
from xml_pipeline.pump import Listener, Pump
from xml_pipeline.pump.approvals import CONSOLE, Approval, check_channel
from xml_pipeline.pump.facts import Aborted, Answered, Fact
from xml_pipeline.pump.machine import Machine
from xml_pipeline.pump.recovery import Reviver, sessions_of
from xml_pipeline.session import exchange
from xml_pipeline.threads import State
from xml_pipeline.threads.state import Conversation


class Running:
    """An organism, as its pump.

    Args:
        pump: it runs.
        new_id: where conversation ids come from.
    """

    def __init__(self, pump: Pump, new_id: Callable[[], str]) -> None:
        self._pump = pump
        self._new_id = new_id

    def begun(self, conversation_id: str) -> None:
        """As `Holder.begun`: it is gone on with as there is room."""
        assert self._pump.sleepers is not None
        self._pump.sleepers.add(conversation_id)

    def cancel(self, conversation_id: str) -> bool:
        """As `Holder.cancel`."""
        return self._pump.cancel(conversation_id)

    def answer(self, request: Reply) -> None:
        """As `Holder.answer`."""
        pump = self._pump
        pump.wake(request.conversation)
        conversation = pump.state.conversations.get(request.conversation)
        pump.answer(request.thread, _answer(request, conversation, pump.listeners), CONSOLE)

    def dropped(self, message_ids: Sequence[str]) -> None:
        """As `Holder.dropped`."""
        self._keep(lambda letter: letter.message_id not in message_ids)

    def erased(self, conversation_id: str, what: Erased) -> None:
        """As `Holder.erased`: threads that open from now on do not see what it remembered."""
        self._keep(lambda letter: letter.conversation_id != conversation_id)
        forget(self._pump.state, what)

    async def exchange(self, request: Exchange) -> bytes:
        """As `Holder.exchange`."""
        data = request.envelope.encode()
        return await exchange(self._pump, data, request.timeout, self._new_id, request.key)

    def forgiven(self, what: Forgiven) -> None:
        """As `Holder.forgiven`: calls that wait for room go on."""
        if self._pump.ends.tenant is not None:
            self._pump.ends.tenant.forgiven(what)

    def amended(self, what: Amended) -> None:
        """As `Holder.amended`."""
        if self._pump.ends.tenant is not None:
            self._pump.ends.tenant.amended(what)

    def _keep(self, wanted: Callable[[Any], bool]) -> None:
        letters = self._pump.dead_letters
        kept = [each for each in letters if wanted(each)]
        if len(kept) < len(letters):
            letters.clear()
            letters.extend(kept)


class Resting:
    """Nobody, but for the moment in which something is changed: what follows from it waits for the next start.

    Args:
        journal: started, and ours.
        kept: what was found in it.
        machine: the rules, with nothing going on; without listeners where only the journal is known.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        journal: SqliteJournal,
        kept: Kept,
        machine: Machine,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._machine = machine
        self._machine.state.sessions.update(sessions_of(kept))
        self._clock = clock

    def begun(self, conversation_id: str) -> None:
        """As `Holder.begun`."""

    def cancel(self, conversation_id: str) -> bool:
        """As `Holder.cancel`."""
        conversation = self._found(conversation_id)
        if conversation is None:
            return False
        self._step(conversation, Aborted(conversation_id, None, self._clock()))
        return True

    def answer(self, request: Reply) -> None:
        """As `Holder.answer`."""
        conversation = self._found(request.conversation)
        payload = _answer(request, conversation, self._machine.terms.listeners)
        assert conversation is not None
        thread = conversation.threads[request.thread]
        message = thread.inbox[thread.asked]
        check_channel(self._machine.terms.listeners, message.to, CONSOLE)
        self._step(conversation, Answered(message, payload, self._clock()))

    def dropped(self, message_ids: Sequence[str]) -> None:
        """As `Holder.dropped`."""

    def erased(self, conversation_id: str, what: Erased) -> None:
        """As `Holder.erased`."""

    async def exchange(self, request: Exchange) -> bytes:
        """As `Holder.exchange`."""
        raise JournalError("no organism runs that could answer; start it, and try again")

    def forgiven(self, what: Forgiven) -> None:
        """As `Holder.forgiven`."""

    def amended(self, what: Amended) -> None:
        """As `Holder.amended`."""

    def _found(self, conversation_id: str) -> Conversation | None:
        machine = self._machine
        reviver = Reviver(machine.state, machine.terms.listeners, machine.terms.kept_limits)
        revived = reviver.revive(conversation_id, self._journal.steps(conversation_id))
        return None if revived is None else revived.conversation

    def _step(self, conversation: Conversation, fact: Fact) -> None:
        seq, conversation_id = conversation.seq, conversation.id
        events = self._machine.step(fact)
        step = Step(conversation_id, seq, fact.at, events, conversation.due > 0)
        self._journal.append(conversation_id, seq, step, _nobody)


def forget(state: State, what: Erased) -> None:
    """Blank entries of a lasting session, as they are blank in the journal."""
    session = state.sessions.get(what.session)
    if session is None:
        return
    for event in what.entries:
        entries = list(session.memory.get(event.memory, ()))
        position = len(entries) - 1 - (session.added.get(event.memory, 0) - event.ordinal)
        if 0 <= position < len(entries) and entries[position].data == event.entry.data:
            entries[position] = replace(event.entry, data=b"")
            session.memory[event.memory] = tuple(entries)


def _answer(request: Reply, conversation: Conversation | None, listeners: Mapping[str, Listener]) -> Any:
    """A person's answer as an instance of a class that the person answers with."""
    thread = None if conversation is None else conversation.threads.get(request.thread)
    if thread is None or not thread.asked:
        raise RoutingError(f"no message waits for a person in thread {request.thread}")
    element = parse(request.document.encode(), DEFAULT_LIMITS)
    person = listeners.get(thread.listener)
    declared = (Approval,) if thread.held else None if person is None else person.answers
    given = {codec_of(cls).root: codec_of(cls) for cls in declared or (Answer,)}
    root = str(element.tag)
    if root not in given:
        raise RoutingError(f"'{thread.listener}' answers with no <{root}>, but with {', '.join(given)}")
    return given[root].decode(element)


def _nobody() -> None:
    """Who waits for a step: whoever waits for all that was appended."""
