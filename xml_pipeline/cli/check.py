"""`check`: every mistake in an organism.yaml, once or each time that it is saved, for people and for programs."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xml_pipeline.cli.command import (
    FILE_ARGUMENT,
    UNTRUSTED,
    argument,
    command,
    config,
    one_of,
    organism_file,
)
from xml_pipeline.errors import NAMES_LISTED, ConfigError, XmlPipelineError, listing
from xml_pipeline.terminal import count, one_line

if TYPE_CHECKING:
    from xml_pipeline.config import OrganismConfig
    from xml_pipeline.llm import Router
    from xml_pipeline.organism import Organism

CLEAR = "\x1b[2J\x1b[3J\x1b[H"
"""Empties a terminal, what was scrolled away included, as ECMA-48 and xterm's control sequences say."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A file without mistakes.

    Attributes:
        config: what it says.
        built: the organism, not started; None when nothing was imported.
        summary: in one line, what is in it.
        notes: what is worth a look, and no mistake.
    """

    config: OrganismConfig
    built: Organism | None
    summary: str
    notes: list[str]


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
    argument(
        "--json",
        action="store_true",
        help="one JSON document on one line: file, ok, problems with file, line, column, path, message, and what is"
        " allowed and meant where the message says it",
    ),
    argument(
        "--watch",
        action="store_true",
        help="check again when the file changes, or a prompt, a listener file or a module beside it; Ctrl-C ends it",
    ),
    *FILE_ARGUMENT,
    UNTRUSTED,
)
def check(arguments: argparse.Namespace) -> int:
    """Say in one line what is in it. ConfigError holds what is wrong."""
    from xml_pipeline.cli.prospects import tell

    if arguments.journal is not None and (arguments.json or arguments.watch):
        raise ConfigError("--journal goes with neither --json nor --watch: they tell of the file alone")
    if arguments.watch:
        return watch(arguments)
    if arguments.json:
        return _tell_program(arguments)
    found = checked(arguments)
    print(found.summary)
    if found.built is not None and arguments.journal is None:  # then it is about open work
        _tell_contracts(found.built)
        _tell_triggers(found.built)
    for each in found.notes:
        print(each)
    return (
        0 if found.built is None or arguments.journal is None else tell(arguments, found.config, found.built)
    )


def checked(arguments: argparse.Namespace) -> Checked:
    """Check the file of the command line. Raises ConfigError with every mistake in it."""
    from xml_pipeline.composition import router_of
    from xml_pipeline.config.boxes import not_in_force
    from xml_pipeline.config.case_files import suite_of
    from xml_pipeline.config.serving import doubtful, unserved
    from xml_pipeline.organism import Organism

    cases = () if arguments.untrusted else suite_of(organism_file(arguments)).files
    found = config(arguments, "nothing" if arguments.no_import else "all", cases)
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
    notes = [f"note: {each}" for each in doubtful(found, backends)]
    notes += [
        f"note: no listener names the class '{name}' of `payloads`" for name in found.unused[:NAMES_LISTED]
    ]
    for name, backend in (router.backends if router else {}).items():
        if router and backend.key_pending:
            where = router.keys.places(backend.api_key_ref)
            notes.append(
                f"note: the key '{backend.api_key_ref}' of {name} is looked for when it is used: {where}"
            )
    for box in found.boxes.values():
        if out := not_in_force(box):
            notes.append(f"note: not in force of {box.entry.use}: {', '.join(out)}")
    notes += [f"not checked without an import: {left}" for left in found.unchecked[:NAMES_LISTED]]
    if len(found.unchecked) > NAMES_LISTED:
        notes.append(f"and {len(found.unchecked) - NAMES_LISTED:,} more")
    summary = f"{organism_file(arguments)}: ok: {_summary(found, router)}"
    return Checked(found, built, one_line(summary), [one_line(note) for note in notes])


def _tell_program(arguments: argparse.Namespace) -> int:
    """As a JSON document; what modules print while they are imported goes elsewhere."""
    from xml_pipeline.cli.problems import document

    file = str(arguments.given or arguments.file)
    try:
        with redirect_stdout(sys.stderr):
            found = checked(arguments)
    except XmlPipelineError as error:
        print(document(file, error=error), flush=True)
        return 1
    print(document(file, summary=found.summary, notes=found.notes), flush=True)
    return 0


def watch(arguments: argparse.Namespace, *, wait: Callable[[float], object] = time.sleep) -> int:
    """Check now and after each change, until Ctrl-C: KeyboardInterrupt, which `main` knows.

    Args:
        arguments: of `check`.
        wait: lets seconds go by.
    """
    from xml_pipeline.config.imports import anew
    from xml_pipeline.config.watching import EVERY, Watch

    file = organism_file(arguments)
    watching = Watch(file, environ=os.environ, root=arguments.root, llm=arguments.llm)
    while True:
        with nullcontext() if arguments.no_import else anew(file.parent):
            if arguments.json:
                _tell_program(arguments)
            else:
                _tell_person(arguments)
        wait(EVERY)
        while not watching.changed():
            wait(EVERY)


def _tell_person(arguments: argparse.Namespace) -> None:
    """The mistakes, or one line, on a terminal that is empty otherwise."""
    try:
        rows = [checked(arguments).summary]
    except ConfigError as error:
        rows = [one_line(problem) for problem in error.problems]
        rows += [f"and {error.more:,} more"] if error.more else []
    except XmlPipelineError as error:
        rows = [one_line(f"error: {error}")]
    if sys.stdout.isatty():
        sys.stdout.flush()
        os.write(
            sys.stdout.fileno(), CLEAR.encode()
        )  # past the guard, which shows what a terminal would obey
    print("\n".join(rows), flush=True)


def _summary(found: OrganismConfig, router: Router | None) -> str:
    from xml_pipeline.cli.inspection import kind_of

    kinds = [kind_of(each) for each in found.listeners]
    parts = [count(len(kinds), "listener")]
    parts += [count(kinds.count(each), each) for each in dict.fromkeys(kinds)]
    backends = router.describe() if router else []
    missing = [each.key_variable for each in backends if each.key == "missing"]
    if backends:
        parts.append(count(len(backends), "backend"))
    if found.tests:
        parts.append(count(len(found.tests), "case"))
    keys = f" (without a key: set {', '.join(missing)})" if missing else ""
    return one_line(f"{found.organism.name}, {', '.join(parts)}{keys}")


def _tell_contracts(built: Organism) -> None:
    """What each listener takes and answers."""
    from xml_pipeline.console.overview import contract

    listeners = list(built.listeners.values())
    for each in listeners[:NAMES_LISTED]:
        print(one_line(f"  {each.name}: {contract(each)}"))
    if len(listeners) > NAMES_LISTED:
        print(f"  and {len(listeners) - NAMES_LISTED:,} more; `xml-pipeline describe NAME` tells of one")


def _tell_triggers(built: Organism) -> None:
    """The doors, and what fires at them; a secret that is missing is a note, as a key of a model is."""
    import time

    from xml_pipeline.arming.armed import told_of
    from xml_pipeline.triggers.trigger import Webhook

    if built.doors:
        print(one_line(f"  doors: {listing(built.doors)}"))
    for each in list(built.triggers.values())[:NAMES_LISTED]:
        print(one_line(f"  trigger {each.name} → {each.to}: {told_of(each, time.time(), '')}"))
        if isinstance(each.when, Webhook) and not each.when.secret:
            print(one_line(f"note: the webhook '{each.name}' has no secret yet: set {each.when.variable}"))
