"""Commands that tell what there is and start nothing: `check`, `describe`, `graph`, `schema`, `version`."""

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
    organism_file,
)
from xml_pipeline.errors import NAMES_LISTED, ConfigError, did_you_mean, listing, no_such
from xml_pipeline.terminal import count, json_text, line, plain, visible, xml_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xml_pipeline.cli.graph import Graph
    from xml_pipeline.config import ListenerConfig, OrganismConfig
    from xml_pipeline.llm import Router
    from xml_pipeline.organism import Organism
    from xml_pipeline.payload import Codec
    from xml_pipeline.pump import Listener


@command(
    "check",
    "check an organism.yaml and list every mistake; imports what it names when nothing else is wrong",
    one_of(
        argument(
            "--no-import",
            action="store_true",
            help="run no code of the file: what only its modules could tell is not checked, and listed",
        ),
        argument(
            "--journal",
            nargs="?",
            const="",
            metavar="JOURNAL",
            help="say also what becomes of the work that is open in this journal (default: the one that the organism"
            " names), if this file were started on it; 1 when something would be lost",
        ),
    ),
    *FILE_ARGUMENT,
    UNTRUSTED,
)
def check(arguments: argparse.Namespace) -> int:
    """Say in one line what is in it. ConfigError holds what is wrong."""
    from xml_pipeline.cli.prospects import tell
    from xml_pipeline.composition import router_of
    from xml_pipeline.config.serving import doubtful, unserved
    from xml_pipeline.organism import Organism

    found = config(arguments, "nothing" if arguments.no_import else "all")
    left_out = [each for each in found.unchecked if each.startswith("llm")]
    router, built = None, None
    if not arguments.no_import:
        built = Organism.from_config(found)
        router = built.router
    elif not left_out:
        router = router_of(found)
    backends = list(router.backends.values())[: len(found.llm.backends)] if router else []
    if problems := unserved(found, backends):
        raise ConfigError(problems)
    print(f"{_shown(organism_file(arguments))}: ok: {_summary(found, router)}")
    if built is not None and arguments.journal is None:  # then it is about open work
        _tell_contracts(built)
    for each in doubtful(found, backends):
        print(f"note: {_shown(each)}")
    for name in found.unused[:NAMES_LISTED]:
        print(f"note: no listener names the class '{_shown(name)}' of `payloads`")
    for name, backend in (router.backends if router else {}).items():
        if router and backend.key_pending:
            where = router.keys.places(backend.api_key_ref)
            print(
                _shown(
                    f"note: the key '{backend.api_key_ref}' of {name} is looked for when it is used: {where}"
                )
            )
    for left in found.unchecked[:NAMES_LISTED]:
        print(f"not checked without an import: {_shown(left)}")
    if len(found.unchecked) > NAMES_LISTED:
        print(f"and {len(found.unchecked) - NAMES_LISTED:,} more")
    return 0 if built is None or arguments.journal is None else tell(arguments, found, built)


def _summary(found: OrganismConfig, router: Router | None) -> str:
    from xml_pipeline.console.overview import kind

    kinds = [kind(each) for each in found.listeners]
    parts = [count(len(kinds), "listener")]
    parts += [count(kinds.count(each), each) for each in dict.fromkeys(kinds)]
    backends = router.describe() if router else []
    missing = [each.key_variable for each in backends if each.key == "missing"]
    if backends:
        parts.append(count(len(backends), "backend"))
    keys = f" (without a key: set {', '.join(missing)})" if missing else ""
    return _shown(f"{found.organism.name}, {', '.join(parts)}{keys}")


def _tell_contracts(built: Organism) -> None:
    """What each listener takes and answers."""
    from xml_pipeline.console.overview import contract

    listeners = list(built.listeners.values())
    for each in listeners[:NAMES_LISTED]:
        print(_shown(f"  {each.name}: {contract(each)}"))
    if len(listeners) > NAMES_LISTED:
        print(f"  and {len(listeners) - NAMES_LISTED:,} more; `xml-pipeline describe NAME` tells of one")


def _shown(text: object) -> str:
    """On one line, whatever it holds."""
    return plain(line(str(text)))


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
        return "\n".join(map(plain, overview.listener(listener)))
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
    return dict.fromkeys((*each.peers, *each.hands_over_to, *steps))


def _graph_of(found: OrganismConfig) -> Graph:
    """The listeners with their peers; text without a name goes to the default listener."""
    from xml_pipeline.cli.graph import Graph, Node
    from xml_pipeline.console.overview import kind

    nodes = tuple(
        Node(each.name, kind(each), each.name == found.organism.default, _contract(each, found))
        for each in found.listeners
    )
    edges = tuple((each.name, name) for each in found.listeners for name in _reached(each, found))
    return Graph(_shown(found.organism.name), nodes, edges)


@command("schema", "print the JSON Schema of organism.yaml, for editors")
def schema(_: argparse.Namespace) -> int:
    """Print it."""
    from xml_pipeline.config import json_schema

    print(json_text(json_schema()))
    return 0


@command("version", "print the version")
def version(_: argparse.Namespace) -> int:
    """Print it."""
    from xml_pipeline import __version__

    print(f"xml-pipeline {__version__}")
    return 0
