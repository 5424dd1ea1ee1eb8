"""`describe`: a listener and its payload classes, for people, editors and models."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from xml_pipeline.agents import LLMAgent
from xml_pipeline.cli.files import organism_file
from xml_pipeline.config.nearest import listing, suggestion
from xml_pipeline.console import overview
from xml_pipeline.console.fill import requests
from xml_pipeline.console.styled import plain, visible
from xml_pipeline.errors import ConfigError
from xml_pipeline.organism import Organism
from xml_pipeline.payload import Codec
from xml_pipeline.pump import Listener

_FORMS: dict[str, Callable[[Codec[Any]], str]] = {
    "xsd": lambda codec: codec.xsd,
    "example": lambda codec: codec.example,
    "json-schema": lambda codec: json.dumps(codec.json_schema, indent=2, ensure_ascii=False),
    "prompt": lambda codec: codec.prompt_text,
}


def describe(arguments: argparse.Namespace) -> int:
    """Print the form asked for."""
    organism = Organism.from_file(organism_file(arguments))
    listener = organism.listeners.get(arguments.listener)
    if listener is None:
        known = organism.listeners
        raise ConfigError(
            f"no listener '{arguments.listener}'; there are {listing(known) or 'none'}"
            f"{suggestion(arguments.listener, known)}"
        )
    print(_text(organism, listener, arguments.form, arguments.payload).rstrip("\n"))
    return 0


def _text(organism: Organism, listener: Listener, form: str | None, payload: str | None) -> str:
    if form == "prompt" and payload is None and isinstance(listener.handler, LLMAgent):
        return visible(str(listener.handler.prompt_as_sent(organism.listeners, organism.router)))
    if form is None and payload is None:
        return "\n".join(map(plain, overview.listener(listener)))
    return _FORMS[form or "prompt"](_codec(listener, payload))


def _codec(listener: Listener, payload: str | None) -> Codec[Any]:
    classes = {codec.root: codec for codec in requests(listener)}
    if payload is None and len(classes) == 1:
        return next(iter(classes.values()))
    if payload is None:
        raise ConfigError(f"'{listener.name}' takes several payloads; name one of {listing(classes)}")
    if payload not in classes:
        raise ConfigError(
            f"'{listener.name}' takes no {payload}; it takes {listing(classes)}{suggestion(payload, classes)}"
        )
    return classes[payload]
