"""Gives birth to organisms that spend and are to die: `python -m tests.journal.spender FOLDER URL` (see `nursery`).

Each of its conversations asks a model three times; the prompts are all different, so what was served can be told.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.journal.nursery import KEYS, Watched, lives
from tests.pump.scenes import Answer, Go, respond
from xml_pipeline import HandlerMetadata, Organism
from xml_pipeline.cli.crash_life import Fate
from xml_pipeline.errors import AnswerError
from xml_pipeline.llm import PROVIDER_CLASSES, Budget, Budgets, Router, complete
from xml_pipeline.pump import listener

PROMPT, OUTPUT = 40, 20  # tokens of each answer, as the provider counts them
DAILY = 200_000  # tokens that the organism may use, far above what it needs; a test may set another one


def organism(folder: Path, url: str, fate: Fate, daily: int) -> Organism:
    async def asker(payload: Go, metadata: HandlerMetadata) -> Any:
        answers = []
        for part in range(3):
            fate.at("handler")
            answers.append(await complete("m", f"{payload.n}.{part}", max_tokens=OUTPUT))
            fate.at("returned")
        return respond(Answer(" ".join(answer.content for answer in answers)))

    backend = PROVIDER_CLASSES["openai-compatible"](base_url=url, supported_models=["m"], max_concurrent=8)
    budgets = Budgets(organism=[Budget(tokens=daily, per="month")])
    return Organism(
        "spender",
        [listener("asker", asker)],
        journal=Watched(folder / "state.db", fate),
        router=Router([backend], budgets=budgets),
        shutdown_seconds=0,
    )


async def live(folder: Path, url: str, fate: Fate, daily: int) -> None:
    """Ask for everything, and write down what came."""
    async with organism(folder, url, fate, daily) as one:
        answers = await asyncio.gather(
            *(one.ask("asker", Go(n), key=key) for n, key in enumerate(KEYS)), return_exceptions=True
        )
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, AnswerError):
            raise answer
    (folder / "answers").write_text(json.dumps([getattr(answer, "text", str(answer)) for answer in answers]))


def main() -> None:
    folder, url = Path(sys.argv[1]), sys.argv[2]
    lives(lambda order, fate: live(folder, url, fate, order.get("daily", DAILY)))


if __name__ == "__main__":
    main()
