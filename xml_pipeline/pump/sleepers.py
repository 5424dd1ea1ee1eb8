"""Conversations of an earlier life: they sleep in the journal until they are brought back.

Those that owe something come back as there is room, the oldest first. Those that wait for people or times need none:
they follow when the others are back, or have to wait for room themselves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from xml_pipeline.errors import JournalError, OrganismClosed, described
from xml_pipeline.journal import Durable, OpenConversation
from xml_pipeline.pump.admission import Admission
from xml_pipeline.pump.log import logger
from xml_pipeline.pump.recovery import Revived, Reviver


class Sleepers:
    """Brings conversations back, each once: all in the background, one that is asked for at once.

    Args:
        journal: where they sleep.
        reviver: folds them.
        admission: newcomers wait until those that owe something are back.
        go_on: what is done with one that is back.
    """

    def __init__(
        self, journal: Durable, reviver: Reviver, admission: Admission, go_on: Callable[[Revived], None]
    ) -> None:
        self._journal = journal
        self._reviver = reviver
        self._admission = admission
        self._go_on = go_on
        self._asleep: dict[str, None] = {}
        self._lost: dict[str, str] = {}  # what cannot be brought back, and why
        self._added: deque[str] = deque()
        self._adding: asyncio.Task[None] | None = None
        self._stopped = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, open_: Sequence[OpenConversation]) -> None:
        """Begin to bring these back, those that owe something first, the oldest of them first."""
        self._asleep = dict.fromkeys(each.id for each in open_)
        if self._asleep:
            owing = [each.id for each in open_ if each.owes]
            waiting = [each.id for each in open_ if not each.owes]
            self._admission.hold()
            self._tasks.append(asyncio.create_task(self._resume(owing, waiting), name="xml-pipeline-resume"))

    def add(self, conversation_id: str) -> None:
        """Bring this one back too, in its turn among the newcomers."""
        self._asleep[conversation_id] = None
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
        del self._asleep[conversation_id]
        try:
            revived = self._reviver.revive(conversation_id, self._journal.steps(conversation_id))
            if revived is None:
                raise JournalError("its steps say that it is over")
            self._go_on(revived)
        except Exception as error:
            text = f"conversation {conversation_id} cannot be brought back; it stays in the journal"
            logger.exception("%s", text)
            self._lost[conversation_id] = f"{text}: {described(error)}"
            raise JournalError(self._lost[conversation_id]) from error

    def __len__(self) -> int:
        return len(self._asleep)
