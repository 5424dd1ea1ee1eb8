"""Which file a running organism takes requests about: its journal, or else the ledger of its router."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from xml_pipeline.door.desk import Desk
from xml_pipeline.door.holders import Running
from xml_pipeline.door.server import Door
from xml_pipeline.journal import Journal
from xml_pipeline.journal.ledger_file import LedgerFile
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.ledger import LedgerFile as AnyLedgerFile
from xml_pipeline.pump import Pump


async def door_of(
    journal: Journal | None,
    ledger: AnyLedgerFile | None,
    pump: Pump,
    new_id: Callable[[], str],
    fire: Callable[[str], Awaitable[str]],
) -> Door | None:
    """The open door beside that file; None where there is no file, another kind of one, or
    one beside which nobody is let in.

    Args:
        journal: of the organism.
        ledger: of its router, open.
        pump: it runs.
        new_id: where conversation ids come from.
        fire: lets a trigger fire.
    """
    file = ledger.journal if isinstance(ledger, LedgerFile) else journal
    if not isinstance(file, SqliteJournal) or (isinstance(ledger, LedgerFile) and not ledger.joinable):
        return None
    door = Door(file.path, Desk(file, Running(pump, new_id, fire), new_id).serve)
    await door.open()
    return door
