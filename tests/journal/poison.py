"""A message that ends the process, among a thousand that do not: a scene of the nursery."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import resource
from pathlib import Path
from typing import Any

from tests.pump.scenes import Answer, Question, respond
from xml_pipeline import AnswerError, HandlerMetadata, Organism
from xml_pipeline.cli.crash_life import Doomed, Fate
from xml_pipeline.pump import listener

INNOCENT = 1000
AMONG = 400  # so many are asked before it


def answered(payload: Question) -> Any:
    if payload.text == "poison":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ctypes.string_at(0)
    return respond(Answer(payload.text.upper()))


async def worker(payload: Question, metadata: HandlerMetadata) -> Any:
    await asyncio.sleep(0)
    return answered(payload)


def in_a_process(payload: Question, metadata: HandlerMetadata) -> Any:
    return answered(payload)


async def live(folder: Path, disk: Path, fate: Fate, where: str, **options: Any) -> int:
    """Ask everything, and write down what came."""
    one = (
        listener("worker", in_a_process, cpu_bound=True)
        if where == "in a process"
        else listener("worker", worker)
    )
    questions = [str(n) for n in range(INNOCENT)]
    questions.insert(AMONG, "poison")
    with (folder / "lives").open("a") as lives:
        lives.write(f"{os.getpid()}\n")
    journal = Doomed(disk / "state.db", fate, **options)
    async with Organism("poisoned", [one], journal=journal) as organism:

        async def asked(text: str) -> str:
            try:
                answer = await organism.ask("worker", Question(text), key=text)
            except AnswerError as error:
                return f"{error.code}: {error}"
            return str(answer.text)

        answers = await asyncio.gather(*map(asked, questions))
        letters = [letter.reason for letter in organism.dead_letters()]
    told = {"answers": dict(zip(questions, answers, strict=True)), "letters": letters}
    (folder / "told").write_text(json.dumps(told))
    return 0
