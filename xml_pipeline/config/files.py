"""The files that an organism.yaml names: listener files and prompts. Never raises for what is wrong with them.

They lie below a directory that whoever runs the file names, its own by default: a file from somebody else must not
put other files of this machine into a prompt.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from xml_pipeline.config import document as documents
from xml_pipeline.config.cases import SECTION
from xml_pipeline.config.document import MAX_TEXT, Allowance, Document, Place
from xml_pipeline.errors import cut, did_you_mean
from xml_pipeline.regular import bytes_of, refuse_hidden, refuse_outside, unreadable

MAX_FILES = 1_000

SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where an organism.yaml is read.

    Attributes:
        home: its directory; what it names is relative to it.
        root: what its files have to lie below.
        variables: what `${NAME}` stands for; None for a file that is not trusted, which has no variables.
        allowance: what all its files together may hold.
        seen: the files and directories that it names, also those that are not there.
    """

    home: Path
    root: Path
    variables: Mapping[str, str] | None = field(repr=False)
    allowance: Allowance = field(default_factory=Allowance)
    seen: set[Path] = field(default_factory=set)

    def refuse(self, path: Path) -> None:
        """Raises PermissionError, or ValueError for what is no path, when it is nothing that the file may name."""
        refuse_outside(path, self.root)
        if self.variables is None:
            refuse_hidden(path, self.root)


def include_listeners(document: Document, around: Surroundings) -> dict[str, Path]:
    """`listeners: directory` → the list that its files make together; each file's directory by its label."""
    data: Any = document.data
    name = data.get("listeners")
    if not isinstance(name, str):
        return {}
    here: documents.Path = ("listeners",)
    shown, written = document.shown(here, name), document.hidden.get(here, name)
    directory = around.home / name
    around.seen.add(directory)
    data["listeners"] = []
    try:
        around.refuse(directory)
        found = (entry for entry in directory.iterdir() if entry.suffix in SUFFIXES)
        files = sorted(islice(found, MAX_FILES + 1))
    except (OSError, ValueError) as error:
        reason = unreadable(directory, error, hidden=here in document.hidden)
        document.report(here, f"the directory {shown} {reason}")
        document.broken.add(here)
        return {}
    if not files or len(files) > MAX_FILES:
        many = f"more than {MAX_FILES:,}" if files else "no"
        document.report(here, f"the directory {shown} holds {many} *.yaml files")
        return {}
    directories: dict[str, Path] = {}
    for file in files:
        if around.allowance.spent:
            break
        label = os.path.join(os.path.dirname(document.values[()].file), written, file.name)
        directories[label] = directory
        around.seen.add(file)
        try:
            around.refuse(file)
            encoded = bytes_of(file)
        except OSError as error:
            document.add(unreadable(file, error), Place(label, 0, 0, ()))
        else:
            _append(
                document,
                documents.read(encoded, file=label, environ=around.variables, allowance=around.allowance),
            )
    return directories


def replace_llm(document: Document, file: Path, around: Surroundings) -> None:
    """Another file's `llm` section in the place of this one's: nothing of the two is mixed.

    The file holds the section's keys, or `llm:` and nothing else. Whoever runs the organism names it, so it may lie
    anywhere.
    """
    data: Any = document.data
    around.seen.add(file.absolute())
    part = _beside(document, file, around)
    if part is None:
        return
    section: Any = part.data
    inner = isinstance(section, dict) and list(section) == ["llm"]
    if not isinstance(section, dict):
        if not part.found:
            part.report((), "holds no `llm` section: write its keys, as `backends:` and `models:`")
        section = {}

    def moved(path: documents.Path) -> documents.Path | None:
        return path if inner and path else ("llm", *path)

    document.cut_off(("llm",))
    data["llm"] = section["llm"] if inner else section
    document.graft(part, moved)


def _beside(document: Document, file: Path, around: Surroundings) -> Document | None:
    """A file that whoever reads the document names; None, and a report, when it cannot be read."""
    try:
        encoded = bytes_of(file)
    except (OSError, ValueError) as error:
        document.add(unreadable(file, error), Place(str(file), 0, 0, ()))
        return None
    return documents.read(encoded, file=str(file), environ=around.variables, allowance=around.allowance)


