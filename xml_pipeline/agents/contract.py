"""What agents and people take and give when their declaration names no classes of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from xml_pipeline.payload import xmlify


@xmlify
@dataclass(frozen=True)
class Task:
    """Something to do or to answer, in words."""

    text: Annotated[str, Field(description="The whole task: whoever gets it knows nothing else of it.")]


@xmlify
@dataclass(frozen=True)
class Answer:
    """The answer to a task, in words."""

    text: str
