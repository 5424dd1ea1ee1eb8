"""organism.yaml → OrganismConfig, or one ConfigError with every mistake in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from xml_pipeline.config import document as documents
from xml_pipeline.config.binding import bind
from xml_pipeline.config.checks import check
from xml_pipeline.config.diagnosis import diagnose, retype
from xml_pipeline.config.document import MAX_BYTES, Document
from xml_pipeline.config.environment import environment
from xml_pipeline.config.llm import import_named
from xml_pipeline.config.models import OrganismConfig
from xml_pipeline.config.nearest import suggestion
from xml_pipeline.config.secrets import literal_keys
from xml_pipeline.errors import ConfigError, Problem
from xml_pipeline.llm.http.secrets import scrub

_SUFFIXES = (".yaml", ".yml")


def load(path: Path | str, *, environ: Mapping[str, str] | None = None) -> OrganismConfig:
    """Read, interpolate and check an organism.yaml, and import what it names.

    Args:
        path: the file. Relative paths and import paths in it start from its directory.
        environ: the variables that `${NAME}` stands for, over those of the `.env` file beside it; default:
            the process's environment, which is not changed.

    Raises:
        ConfigError: with all problems, each with file, line, column and path; values from the environment and
            keys are not shown.
    """
    file = Path(path)
    try:
        text = _bytes_of(file)
    except OSError as error:
        raise ConfigError([Problem(_unreadable(file, error), "", str(path))]) from None
    return loads(text, file=str(path), base=file.parent, environ=environ)


def loads(
    text: str | bytes,
    *,
    file: str = "organism.yaml",
    base: Path | str = ".",
    environ: Mapping[str, str] | None = None,
) -> OrganismConfig:
    """`load` for a text; `file` is the name that problems show, `base` the directory that paths start from.

    Raises:
        ConfigError: with all problems.
    """
    home = Path(base).absolute()
    variables, problems = environment(home, os.environ if environ is None else environ)
    document = documents.read(text, file=file, environ=variables)
    document.problems.extend(problems)
    readable = isinstance(document.data, dict)
    if readable:
        directories = {file: home, **_include_listeners(document, home, variables)}
        prompts = _read_prompts(document, directories)
        _report_keys(document)
        hook = import_named(document, home)
        config = _validate(document)
        check(document)
        resolved = bind(document, home)
    elif not document.problems:
        document.report((), "holds no organism; it starts with `organism:` and its `name`")
    if document.problems:
        raise ConfigError(_ordered(document.problems, file))
    assert config is not None, "a configuration without problems is valid"
    config = config.model_copy(update={"llm": config.llm.observed_by(hook)})
    return _complete(config, home, variables, prompts, resolved)


def _validate(document: Document) -> OrganismConfig | None:
    while True:
        try:
            return OrganismConfig.model_validate(_tuples(document.data), strict=True)
        except ValidationError as error:
            if not retype(document, error):
                diagnose(document, error, _schema())
                return None


def _tuples(data: object) -> object:
    """Lists as tuples: strict validation keeps "8" apart from 8, and a list apart from a tuple."""
    if isinstance(data, dict):
        return {key: _tuples(value) for key, value in data.items()}
    return tuple(map(_tuples, data)) if isinstance(data, list) else data


@cache
def _schema() -> dict[str, Any]:
    return OrganismConfig.model_json_schema(mode="validation")


def _complete(
    config: OrganismConfig,
    home: Path,
    variables: Mapping[str, str],
    prompts: Mapping[int, str],
    resolved: Mapping[str, Any],
) -> OrganismConfig:
    listeners = tuple(
        listener.model_copy(update={"prompt": prompts[index]}) if index in prompts else listener
        for index, listener in enumerate(config.listeners)
    )
    limits = {listener.name: listener.budget for listener in listeners if listener.budget}
    budgets = config.llm.budgets
    budgets = budgets.model_copy(update={"agents": {**budgets.agents, **limits}})
    llm = config.llm.model_copy(update={"budgets": budgets})
    complete = config.model_copy(update={"listeners": listeners, "llm": llm})
    complete._base = home
    complete._environ = MappingProxyType(dict(variables))
    complete._resolved = MappingProxyType(dict(resolved))
    return complete


def _include_listeners(document: Document, home: Path, variables: Mapping[str, str]) -> dict[str, Path]:
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
        hint = "" if here in document.hidden else _near_file(directory)
        document.report(here, f"the directory {shown} cannot be read: {_reason(error)}{hint}")
        document.broken.add(here)
        return {}
    directories: dict[str, Path] = {}
    if not files:
        document.report(here, f"the directory {shown} holds no *.yaml files")
    for file in files:
        label = os.path.join(os.path.dirname(document.values[()].file), shown, file.name)
        directories[label] = directory
        try:
            part = documents.read(_bytes_of(file), file=label, environ=variables)
        except OSError as error:
            document.problems.append(Problem(f"cannot be read: {_reason(error)}", "", label))
            continue
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


def _read_prompts(document: Document, directories: Mapping[str, Path]) -> dict[int, str]:
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
            prompts[index] = _bytes_of(file).decode("utf-8-sig")
        except (OSError, ValueError) as error:
            hint = "" if here in document.hidden else _near_file(file)
            document.report(
                here, f"the file {document.shown(here, name)} cannot be read: {_reason(error)}{hint}"
            )
    return prompts


def _bytes_of(file: Path) -> bytes:
    """At most one byte more than may be read, so that a device or a huge file cannot fill memory."""
    with file.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it is no path"


def _unreadable(file: Path, error: OSError) -> str:
    return f"cannot be read: {_reason(error)}{_near_file(file)}"


def _near_file(file: Path) -> str:
    try:
        return suggestion(file.name, (entry.name for entry in file.parent.iterdir()))
    except (OSError, ValueError):
        return ""


def _report_keys(document: Document) -> None:
    known = frozenset(name for part in _schema()["$defs"].values() for name in part.get("properties", ()))
    for path, message in list(literal_keys(document.data, document.hidden, known)):
        document.report(path, message)
        document.broken.add(path)
        if path[-1] not in known:
            _remove(document.data, path)


def _remove(data: Any, path: documents.Path) -> None:
    """Take out a key that nothing may read or show, so that one mistake stays one problem."""
    for part in path[:-1]:
        data = data[part]
    if isinstance(data, dict):
        del data[path[-1]]


def _ordered(problems: Iterable[Problem], first_file: str) -> list[Problem]:
    """In the order of the files and lines, each once, without anything that looks like a key."""
    clean = {
        Problem(scrub(one.message), scrub(one.path), one.file, one.line, one.column): None for one in problems
    }
    return sorted(clean, key=lambda one: (one.file != first_file, one.file, one.line, one.column))
