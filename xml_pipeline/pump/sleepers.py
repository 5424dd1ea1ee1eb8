"""Conversations that sleep in the journal until they are brought back.

Those of an earlier life that owe something come back as there is room, the oldest first. Those that only wait for
people need none, for nothing can happen to them but an answer or a cancel (ADR 32): at most so many of them are in
memory, and the others come back when somebody asks for them. What they wait for is read without bringing them back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from msgspec import Struct

from xml_pipeline.envelope import Message
from xml_pipeline.errors import JournalError, OrganismClosed, described
from xml_pipeline.journal import Durable, Kept
from xml_pipeline.pump.admission import Admission
from xml_pipeline.pump.log import logger
from xml_pipeline.pump.recovery import Revived, Reviver, Unreadable

MOST_IDLE = 1000
"""Conversations that only wait for people, and are in memory all the same: the answer may come at once."""

_PAGE = 100  # questions that are read before others have their turn


class Asking(Struct, frozen=True):
    """A message that waits for a person.

    Attributes:
        thread_id: of the person's thread.
        listener: behind which the person sits.
        conversation_id: what it is part of.
        message_id: names it.
        payload: what is asked; None for what no class fits any more.
    """

    thread_id: str
    listener: str
    conversation_id: str
    message_id: str
    payload: Any

    @classmethod
    def of(cls, message: Message) -> Asking:
        """The question that a message is."""
        return cls(
            message.thread_id, message.to, message.conversation_id, message.message_id, message.payload
        )


Questions = dict[str, Asking | str]
"""What waits for people by thread, oldest first; in place of what was not read yet, the conversation that sleeps."""


class Sleepers:
    """Brings conversations back, each once, and lets go those that only wait.

    Args:
        journal: where they sleep.
        reviver: folds them.
        admission: newcomers wait until those that owe something are back.
        questions: what waits for people.
        go_on: what is done with one that is back.
        let_go: takes one out of memory, if the journal has so many events of it, and that is all; whether it did.
    """

    def __init__(
        self,
        journal: Durable,
        reviver: Reviver,
        admission: Admission,
        questions: Questions,
        go_on: Callable[[Revived], None],
        let_go: Callable[[str, int], bool],
    ) -> None:
        self.most_idle = MOST_IDLE
        self._journal = journal
        self._reviver = reviver
        self._admission = admission
        self._questions = questions
        self._go_on = go_on
        self._let_go = let_go
        self._asleep: set[str] = set()
        self._coming: dict[str, None] = {}  # of them, those that are brought back though nobody asks for them
        self._idle: dict[str, int] = {}  # in memory, only waiting; and how many events of them are durable
        self._lost: dict[str, str] = {}  # what cannot be brought back, and why
        self._added: deque[str] = deque()
        self._adding: asyncio.Task[None] | None = None
        self._stopped = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, kept: Kept) -> None:
        """Begin to bring back what was open, what owes something first, the oldest of it first."""
        self._asleep = {each.id for each in kept.open}
        self._questions.update(kept.asked)
        asked = set(kept.asked.values())
        owing = [each.id for each in kept.open if each.owes]
        # A memory that others add to meanwhile must not forget what a thread has seen; and what waits for nobody
        # that is known of was written by an older version.
        needed = [each.id for each in kept.open if not each.owes and (each.session or each.id not in asked)]
        waiting = [each.id for each in kept.open if not (each.owes or each.session) and each.id in asked]
        coming = [*needed, *waiting[: self.most_idle]]
        self._coming = dict.fromkeys([*owing, *coming])
        if self._asleep:
            self._admission.hold()
            self._tasks.append(asyncio.create_task(self._resume(owing, coming), name="xml-pipeline-resume"))

    def add(self, conversation_id: str) -> None:
        """Bring this one back too, in its turn among the newcomers."""
        self._asleep.add(conversation_id)
        if self._stopped:
            return
        self._added.append(conversation_id)
        if len(self._added) == 1:
            self._adding = asyncio.create_task(self._wake_added(), name="xml-pipeline-resume-added")

    def stop(self) -> None:
        """Let those that are not back sleep on."""
        self._stopped = True
        for task in (*self._tasks, self._adding):
            if task is not None:
                task.cancel()

    async def _wake_added(self) -> None:
        while self._added:
            held = self._admission.watched or self._admission.full
            if held:
                try:
                    await self._admission.wait()
                except OrganismClosed:
                    return
            try:
                self._wake_quietly(self._added[0])
            finally:
                if held:
                    self._admission.leave()  # the reserved place; its message has its own by now
            await asyncio.sleep(0)
            self._added.popleft()

    async def _resume(self, owing: list[str], waiting: list[str]) -> None:
        try:
            for conversation_id in owing:
                if self._admission.full:
                    self._follow(waiting)
                    await self._admission.room()
                await self._wake_in_turn(conversation_id)
        finally:
            self._admission.release()
        self._follow(waiting)

    def _follow(self, waiting: list[str]) -> None:
        if len(self._tasks) == 1:
            self._tasks.append(
                asyncio.create_task(self._wake_all(waiting), name="xml-pipeline-resume-waiting")
            )

    async def _wake_all(self, conversation_ids: list[str]) -> None:
        for conversation_id in conversation_ids:
            await self._wake_in_turn(conversation_id)
        unread = self._unread()
        for start in range(0, len(unread), _PAGE):
            with suppress(JournalError):
                self._read(unread[start : start + _PAGE])
            await asyncio.sleep(0)

    async def _wake_in_turn(self, conversation_id: str) -> None:
        self._wake_quietly(conversation_id)
        await asyncio.sleep(0)

    def _wake_quietly(self, conversation_id: str) -> None:
        with suppress(JournalError):  # it is in the log
            self.wake(conversation_id)

    def wake(self, conversation_id: str) -> None:
        """Bring one back, if it sleeps.

        Raises:
            JournalError: it cannot be brought back, and stays in the journal.
        """
        if conversation_id in self._lost:
            raise JournalError(self._lost[conversation_id])
        if conversation_id not in self._asleep:
            return
        self._asleep.discard(conversation_id)
        self._coming.pop(conversation_id, None)
        try:
            revived = self._reviver.revive(conversation_id, self._journal.steps(conversation_id))
            if revived is None:
                raise JournalError("its steps say that it is over")
            self._go_on(revived)
        except Exception as error:
            text = f"conversation {conversation_id} cannot be brought back; it stays in the journal"
            logger.exception("%s", text)
            self._lost[conversation_id] = f"{text}: {described(error)}"
            for thread_id, what in tuple(self._questions.items()):
                if (what if isinstance(what, str) else what.conversation_id) == conversation_id:
                    del self._questions[thread_id]
            raise JournalError(self._lost[conversation_id]) from error

    # --- what they wait for ---

    def asked(self) -> Iterator[Asking]:
        """All that waits for people, oldest first. Raises JournalError: the journal cannot be read."""
        self._read(self._unread())
        return (each for each in tuple(self._questions.values()) if isinstance(each, Asking))

    def _unread(self) -> list[str]:
        return [thread_id for thread_id, each in self._questions.items() if isinstance(each, str)]

    def _read(self, thread_ids: Sequence[str]) -> None:
        """Read questions of conversations that sleep. One that nobody can be asked any more is buried."""
        if not thread_ids:
            return
        found = {message.thread_id: message for message in self._journal.asked(thread_ids)}
        for thread_id in thread_ids:
            conversation_id = self._questions.get(thread_id)
            if not isinstance(conversation_id, str):
                continue  # it was brought back meanwhile
            try:
                if thread_id not in found:
                    raise Unreadable("it is not where it was")
                self._questions[thread_id] = Asking.of(self._reviver.readable(found[thread_id]))
            except Unreadable:
                with suppress(JournalError):
                    self.wake(conversation_id)

    # --- those that only wait ---

    def rests(self, conversation_id: str, seq: int) -> None:
        """One that is in memory only waits for people; so many events of it are durable."""
        self._idle.pop(conversation_id, None)
        self._idle[conversation_id] = seq
        while len(self._idle) > self.most_idle:
            longest = next(iter(self._idle))
            if self._let_go(longest, self._idle.pop(longest)):
                self._asleep.add(longest)

    def works(self, conversation_id: str) -> None:
        """One that is in memory has something to do, or is over."""
        self._idle.pop(conversation_id, None)

    @property
    def asleep(self) -> int:
        """How many sleep."""
        return len(self._asleep)

    def __len__(self) -> int:
        """How many are on their way back."""
        return len(self._coming)
