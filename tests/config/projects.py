"""Small projects on disk: an organism.yaml and what stands beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from xml_pipeline.config import OrganismConfig, load, loads
from xml_pipeline.errors import ConfigError, Problem

HANDLERS = '''
from dataclasses import dataclass

from xml_pipeline import HandlerMetadata, HandlerResponse, xmlify


@xmlify
@dataclass
class Greeting:
    """Who is greeted."""
    name: str


@xmlify
@dataclass
class Reply:
    """What is said back."""
    text: str


async def greet(payload: Greeting, metadata: HandlerMetadata) -> HandlerResponse:
    return HandlerResponse.respond(payload=Reply(text=payload.name))


async def shout(payload: Reply, metadata: HandlerMetadata) -> HandlerResponse:
    return HandlerResponse.respond(payload=payload)


def unannotated(payload, metadata):
    return None


def too_many(payload: Greeting, metadata: HandlerMetadata, extra: int) -> None:
    return None


class NoPayload:
    pass


answer = 42
'''


def write(directory: Path, files: Mapping[str, str]) -> Path:
    """Write `files`; gives the organism.yaml."""
    for name, text in files.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return directory / "organism.yaml"


def config_of(text: str, **environ: str) -> OrganismConfig:
    """A text that needs nothing beside it."""
    return loads(text, environ=environ, base="/nonexistent")


def problems_of(text: str, **environ: str) -> list[Problem]:
    """What is wrong with a text that needs nothing beside it."""
    with pytest.raises(ConfigError) as caught:
        config_of(text, **environ)
    return list(caught.value.problems)


def problems_in(file: Path, **environ: str) -> list[Problem]:
    """What is wrong with a file."""
    with pytest.raises(ConfigError) as caught:
        load(file, environ=environ)
    return list(caught.value.problems)


def only(problems: list[Problem]) -> Problem:
    """The one problem there is."""
    assert len(problems) == 1, "\n".join(map(str, problems))
    return problems[0]
