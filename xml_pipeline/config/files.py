"""The files that an organism.yaml names: listener files and prompts. Never raises for what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xml_pipeline.config import document as documents
from xml_pipeline.config.document import MAX_BYTES, Document
from xml_pipeline.errors import Problem, did_you_mean

_SUFFIXES = (".yaml", ".yml")


def include_listeners(document: Document, home: Path, variables: Mapping[str, str]) -> dict[str, Path]:
    """`listeners: directory` → the list that its files make together; each file's directory by its label."""
    data: Any = document.data
    name = data.get("listeners")
    if not isinstance(name, str):
        return {}
    here: documents.Path = ("listeners",)
    shown = document.shown(here, name)
    directory = home / name
    data["listeners"] = []
    try:
        files = sorted(entry for entry in directory.iterdir() if entry.suffix in _SUFFIXES)
    except (OSError, ValueError) as error:
        reason = unreadable(directory, error, hidden=here in document.hidden)
        document.report(here, f"the directory {shown} {reason}")
        document.broken.add(here)
        return {}
    directories: dict[str, Path] = {}
    if not files:
        document.report(here, f"the directory {shown} holds no *.yaml files")
    for file in files:
        label = os.path.join(os.path.dirname(document.values[()].file), shown, file.name)
        directories[label] = directory
        try:
            part = documents.read(bytes_of(file), file=label, environ=variables)
        except OSError as error:
            document.problems.append(Problem(unreadable(file, error), "", label))
        else:
            _append(document, part)
    return directories


def _append(document: Document, part: Document) -> None:
    listeners: list[object] = document.data["listeners"]  # type: ignore[index]  # made a mapping above
    entries = part.data if isinstance(part.data, list) else [part.data]
    if part.data is None:
        if not part.problems:
            part.report((), "holds no listener; it takes one listener, or a list of them")
        document.problems.extend(part.problems)
        return
    single = part.data is not entries
    for index, entry in enumerate(entries):
        document.graft(("listeners", len(listeners)), part.below(() if single else (index,)))
        listeners.append(entry)
    document.problems.extend(part.problems)


def read_prompts(document: Document, directories: Mapping[str, Path]) -> dict[int, str]:
    """The texts of `prompt_file`s, by the index of their listener; relative to the file that names them."""
    data: Any = document.data
    prompts: dict[int, str] = {}
    listeners = data.get("listeners")
    for index, listener in enumerate(listeners if isinstance(listeners, list) else ()):
        name = listener.get("prompt_file") if isinstance(listener, dict) else None
        if not isinstance(name, str) or not name:
            continue
        here: documents.Path = ("listeners", index, "prompt_file")
        file = directories[document.values[here].file] / name
        try:
            prompts[index] = bytes_of(file).decode("utf-8-sig")
        except (OSError, ValueError) as error:
            reason = unreadable(file, error, hidden=here in document.hidden)
            document.report(here, f"the file {document.shown(here, name)} {reason}")
    return prompts


def bytes_of(file: Path) -> bytes:
    """At most one byte more than may be read, so that a device or a huge file cannot fill memory."""
    with file.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def unreadable(file: Path, error: Exception, *, hidden: bool = False) -> str:
    """Why a file or a directory cannot be read, and the nearest name beside it; not where its name is `hidden`."""
    if isinstance(error, UnicodeDecodeError):
        return "cannot be read: it is not UTF-8 text"
    reason = (isinstance(error, OSError) and error.strerror) or "it is no path"
    try:
        names = set() if hidden else {entry.name for entry in file.parent.iterdir()} - {file.name}
    except (OSError, ValueError):
        names = set()
    return f"cannot be read: {reason}{did_you_mean(file.name, names)}"
