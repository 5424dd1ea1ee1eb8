"""Where the cases of an organism are: in its file, and in `*.test.yaml` beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xml_pipeline.config import document as documents
from xml_pipeline.errors import ConfigError, Problem
from xml_pipeline.regular import bytes_of, unreadable

SUFFIXES = (".test.yaml", ".test.yml")
ORGANISM = "organism.yaml"
MAX_FOUND = 10_000


@dataclass(frozen=True, slots=True)
class Suite:
    """Cases of one organism.

    Attributes:
        organism: its file.
        files: files of cases.
        own: whether those in the organism's file are meant too.
    """

    organism: Path
    files: tuple[Path, ...] = ()
    own: bool = True


def is_case_file(path: Path) -> bool:
    """Whether a file holds cases and no organism, by its name."""
    return path.name.endswith(SUFFIXES)


def suite_of(organism: Path) -> Suite:
    """All cases of an organism. Raises ConfigError."""
    beside = sorted(each for each in _entries(organism.parent) if is_case_file(each))
    return Suite(organism, tuple(each for each in beside if _same(organism_of(each), organism)))


def suites_at(path: Path) -> list[Suite]:
    """The cases that a path means: an organism with all of its, a file of cases, or all below a folder.

    Raises:
        ConfigError: a file of cases cannot be read.
    """
    if not os.path.isdir(path):
        return [Suite(organism_of(path), (path,), own=False) if is_case_file(path) else suite_of(path)]
    suites: dict[str, Suite] = {}
    lonely: dict[str, list[Path]] = {}
    for file in _below(path):
        if file.name == ORGANISM:
            suites[os.path.realpath(file)] = suite_of(file)
    held = {each for suite in suites.values() for each in suite.files}
    for file in _below(path):
        if is_case_file(file) and file not in held:
            lonely.setdefault(str(organism_of(file)), []).append(file)
    alone = [Suite(Path(organism), tuple(files), own=False) for organism, files in lonely.items()]
    return sorted([*suites.values(), *alone], key=lambda suite: str(suite.organism))


def organism_of(file: Path) -> Path:
    """The organism that a file of cases is for. Raises ConfigError."""
    try:
        text = bytes_of(file)
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(unreadable(file, error), "", str(file))]) from None
    found = documents.read(text, file=str(file), environ={})
    named = found.data.get("organism") if isinstance(found.data, dict) else None
    if named is not None and (not isinstance(named, str) or not named or ("organism",) in found.hidden):
        found.report(("organism",), "must be the path of an organism.yaml, relative to this file")
        raise ConfigError(found.problems)
    return file.parent / (named or ORGANISM)


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _below(folder: Path) -> Iterator[Path]:
    """Files in a folder and below it, in order; what is hidden is left out."""
    found = 0
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith(".") and each != "node_modules")
        for name in sorted(files):
            found += 1
            if found > MAX_FOUND:
                raise ConfigError(f"{folder} holds more than {MAX_FOUND:,} files; name a folder below it")
            yield Path(here, name)
