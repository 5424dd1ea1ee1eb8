"""A ledger in a file of its own, for programs without a journal: budgets and reports outlive the process.

It is a journal's file in which only calls of models are written down, by the same engine: one process at a time.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from xml_pipeline.errors import JournalError
from xml_pipeline.journal.sqlite import SqliteJournal, Synchronous
from xml_pipeline.ledger import Ledger

logger = logging.getLogger(__name__)


class LedgerFile:
    """Opened for the event loop that asks first, and again for the next one (`ledger.LedgerFile`).

    Args:
        path: the file; it is made when it does not exist, readable by its owner alone.
        synchronous, visits, organism: as of `SqliteJournal`.
        joinable: whether commands of other processes reach its organism beside the file.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: Synchronous = "normal",
        visits: bool = False,
        organism: str = "",
        joinable: bool = True,
    ) -> None:
        self.path = Path(path)
        self._visits = visits
        self.joinable = joinable
        self._organism = organism
        self._synchronous: Synchronous = synchronous
        self._journal: SqliteJournal | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: asyncio.Task[None] | None = None
        self._taken_up: asyncio.AbstractEventLoop | None = None

    async def ready(self, take_up: Callable[[Ledger], Awaitable[None]]) -> None:
        """As `ledger.LedgerFile.ready`."""
        here = asyncio.get_running_loop()
        if self._taken_up is here:  # asked before every call
            return
        if self._loop is not here or self._ready is None:
            self._end()
            self._loop, self._ready = here, asyncio.create_task(self._open(take_up))
        ready = self._ready
        try:
            await asyncio.shield(ready)
        except JournalError:
            if self._ready is ready:
                self._ready = None  # the next call tries again
            raise

    async def _open(self, take_up: Callable[[Ledger], Awaitable[None]]) -> None:
        journal = SqliteJournal(
            self.path, synchronous=self._synchronous, visits=self._visits, organism=self._organism
        )
        await journal.start(_tell)
        self._journal = journal
        atexit.register(self._end)
        await take_up(journal.ledger)
        self._taken_up = self._loop

    async def close(self) -> None:
        """As `ledger.LedgerFile.close`."""
        journal, self._journal, self._taken_up = self._journal, None, None
        ready, self._ready = self._ready, None
        if ready is not None and not ready.done():
            ready.cancel()
        if journal is not None:
            if self._loop is asyncio.get_running_loop():
                await journal.close()
            else:
                journal.end()
            atexit.unregister(self._end)

    @property
    def journal(self) -> SqliteJournal | None:
        """The open file; None while it is not open."""
        return self._journal

    def _end(self) -> None:
        """Let the file go without the event loop that opened it: it is over."""
        journal, self._journal, self._taken_up = self._journal, None, None
        if journal is not None:
            journal.end()
            atexit.unregister(self._end)


def _tell(error: JournalError) -> None:
    logger.critical("no model is asked any more: %s", error)
