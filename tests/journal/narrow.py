"""A disk with room for the log and none for the log's index: `python -m tests.journal.narrow DISK`.

The index grows by 32 KiB whenever the log has grown by 4096 pages, which it does while somebody reads. SQLite reports
that another way than a disk that is full.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from tests.pump.scenes import Answer, Question, respond
from xml_pipeline import HandlerMetadata, Organism
from xml_pipeline.errors import JournalError
from xml_pipeline.journal.file import read_only
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.pump import listener

FRAME, IN_FIRST = (
    4096 + 24,
    4062,
)  # bytes of a page in the log, and how many the first 32 KiB of the index hold


async def helper(payload: Question, metadata: HandlerMetadata) -> Any:
    return respond(Answer("helped"))


async def main(disk: Path) -> None:
    """Until it was the index: which of the two finds no room depends on how many pages the last commit has."""
    for number in range(20):
        folder = disk / str(number)
        folder.mkdir()
        trouble = await narrow(folder)
        print(trouble)
        shutil.rmtree(folder)
        if "disk I/O error" in trouble:
            break


async def narrow(disk: Path) -> str:
    """What an organism says when the disk is full; all is answered when there is room again."""
    path, log = disk / "state.db", disk / "state.db-wal"
    journal = SqliteJournal(path)
    async with Organism("narrow", [listener("helper", helper)], journal=journal) as organism:
        reader = read_only(path)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM steps").fetchone()
        while log.stat().st_size < FRAME * (IN_FIRST - 40):
            await asyncio.gather(*(organism.ask("helper", Question("x" * 10_000)) for _ in range(4)))
        room = os.statvfs(disk)
        left = FRAME * (IN_FIRST + 7) - log.stat().st_size
        (disk / "ballast").write_bytes(bytes(room.f_bavail * room.f_frsize - left))
        asking = []
        while not journal.trouble:
            asking.append(asyncio.ensure_future(organism.ask("helper", Question("x"))))
            await asyncio.sleep(0.001)
        trouble = journal.trouble
        (disk / "ballast").unlink()
        *told, last = await asyncio.gather(*asking, return_exceptions=True)
        assert told == [Answer("helped")] * len(told)
        assert last == Answer("helped") or isinstance(
            last, JournalError
        )  # it may have come after the trouble
        reader.close()
    return trouble


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
