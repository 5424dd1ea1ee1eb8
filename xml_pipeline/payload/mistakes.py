"""Mistakes in plain data, each with its path, in the words of who wrote it as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from xml_pipeline.errors import cut

Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong at a path; `at_key`: it is the key there, not its value."""

    path: Path
    message: str
    at_key: bool = False


class Wrong(Exception):
    """A part that cannot be read; its mistake is noted."""


@dataclass
class Mistakes:
    """What was found so far."""

    found: list[Mistake] = field(default_factory=list)

    def note(self, path: Path, message: str, *, at_key: bool = False) -> None:
        """Add one, and go on."""
        self.found.append(Mistake(path, message, at_key))

    def wrong(self, path: Path, message: str, *, at_key: bool = False) -> Wrong:
        """Add one; what is returned is to be raised."""
        self.note(path, message, at_key=at_key)
        return Wrong()


def shown(value: object) -> str:
    """A value as YAML writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"'{cut(value)}'" if isinstance(value, str) else cut(repr(value))


def quoted(value: object) -> str:
    """The hint for a value that is meant as text, else ""."""
    scalar = isinstance(value, bool | int | float) or value is None
    return f'; put it into quotes: "{shown(value)}"' if scalar else ""


def truth(value: object) -> str:
    """The hint for a word that is meant as a truth value, else ""."""
    word = str(value).lower()
    if word in ("yes", "on", "y", "true"):
        return "; write `true`"
    return "; write `false`" if word in ("no", "off", "n", "false") else ""
