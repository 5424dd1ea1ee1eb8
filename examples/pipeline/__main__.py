"""Read, ask for many records at once, show how far it is, add up."""

import asyncio
import sys
from decimal import Decimal
from pathlib import Path

from examples.pipeline.listeners import Booked, Record, build
from xml_pipeline import Organism, XmlPipelineError

AT_ONCE = 50
WIDTH = 40


class Progress:
    """A bar on a terminal, nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self.done, self.total = 0, total

    def step(self) -> None:
        self.done += 1
        if sys.stderr.isatty():
            filled = WIDTH * self.done // self.total
            end = "\n" if self.done == self.total else ""
            print(
                f"\r[{'#' * filled:.<{WIDTH}}] {self.done}/{self.total}", end=end, file=sys.stderr, flush=True
            )


async def book(organism: Organism, text: str) -> Decimal | str:
    """What a record costs, or why it was refused."""
    try:
        answer = await organism.ask("reader", Record(text), timeout=30)
    except XmlPipelineError as error:
        return " ".join(str(error).splitlines()[:2])
    return answer.total if isinstance(answer, Booked) else answer.reason


async def main(records: list[str]) -> None:
    progress, places = Progress(len(records)), asyncio.Semaphore(AT_ONCE)
    results: dict[int, Decimal | str] = {}

    async def one(number: int, text: str) -> None:
        async with places:
            results[number] = await book(organism, text)
        progress.step()

    async with build() as organism, asyncio.TaskGroup() as group:
        for number, text in enumerate(records, 1):
            group.create_task(one(number, text))

    booked = [total for total in results.values() if isinstance(total, Decimal)]
    for number, reason in sorted(results.items()):
        if isinstance(reason, str):
            print(f"line {number}: {reason}")
    print(f"{len(booked)} of {len(records)} records booked, {sum(booked)} in all")


if __name__ == "__main__":
    default = Path(__file__).with_name("records.csv")
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    asyncio.run(main(path.read_text(encoding="utf-8").splitlines()))
