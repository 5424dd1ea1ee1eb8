"""The tools of organism.yaml: a payload class and a function each."""

import asyncio
from dataclasses import dataclass

from xml_pipeline import HandlerMetadata, HandlerResponse, xmlify


@xmlify
@dataclass
class Greeting:
    """Somebody to greet."""

    name: str


@xmlify
@dataclass
class Shout:
    """A text to say loudly, or one that was."""

    text: str


@xmlify
@dataclass
class AddPayload:
    """Two integers to add."""

    a: int
    b: int


@xmlify
@dataclass
class Sum:
    """What came out."""

    value: int


@xmlify
@dataclass
class Search:
    """A subject to look up."""

    subject: str


@xmlify
@dataclass
class Found:
    """What the library has."""

    text: str


async def greet(payload: Greeting, metadata: HandlerMetadata) -> HandlerResponse:
    """The shouter's answer passes on to whoever greeted: greeter does not take it."""
    return HandlerResponse(Shout(text=f"Hello, {payload.name}!"), to="shouter")


async def shout(payload: Shout, metadata: HandlerMetadata) -> HandlerResponse[Shout]:
    return HandlerResponse.respond(Shout(text=payload.text.upper()))


async def add(payload: AddPayload, metadata: HandlerMetadata) -> HandlerResponse[Sum]:
    return HandlerResponse.respond(Sum(value=payload.a + payload.b))


async def search(payload: Search, metadata: HandlerMetadata) -> HandlerResponse[Found]:
    """Long enough for a `/kill` in the middle; interrupted, it is called again, and says so."""
    await asyncio.sleep(4)
    again = "" if metadata.attempt == 1 else f", asked {metadata.attempt} times because its reader died"
    shelf = 1 + len(payload.subject)
    return HandlerResponse.respond(Found(f"The library keeps {payload.subject} on shelf {shelf}{again}"))
