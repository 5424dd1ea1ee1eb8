"""Commands that tell what there is and start nothing: `describe`, `graph`, `version`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from xml_pipeline.cli.command import (
    FILE_ARGUMENT,
    FILE_OPTION,
    UNTRUSTED,
    Declare,
    argument,
    command,
    config,
    one_of,
    organism,
)
from xml_pipeline.errors import ConfigError, did_you_mean, listing, no_such
from xml_pipeline.terminal import json_text, line, one_line, plain, visible, xml_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xml_pipeline.cli.graph import Graph
    from xml_pipeline.config import ListenerConfig, OrganismConfig
    from xml_pipeline.organism import Organism
    from xml_pipeline.payload import Codec
    from xml_pipeline.pump import Listener


def kind_of(each: ListenerConfig) -> str:
    """What a listener of a file is, in a word."""
    from xml_pipeline.console.overview import kind

    return "box" if each.use is not None else kind(each)


def _form(name: str, does: str) -> Declare:
    return argument(f"--{name}", action="store_const", const=name, dest="form", help=does)


@command(
    "describe",
    "describe a listener and the payloads it takes; imports what the file names",
    argument("listener", metavar="LISTENER", help="its name"),
    argument("payload", metavar="PAYLOAD", nargs="?", help="one of the classes it takes"),
    one_of(
        _form("xsd", "the XML Schema of the payload"),
        _form("example", "a valid example document"),
        _form("json-schema", "the JSON Schema of a tool call that makes the payload"),
        _form(
            "prompt",
            "an agent: its whole prompt, as the model sees it; else: how a model is told to write to it",
        ),
    ),
    FILE_OPTION,
    UNTRUSTED,
)
def describe(arguments: argparse.Namespace) -> int:
    """Print a listener in the form asked for, without one as a person reads it."""
    found = organism(arguments)
    listener = found.listeners.get(arguments.listener)
    if listener is None:
        raise ConfigError(no_such("listener", arguments.listener, found.listeners))
    print(_described(found, listener, arguments.form, arguments.payload).rstrip("\n"))
    return 0


def _described(found: Organism, listener: Listener, form: str | None, payload: str | None) -> str:
    from xml_pipeline.agents import LLMAgent
    from xml_pipeline.console import overview

    if form == "prompt" and payload is None and isinstance(listener.handler, LLMAgent):
        return visible(str(listener.handler.prompt_as_sent(found.listeners, found.router)))
    if form is None and payload is None:
        door = [line(("dim", "door: "), "triggers may reach it")] if listener.name in found.doors else []
        return "\n".join(map(plain, [*overview.listener(listener), *door]))
    codec = _codec(listener, payload)
    match form:
        case "xsd":
            return xml_text(codec.xsd)
        case "example":
            return xml_text(codec.example)
        case "json-schema":
            return json_text(codec.json_schema)
    return visible(codec.prompt_text)


def _codec(listener: Listener, payload: str | None) -> Codec[Any]:
    from xml_pipeline.console.fill import accepted

    classes = {codec.root: codec for codec in accepted(listener)}
    if payload is None and len(classes) == 1:
        return next(iter(classes.values()))
    if payload is None:
        raise ConfigError(f"'{listener.name}' takes several payloads; name one of {listing(classes)}")
    if payload not in classes:
        near = did_you_mean(payload, classes)
        raise ConfigError(f"'{listener.name}' takes no {payload}; it takes {listing(classes)}{near}")
    return classes[payload]


@command(
    "graph",
    "draw who may call whom; imports nothing",
    argument(
        "--format", choices=("mermaid", "svg"), default="mermaid", help="what to write (default: mermaid)"
    ),
    *FILE_ARGUMENT,
    UNTRUSTED,
)
def graph(arguments: argparse.Namespace) -> int:
    """Print it."""
    from xml_pipeline.cli.graph import mermaid
    from xml_pipeline.cli.svg import svg

    drawn = _graph_of(config(arguments, "nothing"))
    print(svg(drawn) if arguments.format == "svg" else mermaid(drawn), end="")
    return 0


def _contract(each: ListenerConfig, found: OrganismConfig) -> str:
    """What the file says that a listener takes and answers; "" where only its handler could tell."""
    from xml_pipeline.console.overview import both_sides

    usual: dict[str, tuple[tuple[str, ...] | None, tuple[str, ...] | None]] = {
        "tool": (None, None),
        "flow": (("Task",), None),
        "box": (None, None),
    }
    takes, gives = usual.get(each.kind, (("Task",), ("Answer",)))
    if each.name in found.flows and not each.answers:
        gives = tuple(cls.__name__ for cls in found.flows[each.name].flow.answers) or None
    sides = [
        named and [name.replace(":", ".").rpartition(".")[2] for name in named]
        for named in (each.accepts or takes, each.answers or gives)
    ]
    return both_sides(*sides) if any(sides) else ""


def _reached(each: ListenerConfig, found: OrganismConfig) -> Iterable[str]:
    """Whom a listener may call, or hand over to."""
    read = found.flows.get(each.name)
    steps = () if read is None else (*read.flow.calls, *read.flow.hands_over_to)
    boxes = {
        f"{box.entry.name}.{tool}": box.entry.name for box in found.boxes.values() for tool in box.entry.tools
    }
    return dict.fromkeys(boxes.get(name, name) for name in (*each.peers, *each.hands_over_to, *steps))


def _graph_of(found: OrganismConfig) -> Graph:
    """The listeners with their peers; text without a name goes to the default listener."""
    from xml_pipeline.cli.graph import Graph, Node

    doors = found.organism.doors
    nodes = tuple(
        Node(
            each.name,
            kind_of(each),
            each.name == found.organism.default,
            " · ".join(filter(None, (_contract(each, found), "door" if each.name in doors else ""))),
        )
        for each in found.listeners
    )
    edges = tuple((each.name, name) for each in found.listeners for name in _reached(each, found))
    return Graph(one_line(found.organism.name), nodes, edges)


@command("version", "print the version")
def version(_: argparse.Namespace) -> int:
    """Print it."""
    from xml_pipeline import __version__

    print(f"xml-pipeline {__version__}")
    return 0
