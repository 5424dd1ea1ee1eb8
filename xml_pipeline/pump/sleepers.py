"""Conversations of an earlier life: they sleep in the journal until they are brought back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

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
        self._owing = 0
        self._waking: asyncio.Task[None] | None = None

    def start(self, open_: Sequence[OpenConversation]) -> None:
        """Begin to bring these back, those that owe something first, the oldest of them first."""
        self._asleep = dict.fromkeys(each.id for each in open_ if each.owes)
        self._owing = len(self._asleep)
        self._asleep.update(dict.fromkeys(each.id for each in open_))
        if self._asleep:
            self._admission.hold()
            self._waking = asyncio.create_task(self._wake_all(), name="xml-pipeline-resume")

    def stop(self) -> None:
        """Let those that are not back sleep on."""
        if self._waking is not None:
            self._waking.cancel()

    async def _wake_all(self) -> None:
        try:
            for position, conversation_id in enumerate(tuple(self._asleep)):
                if position < self._owing:
                    await self._admission.room()
                elif position == self._owing:
                    self._admission.release()
                self.wake(conversation_id)
                await asyncio.sleep(0)
        finally:
            self._admission.release()

    def wake(self, conversation_id: str) -> None:
        """Bring one back, if it sleeps."""
        if conversation_id not in self._asleep:
            return
        del self._asleep[conversation_id]
        try:
            revived = self._reviver.revive(conversation_id, self._journal.steps(conversation_id))
        except Exception:
            logger.exception(
                "conversation %s cannot be brought back; it stays in the journal", conversation_id
            )
            return
        if revived is not None:
            self._go_on(revived)

    def __len__(self) -> int:
        return len(self._asleep)