def add_cases(document: Document, files: Sequence[Path], around: Surroundings) -> None:
    """Add the cases of files of their own behind those of `tests`."""
    data: Any = document.data
    for file in files:
        part = _beside(document, file, around)
        if part is not None:
            _append_cases(document, data.setdefault(SECTION, []), part)


def _append_cases(document: Document, cases: object, part: Document) -> None:
    written: Any = part.data
    keyed = isinstance(written, dict)
    for key in [key for key in written if key not in ("organism", SECTION)] if keyed else ():
        hint = did_you_mean(str(key), ("organism", SECTION))
        part.report((key,), f"`{cut(str(key))}` is no key here{hint}; keys are: organism, tests", at_key=True)
    found = written.get(SECTION) if keyed else written
    if not isinstance(found, list):
        if not part.found:
            part.report((), "holds no cases; write `tests:` and a list of them, or the list alone")
        found = []
    if not isinstance(cases, list):
        return  # told where it stands
    first = len(cases)
    cases.extend(found)

    def moved(path: documents.Path) -> documents.Path | None:
        inner = path[1:] if keyed and path[:1] == (SECTION,) else () if keyed else path
        return (SECTION, first + inner[0], *inner[1:]) if inner and isinstance(inner[0], int) else None

    document.graft(part, moved)


def _append(document: Document, part: Document) -> None:
    """Add the listener, or the listeners, of a file."""
    listeners: list[object] = document.data["listeners"]  # type: ignore[index]  # made a mapping above
    first = len(listeners)
    if part.data is None and not part.found:
        part.report((), "holds no listener; it takes one listener, or a list of them")

    def moved(path: documents.Path) -> documents.Path | None:
        if part.data is None:
            return None
        if not isinstance(part.data, list):
            return ("listeners", first, *path)
        return ("listeners", first + path[0], *path[1:]) if path and isinstance(path[0], int) else None

    if part.data is not None:
        listeners.extend(part.data if isinstance(part.data, list) else [part.data])
    document.graft(part, moved)


def read_prompts(
    document: Document, directories: Mapping[str, Path], around: Surroundings
) -> dict[int, tuple[str, ...]]:
    """The parts of prompts of which some are files, as texts, by the index of their listener.

    A file is relative to the one that names it.
    """
    data: Any = document.data
    prompts: dict[int, tuple[str, ...]] = {}
    listeners = data.get("listeners")
    for index, listener in enumerate(listeners if isinstance(listeners, list) else ()):
        prompt = listener.get("prompt") if isinstance(listener, dict) else None
        here: documents.Path = ("listeners", index, "prompt")
        parts: list[tuple[documents.Path, object]] = [(here, prompt)]
        if isinstance(prompt, list):
            parts = [((*here, number), part) for number, part in enumerate(prompt)]
        if any(isinstance(part, dict) for _, part in parts):
            texts = [_part(document, path, part, directories, around) for path, part in parts]
            prompts[index] = tuple(text for text in texts if text is not None)
        if around.allowance.spent:
            break
    return prompts


def _part(
    document: Document,
    path: documents.Path,
    part: object,
    directories: Mapping[str, Path],
    around: Surroundings,
) -> str | None:
    """The text of a part of a prompt; None, and a report, when there is none."""
    if not isinstance(part, dict):
        return part if isinstance(part, str) else None
    name, here = part.get("file"), (*path, "file")
    if not isinstance(name, str) or not name or around.allowance.spent:
        return None
    file = directories[document.values[here].file] / name
    around.seen.add(file)
    try:
        around.refuse(file)
        text = bytes_of(file).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = unreadable(file, error, hidden=here in document.hidden)
        document.report(here, f"the file {document.shown(here, name)} {reason}")
        return None
    around.allowance.text -= len(text)
    if around.allowance.text < 0:
        document.report(
            here, f"all prompts, skills and texts together have more than {MAX_TEXT:,} characters"
        )
    return text
