"""What the `llm:` section of organism.yaml names: modules that register providers and strategies, and an observer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from xml_pipeline.config import document as documents
from xml_pipeline.config.document import Document
from xml_pipeline.config.imports import ImportFault, find
from xml_pipeline.config.models import NamedModel
from xml_pipeline.errors import Problem


def import_named(document: Document, base: Path) -> Callable[[Any], None] | None:
    """Import the section's `modules`, before its providers and strategies are checked; gives its `on_event`.

    Modules in the directory `base` go before installed ones. What cannot be imported is reported.
    """
    data: Any = document.data
    section = data.get("llm")
    if not isinstance(section, dict):
        return None
    modules = section.get("modules")
    for index, name in enumerate(modules if isinstance(modules, list) else ()):
        if isinstance(name, str):
            _found(document, ("llm", "modules", index), f"{name}:__name__", base)
    dotted = section.get("on_event")
    if not isinstance(dotted, str):
        return None
    hook = _found(document, ("llm", "on_event"), dotted, base)
    if hook is not None and not callable(hook):
        document.report(
            ("llm", "on_event"), f"'{dotted}' is of the type {type(hook).__name__}; a function is needed"
        )
        return None
    return hook  # type: ignore[no-any-return]  # a callable


def models_of(document: Document) -> tuple[NamedModel, ...]:
    """Every model that the listeners of a valid document, and the aliases of its `llm` section, name."""
    data: Any = document.data
    paths: list[documents.Path] = [
        ("listeners", index, "model")
        for index, entry in enumerate(data.get("listeners") or ())
        if entry.get("model")
    ]
    if ((data.get("defaults") or {}).get("agents") or {}).get("model"):
        paths.append(("defaults", "agents", "model"))
    for alias, chain in ((data.get("llm") or {}).get("models") or {}).items():
        here: documents.Path = ("llm", "models", alias)
        if isinstance(chain, dict):
            here, chain = (*here, "chain"), chain["chain"]
        paths += [(*here, index) for index in range(len(chain))] if isinstance(chain, list) else [here]
    paths += [("llm", "routing", operation) for operation in (data.get("llm") or {}).get("routing") or {}]
    return tuple(_named(document, path) for path in paths)


def _named(document: Document, path: documents.Path) -> NamedModel:
    name: Any = document.data
    for part in path:
        name = name[part]
    place = document.values[path]
    problem = Problem("", documents.path_text(place.path), place.file, place.line, place.column)
    return NamedModel(name, document.shown(path, name), problem)


def _found(document: Document, here: documents.Path, dotted: str, base: Path) -> Any:
    if here in document.broken:
        return None
    try:
        return find(dotted, base)
    except ImportFault as fault:
        hidden = document.hidden.get(here)
        document.report(here, str(fault) if hidden is None else f"{hidden} cannot be imported: {fault.kind}")
        return None
