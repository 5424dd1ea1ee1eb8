"""One request, whoever runs: through the organism that has the journal, or alone when nobody has it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from xml_pipeline.door.client import Nobody, told
from xml_pipeline.door.desk import Desk
from xml_pipeline.door.holders import Resting
from xml_pipeline.door.requests import Request, Told, line
from xml_pipeline.errors import JournalError, XmlPipelineError
from xml_pipeline.journal.file import looked_at
from xml_pipeline.journal.owner import InUse
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump.machine import Machine
from xml_pipeline.threads.ids import random_ids

PATIENCE = 10.0  # seconds for which somebody may have the journal and not listen yet, or not any more
_PAUSE = 0.05


def carried_out(
    journal: Path, request: Request, alone: Callable[[], Awaitable[Told]], *, patience: float | None = None
) -> Told:
    """What becomes of a request.

    Args:
        journal: the file.
        request: what is wanted.
        alone: does it when nobody has the journal. Raises InUse when somebody has.
        patience: seconds; default: PATIENCE.

    Raises:
        XmlPipelineError: why it could not be done, or that it is not known whether it was.
    """
    try:
        said = line(request)
    except UnicodeEncodeError as error:
        raise XmlPipelineError(f"that holds what is no text: {error.reason}") from None
    until = time.monotonic() + (PATIENCE if patience is None else patience)
    while True:
        try:
            return told(journal, said)
        except Nobody as nobody:
            why = str(nobody)
        try:
            return asyncio.run(_awaited(alone))
        except InUse as error:
            if time.monotonic() >= until:
                raise JournalError(
                    f"{error}, and that one takes no requests ({why}); stop it first, and try again"
                ) from None
            time.sleep(_PAUSE)


async def alone(journal: Path, request: Request, machine: Machine | None = None) -> Told:
    """Carry a request out while nobody else has the journal.

    Args:
        journal: the file.
        request: what is wanted.
        machine: the rules of its organism; a person's answer needs them.

    Raises:
        InUse: somebody has it.
        JournalError: there is none, or it cannot be used.
        XmlPipelineError: why it could not be done.
    """
    looked_at(journal).close()  # none is made here
    file = SqliteJournal(journal, synchronous="full", visits=True)
    broken: list[JournalError] = []
    kept = await file.start(broken.append)
    try:
        return await Desk(file, Resting(file, kept, machine or Machine({})), random_ids()).serve(request)
    finally:
        await file.close()


async def _awaited(work: Callable[[], Awaitable[Told]]) -> Told:
    return await work()
