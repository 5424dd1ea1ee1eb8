"""Processes that race around one ledger.

`python -m tests.door.racing own FILE journal|ledger URL SEED` is an organism of 64 agents; it says `ready`, and when
its input ends and all is done, what is still reserved. A scope that was passed is told at once.
`python -m tests.door.racing ask FILE keyed|unkeyed NAME COUNT` asks it so often, many at a time, whoever owns the
file, and tells what came of it.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.journal.test_recovery import came_to
from tests.llm.accounting.racing import AGENTS, PRICE, meters_of, passed_in, racers, some_budgets
from tests.pump.scenes import Question
from xml_pipeline import Organism
from xml_pipeline.door import Told, carried_out
from xml_pipeline.door.requests import Exchange
from xml_pipeline.envelope import Heading, Message
from xml_pipeline.errors import XmlPipelineError
from xml_pipeline.journal.ledger_file import LedgerFile
from xml_pipeline.journal.owner import InUse
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.llm import Router
from xml_pipeline.llm.providers.openai_compatible import OpenAICompatibleBackend
from xml_pipeline.organism import OUTSIDE
from xml_pipeline.payload import codec_of
from xml_pipeline.threads.ids import random_ids

AT_ONCE = 32


async def own(file: Path, kind: str, url: str, seed: int) -> None:
    journal = SqliteJournal(file) if kind == "journal" else None
    router = Router(
        [OpenAICompatibleBackend(base_url=url, supported_models=["m"], max_concurrent=64)],
        budgets=some_budgets(random.Random(seed)),
        prices={"m": PRICE},
        ledger=None if journal is not None else LedgerFile(file),
    )

    def look() -> None:
        if passed := passed_in(router):
            print("passed", passed, flush=True)

    agents = racers(lambda metadata: random.Random(metadata.message_id), look)
    organism = Organism("race", agents, journal=journal, router=router)
    async with organism:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await came_to(lambda: not organism.status().in_flight, seconds=50)
        print("reserved", sum(meter.reserved for meter in meters_of(router)), flush=True)


def ask(file: Path, keyed: bool, name: str, count: int) -> None:
    chance = random.Random(name)
    words, new_id = codec_of(Question), random_ids()

    async def nobody(request: Exchange) -> Told:
        raise InUse("somebody else is to own it")

    def one(number: int) -> str:
        payload = Question(f"{name} {number}")
        heading = Heading(OUTSIDE, chance.choice(AGENTS), new_id(), new_id())
        envelope = Message.sealed(heading, payload, words).data.decode()
        key = f"{name}-{number}" if keyed else None
        try:
            carried_out(file, Exchange(envelope, None, key), nobody, patience=50)
        except XmlPipelineError as error:
            return "went away" if "went away" in str(error) else str(error)
        return "answered"

    with ThreadPoolExecutor(AT_ONCE) as threads:
        print(json.dumps(Counter(threads.map(one, range(count)))), flush=True)


if __name__ == "__main__":
    role, where, how, *rest = sys.argv[1:]
    if role == "own":
        asyncio.run(own(Path(where), how, rest[0], int(rest[1])))
    else:
        ask(Path(where), how == "keyed", rest[0], int(rest[1]))
