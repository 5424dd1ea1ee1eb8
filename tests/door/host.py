"""An organism of organism.yaml here: `python -m tests.door.host` says `ready`, and runs until its input ends."""

from __future__ import annotations

import asyncio
import sys

from xml_pipeline import Organism


async def main() -> None:
    async with Organism.from_file("organism.yaml"):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
