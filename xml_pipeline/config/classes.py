"""Payload classes that a file names by a word of their own: what is imported has a path, as `module:Class`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from xml_pipeline.agents import Answer, Task
from xml_pipeline.errors import did_you_mean, listing

BUILT_IN: Mapping[str, type] = MappingProxyType({"Task": Task, "Answer": Answer})
"""What every file knows: what agents and people take and give when nothing else is said."""


def is_imported(name: str) -> bool:
    """Whether a class or a handler comes from a module."""
    return ":" in name


def no_such_class(shown: str, name: str | None, known: Collection[str]) -> str:
    """What is told about a word that stands for no class.

    Args:
        shown: the word, as an error may show it.
        name: the word itself; None when it came from the environment, and nothing may tell of it.
        known: the words there are.
    """
    near = "" if name is None else did_you_mean(name, known)
    there_are = f"classes are: {listing(known)}; one of a module is written `module:Class`"
    return f"there is no class '{shown}'{near}; {there_are}"
