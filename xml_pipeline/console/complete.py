"""What could be typed next."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from xml_pipeline.console.commands import COMMANDS
from xml_pipeline.console.fill import accepted
from xml_pipeline.console.overview import kind
from xml_pipeline.organism import Organism


@dataclass(frozen=True, slots=True)
class Completion:
    """A text that could stand at the cursor.

    Attributes:
        text: what is put in.
        replaces: how many characters before the cursor it replaces.
        meaning: what it is.
    """

    text: str
    replaces: int
    meaning: str = ""


_COMMAND = re.compile(r"/(\w*)")
_ARGUMENT = re.compile(r"/(\w+)\s+(\S*)")
_NAME = re.compile(r"@(\S*)")
_FIELD = re.compile(r"@(\S+)\s(?:.*\s)?(\w*)", re.DOTALL)
_USED = re.compile(r"(?:^|\s)(\w+)=")


def complete(organism: Organism, text: str) -> Iterator[Completion]:
    """Completions for `text`, which stands before the cursor: commands, listeners, fields."""
    text = text.lstrip()
    if found := _COMMAND.fullmatch(text):
        for entry in COMMANDS.values():
            if entry.name.startswith(found[1]):
                yield Completion(f"/{entry.name}", len(text), entry.does)
    elif found := _ARGUMENT.fullmatch(text):
        command = COMMANDS.get(found[1])
        for word in _arguments(organism, command.completes if command else ""):
            if word.startswith(found[2]):
                yield Completion(word, len(found[2]))
    elif found := _NAME.fullmatch(text):
        for listener in organism.listeners.values():
            if listener.name.startswith(found[1]):
                meaning = listener.description.strip().split("\n", 1)[0]
                yield Completion(f"@{listener.name}", len(text), meaning or kind(listener))
    elif found := _FIELD.fullmatch(text):
        yield from _fields(organism, found[1], found[2], text)


def _arguments(organism: Organism, kind_: str) -> list[str]:
    return list(organism.listeners) if kind_ == "listeners" else kind_.split()


def _fields(organism: Organism, name: str, start: str, text: str) -> Iterator[Completion]:
    listener = organism.listeners.get(name)
    if listener is None:
        return
    used = set(_USED.findall(text))
    classes = [codec for codec in accepted(listener) if used <= {field.name for field in codec.fields}]
    if not start and any(codec.only_field and not used for codec in classes):
        return  # any text will do: no menu over it
    for codec in classes:
        for field in codec.fields:
            if field.name.startswith(start) and field.name not in used:
                yield Completion(f"{field.name}=", len(start), field.description or field.type)
                used.add(field.name)
