"""What the import paths of a document stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from xml_pipeline.agents import Task
from xml_pipeline.config import document as documents
from xml_pipeline.config.classes import is_imported
from xml_pipeline.config.document import Document
from xml_pipeline.config.imports import ImportFault, find, located, searching
from xml_pipeline.envelope import Gathered
from xml_pipeline.errors import ConfigError
from xml_pipeline.llm.providers import BUILTIN
from xml_pipeline.payload import is_payload
from xml_pipeline.payload.declared import Declarations
from xml_pipeline.pump.listener import NAME, contract

MAX_MISTAKES = 20
"""Listeners that cannot be bound before the rest is left alone: each costs a search of the whole import path."""

_CLASS_KEYS = ("accepts", "answers")


def bind(
    document: Document, base: Path | None, declarations: Declarations, classes: Mapping[str, type]
) -> dict[str, Any]:
    """Import every handler and payload class, and report those that cannot be used.

    Args:
        document: what the file says.
        base: the directory whose modules are found first; None where nothing is imported at all.
        declarations: what its `payloads` say, for other processes.
        classes: those that the file names by a word, which are not imported.
    """
    resolved: dict[str, Any] = dict(classes)
    elsewhere: set[str] = set()  # handlers that run in other processes
    data: Any = document.data
    entries: list[object] = data.get("listeners") or []
    with nullcontext() if base is None else searching(base):
        for index, entry in enumerate(entries):
            if document.found >= MAX_MISTAKES:
                rest = f"the import paths of the last {len(entries) - index:,} listeners were not tried"
                document.report(("listeners",), f"{rest}; mend the others first")
                break
            if isinstance(entry, Mapping):
                _bind_listener(document, ("listeners", index), entry, base, resolved)
                if entry.get("cpu_bound") is True:
                    elsewhere.add(str(entry.get("handler")))
    if base is None:
        return resolved
    for dotted in elsewhere & resolved.keys():
        resolved[dotted] = located(resolved[dotted], dotted, base, declarations)
    return resolved


def _imported(dotted: str, base: Path | None) -> Any:
    """Raises ImportFault."""
    if base is None:
        raise ImportFault("nothing of this file is imported", f"'{dotted}' is not imported")
    return find(dotted, base)


def import_paths(document: Document) -> tuple[str, ...]:
    """What the import of a document runs, as `listeners[2].handler: handlers:greet`."""
    data: Any = document.data
    found: dict[documents.Path, str] = {}
    for index, entry in enumerate(data.get("listeners") or ()):
        named = _named(document, ("listeners", index), entry)
        found.update((path, name) for path, name in named if is_imported(name))
    section = data.get("llm") or {}
    for index, module in enumerate(section.get("modules") or ()):
        found["llm", "modules", index] = module
    if section.get("on_event"):
        found["llm", "on_event"] = section["on_event"]
    for index, backend in enumerate(section.get("backends") or ()):
        if backend.get("provider") not in BUILTIN:
            found["llm", "backends", index, "provider"] = backend["provider"]
    return tuple(f"{documents.path_text(path)}: {document.shown(path, name)}" for path, name in found.items())


def _bind_listener(
    document: Document,
    path: documents.Path,
    entry: Mapping[str, object],
    base: Path | None,
    resolved: dict[str, Any],
) -> None:
    before = document.found
    for here, dotted in _named(document, path, entry):
        try:
            found = resolved[dotted] if dotted in resolved else _imported(dotted, base)
        except ImportFault as fault:
            hidden = document.hidden.get(here)
            document.report(
                here, str(fault) if hidden is None else f"{hidden} cannot be imported: {fault.kind}"
            )
            continue
        resolved[dotted] = found
        reason = _unfit(here[2], found)
        if reason:
            document.report(here, f"'{document.shown(here, dotted)}' {reason}")
    if document.found == before:
        _check_contract(document, path, entry, resolved)


def _named(
    document: Document, path: documents.Path, entry: Mapping[str, object]
) -> Iterator[tuple[documents.Path, str]]:
    """The handler and the classes of a listener."""
    for key in ("handler", *_CLASS_KEYS):
        value = entry.get(key)
        named: list[tuple[documents.Path, object]] = [((*path, key), value)]
        if isinstance(value, list):
            named = [((*path, key, index), item) for index, item in enumerate(value)]
        for here, dotted in named:
            if isinstance(dotted, str) and dotted and here not in document.broken:
                yield here, dotted


def _unfit(key: str | int, found: Any) -> str:
    kind = type(found).__name__
    if key == "handler":
        if isinstance(found, type) or not callable(found):
            return f"is of the type {kind}; a handler is a function of (payload, metadata)"
        return ""
    if not isinstance(found, type):
        return f"is of the type {kind}; a payload class is needed"
    return "" if found is Gathered or is_payload(found) else "is no payload class; decorate it with @xmlify"


def _check_contract(
    document: Document, path: documents.Path, entry: Mapping[str, object], resolved: Mapping[str, Any]
) -> None:
    """What the pump asks of a handler and of its classes together."""
    handler = resolved.get(str(entry.get("handler")))
    accepts, answers = (_classes(entry.get(key), resolved) for key in _CLASS_KEYS)
    name = _shown_name(document, path, entry)
    at = "accepts"
    try:
        if accepts is not None:
            contract(name, None, accepts)
        if answers is not None:
            at = "answers"
            contract(name, None, accepts or (Task,), answers)
        if handler is not None:
            at = "handler"
            contract(name, handler, accepts, answers)
    except ConfigError as error:
        for problem in error.problems:
            document.report((*path, at), problem.message)


def _classes(named: object, resolved: Mapping[str, Any]) -> list[type] | None:
    """What a key of an entry without mistakes names; None for no such key."""
    if named is None:
        return None
    return [resolved[str(each)] for each in (named if isinstance(named, list) else [named])]


def _shown_name(document: Document, path: documents.Path, entry: Mapping[str, object]) -> str:
    name = entry.get("name")
    usable = isinstance(name, str) and NAME.fullmatch(name) and (*path, "name") not in document.hidden
    return str(name) if usable else "unnamed"
