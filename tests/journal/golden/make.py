"""Writes the golden journal of today's format: `python -m tests.journal.golden.make`.

To be run once for each format, when it is new, and never again: the point of the file is that it is old.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import closing
from pathlib import Path

from tests.journal.golden.firm import Done, Firm, Order, Task
from tests.journal.test_recovery import came_to
from xml_pipeline.journal.file import APPLICATION_ID, VERSION, read_only

FOLDER = Path(__file__).parent


async def lived(path: Path) -> None:
    """One order that is done, and one that waits: for a shop, a boss and a time."""
    firm = Firm(closed=True)
    async with firm.organism(path) as organism:
        session = organism.session(id="customer")
        asking = asyncio.ensure_future(session.ask("desk", Order(1), key="first"))
        await came_to(lambda: organism.questions())
        organism.answer(organism.questions()[0].thread_id, Done("granted"))
        await asking
        await organism.send("thief", Task("steal"), key="crime")
        await came_to(lambda: organism.dead_letters())
        await session.send("desk", Order(2), key="second")
        await came_to(lambda: organism.questions() and firm.charged == 4)
        await came_to(lambda: organism.status().running == 1)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        asyncio.run(lived(path))
        with closing(read_only(path)) as journal:
            lines = [f"PRAGMA application_id = {APPLICATION_ID};", f"PRAGMA user_version = {VERSION};"]
            (FOLDER / f"format_{VERSION}.sql").write_text("\n".join([*lines, *journal.iterdump(), ""]))


if __name__ == "__main__":
    main()
