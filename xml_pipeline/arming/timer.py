"""One trigger by the clock: it sleeps until it is due, claims the time, and sends what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from xml_pipeline.arming.going import Going
from xml_pipeline.doors import Visitor
from xml_pipeline.errors import KeyConflict, OrganismClosed, XmlPipelineError, described
from xml_pipeline.journal.triggered import Triggered
from xml_pipeline.pump.log import logger
from xml_pipeline.triggers.cron import Cron, Every
from xml_pipeline.triggers.trigger import Trigger, due

NAP = 60.0
"""Seconds after which the clock is looked at again: it may have been set, and the machine may have slept."""


class Timer:
    """Fires one trigger at its times.

    Args:
        trigger: what fires.
        when: its times.
        visitor: at its door.
        kept: what the journal knows of it; None for no journal.
        going: what goes on.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        trigger: Trigger,
        when: Cron | Every,
        visitor: Visitor,
        kept: Triggered | None,
        going: Going,
        clock: Callable[[], float],
    ) -> None:
        self._trigger = trigger
        self._when = when
        self._visitor = visitor
        self._kept = kept
        self._going = going
        self._clock = clock

    async def run(self) -> None:
        """Until it is cancelled, or the organism stops."""
        try:
            seen = await self._begin()
            while True:
                now = self._clock()
                found = due(self._when, seen, now, self._trigger.missed)
                if found is None:
                    await asyncio.sleep(min(self._when.after(now) - now, NAP))
                elif found.fires:
                    seen = await self._come_to(found.moment)
                else:
                    logger.warning("trigger %s has missed %s", self._trigger.name, _shown(found.moment))
                    seen = self._settled(found.moment)
        except OrganismClosed:
            logger.info("trigger %s ends with its organism", self._trigger.name)
        except Exception:
            logger.exception("trigger %s fires no more", self._trigger.name)

    async def _begin(self) -> float:
        """Up to when it was seen to; what an earlier life had claimed is sent, if it may not have been."""
        now = self._clock()
        row = None if self._kept is None else self._kept.seen(self._trigger.name)
        if row is None:
            return self._settled(now)
        if row.sent:
            return row.until
        assert self._kept is not None
        if self._kept.keep is None or now - row.until < self._kept.keep:
            await self._fire(row.until)
        else:  # the key may be forgotten, and nobody can tell any more
            logger.warning("trigger %s may not have fired at %s", self._trigger.name, _shown(row.until))
        return self._settled(row.until)

    async def _come_to(self, moment: float) -> float:
        """See to a time that has come; up to when it is seen to then."""
        trigger = self._trigger
        if trigger.if_running == "skip" and self._going.any(trigger.caller):
            logger.info("trigger %s lets %s be: it still runs", trigger.name, _shown(moment))
            return self._settled(moment)
        if trigger.if_running == "queue" and self._going.any(trigger.caller):
            await self._going.over(trigger.caller)
            last = due(self._when, moment, self._clock(), "once")
            moment = moment if last is None else last.moment
        await self._fire(moment)
        return moment

    async def _fire(self, moment: float) -> None:
        """Send what it says, once for each time."""
        trigger = self._trigger
        key = None
        if self._kept is not None:
            key = f"{trigger.caller}/{_shown(moment)}"
            self._kept.claim(trigger.name, moment)
        try:
            conversation_id = await self._visitor.send(dict(trigger.said or {}), key=key)
            logger.info("trigger %s has fired: conversation %s", trigger.name, conversation_id)
        except OrganismClosed:
            raise
        except KeyConflict:
            logger.info("trigger %s had fired at %s, and said something else", trigger.name, _shown(moment))
        except XmlPipelineError as error:
            logger.error("trigger %s could not fire: %s", trigger.name, described(error))
        self._settled(moment)

    def _settled(self, moment: float) -> float:
        if self._kept is not None:
            self._kept.settle(self._trigger.name, moment)
        return moment


def _shown(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()
