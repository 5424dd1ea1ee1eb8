"""What a typed line is: a message, a command, an answer to a question, or nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from xml_pipeline.errors import XmlPipelineError


class InputError(XmlPipelineError):
    """A line that the console cannot act on; the message says what would be right."""


@dataclass(frozen=True, slots=True)
class Say:
    """`@to body`; without `to` it is for the default listener."""

    to: str | None
    body: str


@dataclass(frozen=True, slots=True)
class Command:
    """`/name rest`."""

    name: str
    rest: str


@dataclass(frozen=True, slots=True)
class Tell:
    """`!body`: a person's answer to the oldest question."""

    body: str


Typed: TypeAlias = Say | Command | Tell

_SAY = re.compile(r"@(\S*)(.*)", re.DOTALL)
_COMMAND = re.compile(r"/(\S*)(.*)", re.DOTALL)


def parse(text: str) -> Typed | None:
    """What `text` (one line, or several that were pasted) means; None for a blank one.

    Raises:
        InputError: an `@` without a name.
    """
    text = text.strip()
    if not text:
        return None
    if text[0] == "!":
        return Tell(text[1:].strip())
    if found := _COMMAND.fullmatch(text):
        return Command(found[1], found[2].strip())
    if found := _SAY.fullmatch(text):
        if not found[1]:
            raise InputError("name a listener after the @, as in `@greeter Alice`; /listeners lists them")
        return Say(found[1], found[2].strip())
    return Say(None, text)
