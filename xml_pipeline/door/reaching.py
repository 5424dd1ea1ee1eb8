"""One request, whoever runs: through the organism that has the journal, or alone when nobody has it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from xml_pipeline.door.client import Gone, Nobody, told
from xml_pipeline.door.desk import Desk
from xml_pipeline.door.holders import Resting
from xml_pipeline.door.requests import Exchange, Request, Told, line
from xml_pipeline.errors import JournalError, XmlPipelineError
from xml_pipeline.journal.file import looked_at
from xml_pipeline.journal.owner import InUse
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump.attempts import MOST_INTERRUPTIONS
from xml_pipeline.pump.machine import Machine
from xml_pipeline.threads.ids import random_ids

R = TypeVar("R", bound=Request)

PATIENCE = 10.0  # seconds for which somebody may have the journal and not listen yet, or not any more
RESTART = 2.0  # seconds in which an organism that died is started again by whoever watches over it
_PAUSE = 0.05
_SHORTEST = 0.001  # seconds; so long is waited at least


def carried_out(
    journal: Path, request: R, alone: Callable[[R], Awaitable[Told]], *, patience: float | None = None
) -> Told:
    """What becomes of a request.

    One with a key is the same request when it is said again, so it goes on with the next one who has the journal when
    the one that it waited for dies; as often as a message outlives that.

    Args:
        journal: the file, or that of a ledger.
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
    patience = PATIENCE if patience is None else patience
    began = time.monotonic()
    until, free, deaths = began + patience, began, 0
    while True:
        try:
            return told(journal, said)
        except Nobody as nobody:
            why = str(nobody)
        except Gone as gone:
            deaths += 1
            if not _is_named(request) or deaths > MOST_INTERRUPTIONS:
                raise JournalError(f"{gone}{_to_do(request)}") from None
            now = time.monotonic()
            until, free = now + RESTART + patience, now + RESTART
            said = line(_in_what_is_left(request, now - began))
            continue
        if time.monotonic() >= free:
            try:
                return asyncio.run(_awaited(alone, _in_what_is_left(request, time.monotonic() - began)))
            except InUse as error:
                if time.monotonic() >= until:
                    raise JournalError(
                        f"{error}, and that one takes no requests ({why}); stop it first, and try again"
                    ) from None
        time.sleep(_PAUSE)


def _is_named(request: Request) -> bool:
    """Whether it is the same request, and is not done twice, however often it is said."""
    return isinstance(request, Exchange) and request.key is not None


def _in_what_is_left(request: R, gone: float) -> R:
    """The same request after so many seconds."""
    if not isinstance(request, Exchange) or request.timeout is None or not request.key:
        return request
    return replace(request, timeout=max(_SHORTEST, request.timeout - gone))


def _to_do(request: Request) -> str:
    """What somebody does who does not know what became of it."""
    if isinstance(request, Exchange):
        return (
            ", and what models were asked for it may be billed. Look first: `xml-pipeline llm calls`, with a journal"
            " `log` and `show`; with a journal and a --key it can be asked again without harm"
        )
    return ". Look first (`xml-pipeline log`, `dead list`, `llm calls`)"


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


async def _awaited(work: Callable[[R], Awaitable[Told]], request: R) -> Told:
    return await work(request)
