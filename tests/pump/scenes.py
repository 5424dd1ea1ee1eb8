"""Payload classes and small listeners that the tests of the engine share."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from xml_pipeline import HandlerMetadata, HandlerResponse, Organism, xmlify
from xml_pipeline.testing import run_in_virtual_time


@xmlify
@dataclass
class Go:
    """Begin."""

    n: int = 0


@xmlify
@dataclass
class Question:
    """Something to find out."""

    text: str


@xmlify
@dataclass
class Answer:
    """What was found out."""

    text: str


@xmlify
@dataclass
class Note:
    """A piece of text on its way."""

    text: str = ""


@xmlify
@dataclass
class Never:
    """A class that nobody sends."""


respond = HandlerResponse.respond
gather = HandlerResponse.gather
delegate = HandlerResponse.delegate
call = HandlerResponse


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """An async test on a loop whose time passes at once."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_in_virtual_time(test(*args, **kwargs))

    return run


async def echo(payload: Question, metadata: HandlerMetadata) -> HandlerResponse:
    """Answers with the question's own text."""
    return respond(Answer(payload.text))


async def silent(payload: Question, metadata: HandlerMetadata) -> None:
    """Never answers."""


async def until(condition: Callable[[], object], turns: int = 10_000) -> None:
    """Let the loop turn until something is so."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to be")


async def settled(organism: Organism, turns: int = 200) -> None:
    """Wait until nothing is in flight, by turns of the loop."""
    for _ in range(turns):
        if not organism.status().in_flight:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"still in flight: {organism.status()}")


def at_rest(organism: Organism) -> bool:
    """Whether an organism holds nothing any more of the work it was given."""
    status = organism.status()
    return not (
        status.in_flight
        or status.running
        or status.conversations
        or status.threads
        or status.waiting_for_people
    )
