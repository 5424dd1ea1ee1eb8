"""What the import paths of a document stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xml_pipeline.config import document as documents
from xml_pipeline.config.document import Document
from xml_pipeline.config.imports import ImportFault, find, located
from xml_pipeline.envelope import Gathered
from xml_pipeline.errors import ConfigError
from xml_pipeline.payload import is_payload
from xml_pipeline.pump.listener import NAME, contract

_CLASS_KEYS = ("payload_class", "accepts", "answer_class")


def bind(document: Document, base: Path) -> dict[str, Any]:
    """Import every handler and payload class, and report those that cannot be used."""
    resolved: dict[str, Any] = {}
    elsewhere: set[str] = set()  # handlers that run in other processes
    data: Any = document.data
    listeners = data.get("listeners")
    for index, entry in enumerate(listeners if isinstance(listeners, list) else ()):
        if isinstance(entry, Mapping):
            resolved.update(_bind_listener(document, ("listeners", index), entry, base))
            if entry.get("cpu_bound") is True:
                elsewhere.add(str(entry.get("handler")))
    for dotted in elsewhere & resolved.keys():
        resolved[dotted] = located(resolved[dotted], dotted, base)
    return resolved


def _bind_listener(
    document: Document, path: documents.Path, entry: Mapping[str, object], base: Path
) -> dict[str, Any]:
    resolved: dict[str, Any] = {}
    before = len(document.problems)
    for here, dotted in _import_paths(document, path, entry):
        try:
            found = find(dotted, base)
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
    if len(document.problems) == before:
        _check_contract(document, path, entry, resolved)
    return resolved


def _import_paths(
    document: Document, path: documents.Path, entry: Mapping[str, object]
) -> Iterator[tuple[documents.Path, str]]:
    for key in ("handler", *_CLASS_KEYS):
        value = entry.get(key)
        named: list[tuple[documents.Path, object]] = [((*path, key), value)]
        if isinstance(value, list) and key != "answer_class":
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
    key = "payload_class" if handler is not None else "accepts"
    named = entry.get(key)
    accepts: list[type] | None = None
    if named is not None:
        dotted = [str(one) for one in (named if isinstance(named, list) else [named])]
        if not all(one in resolved for one in dotted):
            return
        accepts = [resolved[one] for one in dotted]
    elif handler is None:
        return
    name = _shown_name(document, path, entry)
    at = key
    try:
        if accepts is not None:
            contract(name, None, accepts)
        if handler is not None:
            at = "handler"
            contract(name, handler, accepts)
    except ConfigError as error:
        for problem in error.problems:
            document.report((*path, at), problem.message)


def _shown_name(document: Document, path: documents.Path, entry: Mapping[str, object]) -> str:
    name = entry.get("name")
    usable = isinstance(name, str) and NAME.fullmatch(name) and (*path, "name") not in document.hidden
    return str(name) if usable else "unnamed"
