"""Changes to a journal that nobody else uses, each made by a process that dies at its n-th statement.

`python -m tests.journal.mortal FILE COPY CONVERSATION WHAT`: for each line read the file is copied, and the copy
changed by a process that dies one statement later than the one before it; how it ended is printed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import sys
from pathlib import Path

from xml_pipeline.door import Desk, Request, Resting
from xml_pipeline.door.requests import Cancel, Compact, Drop, Erase, Retry
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump.machine import Machine
from xml_pipeline.threads.ids import random_ids


class Mortal(SqliteJournal):
    """A journal whose process dies at its n-th statement."""

    left = 0

    def _work(self, connection: sqlite3.Connection) -> None:
        def dies(statement: str) -> None:
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)

        connection.set_trace_callback(dies)
        super()._work(connection)
        connection.set_trace_callback(None)  # what follows is no part of the change


def request(what: str, conversation_id: str) -> Request:
    of_everything: dict[str, Request] = {
        "erase": Erase(conversation_id),
        "compact": Compact(-1000.0),
        "retry": Retry(1),
        "drop": Drop(),
        "cancel": Cancel(conversation_id),
    }
    return of_everything[what]


async def change(copy: Path, wanted: Request, nth: int) -> None:
    journal = Mortal(copy, synchronous="full")
    journal.left = nth
    kept = await journal.start(lambda error: None)
    await Desk(journal, Resting(journal, kept, Machine({})), random_ids()).serve(wanted)
    await journal.close()


def main() -> None:
    file, copy, conversation_id, what = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]
    for nth, _ in enumerate(sys.stdin, 1):
        for each in copy.parent.glob(f"{copy.name}*"):
            each.unlink()
        shutil.copy(file, copy)
        child = os.fork()
        if not child:
            try:
                asyncio.run(change(copy, request(what, conversation_id), nth))
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
